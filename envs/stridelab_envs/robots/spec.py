"""What the rest of the code needs to know of a robot, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stridelab_envs.errors import ConfigError, unknown_name


@dataclass(frozen=True, kw_only=True)
class RobotSpec:
    """A robot: its MJCF file and the names, poses and limits that go with it.

    The MJCF holds exactly one free joint (on ``base_body``), one hinge and one position actuator
    for each entry of ``joints`` in that order, and for each foot a contact sensor
    ``<foot>_contact`` with ``data="found force" reduce="netforce"`` (4 numbers).
    """

    name: str
    """Name in the registry."""
    mjcf: Path
    """MJCF file of the robot alone, without floor or lights."""
    base_body: str
    """Body that carries the free joint (torso or pelvis)."""
    joints: tuple[str, ...]
    """Hinge names; the order of every joint vector (positions, velocities, actions)."""
    default_pose: tuple[float, ...]
    """Standing pose [rad], one for each joint."""
    home_height: float
    """Height of the base frame's origin [m] when standing in the default pose on flat ground."""
    feet: tuple[str, ...]
    """Bodies of the feet, left before right."""
    joint_groups: dict[str, tuple[str, ...]]
    """Groups that share settings (initial action std, scales); they cover every joint once."""
    velocity_limits: tuple[float, ...] = ()
    """Greatest joint speeds [rad/s], one for each joint; none if not known."""
    wrists: tuple[str, ...] = ()
    """Sites of the wrists, left before right; none for a robot without arms."""
    mirror: tuple[tuple[str, float], ...]
    """Left-right mirror: joint i of the mirrored robot is ``sign * q[name]``, in joint order."""

    def __post_init__(self) -> None:
        count = len(self.joints)
        if len(self.default_pose) != count or len(self.mirror) != count:
            raise ValueError(f"{self.name}: default_pose and mirror need {count} entries")
        if len(self.velocity_limits) not in (0, count):
            raise ValueError(f"{self.name}: velocity_limits needs {count} entries or none")
        grouped = [joint for group in self.joint_groups.values() for joint in group]
        if sorted(grouped) != sorted(self.joints):
            raise ValueError(f"{self.name}: joint_groups must cover every joint exactly once")

    def per_joint(self, values: Mapping[str, float], path: str) -> list[float]:
        """Spread values given by name over the joints, in joint order.

        A name is a joint group, a joint without its side (``knee``), or a joint; the more special
        one wins.

        Raises:
            ConfigError: A name is unknown, or a joint is left without a value.
        """
        kinds: tuple[dict[str, tuple[str, ...]], ...] = (
            self.joint_groups,
            self._pairs(),
            {joint: (joint,) for joint in self.joints},
        )
        groups, pairs, joints = kinds
        for name in values:
            if name not in {**groups, **pairs, **joints}:
                known = joints if name.startswith(("left_", "right_")) else {**groups, **pairs}
                raise ConfigError(f"{path}.{name}", unknown_name("joint group", name, known))
        found = {
            joint: values[name]
            for kind in kinds
            for name, joints in kind.items()
            if name in values
            for joint in joints
        }
        missing = [
            name
            for name, joints in self.joint_groups.items()
            if any(joint not in found for joint in joints)
        ]
        if missing:
            message = f"must name every joint group of the robot; missing: {', '.join(missing)}"
            raise ConfigError(path, message)
        return [found[joint] for joint in self.joints]

    def _pairs(self) -> dict[str, tuple[str, ...]]:
        """Return joints by their name without the side."""
        pairs: dict[str, tuple[str, ...]] = {}
        for joint in self.joints:
            side, _, name = joint.partition("_")
            if side in ("left", "right"):
                pairs[name] = (*pairs.get(name, ()), joint)
        return pairs

    @property
    def num_joints(self) -> int:
        """Number of actuated joints."""
        return len(self.joints)
