"""Windows by index against frames stacked one after the other."""

import pytest
import torch

from stridelab.modules.history import (
    BEFORE_RECORD,
    FrameWindows,
    episode_beginnings,
    last_frames,
)
from stridelab_envs.history import FrameStack

STEPS, ENVS, SIZE = 9, 3, 2


def ends(*places, steps=STEPS, envs=ENVS):
    ended = torch.zeros(steps, envs, dtype=torch.bool)
    for step, env in places:
        ended[step, env] = True
    return ended


def test_beginnings():
    began = episode_beginnings(ends((0, 1), (3, 0), (5, 1), steps=6, envs=2))
    before = BEFORE_RECORD
    assert began[:, 0].tolist() == [before, before, before, before, 4, 4, 4]
    assert began[:, 1].tolist() == [before, 1, 1, 1, 1, 1, 6]


def test_by_hand():
    """Frames carry the number of their row; the episode that begins at step 2 clamps at row 4."""
    frames = torch.arange(7.0).reshape(7, 1, 1)  # three frames a window, steps 0-4
    windows = FrameWindows(frames, episode_beginnings(ends((1, 0), steps=4, envs=1)))
    assert (windows.length, windows.num_windows) == (3, 5)
    expected = [[0, 1, 2], [1, 2, 3], [4, 4, 4], [4, 4, 5], [4, 5, 6]]
    assert windows[torch.arange(5)].tolist() == expected
    assert windows[torch.tensor([4, 0, 4])].tolist() == [expected[4], expected[0], expected[4]]
    # The step after observation 1 ended the episode with this frame, not with row 4.
    assert windows.followed_by(torch.tensor([1]), torch.tensor([[9.0]])).tolist() == [[2, 3, 9]]
    assert windows.followed_by(torch.tensor([2]), torch.tensor([[9.0]])).tolist() == [[4, 4, 9]]
    assert windows.past(3).flatten().tolist() == [4, 4]


def test_no_observation_at_all():
    """As when no episode of a record was cut off."""
    none = torch.zeros(0, dtype=torch.long)
    windows = FrameWindows(torch.zeros(7, 1, 2), episode_beginnings(ends(steps=4, envs=1)))
    assert windows[none].shape == (0, 6)
    assert windows.followed_by(none, torch.zeros(0, 2)).shape == (0, 6)


@pytest.mark.parametrize("length", [1, 2, 4, 13])
def test_equal_to_stacking(length):
    """Two records, the second going on where the first stops, one window longer than a record."""
    generator = torch.Generator().manual_seed(length)
    stack = FrameStack({"policy": length})

    def draw():
        return {"policy": torch.randn(ENVS, SIZE, generator=generator)}

    obs = draw()
    stacked = stack.push(obs)["policy"]
    past = obs["policy"].expand(length - 1, ENVS, SIZE)
    for ended in (ends((2, 0), (3, 0), (7, 2)), ends((0, 1), (8, 0), (8, 1))):
        rows, expected, finals = [obs["policy"]], [stacked], []
        for step in range(STEPS):
            obs = draw()
            final = stack.push(obs)["policy"]
            ids = ended[step].nonzero().flatten()
            finals += [(step * ENVS + i, obs["policy"][i], final[i]) for i in ids.tolist()]
            fresh = draw()["policy"]
            obs = {"policy": obs["policy"].index_copy(0, ids, fresh[ids])}
            stacked = stack.restart(ids, obs)["policy"]
            rows.append(obs["policy"])
            expected.append(stacked)
        frames = torch.cat([past, torch.stack(rows)])
        windows = FrameWindows(frames, episode_beginnings(ended))
        assert torch.equal(windows[torch.arange(windows.num_windows)], torch.cat(expected))
        for step in (0, 4, STEPS):
            assert torch.equal(windows.at(step), expected[step])
        assert len(finals) == 3
        for place, newest, final in finals:
            followed = windows.followed_by(torch.tensor([place]), newest[None])
            assert torch.equal(followed[0], final)
        past = windows.past(STEPS)
        assert past.shape == (length - 1, ENVS, SIZE)


def test_last_frames():
    stacked = torch.arange(12.0).reshape(2, 6)
    assert last_frames(stacked, 2, 2).tolist() == [[2, 3, 4, 5], [8, 9, 10, 11]]
    assert torch.equal(last_frames(stacked, 3, 2), stacked)
