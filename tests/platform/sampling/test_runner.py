"""The runner against a second environment that executes the recorded actions again."""

import copy

import pytest
import torch
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.env import INPUT_ENV_SINGLE_SPACES

from stridelab.algorithms.ppo import build_config
from stridelab.sampling.runner import COMPONENT_RL_MODULE, WEIGHTS_SEQ_NO, BatchedEnvRunner
from stridelab_envs.registry import make_env

ENVS, STEPS, SEED = 6, 8, 5


@pytest.fixture
def config(tiny_experiment):
    experiment = tiny_experiment(task__num_envs=ENVS, algorithm__num_steps_per_env=STEPS)
    return build_config(experiment, seed=SEED, num_threads=1)


@pytest.fixture
def runner(config):
    return BatchedEnvRunner(config=config)


@pytest.fixture
def twin(tiny_experiment):
    """The environments of ``runner``, at the same point."""
    env = make_env(tiny_experiment().task_config(), num_envs=ENVS, seed=SEED, num_threads=1)
    obs = env.reset()
    env.desynchronize()
    return env, obs


def logp_of(module, obs, actions):
    out = module.forward_exploration({Columns.OBS: obs})[Columns.ACTION_DIST_INPUTS]
    return out, module.get_exploration_action_dist_cls().from_logits(out).logp(actions)


def test_shapes(runner):
    rollout = runner.sample()
    assert rollout.obs["policy"].shape == (STEPS + 1, ENVS, 48)
    assert rollout.actions.shape == (STEPS, ENVS, 17)
    assert rollout.dist_inputs.shape == (STEPS, ENVS, 34)
    for name in ("logp", "rewards", "terminated", "truncated"):
        assert getattr(rollout, name).shape == (STEPS, ENVS), name
    assert rollout.env_steps == STEPS * ENVS
    assert rollout.seconds > 0.0
    assert rollout.sim_failures == 0
    assert not rollout.actions.requires_grad


def test_logp_is_the_modules_own(runner):
    rollout = runner.sample()
    inputs, logp = logp_of(runner.module, {"policy": rollout.obs["policy"][:-1]}, rollout.actions)
    torch.testing.assert_close(rollout.dist_inputs, inputs)
    torch.testing.assert_close(rollout.logp, logp)
    assert rollout.actions.std() > 0.5  # sampled, not the mean


def test_recorded_actions_give_the_record_again(runner, twin):
    env, obs = twin
    rollouts = [runner.sample(), runner.sample()]
    truncations = 0
    for rollout in rollouts:
        final, logs = [], []
        for t in range(STEPS):
            assert torch.equal(rollout.obs["policy"][t], obs["policy"])
            step = env.step(rollout.actions[t])
            obs = step.obs
            assert torch.equal(rollout.rewards[t], step.reward)
            assert torch.equal(rollout.terminated[t], step.terminated)
            assert torch.equal(rollout.truncated[t], step.truncated)
            final += [step.final_obs["policy"][i] for i in step.truncated.nonzero().flatten()]
            logs.append(step.log)
        assert torch.equal(rollout.obs["policy"][STEPS], obs["policy"])
        assert rollout.final_obs["policy"].shape == (len(final), 48)
        for row, expected in zip(rollout.final_obs["policy"], final, strict=True):
            assert torch.equal(row, expected)
        for name, values in rollout.episodes.items():
            assert torch.equal(values, torch.cat([log[name] for log in logs if log])), name
        truncations += len(final)
    # Episodes of 10 steps in 16: every environment met its time limit, not all at once.
    assert truncations >= ENVS
    assert not rollouts[0].truncated.any(dim=1).all()
    assert torch.equal(rollouts[1].obs["policy"][0], rollouts[0].obs["policy"][STEPS])


def test_final_observation_is_not_the_first_of_the_new_episode(runner):
    rollout = runner.sample()
    after = rollout.obs["policy"][1:][rollout.truncated]
    assert after.shape == rollout.final_obs["policy"].shape
    assert len(after)
    assert (after != rollout.final_obs["policy"]).any(dim=1).all()


def test_one_value_for_each_episode_that_ended(runner):
    rollout = runner.sample()
    ended = int((rollout.terminated | rollout.truncated).sum())
    assert ended
    assert {"episode/return", "episode/length", "episode/fell"} <= rollout.episodes.keys()
    assert all(values.shape == (ended,) for values in rollout.episodes.values())


def test_no_episode_ended(tiny_experiment):
    experiment = tiny_experiment(
        task__num_envs=2, task__episode_length_s=1000.0, algorithm__num_steps_per_env=2
    )
    rollout = BatchedEnvRunner(config=build_config(experiment, seed=0, num_threads=1)).sample()
    assert not (rollout.terminated | rollout.truncated).any()
    assert rollout.episodes == {}
    assert rollout.final_obs["policy"].shape == (0, 48)


def test_equal_seeds_give_equal_rollouts(config):
    first = BatchedEnvRunner(config=config).sample()
    second = BatchedEnvRunner(config=config).sample()
    for name in ("actions", "logp", "rewards", "truncated"):
        assert torch.equal(getattr(first, name), getattr(second, name)), name
    other_seed = config.copy(copy_frozen=False)
    other_seed.debugging(seed=SEED + 1)
    assert not torch.equal(BatchedEnvRunner(config=other_seed).sample().actions, first.actions)


def test_runners_side_by_side_differ(config):
    """RLlib adds the worker's index to the seed: no two runners collect the same data."""
    first = BatchedEnvRunner(config=config, worker_index=1).sample()
    second = BatchedEnvRunner(config=config, worker_index=2).sample()
    assert not torch.equal(first.actions, second.actions)
    assert not torch.equal(first.obs["policy"][0], second.obs["policy"][0])


def test_state_goes_from_one_runner_to_another(config):
    source = BatchedEnvRunner(config=config)
    config.debugging(seed=SEED + 1)
    target = BatchedEnvRunner(config=config)
    source.module.update_normalizers({"policy": torch.randn(20, 48) * 3.0})
    state = source.get_state()
    state[WEIGHTS_SEQ_NO] = 7
    obs = target.sample().obs
    before = target.module.forward_exploration({Columns.OBS: {"policy": obs["policy"][0]}})
    target.set_state(state)
    assert target.get_state()[WEIGHTS_SEQ_NO] == 7
    for name, value in source.module.state_dict().items():
        assert torch.equal(value, target.module.state_dict()[name]), name
    after = target.module.forward_exploration({Columns.OBS: {"policy": obs["policy"][0]}})
    key = Columns.ACTION_DIST_INPUTS
    assert not torch.equal(before[key], after[key])


def test_a_restored_runner_goes_on_in_the_middle_of_its_episodes(config):
    runner = BatchedEnvRunner(config=config)
    runner.sample()
    state = copy.deepcopy(runner.get_state())
    expected = runner.sample()
    config.debugging(seed=SEED + 1)
    other = BatchedEnvRunner(config=config)
    other.set_state(state)
    rollout = other.sample()
    for name in ("actions", "logp", "rewards", "terminated", "truncated"):
        assert torch.equal(getattr(rollout, name), getattr(expected, name)), name
    assert torch.equal(rollout.obs["policy"], expected.obs["policy"])
    for name, values in expected.episodes.items():
        assert torch.equal(rollout.episodes[name], values), name


def test_weights_alone_leave_the_environments_as_they_are(config):
    source, target = BatchedEnvRunner(config=config), BatchedEnvRunner(config=config)
    target.sample()
    obs = target._obs["policy"].clone()
    target.set_state(source.get_state(components=COMPONENT_RL_MODULE))
    assert torch.equal(target.sample().obs["policy"][0], obs)


def test_state_of_a_checkpoint_component_and_empty_state(runner):
    assert COMPONENT_RL_MODULE not in runner.get_state(not_components=COMPONENT_RL_MODULE)
    weights = {name: value.clone() for name, value in runner.module.state_dict().items()}
    runner.set_state({})
    for name, value in weights.items():
        assert torch.equal(runner.module.state_dict()[name], value)


def test_the_runner_beside_remote_ones_holds_weights_only(config, runner):
    spaces = runner.get_spaces()
    config.env_runners(num_env_runners=2)
    holder = BatchedEnvRunner(config=config, worker_index=0, spaces=spaces)
    assert holder.env is None
    assert holder.get_spaces() == spaces
    assert spaces[INPUT_ENV_SINGLE_SPACES] == spaces[DEFAULT_MODULE_ID]
    holder.set_state(runner.get_state())
    own = holder.get_state()[COMPONENT_RL_MODULE][DEFAULT_MODULE_ID]
    assert own.keys() == runner.module.state_dict().keys()
