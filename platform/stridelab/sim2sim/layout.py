"""The layout file: what a policy expects of the robot it drives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from stridelab.experiment.messages import first_problem, show
from stridelab.experiment.overrides import plain
from stridelab.experiment.sections import Integer, Section
from stridelab.sim2sim.per_joint import NonNegativePerJoint, PerJoint
from stridelab.sim2sim.signals import SIGNALS
from stridelab_envs.errors import ConfigError, unknown_name


class ActionSection(Section):
    """From the policy's output to joint targets: default pose + scale * action."""

    scale: PerJoint = Field(description="Joint offset per unit of action [rad].")
    clip: float | None = Field(
        default=None, gt=0.0, description="Actions are clipped to plus or minus this first."
    )


class DriveSection(Section):
    """How joint targets become torques."""

    kind: Literal["torque", "position"] = Field(
        default="torque",
        description="torque: kp (target - q) - kd dq at every physics step, through the model's"
        " motors or straight onto the joint; position: the model's own position actuators.",
    )
    kp: NonNegativePerJoint | None = Field(
        default=None, description="Stiffness [N m/rad]; required with `torque`."
    )
    kd: NonNegativePerJoint | None = Field(
        default=None, description="Damping [N m s/rad]; required with `torque`."
    )
    torque_limit: NonNegativePerJoint | None = Field(
        default=None,
        description="Largest torque [N m]. With `torque` it comes before the limits of the model's"
        " own actuators, with `position` it replaces them.",
    )

    @model_validator(mode="after")
    def _gains(self) -> Self:
        if self.kind == "torque" and (self.kp is None or self.kd is None):
            missing = "kp" if self.kp is None else "kd"
            raise ConfigError(missing, "is required where kind is torque")
        return self


class DynamicsSection(Section):
    """Changes to the policy's joints, to test what a policy endures."""

    damping: NonNegativePerJoint | None = Field(
        default=None, description="Viscous damping [N m s/rad]."
    )
    armature: NonNegativePerJoint | None = Field(
        default=None, description="Rotor inertia seen at the joint [kg m^2]."
    )
    friction: NonNegativePerJoint | None = Field(default=None, description="Dry friction [N m].")


class TermSection(Section):
    """One block of an observation frame: ``clip(scale * signal)``."""

    signal: str | None = Field(
        default=None, description="What is measured; null: the term's own name."
    )
    scale: float | list[float] = Field(
        default=1.0, description="Factor: one number, or one for each entry."
    )
    clip: float | None = Field(
        default=None, gt=0.0, description="Scaled values are clipped to plus or minus this."
    )

    @field_validator("scale", mode="plain")
    @classmethod
    def _numbers(cls, value: Any) -> Any:
        entries = value if isinstance(value, list) else [value]
        for entry in entries:
            if isinstance(entry, bool) or not isinstance(entry, int | float):
                raise ConfigError("", f"must be a number or a list of numbers, got {show(entry)}")
        return [float(entry) for entry in value] if isinstance(value, list) else float(value)


class ObservationSection(Section):
    """One frame of the observation."""

    terms: dict[str, TermSection] = Field(
        min_length=1, description="Blocks of the frame in the policy's order; see the signals."
    )
    clip: float | None = Field(
        default=None, gt=0.0, description="The whole observation is clipped to plus or minus this."
    )

    @field_validator("terms", mode="before")
    @classmethod
    def _empty_terms(cls, terms: Any) -> Any:
        """Let a bare ``joint_vel:`` stand for a term with nothing to add."""
        if not isinstance(terms, dict):
            return terms
        return {name: {} if term is None else term for name, term in terms.items()}

    @model_validator(mode="after")
    def _known_signals(self) -> Self:
        for name, term in self.terms.items():
            signal = name if term.signal is None else term.signal
            if signal not in SIGNALS:
                path = f"terms.{name}" if term.signal is None else f"terms.{name}.signal"
                raise ConfigError(path, unknown_name("signal", signal, SIGNALS))
        return self

    @property
    def signals(self) -> dict[str, str]:
        """Return what each term measures, by the term's name."""
        return {name: term.signal or name for name, term in self.terms.items()}


class HistorySection(Section):
    """How frames are stacked."""

    length: Integer = Field(default=1, ge=1, le=10_000, description="Number of frames.")
    order: Literal["oldest_first", "newest_first"] = Field(
        default="oldest_first", description="Which frame comes first."
    )
    stacking: Literal["frame", "term"] = Field(
        default="frame",
        description="frame: whole frames one after the other; term: all frames of the first term,"
        " then all of the second.",
    )
    start: Literal["first_frame", "zeros"] = Field(
        default="first_frame", description="What stands for the time before the start."
    )


class GaitClockSection(Section):
    """The clock behind the signals ``gait_clock`` and ``gait_phase``."""

    period: float = Field(gt=0.0, description="Duration of a gait cycle [s].")
    stand_below: float | None = Field(
        default=None,
        ge=0.0,
        description="gait_phase is that of standing while the norm of the command is at most this;"
        " null: never.",
    )
    stand_phase: float = Field(
        default=0.0, ge=0.0, le=1.0, description="Phase of standing [cycle]."
    )


class FeetSection(Section):
    """The feet behind the signal ``foot_contact``."""

    bodies: list[str] = Field(min_length=1, description="Bodies of the MJCF.")
    force: float = Field(
        default=1.0, ge=0.0, description="Vertical force [N] above which a foot is in contact."
    )


class RecurrentSection(Section):
    """Policies with a memory."""

    reset: str | None = Field(
        default=None,
        description="TorchScript: method that clears the module's hidden state; null reads the"
        " file again.",
    )
    state: dict[str, str] = Field(
        default={},
        description="ONNX: inputs that carry state, each with the output that holds its next"
        " value.",
    )


class FallSection(Section):
    """When the robot has fallen."""

    height: float | None = Field(
        default=None,
        ge=0.0,
        description="Height of the base [m] below which it has; null: half the initial one.",
    )
    tilt: float = Field(
        default=1.05, gt=0.0, le=3.2, description="Angle of the base from upright [rad]."
    )


class Layout(Section):
    """What a policy expects: rates, joints, drive, observation, history."""

    description: str = Field(default="", max_length=5000, description="In free words.")
    timestep: float = Field(gt=0.0, le=0.1, description="Physics step [s].")
    decimation: Integer = Field(ge=1, le=10_000, description="Physics steps per control step.")
    base: str | None = Field(
        default=None, description="Body with the free joint; null: the first that has one."
    )
    joints: list[str] | None = Field(
        default=None,
        min_length=1,
        description="Joints of the MJCF in the policy's order; null: all that actuators drive, in"
        " the order of the actuators. Driven joints left out hold their initial place.",
    )
    default_pose: PerJoint = Field(
        description="Joint angles at action zero, and at the start [rad]."
    )
    base_height: float | None = Field(
        default=None, description="Height of the base at the start [m]; null: as in the model."
    )
    action: ActionSection
    drive: DriveSection
    dynamics: DynamicsSection = DynamicsSection()
    observation: ObservationSection
    history: HistorySection = HistorySection()
    gait_clock: GaitClockSection | None = Field(
        default=None, description="Needed by the signals gait_clock and gait_phase."
    )
    feet: FeetSection | None = Field(default=None, description="Needed by the signal foot_contact.")
    command: list[float] = Field(
        default=[0.0, 0.0, 0.0],
        description="Forward and left [m/s] and yaw rate [rad/s]; --command replaces it.",
    )
    recurrent: RecurrentSection = RecurrentSection()
    fall: FallSection = FallSection()

    @field_validator("command")
    @classmethod
    def _three_entries(cls, command: list[float]) -> list[float]:
        if len(command) != 3:
            raise ConfigError("", f"must be [vx, vy, yaw], got {len(command)} entries")
        return command

    @property
    def control_dt(self) -> float:
        """Control period [s]."""
        return self.timestep * self.decimation

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        signals = self.observation.signals.values()
        needs = {"gait_clock": "gait_clock", "gait_phase": "gait_clock", "foot_contact": "feet"}
        for signal, key in needs.items():
            if signal in signals and getattr(self, key) is None:
                raise ConfigError(key, f"is required by the signal {signal}")
        for index, joint in enumerate(self.joints or ()):
            if joint in (self.joints or ())[:index]:
                raise ConfigError(f"joints[{index}]", f"{show(joint)} stands here twice")
        return self


def validate(mapping: Mapping[str, Any]) -> Layout:
    """Return the layout that ``mapping`` describes.

    Raises:
        ConfigError: Something is wrong; path and one line in plain words.
    """
    try:
        return Layout.model_validate(plain(mapping))
    except ValidationError as error:
        raise first_problem(error) from None
