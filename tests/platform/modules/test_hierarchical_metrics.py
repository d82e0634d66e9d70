"""What is reported of a rollout of the high-level policy, and what the watchdog says of it."""

import math

import pytest
import torch

from stridelab.modules.hierarchical_distribution import HighLevelAction
from stridelab.modules.hierarchical_metrics import rollout_metrics, watchdog
from stridelab.sampling.rollout import Rollout


@pytest.fixture
def rollout(build_hierarchical):
    """Four steps of two environments; one episode of the second ends after its second step."""
    module, _ = build_hierarchical()
    module.set_progress(1.0)
    skill = torch.tensor([[0, 2], [0, 2], [1, 0], [1, 0]])
    command = torch.zeros(4, 2, 14)
    command[0, 0, 0] = 1.5  # walk's first number leaves its range in one of its four steps
    command[2, 0, 0] = 1.5  # where reach is executed it does not matter
    residual = torch.zeros(4, 2, 19)
    residual[0] = 0.3  # executed as 0.05
    inputs = torch.zeros(4, 2, module.action_shape.input_size)
    inputs[..., 0] = math.log(5.0)  # probabilities 5/8, 1/8, 1/8, 1/8
    actions = module.action_shape.join_action(
        HighLevelAction(skill, torch.zeros(4, 2), command, residual)
    )
    ended = torch.zeros(4, 2, dtype=torch.bool)
    ended[1, 1] = True
    none = torch.zeros_like(ended)
    return module, Rollout(
        obs={},
        actions=actions,
        dist_inputs=inputs,
        logp=torch.zeros(4, 2),
        rewards=torch.zeros(4, 2),
        terminated=ended,
        truncated=none,
        final_obs={},
    )


def test_use_of_skills_commands_and_residual(rollout):
    metrics = rollout_metrics(*rollout)
    shares = [metrics[f"skill_usage/{name}"] for name in ("walk", "reach", "squat", "step")]
    assert shares == [0.5, 0.25, 0.25, 0.0]
    assert metrics["skill_probability/walk"] == pytest.approx(5 / 8)
    # One change in five steps that lie within an episode, 0.02 s each.
    assert metrics["skill/switches_per_second"] == pytest.approx(1 / 5 / 0.02)
    assert metrics["command_clamped/walk.lin_vel_x"] == 0.25
    assert metrics["command_clamped/walk.lin_vel_y"] == 0.0
    assert metrics["command_clamped/reach.left_x"] == 0.0
    assert not [name for name in metrics if name.startswith("command_clamped/step")]
    assert metrics["residual/clip"] == pytest.approx(0.05)
    assert metrics["residual/rms"] == pytest.approx(0.05 / 2)
    assert metrics["residual/std"] == 1.0


HEALTHY = {
    "policy/ratio_max": 1.4,
    "loss/policy": -0.01,
    "skill_usage/walk": 0.6,
    "command_clamped/walk.lin_vel_x": 0.1,
    "episode/length": 400.0,
}


def test_the_watchdog_is_silent_when_all_is_well():
    assert watchdog(HEALTHY) == []
    assert watchdog({}) == []


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("policy/ratio_max", 10.5, "log-probability of stored actions"),
        ("policy/ratio_max", math.nan, "log-probability of stored actions"),
        ("loss/policy", 1e6, "surrogate should stay near 0"),
        ("skill_usage/walk", 0.005, "algorithm.entropy_coef"),
        ("command_clamped/walk.lin_vel_x", 0.6, "model.command_std"),
        ("episode/length", 24.0, "falls at once"),
    ],
)
def test_the_watchdog_names_what_is_wrong(name, value, words):
    [line] = watchdog({**HEALTHY, name: value})
    assert line.startswith(name)
    assert words in line
