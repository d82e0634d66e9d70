"""Desktop humanoid with 17 hobby servos: head 1, arms 3 each, legs 5 each.

Joints are listed in servo-channel order: head 0, right arm 1-3, right leg 4-8, left arm 12-14,
left leg 15-19. Signs and geometry are explained at the head of ``biped17.xml``.
"""

from __future__ import annotations

from pathlib import Path

from stridelab_envs.robots.spec import RobotSpec

_ARM = ("shoulder_pitch", "shoulder_roll", "elbow")
_LEG = ("hip_roll", "hip_pitch", "knee", "ankle_roll", "ankle_pitch")


def _side(side: str, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{side}_{name}" for name in names)


def _mirrored(joint: str) -> tuple[str, float]:
    """Rolls and the head's pan change sign under a left-right mirror, pitches keep it."""
    if joint == "head_pan":
        return joint, -1.0
    side, name = joint.split("_", 1)
    other = "left" if side == "right" else "right"
    return f"{other}_{name}", -1.0 if name.endswith("roll") else 1.0


_RIGHT_ARM, _RIGHT_LEG = _side("right", _ARM), _side("right", _LEG)
_LEFT_ARM, _LEFT_LEG = _side("left", _ARM), _side("left", _LEG)
_JOINTS = ("head_pan", *_RIGHT_ARM, *_RIGHT_LEG, *_LEFT_ARM, *_LEFT_LEG)
# Equal thigh and shank keep the ankle below the hip when hip and ankle each take half the knee.
_LEG_POSE = (0.0, -0.25, 0.5, 0.0, -0.25)

SPEC = RobotSpec(
    name="biped17",
    mjcf=Path(__file__).with_name("biped17.xml"),
    base_body="torso",
    joints=_JOINTS,
    default_pose=(0.0, 0.1, -0.15, -0.4, *_LEG_POSE, 0.1, 0.15, -0.4, *_LEG_POSE),
    home_height=0.42,
    feet=("left_foot", "right_foot"),
    joint_groups={
        "head": ("head_pan",),
        "arms": _RIGHT_ARM + _LEFT_ARM,
        "legs": _RIGHT_LEG + _LEFT_LEG,
    },
    mirror=tuple(_mirrored(joint) for joint in _JOINTS),
)
