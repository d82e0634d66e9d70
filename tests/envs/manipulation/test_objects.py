"""The things in a scene: sizes and masses of the tables, parking, contacts, how they behave."""

from __future__ import annotations

import math
from functools import partial

import mujoco
import numpy as np
import pytest
import torch

from stridelab_envs.errors import UserError
from stridelab_envs.robots import get_robot
from stridelab_envs.robots.objects import DOORS, add_contact_sensors, add_objects
from stridelab_envs.robots.scene import build_scene

ALL = (
    "wall",
    "button",
    "cabinet",
    "goal_frame",
    "ball",
    "front_table",
    "back_table",
    "cube",
    "panel",
    "target",
    "left_target",
    "right_target",
)


@pytest.fixture(scope="module")
def model():
    additions = [
        partial(add_objects, names=ALL),
        partial(add_contact_sensors, bodies=("torso",)),
    ]
    return build_scene(get_robot("h1").mjcf, additions=additions)


@pytest.fixture
def data(model):
    return mujoco.MjData(model)


def put(model, data, name, pos):
    data.mocap_pos[model.body(name).mocapid[0]] = pos
    mujoco.mj_forward(model, data)


def bounds(model, data, *names):
    """Least and greatest corner [m] of boxes, world frame; only right for boxes at right angles."""
    corners = []
    for name in names:
        half = np.abs(data.geom(name).xmat.reshape(3, 3)) @ model.geom(name).size
        corners += [data.geom(name).xpos - half, data.geom(name).xpos + half]
    return np.min(corners, axis=0), np.max(corners, axis=0)


@pytest.mark.parametrize(
    ("name", "size"),
    {
        "wall": (0.05, 2.0, 3.0),
        "front_table": (0.9, 1.5, 0.05),
        "back_table": (0.9, 1.5, 0.05),
        "cube": (0.1, 0.1, 0.1),
        "panel": (0.5, 0.1, 1.0),
        "left_door": (0.013, 0.32, 0.538),
        "goal_back": (0.05, 4.0, 2.0),
        "goal_left": (1.0, 0.05, 2.0),
    }.items(),
)
def test_sizes(model, name, size):
    np.testing.assert_allclose(2.0 * model.geom(name).size, size)


def test_masses_and_inertias(model):
    assert model.body("cube").mass[0] == 1.0
    assert model.body("ball").mass[0] == pytest.approx(0.4)
    assert model.geom("ball").size[0] == 0.1
    # A solid cube: m a^2 / 6; a solid ball: 2/5 m r^2.
    np.testing.assert_allclose(model.body("cube").inertia, 0.01 / 6)
    np.testing.assert_allclose(model.body("ball").inertia, 0.4 * 0.4 * 0.01)
    # A panel of 1 kg about x: (0.1^2 + 1^2) / 12.
    assert model.body("panel").inertia[0] == pytest.approx(1.01 / 12)


def test_friction_and_kinds_of_contact(model):
    assert model.geom("panel").friction[0] == 5.0
    for name, condim in {"panel": 4, "cube": 4, "ball": 6, "wall": 3, "left_door": 3}.items():
        assert model.geom(name).condim[0] == condim, name


def test_what_meets_what(model):
    def meet(first, second):
        one, two = model.geom(first), model.geom(second)
        return bool(one.contype[0] & two.conaffinity[0] or two.contype[0] & one.conaffinity[0])

    for thing in ("wall", "button", "front_table", "cube", "panel", "ball", "left_door"):
        # A foot's box meets nothing of the floor, but everything that can be kicked.
        assert meet(thing, "left_forearm") and meet(thing, "left_foot"), thing
    for thing in ("cube", "panel", "ball"):
        assert meet(thing, "floor") and meet(thing, "front_table"), thing
    assert not meet("left_door", "right_door")
    assert not meet("left_door", "cabinet_left")
    assert not meet("left_foot", "floor")
    for mark in ("target", "left_target", "right_target"):
        assert not meet(mark, "left_forearm") and not meet(mark, "cube"), mark


def test_the_cabinet_lies_within_the_published_bounds(model, data):
    put(model, data, "cabinet", (1.5, 0.0, 1.0))
    boards = [f"cabinet_{name}" for name in ("back", "left", "right", "bottom", "top")]
    low, high = bounds(model, data, *boards)
    np.testing.assert_allclose(low, [1.293, -0.323, 0.680], atol=1e-9)
    np.testing.assert_allclose(high, [1.730, 0.332, 1.308], atol=1e-9)
    for door, hinge in {"left_door": (1.285, 0.323), "right_door": (1.287, -0.315)}.items():
        low, high = bounds(model, data, door)
        np.testing.assert_allclose(data.joint(door).xanchor[:2], hinge, atol=1e-9)
        np.testing.assert_allclose([low[2], high[2]], [0.766, 1.304], atol=1e-9)
        inner, outer = (low[1], high[1]) if hinge[1] > 0 else (high[1], low[1])
        assert outer == pytest.approx(hinge[1])
        assert inner == pytest.approx(hinge[1] - math.copysign(0.32, hinge[1]))
        assert data.geom(f"{door}_handle").xpos[2] == pytest.approx(1.288)


def test_doors_open_towards_the_robot(model, data):
    for door in DOORS:
        data.joint(door).qpos = 1.0
    put(model, data, "cabinet", (1.5, 0.0, 1.0))
    for door, y in {"left_door": 0.14, "right_door": -0.14}.items():
        side = math.copysign(0.16, y)  # from the door's centre to its free edge
        centre, turn = data.geom(door).xpos, data.geom(door).xmat.reshape(3, 3)
        tip = centre + turn @ [0.0, -side, 0.0]
        np.testing.assert_allclose(tip[:2], [1.017, y], atol=0.012)
        # The place to push lies on the outside: away from the middle, towards the robot.
        push = data.site(f"{door}_push").xpos
        assert abs(push[1]) > abs(tip[1])
        np.testing.assert_allclose(
            np.linalg.norm((push - data.joint(door).xanchor)[:2]), 0.24, atol=1e-3
        )
        assert model.joint(door).damping[0] == 5.0
        np.testing.assert_allclose(model.joint(door).range, [0.0, math.pi / 2], atol=1e-4)


def test_parked_things_touch_nothing_and_stay(model, data):
    mujoco.mj_forward(model, data)
    soles = data.ncon
    places = {name: data.body(name).xpos.copy() for name in ALL}
    distances = [
        np.linalg.norm(places[one] - places[two]) for one in ALL for two in ALL if one < two
    ]
    assert min(distances) >= 10.0
    assert all(place[2] >= 60.0 for place in places.values())
    assert soles == 8  # four spheres under each foot
    for _ in range(200):
        mujoco.mj_step(model, data)
    for name in ("ball", "cube", "panel"):
        np.testing.assert_allclose(data.body(name).xpos, places[name], atol=1e-6)


def test_fixed_things_do_not_meet_the_floor(model, data):
    mujoco.mj_forward(model, data)
    before = data.ncon
    put(model, data, "wall", (3.0, 0.0, 1.5))
    put(model, data, "goal_frame", (6.0, 0.0, 0.0))
    assert data.ncon == before


def test_contact_sensor_is_that_of_the_feet(model):
    foot, torso = (model.sensor(f"{body}_contact").id for body in ("left_foot", "torso"))
    np.testing.assert_array_equal(model.sensor_intprm[torso], model.sensor_intprm[foot])
    assert model.sensor_dim[torso] == 4


def test_unknown_object():
    with pytest.raises(UserError, match='unknown object "cubes"; did you mean "cube"'):
        build_scene(get_robot("h1").mjcf, additions=[partial(add_objects, names=("cubes",))])


def test_a_robot_alone_has_no_objects():
    model = build_scene(get_robot("h1").mjcf)
    assert model.nmocap == 0
    assert model.nv == 25


def run(env, seconds):
    for _ in range(round(seconds / env.control_dt)):
        env.step(torch.zeros(env.num_envs, env.action_dim))


def test_a_cube_rests_on_the_table(make_task):
    env = make_task("h1_box", fixed={"box_x": -0.4, "box_y": 0.2})
    run(env, 0.6)
    cube = env.sim.data(0).body("cube").xpos
    np.testing.assert_allclose(cube, [0.6, 0.2, 1.05], atol=2e-3)
    assert env.state.objects.lin_vel("cube").norm() < 1e-2


def test_a_panel_stands(make_task):
    env = make_task("h1_lift", fixed={"lift_x": 0.6, "lift_y": 0.0, "lift_mass": 2.0})
    run(env, 0.6)
    np.testing.assert_allclose(env.sim.data(0).body("panel").xpos, [0.6, 0.0, 0.5], atol=3e-3)
    assert env.state.objects.uprightness("panel").item() == pytest.approx(1.0, abs=1e-3)


def test_a_ball_rolls_and_slows_down(make_task):
    env = make_task("h1_ball", fixed={"ball_x": 0.8})
    start = env.sim.model.joint("ball").dofadr[0]
    env.sim.qvel[:, start] = 2.0
    env.sim.qvel[:, start + 4] = 2.0 / 0.1  # rolling, not sliding
    run(env, 0.5)
    speed = env.state.objects.lin_vel("ball")[0, 0].item()
    # From a ramp of 1 m (3.74 m/s) it rolls 4-8 m: it slows down by 0.87-1.75 m/s^2.
    assert 2.0 - 1.75 * 0.5 < speed < 2.0 - 0.87 * 0.5
    assert env.sim.data(0).body("ball").xpos[2] == pytest.approx(0.1, abs=2e-3)


def test_a_robot_that_walks_on_closes_the_doors(make_task, stand_at):
    """Forearms at their places in the standing pose pass outside of the doors' edges."""
    env = make_task("h1_cabinet")
    stand_at(env, x=0.7)
    env.sim.qvel[:, 0] = 1.0
    run(env, 0.24)
    angles = env.state.objects.hinge_angles(DOORS)
    assert (angles < 0.9).all(), angles


def test_mass_and_inertia_change_together(make_task):
    env = make_task("h1_lift", num_envs=2)
    objects = env.state.objects
    objects.set_mass("panel", torch.tensor([1]), torch.tensor([2.0]))
    body = env.sim.model.body("panel").id
    assert objects.mass("panel")[1].item() == 2.0
    inertia = env.sim.model_field("body_inertia")[1, body]
    np.testing.assert_allclose(inertia, 2.0 * env.sim.model.body_inertia[body])
    assert objects.mass("panel")[0].item() != 2.0


def test_a_thing_taken_out_of_its_parking_place_has_weight(make_task, put):
    env = make_task("h1_multitask", num_envs=2)
    put(env, "cube", 3.0, 3.0, 2.0)
    run(env, 0.2)
    # Half g t^2, by steps of 5 ms: g/2 (0.2^2 + 0.2 * 0.005).
    fallen = 2.0 - env.sim.data(0).body("cube").xpos[2]
    assert fallen == pytest.approx(9.81 / 2 * (0.04 + 0.001), rel=1e-3)
