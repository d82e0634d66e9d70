"""What many environments have shown lately, drawn as stacks of frames."""

import torch

from stridelab.skills.memory import Memory
from stridelab_envs.history import FrameStack

ENVS, FRAMES = 3, 4


def play(steps, seed=0):
    """Return frames ``(steps, ENVS, 2)``, beginnings of episodes, and the stacks as shown."""
    generator = torch.Generator().manual_seed(seed)
    first = torch.rand(steps, ENVS, generator=generator) < 0.15
    first[0] = True
    # A frame tells its step and its environment.
    frames = torch.stack(
        torch.meshgrid(torch.arange(steps), torch.arange(ENVS), indexing="ij"), dim=-1
    ).float()
    stack = FrameStack({"policy": FRAMES})
    shown = []
    for step in range(steps):
        now = {"policy": frames[step]}
        seen = stack.push(now)
        if step and first[step].any():
            seen = stack.restart(first[step].nonzero().flatten(), now)
        shown.append(seen["policy"])
    return frames, first, torch.stack(shown)


def filled(steps, kept, parts=5):
    """Return a memory that has taken in some steps, and the stacks as shown."""
    frames, first, shown = play(steps)
    memory = Memory(kept, {"policy": FRAMES})
    for start in range(0, steps, parts):
        part = slice(start, start + parts)
        memory.extend({"policy": frames[part], "label": frames[part] + 0.5}, first[part])
    return memory, shown


def drawn(memory, count=2000):
    batch = memory.draw(count, torch.Generator().manual_seed(1))
    newest = batch["label"] - 0.5
    step, env = newest.long().unbind(dim=1)
    return batch["policy"], step, env


def test_stacks_are_those_the_environment_shows():
    memory, shown = filled(steps=20, kept=100)
    stacks, step, env = drawn(memory)
    assert torch.equal(stacks, shown[step, env])
    assert len(memory) == 20 * ENVS
    assert step.unique().tolist() == list(range(20))


def test_what_is_overwritten_is_in_no_stack():
    memory, shown = filled(steps=53, kept=30)
    stacks, step, env = drawn(memory)
    assert torch.equal(stacks, shown[step, env])
    # The oldest steps kept have lost their past.
    assert step.unique().tolist() == list(range(53 - 30 + FRAMES - 1, 53))
    assert len(memory) == (30 - FRAMES + 1) * ENVS


def test_single_frames_are_kept_to_the_last():
    frames, first, _ = play(50)
    memory = Memory(20, {})
    memory.extend({"policy": frames, "label": frames + 0.5}, first)
    stacks, step, env = drawn(memory)
    assert torch.equal(stacks, frames[step, env])
    assert step.unique().tolist() == list(range(30, 50))
    assert env.unique().tolist() == [0, 1, 2]
