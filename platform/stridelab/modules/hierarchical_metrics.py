"""What a hierarchical policy did in a rollout, and what to say when that looks wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from stridelab.modules.hierarchical import Hierarchical
    from stridelab.sampling.rollout import Rollout

_MAX_RATIO, _MAX_LOSS, _MIN_SHARE, _MAX_CLAMPED, _MIN_LENGTH = 10.0, 1e3, 0.01, 0.5, 30.0
"""Bounds of what is healthy; 10 and a length of about 24 steps are the training document's."""


@torch.no_grad()
def rollout_metrics(module: Hierarchical, rollout: Rollout) -> dict[str, float]:
    """Return metrics by the names of the glossary; a skill never executed has no clamp rates."""
    action = module.action_shape.split_action(rollout.actions)
    heads = module.action_shape.split_inputs(rollout.dist_inputs)
    probabilities = heads.logits.softmax(dim=-1).mean(dim=(0, 1))
    metrics: dict[str, float] = {}
    for number, name in enumerate(module.skills.names):
        metrics[f"skill_probability/{name}"] = float(probabilities[number])
        metrics[f"skill_usage/{name}"] = float((action.skill == number).float().mean())
    ended = rollout.terminated | rollout.truncated
    metrics["skill/switches_per_second"] = _switches(action.skill, ended) / float(
        module.model_config["control_dt"]
    )
    centre, half = module.scaling.cpu()
    low, high = module.command_low.cpu(), module.command_high.cpu()
    command = centre + half * action.command
    outside = (command < low) | (command > high)
    for name, place in module.skills.columns.items():
        executed = action.skill == module.skills.names.index(name.rsplit(".", 1)[0])
        if executed.any():
            metrics[f"command_clamped/{name}"] = float(outside[..., place][executed].float().mean())
    clip = float(module.residual_clip)
    residual = action.residual.clamp(-clip, clip)
    metrics["residual/clip"] = clip
    metrics["residual/rms"] = float(residual.square().mean().sqrt())
    metrics["residual/std"] = float(heads.residual_log_std.exp().mean())
    return metrics


def _switches(skill: Tensor, ended: Tensor) -> float:
    """Return the share of steps within an episode that changed the skill, ``skill (T, N)``."""
    within = ~ended[:-1]
    changed = (skill[1:] != skill[:-1]) & within
    return float(changed.sum() / within.sum().clamp(min=1))


def watchdog(metrics: Mapping[str, float]) -> list[str]:
    """Return one line for each thing in an iteration's metrics that a person should look at."""
    lines = []
    ratio = metrics.get("policy/ratio_max", 1.0)
    if not ratio <= _MAX_RATIO:
        lines.append(
            f"policy/ratio_max is {ratio:.3g}, above {_MAX_RATIO:g}: the log-probability of stored "
            "actions is not that of the actions executed, or the learning rate is far too high"
        )
    loss = metrics.get("loss/policy", 0.0)
    if not abs(loss) <= _MAX_LOSS:
        lines.append(
            f"loss/policy is {loss:.3g}: the surrogate should stay near 0; see policy/ratio_max"
        )
    for name, share in metrics.items():
        if name.startswith("skill_usage/") and share < _MIN_SHARE:
            lines.append(
                f"{name} is {share:.2%}: the policy hardly chooses this skill; raise "
                "algorithm.entropy_coef, or see whether the skill helps in any task"
            )
        if name.startswith("command_clamped/") and share > _MAX_CLAMPED:
            lines.append(
                f"{name} is {share:.0%}: most commands leave the skill's range and are clamped; "
                "lower model.command_std"
            )
    length = metrics.get("episode/length", _MIN_LENGTH)
    if length < _MIN_LENGTH:
        lines.append(
            f"episode/length is {length:.0f} steps: the robot falls at once; see that commands are "
            "within the skills' ranges and that reach and step are commanded by differences"
        )
    return lines
