"""Gymnasium's view of the environments."""

import re

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

from stridelab_envs.gym import StridelabEnv, StridelabVectorEnv, gym_id, register_gym_envs
from stridelab_envs.registry import get_task, make_env, task_ids

SHORT = {"episode_length_s": 0.06}  # 3 control steps
each_task = pytest.mark.parametrize("task_id", task_ids())


@pytest.fixture(autouse=True)
def _registered():
    register_gym_envs()


def vector(num_envs=2, overrides=None, **kwargs):
    env = gymnasium.make_vec(
        "stridelab/BipedWalk-v0", num_envs=num_envs, overrides=overrides, num_threads=1, **kwargs
    )
    assert isinstance(env, StridelabVectorEnv)
    return env


def zeros(env):
    return np.zeros(env.action_space.shape, np.float32)


def test_gym_id():
    assert gym_id("biped_walk") == "stridelab/BipedWalk-v0"
    assert gym_id("x1_walk") == "stridelab/X1Walk-v0"


def test_every_task_is_registered_and_again_is_no_error():
    register_gym_envs()
    assert {gym_id(task_id) for task_id in task_ids()} <= gymnasium.registry.keys()


@each_task
def test_spaces(task_id):
    env = gymnasium.make_vec(gym_id(task_id), num_envs=3, num_threads=1)
    clip = env.unwrapped.batch_env.task.action_clip
    assert env.num_envs == 3
    assert isinstance(env.single_observation_space, spaces.Dict)
    assert env.single_observation_space.keys() == env.unwrapped.batch_env.observation_sizes.keys()
    joints = env.unwrapped.batch_env.action_dim
    assert env.single_action_space == spaces.Box(-clip, clip, (joints,), np.float32)
    assert env.action_space.shape == (3, joints)
    obs, _ = env.reset(seed=0)
    assert obs in env.observation_space
    env.action_space.seed(0)
    obs, reward, terminated, truncated, _ = env.step(env.action_space.sample())
    assert obs in env.observation_space
    assert reward.shape == terminated.shape == truncated.shape == (3,)
    assert terminated.dtype == truncated.dtype == np.bool_


@each_task
@pytest.mark.filterwarnings("ignore:.*Box (action|observation) space")
def test_gymnasiums_checker(task_id):
    env = gymnasium.make(gym_id(task_id))
    assert isinstance(env.unwrapped, StridelabEnv)
    check_env(env.unwrapped)


def test_vector_env_is_the_batch_env():
    env = vector(num_envs=3, overrides={"rewards": "v6"}, seed=5)
    task = get_task("biped_walk").with_overrides({"rewards": "v6"})
    batch = make_env(task, num_envs=3, seed=5, num_threads=1)
    assert np.array_equal(env.reset()[0]["policy"], batch.reset()["policy"])
    actions = np.linspace(-1, 1, 51).reshape(3, 17)  # float64, as many libraries give them
    obs, reward, *_ = env.step(actions)
    step = batch.step(torch.from_numpy(actions))
    assert np.array_equal(obs["policy"], step.obs["policy"])
    assert np.array_equal(reward, step.reward)


def test_final_obs_in_infos():
    env, longer = vector(overrides=SHORT), vector()
    assert env.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
    env.reset(seed=3)
    longer.reset(seed=3)
    for _ in range(2):
        *_, infos = env.step(zeros(env))
        longer.step(zeros(env))
        assert infos == {}
    obs, _, terminated, truncated, infos = env.step(zeros(env))
    assert truncated.all()
    assert not terminated.any()
    assert infos["_final_obs"].tolist() == [True, True]
    last = longer.step(zeros(env))[0]["policy"]
    assert np.array_equal(infos["final_obs"]["policy"], last)
    assert not np.array_equal(obs["policy"], last)


def test_final_obs_mask_names_those_that_ended(tip_over):
    env = vector(num_envs=3)
    env.reset(seed=0)
    tip_over(env.batch_env, 1)
    obs, _, terminated, _, infos = env.step(zeros(env))
    assert terminated.tolist() == infos["_final_obs"].tolist() == [False, True, False]
    assert not np.array_equal(obs["policy"][1], infos["final_obs"]["policy"][1])
    assert np.array_equal(obs["policy"][0], infos["final_obs"]["policy"][0])


def test_a_seed_repeats_the_rollout():
    env = vector()

    def rollout(seed):
        seen = [env.reset(seed=seed)[0]["policy"]]
        return seen + [env.step(zeros(env) + 0.5)[0]["policy"] for _ in range(5)]

    first, again, other = rollout(3), rollout(3), rollout(4)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_a_reset_without_a_seed_draws_anew():
    env = vector()
    first = env.reset(seed=3)[0]["policy"]
    assert not np.array_equal(first, env.reset()[0]["policy"])
    assert np.array_equal(first, env.reset(seed=[3, None])[0]["policy"])


def test_single_env_ends_where_its_last_observation_is():
    single, batch = gymnasium.make("stridelab/BipedWalk-v0", overrides=SHORT), vector(num_envs=1)
    single.reset(seed=1)
    batch.reset(seed=1)
    for t in (1, 2, 3):
        obs, reward, terminated, truncated, _ = single.step(np.full(17, 0.2, np.float32))
        expected = batch.step(np.full((1, 17), 0.2, np.float32))
        assert np.array_equal(obs["policy"], expected[0]["policy"][0])
        assert reward == expected[1][0]
        assert (terminated, truncated) == (False, t == 3)
    assert obs in single.observation_space
    clock = single.unwrapped._vector.batch_env.layouts["policy"]["gait_clock"]
    assert single.reset(seed=1)[0]["policy"][clock].tolist() == [0.0, 1.0]


def test_wrong_overrides_are_refused():
    with pytest.raises(ValueError, match=re.escape('rewards: unknown reward preset "v9"')):
        vector(overrides={"rewards": "v9"})
