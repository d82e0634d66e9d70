"""The layout file: what is accepted, and what is refused with its line."""

import numpy as np
import pytest
import yaml

from stridelab.experiment.yaml_text import dump_yaml
from stridelab.sim2sim.layout import validate
from stridelab.sim2sim.per_joint import for_joints
from stridelab.sim2sim.plant import load_plant
from stridelab_envs.errors import ConfigError, UserError

JOINTS = ("left_hip", "left_knee", "right_hip", "right_knee")


class TestPerJoint:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            (2.0, [2, 2, 2, 2]),
            ([1.0, 2.0, 3.0, 4.0], [1, 2, 3, 4]),
            ({"*": 1.0, "*_knee": 5.0}, [1, 5, 1, 5]),
            ({"*_knee": 5.0, "*": 1.0}, [1, 1, 1, 1]),  # the last that matches counts
            ({"*_knee": 5.0, "left_hip": 1.0, "right_hip": 2.0}, [1, 5, 2, 5]),
        ],
    )
    def test_forms(self, value, expected):
        np.testing.assert_array_equal(for_joints(value, JOINTS, "kp"), expected)

    def test_joints_without_a_value_keep_their_own(self):
        own = np.array([1.0, 2.0, 3.0, 4.0])
        for value, expected in ((None, own), ({"right*": 9.0}, [1, 2, 9, 9]), (5.0, [5] * 4)):
            np.testing.assert_array_equal(for_joints(value, JOINTS, "kp", own), expected)
        assert own.tolist() == [1.0, 2.0, 3.0, 4.0]

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            ([1.0], "kp: must have 4 entries, one a joint, has 1"),
            ({"*_kne": 1.0, "*": 2.0}, 'kp.*_kne: unknown joint "*_kne"'),
            ({"*_knee": 1.0}, 'kp: no pattern matches joint "left_hip"'),
        ],
    )
    def test_refusals(self, value, message):
        with pytest.raises(ConfigError) as caught:
            for_joints(value, JOINTS, "kp")
        assert str(caught.value).startswith(message)


@pytest.fixture
def refused(robot, tmp_path):
    """Return the line that refuses a layout."""

    def run(tree, overrides=()):
        path = tmp_path / "layout.yaml"
        path.write_text(tree if isinstance(tree, str) else dump_yaml(tree))
        with pytest.raises(UserError) as caught:
            load_plant(robot, path, overrides)
        text = str(caught.value)
        assert text.isprintable()
        return text.replace(str(path), "layout.yaml")

    return run


def line_of(tree, dotted):
    """The line of a key, found by its indentation below the keys above it."""
    lines, here = dump_yaml(tree).splitlines(), 0
    for depth, key in enumerate(dotted.split(".")):
        start = "  " * depth + f"{key}:"
        here = next(i for i, line in enumerate(lines) if i >= here and line.startswith(start))
    return here + 1


def change(tree, dotted, value):
    *path, last = dotted.split(".")
    here = tree
    for part in path:
        here = here[part]
    here[last] = value


MISTAKES = {
    "timestp": (1.0, 'timestp: unknown key "timestp"; did you mean "timestep"?'),
    "timestep": (0.0, "timestep: must be above 0.0, got 0.0"),
    "decimation": (2.5, "decimation: must be an integer, got 2.5"),
    "command": ([0.5], "command: must be [vx, vy, yaw], got 1 entries"),
    "base": ("bas", 'base: unknown body with a free joint "bas"; did you mean "base"?'),
    "default_pose": ("low", 'default_pose: must be a number, got "low"'),
    "action.scale": ([0.5], "action.scale: must have 2 entries, one a joint, has 1"),
    "action.clip": (-1.0, "action.clip: must be above 0.0, got -1.0"),
    "drive.kind": ("torqe", 'drive.kind: must be one of torque, position, got "torqe"; did you'),
    "drive.kd": (None, "drive.kd: is required where kind is torque"),
    "drive.kp": ([20.0, -10.0], "drive.kp: must not be negative, got -10"),
    "drive.torque_limit": ({}, "drive.torque_limit: must hold at least one pattern"),
    "observation.clip": ("no", 'observation.clip: must be a number, got "no"'),
    "observation.terms": ({}, "observation.terms: must hold at least one entry"),
}


@pytest.mark.parametrize("key", MISTAKES)
def test_mistakes_are_told_with_file_line_and_key(refused, tree, key):
    value, expected = MISTAKES[key]
    change(tree, key, value)
    line = line_of(tree, key)
    assert refused(tree).startswith(f"layout.yaml:{line}: {expected}")


TERMS = {
    "jiont_vel": (None, 'unknown signal "jiont_vel"; did you mean "joint_vel"?'),
    "velocity": ({"signal": "joint_vell"}, 'signal: unknown signal "joint_vell"; did you mean'),
    "joint_vel": ({"scael": 1.0}, 'scael: unknown key "scael"; did you mean "scale"?'),
    "command": ({"scale": [2.0, 2.0]}, "scale: must have 3 entries, as command has, got 2"),
    "last_action": ({"scale": "big"}, "scale: must be a number or a list of numbers"),
}


@pytest.mark.parametrize("name", TERMS)
def test_mistakes_in_terms(refused, tree, name):
    value, expected = TERMS[name]
    tree["observation"]["terms"][name] = value
    message = refused(tree)
    assert message.startswith("layout.yaml:")
    assert f"observation.terms.{name}" in message
    assert expected in message


def test_joints_that_the_model_lacks(refused, tree):
    tree["joints"] = ["left_hip", "right_hipp"]
    line = line_of(tree, "joints") + 2
    assert refused(tree).startswith(
        f'layout.yaml:{line}: joints[1]: unknown joint "right_hipp"; did you mean "right_hip"?'
    )
    tree["joints"] = ["left_hip", "left_hip"]
    assert 'joints[1]: "left_hip" stands here twice' in refused(tree)


def test_signals_that_need_a_section(refused, tree):
    tree["observation"]["terms"]["foot_contact"] = None
    assert "feet: is required by the signal foot_contact" in refused(tree)
    tree["feet"] = {"bodies": ["left_foot", "right_fot"]}
    assert 'feet.bodies[1]: unknown body "right_fot"; did you mean "right_foot"?' in refused(tree)
    tree["observation"]["terms"] = {"gait_clock": None}
    assert "gait_clock: is required by the signal gait_clock" in refused(tree)


def test_no_layout_at_all(refused, robot, tmp_path):
    assert refused("").startswith("layout.yaml: is empty; a layout needs at least timestep, ")
    assert refused("- 1\n") == "layout.yaml:1: must be a mapping (key: value), got a list"
    with pytest.raises(UserError, match="there is no such file"):
        load_plant(robot, tmp_path / "nowhere.yaml")


class TestOverrides:
    def test_change_the_layout(self, robot, tree, tmp_path):
        path = tmp_path / "layout.yaml"
        tree["drive"]["torque_limit"] = {"*": 30.0}
        path.write_text(dump_yaml(tree))
        plant = load_plant(robot, path, ["drive.torque_limit.left*=18", "dynamics.damping=1.0"])
        assert plant.layout.drive.torque_limit == {"*": 30.0, "left*": 18.0}
        assert plant.model.dof_damping[6:8].tolist() == [1.0, 1.0]

    @pytest.mark.parametrize(
        ("override", "message"),
        [
            ("dynamics.dampng=1.0", 'dynamics.dampng: unknown key "dampng"; did you mean'),
            ("dynamics.damping=-1", "dynamics.damping: must not be negative, got -1"),
            ("drive.kp=[1.0]", "drive.kp: must have 2 entries"),
        ],
    )
    def test_mistakes(self, refused, tree, override, message):
        text = refused(tree, [override])
        assert text.startswith(f'override "{override}": ')
        assert message.partition(": ")[2] in text


def test_layouts_that_ship(shipped_layouts):
    paths = sorted(shipped_layouts.glob("*.yaml"))
    assert [path.stem for path in paths] == ["biped17", "h1_legs", "humanoid_legs", "x1"]
    for path in paths:
        assert validate(yaml.safe_load(path.read_text())).description
