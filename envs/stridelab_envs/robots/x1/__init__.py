"""Humanoid of the Agibot X1 class: legs 6 joints each, the upper body fixed to the base.

Joint order, gains, torque limits and inertias are those of the published robot description. Signs
and the canted hip axes are explained at the head of ``x1.xml``.
"""

from __future__ import annotations

from pathlib import Path

from stridelab_envs.robots.spec import RobotSpec

_LEG = ("hip_pitch", "hip_roll", "hip_yaw", "knee_pitch", "ankle_pitch", "ankle_roll")
_KEEP_SIGN = ("knee_pitch", "ankle_pitch")


def _mirrored(joint: str) -> tuple[str, float]:
    """Knee and ankle pitch keep their sign under a left-right mirror.

    The canted hip pitch axes point outward on either side, hence hip pitch changes its sign too.
    """
    side, name = joint.split("_", 1)
    other = "left" if side == "right" else "right"
    return f"{other}_{name}", 1.0 if name in _KEEP_SIGN else -1.0


_LEFT_LEG = tuple(f"left_{name}" for name in _LEG)
_RIGHT_LEG = tuple(f"right_{name}" for name in _LEG)
_JOINTS = _LEFT_LEG + _RIGHT_LEG

SPEC = RobotSpec(
    name="x1",
    mjcf=Path(__file__).with_name("x1.xml"),
    base_body="base",
    joints=_JOINTS,
    default_pose=(0.4, 0.05, -0.31, 0.49, -0.21, 0.0, -0.4, -0.05, 0.31, 0.49, -0.21, 0.0),
    velocity_limits=(8.0, 8.0, 24.0, 8.0, 10.0, 10.0) * 2,
    home_height=0.61,
    feet=("left_foot", "right_foot"),
    joint_groups={"legs": _JOINTS},
    mirror=tuple(_mirrored(joint) for joint in _JOINTS),
)
