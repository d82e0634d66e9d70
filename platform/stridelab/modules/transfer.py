"""Begin with the networks of a policy that was trained on another task of the same robot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from stridelab.modules.actor_critic import CRITIC, POLICY, ActorCritic
from stridelab_envs.errors import UserError

Layout = Mapping[str, Sequence[int]]
"""Term name to ``[start, stop]`` within its observation group."""


@torch.no_grad()
def transfer_weights(
    source: ActorCritic,
    target: ActorCritic,
    source_layouts: Mapping[str, Layout],
    target_layouts: Mapping[str, Layout],
    first_obs: Mapping[str, Tensor],
    *,
    keep_std: bool = True,
) -> None:
    """Copy the networks of ``source`` into ``target``, observation terms matched by name.

    Terms that only the target has begin without influence; those that only the source has are left
    out. The normaliser's statistics of known terms stay: were they to move, so would the policy.

    Observations of several frames must be the same in both: there is no carrying over part of what
    a history means.

    Args:
        source: The trained module.
        target: The module to change.
        source_layouts: Where terms lie in the observation groups of the source.
        target_layouts: The same of the target.
        first_obs: Frames of the target's task, group to ``(n, size)``; the normaliser takes its
            statistics of new terms from them.
        keep_std: Explore with the standard deviations of the source; else with the target's.

    Raises:
        UserError: If the kinds of the modules, the hidden layers, the numbers of actions or the
            histories differ, or if the observations do and the policy is hierarchical.
    """
    matched = source_layouts != target_layouts
    _check_same_kind(source, target, matched=matched)
    stays = (*target.stays_own, *(() if keep_std else target.deviations))
    target.update_normalizers(first_obs)
    own = target.state_dict()
    weights: dict[str, Tensor] = {}
    for name, value in source.state_dict().items():
        part = name.split(".")[0]
        if part in stays:
            continue
        group = _input_group(name, part, target) if matched else None
        comparable = name in own and value.shape[:-1] == own[name].shape[:-1]
        if group is not None and group in source_layouts and comparable:
            value = _match(value, own[name], source_layouts[group], target_layouts[group])
        if name not in own or own[name].shape != value.shape:
            raise _refusal(name, value, own.get(name))
        weights[name] = value
    for name, value in own.items():
        if name not in weights and name.split(".")[0] not in stays:
            raise _refusal(name, None, value)
    if not source.is_stateful():
        _rescale_means(weights, source, target)
    target.load_state_dict(weights, strict=False)


def _check_same_kind(source: ActorCritic, target: ActorCritic, *, matched: bool) -> None:
    """Refuse what names and shapes of tensors do not tell; ``matched``: observations differ."""
    if type(source) is not type(target):
        kinds = f"{type(source).__name__} to {type(target).__name__}"
        raise UserError(f"train.start_from: networks cannot be carried over from {kinds}")
    if matched and (_has_history(source) or _has_history(target)):
        raise UserError(
            "train.start_from: the policy looks at a history of other observations; "
            "only single frames can be matched by name"
        )
    if matched and source.is_stateful():
        raise UserError("train.start_from: a hierarchical policy needs the same observations")
    theirs, ours = (module.model_config.get("activation") for module in (source, target))
    if theirs != ours:
        raise UserError(
            f"train.start_from: model.activation is {theirs} in the policy, {ours} here"
        )


def _refusal(name: str, theirs: Tensor | None, ours: Tensor | None) -> UserError:
    """Say that a tensor lacks on one side, or is of another shape."""
    shapes = ["absent" if value is None else str(list(value.shape)) for value in (theirs, ours)]
    return UserError(f"train.start_from: {name} is {shapes[0]} in the policy, {shapes[1]} here")


def _has_history(module: ActorCritic) -> bool:
    assert isinstance(module.model_config, Mapping)
    return any(frames > 1 for frames in module.model_config.get("history", {}).values())


def _input_group(name: str, part: str, target: ActorCritic) -> str | None:
    """Return the group whose terms are the columns of this tensor, if it has such."""
    if name == "actor.0.weight":
        return POLICY
    if name == "critic.0.weight":
        return target.critic_group
    if part == "normalizers" and name.split(".")[2] in ("mean", "var"):
        return CRITIC if name.split(".")[1] == CRITIC else POLICY
    return None


def _match(value: Tensor, own: Tensor, theirs: Layout, ours: Layout) -> Tensor:
    """Return ``own`` with the columns (last dimension) of terms that both layouts name."""
    result = torch.zeros_like(own) if value.dim() > 1 else own.clone()
    for term, (start, stop) in ours.items():
        if term in theirs and theirs[term][1] - theirs[term][0] == stop - start:
            result[..., start:stop] = value[..., theirs[term][0] : theirs[term][1]]
    return result


def _rescale_means(weights: dict[str, Any], source: ActorCritic, target: ActorCritic) -> None:
    """Let the means be what they were where the two put them out in other units."""
    last = len(source.actor) - 1
    ratio = source.mean_scale / target.mean_scale
    count = ratio.numel()
    for name, factor in ((f"actor.{last}.weight", ratio[:, None]), (f"actor.{last}.bias", ratio)):
        scaled = weights[name].clone()
        scaled[:count] *= factor
        weights[name] = scaled
