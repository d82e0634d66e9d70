"""Bundles of policies with a history: what fits, what is refused, what evaluation reports."""

import json
import re

import pytest
import torch
from typer.testing import CliRunner

from stridelab.algorithms.ppo.config import module_spec
from stridelab.cli.main import app
from stridelab.export.bundle import (
    DESCRIPTION,
    WEIGHTS,
    describe_env,
    load_bundle,
    save_bundle,
)
from stridelab.modules.estimator import Estimator
from stridelab_envs.errors import UserError
from stridelab_envs.gym import action_space, observation_space
from stridelab_envs.registry import make_env


@pytest.fixture
def env(stroll_task):
    return make_env(stroll_task, num_envs=3, seed=0, num_threads=1)


@pytest.fixture
def module(tiny_experiment, tiny_estimator, env):
    experiment = tiny_experiment(**tiny_estimator)
    spec = module_spec(experiment.model, experiment.task_config())
    spec.observation_space, spec.action_space = observation_space(env), action_space(env)
    torch.manual_seed(0)
    return spec.build()


@pytest.fixture
def bundle(tmp_path, module, env, tiny_experiment, tiny_estimator):
    folder, experiment = tmp_path / "policy", tiny_experiment(**tiny_estimator)
    save_bundle(folder, module, experiment, describe_env(env), env_steps=1, git_commit=None)
    return folder


def changed(folder, change):
    description = json.loads((folder / DESCRIPTION).read_text())
    change(description)
    (folder / DESCRIPTION).write_text(json.dumps(description))
    return folder


def test_a_loaded_policy_acts_and_estimates_like_the_saved_one(bundle, module, env):
    policy = load_bundle(bundle)
    assert type(policy.module) is Estimator
    policy.check_fits(env)
    obs = env.reset()
    for _ in range(3):
        obs = env.step(policy.act(obs)).obs
    assert torch.equal(policy.act(obs), module.act(obs["policy"])[:, :17])
    errors = policy.squared_errors(obs)
    assert torch.equal(errors["estimator"], module.squared_errors(obs)["estimator"])
    assert not errors["estimator"].requires_grad
    assert policy.description["env"]["history"] == {"policy": 7, "critic": 3}
    assert policy.description["env"]["layouts"]["critic"]["base_lin_vel"] == [17, 20]


def test_another_number_of_frames_is_refused(bundle, stroll_task):
    other = stroll_task.with_overrides({"history": {"policy": 9}})
    env = make_env(other, num_envs=1, seed=0, num_threads=1)
    expected = (
        'the policy does not fit task stroll: history is {"policy": 9, "critic": 3}, '
        'but it was trained with {"policy": 7, "critic": 3}'
    )
    with pytest.raises(UserError, match=f"^{re.escape(expected)}$"):
        load_bundle(bundle).check_fits(env)


def test_only_the_groups_looked_at_must_fit(bundle, stroll_task):
    other = stroll_task.with_overrides({"history": {"critic": 2}})
    env, policy = make_env(other, num_envs=1, seed=0, num_threads=1), load_bundle(bundle)
    policy.check_fits(env, {"policy": "policy"})
    with pytest.raises(UserError, match=r'history is \{"critic": 2\}'):
        policy.check_fits(env, {"critic": "critic"})


def test_the_reverse_order_of_frames_is_refused(bundle, env):
    policy = load_bundle(changed(bundle, lambda d: d["env"].update(history_order="newest_first")))
    expected = (
        'the policy does not fit task stroll: history_order is "oldest_first", '
        'but it was trained with "newest_first"'
    )
    with pytest.raises(UserError, match=f"^{re.escape(expected)}$"):
        policy.check_fits(env)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["model_config"].update(estimator_hidden=[32]),
        lambda d: d["model_config"].update(short_history=4),
        lambda d: d["env"]["history"].update(policy=6),
    ],
)
def test_weights_of_another_width_are_refused(bundle, change):
    with pytest.raises(UserError) as caught:
        load_bundle(changed(bundle, change))
    message = str(caught.value)
    assert message.startswith(f"{bundle}: {WEIGHTS} does not match {DESCRIPTION}: ")
    assert "size mismatch" in message
    assert message.isprintable()


@pytest.mark.parametrize("kind", ["estimatr", None, ["estimator"]])
def test_an_unknown_module_is_refused(bundle, kind):
    with pytest.raises(UserError, match=r": unknown module .*\(known: actor_critic, .*\)$"):
        load_bundle(changed(bundle, lambda d: d.update(module=kind)))


def test_a_description_from_before_histories(tiny_bundle, tiny_env):
    def forget(description):
        del description["env"]["history"], description["env"]["history_order"]

    load_bundle(changed(tiny_bundle, forget)).check_fits(tiny_env)


def test_evaluate_reports_the_estimators_error(bundle, env, module):
    """Without training the estimate is near zero, so the error is near the speed."""
    out = CliRunner().invoke(app, ["evaluate", str(bundle), "--episodes", "3", "--json"])
    assert out.exit_code == 0, out.output
    rmse = json.loads(out.stdout)["estimator_rmse"]
    policy, squares = load_bundle(bundle), []
    fresh = make_env(policy.experiment.task_config(), num_envs=3, seed=12345, num_threads=1)
    obs = fresh.reset()
    for _ in range(10):  # nothing falls in 0.2 s
        newest = obs["critic"].view(3, 3, 24)[:, 2, 17:20] / 2.0
        estimate = module.state_estimator(obs["policy"][:, 2 * 45 :]) / 2.0
        squares.append((estimate - newest).square().sum(1))
        step = fresh.step(policy.act(obs))
        obs = step.obs
    assert step.truncated.all()
    expected = torch.stack(squares).mean(0).sqrt().mean().item()
    assert rmse == pytest.approx(expected, rel=1e-4)
