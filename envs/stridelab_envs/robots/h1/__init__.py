"""Humanoid of the Unitree H1 class: legs 5 joints each, torso yaw, arms 4 joints each.

Joint order, ranges, gains and inertias are those of the published robot description; the wrists
are the sites ``left_wrist`` and ``right_wrist``. Signs are explained at the head of ``h1.xml``.
"""

from __future__ import annotations

from pathlib import Path

from stridelab_envs.robots.spec import RobotSpec

_LEG = ("hip_yaw", "hip_roll", "hip_pitch", "knee", "ankle")
_ARM = ("shoulder_pitch", "shoulder_roll", "shoulder_yaw", "elbow")


def _side(side: str, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{side}_{name}" for name in names)


def _mirrored(joint: str) -> tuple[str, float]:
    """Yaws and rolls change sign under a left-right mirror, pitches keep it."""
    if joint == "torso":
        return joint, -1.0
    side, name = joint.split("_", 1)
    other = "left" if side == "right" else "right"
    return f"{other}_{name}", -1.0 if name.endswith(("yaw", "roll")) else 1.0


_LEFT_LEG, _RIGHT_LEG = _side("left", _LEG), _side("right", _LEG)
_LEFT_ARM, _RIGHT_ARM = _side("left", _ARM), _side("right", _ARM)
_JOINTS = (*_LEFT_LEG, *_RIGHT_LEG, "torso", *_LEFT_ARM, *_RIGHT_ARM)
_LEG_POSE = (0.0, 0.0, -0.4, 0.8, -0.4)

SPEC = RobotSpec(
    name="h1",
    mjcf=Path(__file__).with_name("h1.xml"),
    base_body="pelvis",
    joints=_JOINTS,
    default_pose=(*_LEG_POSE, *_LEG_POSE, *(0.0,) * 9),
    home_height=0.981,  # 0.8 cos(0.8 / 2) + 0.2442 at a knee angle of 0.8 rad
    feet=("left_foot", "right_foot"),
    wrists=("left_wrist", "right_wrist"),
    joint_groups={
        "legs": _LEFT_LEG + _RIGHT_LEG,
        "torso": ("torso",),
        "arms": _LEFT_ARM + _RIGHT_ARM,
    },
    mirror=tuple(_mirrored(joint) for joint in _JOINTS),
)
