"""Observations of several frames: oldest first, filled with the first frame of an episode."""

from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import torch

from stridelab_envs.errors import ConfigError
from stridelab_envs.gym import register_gym_envs
from stridelab_envs.history import FrameStack
from stridelab_envs.mdp import observations
from stridelab_envs.mdp.terms import ObservationTerm
from stridelab_envs.registry import get_task

FRAMES = 4


def with_history(task, lengths=(("policy", FRAMES), ("critic", 2))):
    critic = {"base_lin_vel": ObservationTerm(func=observations.base_lin_vel)}
    groups = {**task.observations, "critic": critic}
    return replace(task, observations=groups, history=dict(lengths))


@pytest.fixture
def make_stacked(make_biped):
    def build(overrides=None, **kwargs):
        noisy = {"observations": {"policy": {"joint_pos": {"noise": 0.1}}}}
        return make_biped(noisy | (overrides or {}), change=with_history, **kwargs)

    return build


class TestFrameStack:
    def test_oldest_first_and_filled_with_the_first_frame(self):
        stack = FrameStack({"policy": 3})

        def push(*values):
            return stack.push({"policy": torch.tensor([[v, -v] for v in values])})["policy"]

        assert push(1.0, 5.0).tolist() == [[1, -1, 1, -1, 1, -1], [5, -5, 5, -5, 5, -5]]
        assert push(2.0, 6.0).tolist() == [[1, -1, 1, -1, 2, -2], [5, -5, 5, -5, 6, -6]]
        fresh = {"policy": torch.tensor([[2.0, -2.0], [9.0, -9.0]])}
        restarted = stack.restart(torch.tensor([1]), fresh)["policy"]
        assert restarted.tolist() == [[1, -1, 1, -1, 2, -2], [9, -9] * 3]
        assert push(3.0, 10.0).tolist() == [[1, -1, 2, -2, 3, -3], [9, -9, 9, -9, 10, -10]]

    def test_groups_without_history_pass(self):
        frames = {"policy": torch.ones(2, 3), "critic": torch.zeros(2, 1)}
        out = FrameStack({"policy": 2}).push(frames)
        assert out["critic"] is frames["critic"]
        assert out["policy"].shape == (2, 6)


def actions(env, steps):
    return 0.5 * torch.randn(
        steps, env.num_envs, env.action_dim, generator=torch.Generator().manual_seed(0)
    )


def test_sizes_and_layouts(make_stacked):
    env = make_stacked()
    assert env.history == {"policy": FRAMES, "critic": 2}
    assert env.frame_sizes == {"policy": 48, "critic": 3}
    assert env.observation_sizes == {"policy": 48 * FRAMES, "critic": 6}
    assert env.layouts["critic"] == {"base_lin_vel": slice(0, 3)}
    assert max(columns.stop for columns in env.layouts["policy"].values()) == 48
    obs = env.reset()
    assert {group: value.shape[1] for group, value in obs.items()} == env.observation_sizes


def test_stacks_are_the_frames_of_an_equal_environment(make_stacked, tip_over):
    """Falls and time limits on the way; the frames are noisy, so they are drawn once."""
    short = {"episode_length_s": 0.2}
    stacked = make_stacked(short, num_envs=3)
    frames = make_stacked(short, num_envs=3, stack_history=False)
    seen = frames.reset()["policy"]
    assert seen.shape == (3, 48)
    past = [[row] * FRAMES for row in seen]
    assert torch.equal(stacked.reset()["policy"], torch.stack([torch.cat(p) for p in past]))
    ends = 0
    for t, action in enumerate(actions(stacked, 25)):
        if t == 6:
            tip_over(stacked, 1)
            tip_over(frames, 1)
        whole, step = stacked.step(action), frames.step(action)
        assert torch.equal(whole.reward, step.reward)
        past = [[*p[1:], row] for p, row in zip(past, step.final_obs["policy"], strict=True)]
        final = torch.stack([torch.cat(p) for p in past])
        assert torch.equal(whole.final_obs["policy"], final)
        for env in (step.terminated | step.truncated).nonzero().flatten().tolist():
            past[env] = [step.obs["policy"][env]] * FRAMES
            ends += 1
        assert torch.equal(whole.obs["policy"], torch.stack([torch.cat(p) for p in past]))
        assert torch.equal(whole.obs["critic"][:, 3:], step.obs["critic"])
    assert ends == 6


def test_what_was_returned_stays(make_stacked):
    env = make_stacked({"episode_length_s": 0.1})
    kept = [env.reset()["policy"]]
    copies = [kept[0].clone()]
    for action in actions(env, 12):
        step = env.step(action)
        kept += [step.obs["policy"], step.final_obs["policy"]]
        copies += [value.clone() for value in kept[-2:]]
    assert all(torch.equal(left, right) for left, right in zip(kept, copies, strict=True))


def test_state_holds_the_stacks(make_stacked):
    env, other = make_stacked(), make_stacked(seed=9)
    other.reset()
    for action in actions(env, 3):
        env.step(action)
    state = env.get_state()
    expected = [env.step(action).obs["policy"] for action in actions(env, 4)]
    other.set_state(state)
    for action, obs in zip(actions(env, 4), expected, strict=True):
        assert torch.equal(other.step(action).obs["policy"], obs)


def test_a_step_before_the_first_reset(make_stacked):
    obs = make_stacked().step(torch.zeros(2, 17)).obs["policy"]
    assert torch.equal(obs[:, :48], obs[:, -48:])


def test_gymnasium_sees_the_stack(monkeypatch):
    task = with_history(get_task("biped_walk"))
    monkeypatch.setattr("stridelab_envs.gym.get_task", lambda task_id: task)
    register_gym_envs()
    envs = gymnasium.make_vec(
        "stridelab/BipedWalk-v0", num_envs=2, num_threads=1, overrides={"episode_length_s": 0.06}
    )
    assert envs.single_observation_space["policy"].shape == (48 * FRAMES,)
    obs, _ = envs.reset(seed=0)
    assert obs in envs.observation_space
    for _ in range(3):
        last = obs["policy"]
        obs, *_, infos = envs.step(np.zeros(envs.action_space.shape, np.float32))
    assert np.array_equal(infos["final_obs"]["policy"][:, :-48], last[:, 48:])
    single = gymnasium.make("stridelab/BipedWalk-v0")
    assert single.reset(seed=0)[0]["policy"].shape == (48 * FRAMES,)


def test_overrides():
    task = with_history(get_task("biped_walk"))
    assert task.with_overrides({"history": {"policy": 7}}).history == {"policy": 7, "critic": 2}
    assert task.with_overrides({}).history == task.history
    assert get_task("biped_walk").history == {}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"polcy": 3}, 'history.polcy: unknown observation group "polcy"; did you mean "policy"?'),
        ({"policy": 0}, "history.policy: must be a whole number of at least 1, got 0"),
        ({"policy": 2.5}, "history.policy: must be a whole number of at least 1, got 2.5"),
        (3, "history: must be a mapping of names, got 3"),
    ],
)
def test_wrong_history_is_refused(value, message):
    with pytest.raises(ConfigError) as caught:
        get_task("biped_walk").with_overrides({"history": value})
    assert str(caught.value).startswith(message)
