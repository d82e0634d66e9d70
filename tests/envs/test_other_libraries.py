"""The environments inside other learning libraries; what is not installed is left out."""

import math
import warnings

import gymnasium
import numpy as np
import pytest
import torch

from stridelab_envs.gym import StridelabVectorEnv, register_gym_envs
from stridelab_envs.registry import get_task, make_env

SHORT = {"episode_length_s": 0.06}  # 3 control steps
LYING = torch.tensor([math.sqrt(0.5), 0.0, -math.sqrt(0.5), 0.0], dtype=torch.float64)


def biped(num_envs, overrides=SHORT):
    task = get_task("biped_walk").with_overrides(overrides)
    return make_env(task, num_envs=num_envs, seed=0, num_threads=1)


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class TestGymnasium:
    def test_vector_wrappers(self):
        register_gym_envs()
        env = gymnasium.make_vec(
            "stridelab/BipedWalk-v0", num_envs=2, overrides=SHORT, num_threads=1
        )
        env = gymnasium.wrappers.vector.RecordEpisodeStatistics(env)
        env.reset(seed=0)
        still = np.zeros((2, 17), np.float32)
        rewards = []
        for step in (1, 2, 3):
            *_, infos = (out := env.step(still))
            rewards.append(out[1])
            assert ("episode" in infos) == (step == 3)
        assert infos["episode"]["l"].tolist() == [3, 3]
        np.testing.assert_allclose(infos["episode"]["r"], np.sum(rewards, axis=0), rtol=1e-5)

    def test_a_flat_single_environment(self):
        register_gym_envs()
        env = gymnasium.make("stridelab/BipedWalk-v0", overrides=SHORT)
        env = gymnasium.wrappers.FlattenObservation(env)
        obs, _ = env.reset(seed=0)
        assert obs.shape == (48,)


class TestStableBaselines:
    @pytest.fixture
    def adapter(self):
        pytest.importorskip("stable_baselines3")
        from stridelab_envs.adapters.sb3 import StableBaselinesEnv

        return StableBaselinesEnv

    def test_ends_and_infos(self, adapter):
        env, batch = adapter(biped(3)), biped(3)
        assert env.observation_space.shape == (48,)
        assert np.array_equal(env.reset(), batch.reset()["policy"])
        for envs in (env.batch_env, batch):
            envs.sim.qpos[1, 3:7] = LYING
        actions = np.full((3, 17), 0.1)  # float64, as its policies give them
        obs, reward, done, infos = env.step(actions)
        step = batch.step(torch.from_numpy(actions))
        assert np.array_equal(obs, step.obs["policy"])
        assert np.array_equal(reward, step.reward)
        assert done.tolist() == [False, True, False]
        assert infos[0] == infos[2] == {}
        assert not infos[1]["TimeLimit.truncated"]
        assert infos[1]["episode"]["l"] == 1
        assert infos[1]["episode"]["r"] == pytest.approx(float(reward[1]))
        assert np.array_equal(infos[1]["terminal_observation"], step.final_obs["policy"][1])
        env.step(actions)
        _, _, done, infos = env.step(actions)
        assert done.tolist() == [True, False, True]  # the second began anew
        assert infos[0]["TimeLimit.truncated"]
        assert infos[0]["episode"]["l"] == 3

    def test_seed(self, adapter):
        env = adapter(biped(2))
        env.seed(7)
        first = env.reset().copy()
        assert not np.array_equal(env.reset(), first)
        env.seed(7)
        assert np.array_equal(env.reset(), first)

    def test_attributes(self, adapter):
        env = adapter(biped(2))
        assert env.get_attr("action_dim") == [17, 17]
        assert env.get_attr("action_dim", 0) == [17]
        assert env.env_method("seed", 3) == [None, None]
        assert env.env_is_wrapped(gymnasium.Wrapper) == [False, False]
        with pytest.raises(NotImplementedError):
            env.set_attr("robot", None)

    def test_it_learns(self, adapter):
        from stable_baselines3 import PPO
        from stable_baselines3.common.vec_env import VecNormalize

        env = VecNormalize(adapter(biped(4)))
        model = PPO("MlpPolicy", env, n_steps=8, batch_size=16, n_epochs=1, device="cpu", seed=0)
        before = model.policy.mlp_extractor.policy_net[0].weight.detach().clone()
        model.learn(32)
        assert model.num_timesteps == 32
        assert len(model.ep_info_buffer) >= 4 * 2  # as its Monitor would report them
        assert not torch.equal(model.policy.mlp_extractor.policy_net[0].weight, before)

    def test_the_single_environment_passes_its_checker(self, adapter):
        from stable_baselines3.common.env_checker import check_env

        register_gym_envs()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it would rather have actions within [-1, 1]
            check_env(gymnasium.make("stridelab/BipedWalk-v0", overrides=SHORT).unwrapped)


class TestRslRl:
    @pytest.fixture
    def adapter(self):
        pytest.importorskip("tensordict")
        from stridelab_envs.adapters.rsl_rl import RslRlEnv

        return RslRlEnv

    def test_groups_ends_and_time_limits(self, adapter):
        env = adapter(biped(3, {}))
        env.episode_length_buf = torch.tensor([0, 0, env.max_episode_length - 1])
        env.env.sim.qpos[1, 3:7] = LYING
        obs, reward, done, extras = env.step(torch.zeros(3, env.num_actions))
        assert obs["policy"].shape == (3, 48)
        assert torch.equal(env.get_observations()["policy"], obs["policy"])
        assert reward.shape == (3,)
        assert done.tolist() == [0, 1, 1]
        assert extras["time_outs"].tolist() == [False, False, True]
        assert extras["log"]["/episode/fell"] == 0.5
        assert env.episode_length_buf.tolist()[1:] == [0, 0]
        assert "log" not in env.step(torch.zeros(3, env.num_actions))[3]

    def test_it_learns(self, adapter):
        runners = pytest.importorskip("rsl_rl.runners")
        network = {"class_name": "MLPModel", "hidden_dims": [8], "activation": "elu"}
        config = {
            "num_steps_per_env": 4,
            "save_interval": 10**9,
            "obs_groups": {"actor": ["policy"], "critic": ["policy"]},
            "actor": {
                **network,
                "distribution_cfg": {"class_name": "GaussianDistribution", "init_std": 1.0},
            },
            "critic": network,
            "algorithm": {"class_name": "PPO", "num_learning_epochs": 1, "num_mini_batches": 2},
        }
        runner = runners.OnPolicyRunner(adapter(biped(4)), config, log_dir=None, device="cpu")
        before = [p.detach().clone() for p in runner.alg.actor.parameters()]
        runner.learn(num_learning_iterations=1, init_at_random_ep_len=True)
        after = list(runner.alg.actor.parameters())
        assert not all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_skrl():
    wrappers = pytest.importorskip("skrl.envs.wrappers.torch")
    env = wrappers.wrap_env(
        StridelabVectorEnv("biped_walk", 3, SHORT, num_threads=1),
        wrapper="gymnasium",
        verbose=False,
    )
    assert env.num_envs == 3
    obs, _ = env.reset()
    assert obs.shape == (3, 48)
    for step in (1, 2, 3):
        obs, reward, terminated, truncated, _ = env.step(torch.zeros(3, 17))
        assert obs.shape == (3, 48)
        assert reward.shape == terminated.shape == (3, 1)
        assert bool(truncated.all()) == (step == 3)
