"""An estimator that would learn another signal than the true velocity is refused at the start."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from stridelab.algorithms.ppo.config import module_spec
from stridelab.experiment import load_experiment, parse_experiment
from stridelab.modules.estimator_inputs import check_task, estimator_inputs
from stridelab_envs.batch_env import BatchEnv
from stridelab_envs.errors import ConfigError, UserError
from stridelab_envs.gym import action_space, observation_space
from stridelab_envs.history import FrameStack
from stridelab_envs.mdp import observations
from stridelab_envs.mdp.terms import ObservationTerm
from stridelab_envs.registry import get_task, make_env


def refusal(task, short_history=5):
    with pytest.raises(ConfigError) as caught:
        estimator_inputs(task, short_history)
    assert str(caught.value).isprintable()
    return str(caught.value)


def with_target(task, **changes):
    critic = task.observations["critic"]
    term = replace(critic["base_lin_vel"], **changes)
    return replace(
        task, observations={**task.observations, "critic": {**critic, "base_lin_vel": term}}
    )


def test_what_the_module_reads(stroll_task):
    assert estimator_inputs(stroll_task, 5) == {
        "history": {"policy": 7, "critic": 3},
        "target": [17, 20],
        "target_scale": 2.0,
    }


def test_x1_gives_the_sizes_of_its_document():
    history = {"policy": 66, "critic": 3}
    experiment = parse_experiment(
        {
            "name": "x1",
            "task": {"id": "x1_walk", "history": history},
            "model": {"kind": "estimator"},
            "train": {"env_steps": 1},
        }
    )
    task = experiment.task_config()
    spec = module_spec(experiment.model, task)
    env = make_env(task, num_envs=1, seed=0, num_threads=1)
    spec.observation_space, spec.action_space = observation_space(env), action_space(env)
    module = spec.build()
    inputs = {"history": history, "target": [53, 56], "target_scale": 2.0}
    assert inputs.items() <= dict(module.model_config).items()
    assert {name: tuple(v.shape) for name, v in module.state_dict().items()} == original_shapes()


def original_shapes():
    """Names and shapes of the vendor's weights."""
    shapes = {"std": (12,)}
    for name, widths in {
        "state_estimator": (235, 256, 128, 64, 3),
        "actor": (302, 512, 256, 128, 12),
        "critic": (219, 768, 256, 128, 1),
    }.items():
        for i, (inputs, outputs) in enumerate(pairwise(widths)):
            shapes[f"{name}.{2 * i}.weight"] = (outputs, inputs)
            shapes[f"{name}.{2 * i}.bias"] = (outputs,)
    for place, weight in {0: (32, 66, 6), 2: (16, 32, 4), 5: (128, 96), 7: (64, 128)}.items():
        shapes[f"long_history.{place}.weight"] = weight
        shapes[f"long_history.{place}.bias"] = weight[:1]
    return shapes


@pytest.mark.parametrize(
    "func", [observations.base_lin_vel_world, observations.base_ang_vel, lambda state: state.action]
)
def test_another_function_under_the_right_name(stroll_task, func):
    message = refusal(with_target(stroll_task, func=func))
    start = "task.observations.critic.base_lin_vel: must be the true velocity of the base"
    assert message.startswith(start)
    assert func.__name__ in message


def test_noise(stroll_task):
    message = refusal(with_target(stroll_task, noise=0.1))
    assert message.startswith("task.observations.critic.base_lin_vel.noise: must be 0")


def test_scale_of_zero(stroll_task):
    message = refusal(with_target(stroll_task, scale=0.0))
    assert message.startswith("task.observations.critic.base_lin_vel.scale: must not be 0")


def test_no_target_and_no_critic(stroll_task):
    without = stroll_task.with_overrides({"observations": {"critic": {"base_lin_vel": None}}})
    for task in (without, replace(get_task("biped_walk"), history={"policy": 5})):
        message = refusal(task)
        assert message.startswith("task.observations.critic.base_lin_vel: is missing")


def test_history_too_short(stroll_task):
    assert refusal(stroll_task, 8).startswith("task.history.policy: the module estimator needs")
    check_task(stroll_task, 7)


def test_a_target_of_another_width(stroll_task, monkeypatch):
    task = with_target(stroll_task)
    wide = ObservationTerm(func=lambda state: torch.zeros(state.num_envs, 4), scale=2.0)
    monkeypatch.setattr("stridelab.modules.estimator_inputs.check_task", lambda *args: wide)
    critic = {**task.observations["critic"], "base_lin_vel": wide}
    message = refusal(replace(task, observations={**task.observations, "critic": critic}))
    assert message == "task.observations.critic.base_lin_vel: must have 3 values, got 4"


def test_a_signal_that_is_not_what_its_name_says(stroll_task, monkeypatch):
    """The tables are right, the environment is not: seen only in motion."""
    observe = BatchEnv._observe
    late = {}

    def delayed(env):
        obs = observe(env)
        now = obs["critic"].clone()
        obs["critic"] = late.get("critic", now)
        late["critic"] = now
        return obs

    monkeypatch.setattr(BatchEnv, "_observe", delayed)
    message = refusal(stroll_task)
    assert "base_lin_vel: is not the true velocity of the base: off by up to" in message


def test_frames_in_the_reverse_order(stroll_task, monkeypatch):
    push = FrameStack.push

    def newest_first(self, frames):
        stacks = push(self, frames)
        return {
            group: stack.view(stack.shape[0], -1, frames[group].shape[1]).flip(1).flatten(1)
            for group, stack in stacks.items()
        }

    monkeypatch.setattr(FrameStack, "push", newest_first)
    message = refusal(stroll_task)
    assert message == "task.history.policy: the environment does not stack frames oldest first"


EXPERIMENT = """name: x
task:
  id: stroll
  observations: {critic: {base_lin_vel: {noise: 0.2}}}
model: {kind: estimator}
train: {env_steps: 100}
"""


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("", "", "4: task.observations.critic.base_lin_vel.noise: must be 0 for the module"),
        ("{noise: 0.2}", "null", "4: task.observations.critic.base_lin_vel: is missing"),
        ("id: stroll", "id: biped_walk", '4: task.observations.critic: unknown group "critic"'),
        ("kind: estimator", "kind: estimatr", "5: model.kind: must be one of actor_critic, "),
        ("estimator}", "estimator, short_history: 9}", "2: task.history.policy: the module"),
        ("estimator}", "estimator, activation: elu}", '5: model.activation: unknown key "activ'),
        (
            "estimator}",
            "estimator, std: {kind: state_dependent}}",
            "5: model.std.kind: must be free for the module estimator",
        ),
        ("estimator}", "estimator, actor_hidden: [x]}", "5: model.actor_hidden[0]: must be an"),
    ],
)
def test_an_experiment_is_refused_before_anything_starts(stroll_task, tmp_path, old, new, expected):
    path = tmp_path / "x.yaml"
    text = EXPERIMENT.replace(old, new) if old else EXPERIMENT
    if "model" in expected or "history" in expected:
        text = text.replace("  observations: {critic: {base_lin_vel: {noise: 0.2}}}\n", "\n")
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        load_experiment(path)
    assert str(caught.value).startswith(f"{path}:{expected}")
