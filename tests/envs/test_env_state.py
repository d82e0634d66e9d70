"""State that goes from one environment to another whose task differs a little."""

import pytest
import torch

from stridelab_envs.registry import get_task, make_env


def walk(rewards):
    task = get_task("biped_walk").with_overrides({"rewards": rewards, "episode_length_s": 1.0})
    return make_env(task, num_envs=3, seed=0, num_threads=1)


def step(env, times):
    for _ in range(times):
        env.step(torch.zeros(3, env.action_dim))


def test_sums_of_rewards_follow_their_names():
    """Of a population: one trial takes over another's environments, but not its weights."""
    donor = walk({"upright": 2.0, "height": 1.0, "forward_velocity": 0.0})
    step(donor, 5)
    sums = dict(zip(donor._rewards, donor._reward_sums, strict=True))
    assert "forward_velocity" not in sums
    assert sums["height"].abs().min() > 0.0

    taker = walk({"upright": 0.0, "height": 3.0, "forward_velocity": 1.0})
    step(taker, 9)
    taker.set_state(donor.get_state())
    taken = dict(zip(taker._rewards, taker._reward_sums, strict=True))
    assert "upright" not in taken
    assert torch.equal(taken["height"], sums["height"])
    assert torch.equal(taken["forward_velocity"], torch.zeros(3))
    assert torch.equal(taker._steps, donor._steps)
    # From here on its own weights count.
    before = taken["height"].clone()
    step(taker, 1)
    step(donor, 1)
    own = dict(zip(taker._rewards, taker._reward_sums, strict=True))["height"] - before
    theirs = dict(zip(donor._rewards, donor._reward_sums, strict=True))["height"] - before
    assert own == pytest.approx(3.0 * theirs)


def test_equal_tasks_go_on_equally():
    first, second = walk("v7"), walk("v7")
    step(first, 4)
    second.set_state(first.get_state())
    for _ in range(3):
        a = first.step(torch.full((3, first.action_dim), 0.2))
        b = second.step(torch.full((3, second.action_dim), 0.2))
        assert torch.equal(a.reward, b.reward)
        assert torch.equal(a.obs["policy"], b.obs["policy"])


def test_a_curriculum_goes_on_elsewhere():
    env = make_env(get_task("h1_walk"), num_envs=2, seed=0, num_threads=1)
    [name] = env.get_curriculum()
    assert env.get_curriculum() == {name: 0.0}
    command = env.state.commands[name]
    start, final = command.low.clone(), command._final[0]
    env.set_curriculum({name: 0.5, "another": 1.0})
    assert env.get_curriculum() == {name: 0.5}
    assert torch.allclose(command.low, 0.5 * (start + final))
