"""Does a layout fit a policy: by its widths, and by what our own exports say of themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from stridelab.export.inference import ExportedPolicy
from stridelab.sim2sim.plant import Plant
from stridelab_envs.errors import UserError

_CLOSE = 1e-6


def check_fits(policy: ExportedPolicy, plant: Plant) -> None:
    """Refuse a policy that the layout does not fit, naming the first difference.

    Our own exports carry metadata, which is compared first; it tells more than widths. Gains,
    torque limits and the physics step may differ: to try others is what one plays them for.

    Raises:
        UserError: They do not fit.
    """
    if policy.metadata is not None:
        try:
            _check_metadata(policy.metadata, plant)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(f"the policy's metadata is damaged: {error!r}") from None
    seen = plant.observation
    if policy.input_size is not None and policy.input_size != seen.size:
        raise UserError(
            f"the policy takes {policy.input_size} inputs, the layout gives {seen.describe()}"
        )
    try:
        actions = policy(np.zeros((1, seen.size), np.float32)).size
    except UserError as error:
        raise UserError(f"{error}; the layout gives {seen.describe()}") from None
    policy.reset()
    if actions != len(plant.joints):
        raise UserError(
            f"the policy gives {actions} actions, the layout has {len(plant.joints)} joints"
        )


def _check_metadata(metadata: dict[str, Any], plant: Plant) -> None:
    layout = plant.layout
    for key, trained, given in (
        ("joints", metadata["joints"], list(plant.joints)),
        ("default_pose", metadata["default_pose"], plant.default_pose.tolist()),
        ("action.scale", metadata["action_scale"], plant.action_scale.tolist()),
    ):
        _compare_joints(key, metadata["joints"], trained, given)
    _compare("action.clip", metadata["action_clip"], layout.action.clip)
    _compare("control period", metadata["control_dt"], layout.control_dt, " s")
    history = metadata["history"]
    _compare("history.length", history["length"], layout.history.length)
    if history["length"] > 1:
        _compare("history.order", history["order"], layout.history.order)
        _compare("history.stacking", "frame", layout.history.stacking)
    _compare_terms(metadata["observation"], plant)
    _compare_clock(metadata, plant)


def _compare_joints(
    key: str, joints: Sequence[str], trained: Sequence[Any], given: Sequence[Any]
) -> None:
    _compare(
        f"number of {key}" if key == "joints" else f"length of {key}", len(trained), len(given)
    )
    for joint, one, other in zip(joints, trained, given, strict=True):
        name = key if key == "joints" else f"{key} of {joint}"
        _compare(name, one, other)


def _compare_terms(trained: Sequence[dict[str, Any]], plant: Plant) -> None:
    section = plant.layout.observation
    given = [
        (section.signals[name], columns, section.terms[name].scale)
        for name, columns in plant.observation.columns.items()
    ]
    for place, term in enumerate(trained, start=1):
        if place > len(given):
            raise UserError(_differs(f"term {place}", term["signal"], "nothing"))
        signal, columns, scale = given[place - 1]
        # A signal is the same one whether or not sensors tell it late.
        _compare(f"term {place}", term["signal"].removeprefix("measured_"), signal)
        width = columns.stop - columns.start
        _compare(f"width of {term['name']}", term["stop"] - term["start"], width)
        for one, other in zip(
            np.broadcast_to(term["scale"], width), np.broadcast_to(scale, width), strict=True
        ):
            _compare(f"scale of {term['name']}", float(one), float(other))
    if len(given) > len(trained):
        signal = given[len(trained)][0]
        raise UserError(_differs(f"term {len(trained) + 1}", "nothing", signal))


def _compare_clock(metadata: dict[str, Any], plant: Plant) -> None:
    """A clock's period stands with its term, or with the command that the clock belongs to."""
    clock = plant.layout.gait_clock
    for term in metadata["observation"]:
        params = term["params"]
        command = metadata["commands"].get(params.get("command"), {})
        period = 1.0 / params["frequency"] if "frequency" in params else command.get("period")
        if period is not None and clock is not None:
            _compare("gait_clock.period", period, clock.period, " s")


def _compare(name: str, trained: Any, given: Any, unit: str = "") -> None:
    both_numbers = all(isinstance(value, int | float) for value in (trained, given))
    same = abs(trained - given) <= _CLOSE if both_numbers else trained == given
    if not same:
        show: Callable[[Any], str] = lambda value: (  # noqa: E731
            f"{value:g}{unit}" if isinstance(value, int | float) else str(value)
        )
        raise UserError(_differs(name, show(trained), show(given)))


def _differs(name: str, trained: str, given: str) -> str:
    return (
        f"the layout does not fit the policy: {name} is {given}, but it was trained with {trained}"
    )
