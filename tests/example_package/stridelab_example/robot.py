"""The robot ``stilts``: two legs of three joints each, all in the sagittal plane."""

import math
from pathlib import Path

from stridelab_envs.robots import RobotSpec

_LEG = ("hip", "knee", "ankle")
_LEFT = tuple(f"left_{name}" for name in _LEG)
_RIGHT = tuple(f"right_{name}" for name in _LEG)
_BEND = 0.3
_POSE = (-_BEND, 2 * _BEND, -_BEND)

SPEC = RobotSpec(
    name="stilts",
    mjcf=Path(__file__).with_name("stilts.xml"),
    base_body="base",
    joints=_LEFT + _RIGHT,
    default_pose=_POSE + _POSE,
    home_height=2 * 0.15 * math.cos(_BEND) + 0.02,
    feet=("left_foot", "right_foot"),
    joint_groups={"legs": _LEFT + _RIGHT},
    mirror=tuple((name, 1.0) for name in _RIGHT + _LEFT),
)
