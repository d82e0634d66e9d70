"""Settings by the names of joints and of groups, spread over a robot's joints."""

import pytest

from stridelab_envs.errors import ConfigError
from stridelab_envs.robots import get_robot

H1 = get_robot("h1")
WHOLE = {"legs": 0.1, "torso": 0.2, "arms": 0.3}


def spread(**changes):
    values = H1.per_joint(WHOLE | changes, "scale")
    assert len(values) == 19
    return dict(zip(H1.joints, values, strict=True))


def test_groups():
    values = spread()
    for name, value in values.items():
        side, _, joint = name.partition("_")
        arm = joint.startswith(("shoulder", "elbow"))
        expected = 0.2 if side == "torso" else 0.3 if arm else 0.1
        assert value == expected, name


def test_a_joint_without_its_side_is_both():
    changed = {name for name, value in spread(knee=1.0).items() if value == 1.0}
    assert changed == {"left_knee", "right_knee"}


def test_a_joint_is_one():
    changed = {name for name, value in spread(left_shoulder_yaw=1.0).items() if value == 1.0}
    assert changed == {"left_shoulder_yaw"}


@pytest.mark.parametrize("reverse", [False, True])
def test_the_more_special_name_wins_in_any_order(reverse):
    named = [("left_knee", 3.0), ("knee", 2.0), *WHOLE.items()]
    values = dict(
        zip(H1.joints, H1.per_joint(dict(named[::-1] if reverse else named), ""), strict=True)
    )
    assert values["left_knee"] == 3.0
    assert values["right_knee"] == 2.0
    assert values["left_ankle"] == 0.1


def test_groups_may_be_left_out_where_their_joints_are_named():
    legs = dict.fromkeys(("hip_yaw", "hip_roll", "hip_pitch", "knee", "ankle"), 0.5)
    values = H1.per_joint(legs | {"torso": 0.2, "arms": 0.3}, "scale")
    assert values[:10] == [0.5] * 10


WRONG = {
    "missing group": ({"legs": 1.0, "arms": 1.0}, "scale", "missing: torso"),
    "missing joint of a group": ({"knee": 1.0, "torso": 1.0, "arms": 1.0}, "scale", "g: legs"),
    "nothing": ({}, "scale", "missing: legs, torso, arms"),
    "group": (WHOLE | {"leg": 1.0}, "scale.leg", 'did you mean "legs"'),
    "joint of both sides": (WHOLE | {"kne": 1.0}, "scale.kne", 'did you mean "knee"'),
    "joint": (WHOLE | {"left_kne": 1.0}, "scale.left_kne", 'did you mean "left_knee"'),
}


@pytest.mark.parametrize(("values", "path", "hint"), WRONG.values(), ids=WRONG)
def test_wrong_names(values, path, hint):
    with pytest.raises(ConfigError) as error:
        H1.per_joint(values, "scale")
    assert error.value.path == path
    assert hint in error.value.message
    assert "\n" not in str(error.value)
