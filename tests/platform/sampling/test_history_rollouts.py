"""Rollouts of histories: frames once, windows as an environment that stacks would give them."""

import copy
import pickle

import pytest
import torch

from stridelab.algorithms.ppo import build_config
from stridelab.sampling.rollout import PastFrames, Rollout, concatenate
from stridelab.sampling.runner import BatchedEnvRunner
from stridelab_envs.registry import make_env

ENVS, STEPS, SEED = 5, 8, 5


@pytest.fixture
def make_config(tiny_experiment, tiny_estimator):
    def make(**values):
        sizes = {"task__num_envs": ENVS, "algorithm__num_steps_per_env": STEPS}
        sizes["algorithm__num_minibatches"] = 1
        experiment = tiny_experiment(**tiny_estimator, **(sizes | values))
        return build_config(experiment, seed=SEED, num_threads=1)

    return make


@pytest.fixture
def runner(make_config):
    return BatchedEnvRunner(config=make_config())


def test_shapes(runner):
    rollout = runner.sample()
    policy, critic = runner.env.frame_sizes["policy"], runner.env.frame_sizes["critic"]
    assert (policy, critic) == (45, 24)
    assert rollout.obs["policy"].shape == (STEPS + 1, ENVS, policy)
    assert rollout.past["policy"].shape == (6, ENVS, policy)
    assert rollout.past["critic"].shape == (2, ENVS, critic)
    assert rollout.final_obs["policy"].shape == (int(rollout.truncated.sum()), policy)
    assert runner.get_spaces()["__env_single__"][0]["policy"].shape == (7 * policy,)


def test_windows_are_what_a_stacking_environment_observes(runner, stroll_task):
    """Three rollouts; only the first brings its past, so the others need what is held."""
    task = stroll_task.with_overrides({"episode_length_s": 0.2})
    env = make_env(task, num_envs=ENVS, seed=SEED, num_threads=1)
    obs = env.reset()
    env.desynchronize()
    past, truncations = PastFrames(), 0
    for number in (1, 2, 3):
        sent = runner.sample(held=past.held)
        assert bool(sent.past) == (number == 1)
        [rollout] = past.complete([sent])
        windows = rollout.windows()
        final = {group: [] for group in windows}
        for t in range(STEPS):
            step = env.step(rollout.actions[t])
            for group, value in windows.items():
                assert torch.equal(value.at(t), obs[group]), (number, t, group)
                final[group].append(step.final_obs[group][step.truncated])
            obs = step.obs
        ids = rollout.truncated.flatten().nonzero().flatten()
        for group, value in windows.items():
            assert torch.equal(value.at(STEPS), obs[group])
            followed = value.followed_by(ids, rollout.final_obs[group])
            assert torch.equal(followed, torch.cat(final[group]))
        truncations += len(ids)
    assert truncations >= ENVS


def test_the_policy_acted_on_the_windows(runner):
    runner.sample()
    rollout = runner.sample()
    windows = rollout.windows()
    every = torch.arange(STEPS * ENVS)
    obs = {group: value[every] for group, value in windows.items()}
    inputs = runner.module.act(obs["policy"])
    torch.testing.assert_close(rollout.dist_inputs.flatten(0, 1), inputs)


def test_frames_are_at_most_a_thirtieth_of_66_stacked(make_config):
    """Measured as sent: pickled, with the document's 24 steps and a past that is held."""
    config = make_config(
        task__history={"policy": 66}, algorithm__num_steps_per_env=24, task__num_envs=4
    )
    runner = BatchedEnvRunner(config=config)
    held = PastFrames()
    held.complete([runner.sample(held=held.held)])
    sent = runner.sample(held=held.held)
    frames = len(pickle.dumps((sent.obs["policy"], sent.past)))
    [rollout] = held.complete([sent])
    windows = rollout.windows()["policy"]
    stacked = windows[torch.arange(windows.num_windows)].view(25, 4, -1)
    assert stacked.shape[-1] == 66 * 45
    assert frames <= len(pickle.dumps(stacked)) / 30
    # Nothing hides behind what is sent: the whole rollout is as large as its tensors say.
    tensors = [v for v in vars(sent).values() if isinstance(v, torch.Tensor)]
    for values in (sent.obs, sent.past, sent.final_obs, sent.episodes):
        tensors += values.values()
    assert len(pickle.dumps(sent)) <= sum(t.nbytes for t in tensors) + 20_000


def test_the_past_is_brought_again_when_a_rollout_was_lost(runner):
    held = PastFrames()
    held.complete([runner.sample(held=held.held)])
    runner.sample(held=held.held)  # never arrives
    assert runner.sample(held=held.held).past.keys() == {"policy", "critic"}
    held.complete([])  # nothing came in this iteration
    assert held.held == {}


def test_a_restored_runner_goes_on_in_its_histories(make_config):
    runner, other = (BatchedEnvRunner(config=make_config()) for _ in range(2))
    runner.sample()
    state = copy.deepcopy(runner.get_state())
    expected = runner.sample()
    other.sample()
    held = PastFrames()
    held.complete([other.sample(held=held.held)])
    other.set_state(state)
    rollout = other.sample(held=held.held)
    assert rollout.past  # what is held is not its past any more
    for name in ("actions", "logp", "rewards", "truncated"):
        assert torch.equal(getattr(rollout, name), getattr(expected, name)), name
    for group, value in expected.windows().items():
        assert torch.equal(rollout.windows()[group].at(0), value.at(0))


def test_a_state_with_another_history_starts_the_environments_afresh(make_config):
    other = BatchedEnvRunner(config=make_config(task__history={"policy": 9}))
    before = other._obs["policy"].clone()
    state = BatchedEnvRunner(config=make_config()).get_state(not_components="rl_module")
    other.set_state(state)
    assert torch.equal(other._obs["policy"], before)
    assert other._past["policy"].shape[0] == 8


def numbered(envs, source):
    """One step; every frame carries its row and environment, one row of past."""
    frames = torch.tensor([[10.0 * row + env for env in envs] for row in range(3)])[..., None]
    step = torch.zeros(1, len(envs))
    no = torch.zeros(1, len(envs), dtype=torch.bool)
    return Rollout(
        obs={"policy": frames[1:]},
        actions=step[..., None],
        dist_inputs=step[..., None],
        logp=step,
        rewards=step,
        terminated=no,
        truncated=no,
        final_obs={"policy": torch.zeros(0, 1)},
        past={"policy": frames[:1]},
        source=source,
    )


def test_pasts_of_several_runners_stand_side_by_side():
    held = PastFrames()
    first = held.complete([numbered([0, 1], "a"), numbered([2], "b")])
    assert concatenate(first).windows()["policy"].at(1).tolist() == [[10, 20], [11, 21], [12, 22]]
    later = [numbered([2], "b"), numbered([0, 1], "a")]
    for rollout in later:
        rollout.past = {}
    joined = concatenate(held.complete(later))
    assert joined.windows()["policy"].at(0).tolist() == [[12, 12], [10, 10], [11, 11]]
