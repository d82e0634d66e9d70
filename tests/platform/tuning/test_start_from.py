"""A trial that begins with the networks of a trained policy, and metrics that are not measured."""

import math

import pytest
import torch

from stridelab.algorithms.ppo.config import module_spec
from stridelab.experiment import parse_experiment
from stridelab.export.bundle import describe_env, load_bundle, save_bundle
from stridelab.tuning.trial import Trial
from stridelab_envs.errors import UserError
from stridelab_envs.gym import action_space, observation_space
from stridelab_envs.registry import make_env

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]

SQUAT = {
    "name": "squat",
    "task": {"id": "h1_squat", "num_envs": 4, "episode_length_s": 0.1},
    "model": {"actor_hidden": [8], "critic_hidden": [8]},
    "algorithm": {"num_steps_per_env": 6, "num_minibatches": 2, "num_epochs": 1},
    "train": {"env_steps": 24, "evaluate_episodes": 2},
}


@pytest.fixture
def walking(tmp_path):
    """Bundle of an untrained policy of walking, and its module."""
    experiment = parse_experiment({**SQUAT, "task": {"id": "h1_walk", "num_envs": 4}})
    env = make_env(experiment.task_config(), num_envs=8, seed=0, num_threads=1)
    spec = module_spec(experiment.model, experiment.task_config())
    spec.observation_space, spec.action_space = observation_space(env), action_space(env)
    torch.manual_seed(5)
    module = spec.build()
    module.update_normalizers(env.reset())
    folder = tmp_path / "policy"
    save_bundle(folder, module, experiment, describe_env(env), env_steps=0, git_commit=None)
    return folder


@pytest.fixture
def start():
    trials = []

    def build(folder, **train):
        tree = {**SQUAT, "train": {**SQUAT["train"], "start_from": str(folder), **train}}
        case = {"assignment": {}, "seed": 3}
        trials.append(Trial({"experiment": tree, "case": case, "cpus": 1.0}))
        return trials[-1]

    yield build
    for trial in trials:
        trial.cleanup()


def test_a_squat_begins_with_what_walking_has_learnt(start, walking):
    trial, source = start(walking, fresh_std=True), load_bundle(walking).module
    learnt = trial._module.state_dict()
    theirs, ours = source.state_dict(), trial._env_description["layouts"]["policy"]
    layout = load_bundle(walking).description["env"]["layouts"]["policy"]
    for term in ("joint_pos", "last_action", "projected_gravity"):
        own, old = slice(*ours[term]), slice(*layout[term])
        weight = learnt["actor.0.weight"][:, own]
        assert torch.equal(weight, theirs["actor.0.weight"][:, old]), term
    assert (learnt["actor.0.weight"][:, slice(*ours["height_error"])] == 0.0).all()
    assert torch.equal(learnt["actor.2.weight"], theirs["actor.2.weight"])
    # The runner acts with the same weights.
    runner = trial.algorithm.env_runner_group.local_env_runner
    for name, value in runner.module.state_dict().items():
        assert torch.equal(value, learnt[name]), name


def test_what_no_episode_has_measured_is_left_out(start, walking):
    trial = start(walking)
    result = trial.step()
    # Episodes of 0.1 s: no command has expired in any of them.
    assert result["episode/length"] <= 5.0
    assert "metric/height_error" not in result
    assert all(math.isfinite(value) for name, value in result.items() if "eval/" not in name)
    assert result["done"] is True
    assert result["eval/fall_rate"] == pytest.approx(1.0 - result["eval/survival_rate"])


def test_no_bundle(start, tmp_path):
    with pytest.raises(UserError, match="no policy bundle here"):
        start(tmp_path / "nowhere")


def test_a_policy_of_another_robot(start, tiny_bundle):
    message = r"^train\.start_from: the policy was trained on another robot$"
    with pytest.raises(UserError, match=message):
        start(tiny_bundle)
