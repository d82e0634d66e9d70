"""Every term function by hand-computed numbers, on a hand-made state."""

import importlib
import inspect
import math
import pkgutil
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from stridelab_envs import mdp
from stridelab_envs.mdp import gait_observations, metrics, observations, rewards, terminations
from stridelab_envs.mdp.state import State
from stridelab_envs.tasks.h1 import HIPS

HALF = math.sqrt(0.5)
CONTACTS = [[True, True], [True, False], [False, True], [False, False]]


def state(**values):
    """Build a state that knows only what is given; dotted names as ``feet__contact``."""
    feet = {k[6:]: torch.tensor(v) for k, v in values.items() if k.startswith("feet__")}
    own = {k: v for k, v in values.items() if not k.startswith("feet__")}
    own = {k: torch.tensor(v) if isinstance(v, list) else v for k, v in own.items()}
    return SimpleNamespace(feet=SimpleNamespace(**feet), **own)


def along_x(*speeds):
    return [[speed, 7.0, 7.0] for speed in speeds]


def at_height(*heights):
    return [[9.0, 9.0, height] for height in heights]


def feet_rising(*rows):
    """Foot velocities that differ in z alone, ``(num_envs, 2, 3)``."""
    return [[[5.0, 5.0, left], [5.0, 5.0, right]] for left, right in rows]


REWARDS = {
    # Upright, a quarter turn of yaw, half a turn of yaw, a tilt of 60 degrees: cos(30)^2.
    "upright_quaternion": (
        {
            "base_quat": [
                [1.0, 0.0, 0.0, 0.0],
                [HALF, 0.0, 0.0, HALF],
                [0.0, 0.0, 0.0, 1.0],
                [math.cos(math.pi / 6), 0.0, 0.5, 0.0],
            ]
        },
        {},
        [1.0, 0.5, 0.0, 0.75],
    ),
    "forward_velocity": (
        {"base_lin_vel_world": along_x(-0.5, 0.3, 1.0, 2.0)},
        {},
        [0.0, 0.3, 1.0, 1.0],
    ),
    "forward_velocity limited": (
        {"base_lin_vel_world": along_x(-0.5, 0.3, 1.0)},
        {"limit": 0.5},
        [0.0, 0.3, 0.5],
    ),
    "height_linear": (
        {"base_height": [0.42, 0.32, 0.52, 1.42, 5.0, -1.0]},
        {"target": 0.42},
        [1.0, 0.9, 0.9, 0.0, 0.0, 0.0],
    ),
    "foot_switch": ({"feet__switched": [True, False]}, {}, [1.0, 0.0]),
    "any_foot_contact": ({"feet__contact": CONTACTS}, {}, [1.0, 1.0, 1.0, 0.0]),
    "no_foot_contact": ({"feet__contact": CONTACTS}, {}, [0.0, 0.0, 0.0, 1.0]),
    "both_feet_contact": ({"feet__contact": CONTACTS}, {}, [1.0, 0.0, 0.0, 0.0]),
    "single_stance": ({"feet__contact": CONTACTS}, {}, [0.0, 1.0, 1.0, 0.0]),
    "air_time_above": (
        {
            "feet__air_time": [[0.5, 0.6], [0.5, 0.3], [0.9, 0.5], [0.9, 0.9]],
            "feet__touchdown": [[True, True], [True, True], [False, True], [False, False]],
        },
        {"threshold": 0.4},
        [0.3, 0.1, 0.1, 0.0],
    ),
    "swing_foot_height": (
        {"foot_pos": [at_height(0.03, 0.05), at_height(0.12, 0.02), at_height(0.04, 0.04)]},
        {"limit": 0.05},
        [0.4, 1.0, 0.0],
    ),
    "same_stance_time": (
        {"feet__time_since_switch": [0.2, 0.5, 0.8, 3.0]},
        {"grace": 0.5},
        [0.0, 0.0, 0.3, 1.0],
    ),
    "transition_attempt": (
        {
            "foot_vel": feet_rising((0.15, 0.0), (-0.2, 0.9), (-0.1, -0.3), (0.15, 0.15)),
            "feet__contact": [[True, True], [True, True], [True, True], [True, False]],
        },
        {"speed": 0.3},
        [0.5, 1.0, 0.0, 0.0],
    ),
    "foot_slip": (
        {
            "foot_vel": [[[3.0, 4.0, 9.0], [0.0, -1.0, 9.0]]] * 4,
            "feet__contact": CONTACTS,
        },
        {},
        [6.0, 5.0, 1.0, 0.0],
    ),
    "gated_forward_velocity": (
        {"base_lin_vel_world": along_x(0.3, 0.3, 2.0, 0.3), "feet__contact": CONTACTS},
        {"limit": 1.0},
        [0.0, 0.3, 1.0, 0.0],
    ),
    "action_rate": (
        {"action": [[1.0, -1.0], [0.5, 0.5]], "last_action": [[0.0, 1.0], [0.5, 0.5]]},
        {},
        [5.0, 0.0],
    ),
    "joint_vel_square": ({"joint_vel": [[1.0, -2.0], [0.0, 0.5]]}, {}, [5.0, 0.25]),
    "joint_torque_square": ({"joint_torque": [[3.0, -1.0], [0.0, 0.5]]}, {}, [10.0, 0.25]),
    "vertical_velocity_square": (
        {"base_lin_vel_world": [[9.0, 9.0, -0.5], [9.0, 9.0, 2.0]]},
        {},
        [0.25, 4.0],
    ),
    "tilt_rate_square": ({"base_ang_vel": [[1.0, -2.0, 9.0], [0.0, 0.5, 9.0]]}, {}, [5.0, 0.25]),
    # In 0.02 s: (50, -100) and (0, 25) rad/s^2.
    "joint_acc_square": (
        {
            "joint_vel": [[1.0, -2.0], [0.0, 0.5]],
            "last_joint_vel": [[0.0, 0.0], [0.0, 0.0]],
            "dt": 0.02,
        },
        {},
        [12500.0, 625.0],
    ),
    # Upright; 0.1 rad of roll to the left (y < 0); as much pitch forward; 0.1 rad of each.
    "orientation": (
        {
            "projected_gravity": [
                [0.0, 0.0, -1.0],
                [0.0, -math.sin(0.1), -math.cos(0.1)],
                [math.sin(0.1), 0.0, -math.cos(0.1)],
                [math.sin(0.1), -math.sin(0.1) * math.cos(0.1), -(math.cos(0.1) ** 2)],
            ]
        },
        {},
        [
            1.0,
            *[0.5 * (math.exp(-1.0) + math.exp(-20.0 * math.sin(0.1)))] * 2,
            0.5 * (math.exp(-2.0) + math.exp(-20.0 * math.sin(0.1) * math.hypot(1, math.cos(0.1)))),
        ],
    ),
    # Planar distances 0.3, 0.5 (3-4-5, height does not count), 0.1 and 0.7.
    "feet_distance": (
        {
            "foot_pos": [
                [[0.0, 0.15, 0.0], [0.0, -0.15, 0.4]],
                [[0.3, 0.2, 0.0], [0.0, -0.2, 0.0]],
                [[0.0, 0.05, 0.0], [0.0, -0.05, 0.0]],
                [[0.0, 0.35, 0.0], [0.0, -0.35, 0.0]],
            ]
        },
        {"low": 0.2, "high": 0.6},
        [1.0, 1.0, 0.5 + 0.5 * math.exp(-10.0), 0.5 + 0.5 * math.exp(-10.0)],
    ),
    "feet_distance near": (
        {"foot_pos": [[[0.0, 0.095, 0.0], [0.0, -0.095, 0.0]], [[0.0] * 3] * 2]},
        {"low": 0.2, "high": 0.6},
        [0.5 + 0.5 * math.exp(-1.0), 0.5 + 0.5 * math.exp(-20.0)],
    ),
    "base_height_exp": (
        {"base_height": [0.96, 0.91, 1.01]},
        {"target": 0.96, "sharpness": 20.0},
        [1.0, math.exp(-1.0), math.exp(-1.0)],
    ),
    "vertical_calm": (
        {
            "base_lin_vel_world": [[9.0, 9.0, 0.0], [9.0, 9.0, -0.3], [9.0, 9.0, 0.0]],
            "base_ang_vel": [[0.0, 0.0, 9.0], [0.0, 0.0, 9.0], [0.06, -0.08, 9.0]],
        },
        {},
        [1.0, 0.5 + 0.5 * math.exp(-0.9), 0.5 + 0.5 * math.exp(-0.5)],
    ),
    "contact_force_above": (
        {"foot_force": [[700.0, 0.0], [800.0, 750.0], [9000.0, 0.0]]},
        {"limit": 700.0, "most": 400.0},
        [0.0, 150.0, 400.0],
    ),
    "yaw_rate_square": ({"yaw_rate": [0.5, -2.0]}, {}, [0.25, 4.0]),
    "planar_velocity_square": (
        {"base_lin_vel_world": [[0.3, -0.4, 9.0], [0.0, 0.0, 9.0]]},
        {},
        [0.25, 0.0],
    ),
}


@pytest.mark.parametrize(("name", "row"), REWARDS.items(), ids=REWARDS)
def test_reward(name, row):
    values, params, expected = row
    result = getattr(rewards, name.split()[0])(state(**values), **params)
    assert result.dtype == torch.float32
    assert result.tolist() == pytest.approx(expected, abs=1e-6)


def test_opposed_joints(make_biped):
    env = make_biped(quiet=True)
    left, right = env.state.joint_ids(("left_hip_pitch", "right_hip_pitch"))
    env.sim.qpos[0, 7 + left] += 0.2
    env.sim.qpos[0, 7 + right] -= 0.2
    env.sim.qpos[1, 7 + left] += 0.2
    env.sim.qpos[1, 7 + right] += 0.1
    env.sim.forward(torch.arange(2))
    names = {"first": "left_hip_pitch", "second": "right_hip_pitch"}
    result = rewards.opposed_joints(env.state, **names, width=0.3)
    assert result.tolist() == pytest.approx([1.0, math.exp(-1.0)], abs=1e-5)


@pytest.fixture
def bent(make_h1):
    """Standing; the left elbow 0.4 rad off; the left hip yaw 0.3 and the right hip roll 0.4."""
    env = make_h1("h1_squat", num_envs=3)
    for row, joint, angle in (
        (1, "left_elbow", 0.4),
        (2, "left_hip_yaw", 0.3),
        (2, "right_hip_roll", -0.4),
    ):
        [column] = env.state.joint_ids((joint,))
        env.sim.qpos[row, 7 + column] += angle
    env.sim.forward(torch.arange(3))
    env.state._cache.clear()
    return env.state


def test_joint_deviation(bent):
    arms = rewards.joint_deviation(bent, "arms", sharpness=4.0)  # 8 joints: 0.05 rad in the mean
    assert arms.tolist() == pytest.approx([1.0, math.exp(-0.2), 1.0], abs=1e-5)
    torso = rewards.joint_deviation(bent, "torso", sharpness=4.0)
    assert torso.tolist() == pytest.approx([1.0] * 3, abs=1e-6)


def test_hips_straight(bent):
    value = rewards.hips_straight(bent, HIPS)
    # The first part looks at the hips: 0.5 rad, 0.4 too much. The second one at every joint.
    expected = [1.0, 1.0 - 0.004, math.exp(-40.0) - 0.005]
    assert value.tolist() == pytest.approx(expected, abs=1e-5)


def tilt(degrees):
    return [math.sin(math.radians(degrees)), 0.0, -math.cos(math.radians(degrees))]


def test_terminations():
    low = terminations.base_too_low(state(base_height=[0.26, 0.25, 0.0]), height=0.252)
    assert low.tolist() == [False, True, True]
    leaning = state(projected_gravity=[tilt(0.0), tilt(-59.9), tilt(60.1), tilt(180.0)])
    tilted = terminations.tilted(leaning, limit=math.radians(60))
    assert tilted.tolist() == [False, False, True, True]


def test_metrics():
    walking = state(base_lin_vel_world=along_x(-0.5, 2.0))
    assert metrics.forward_velocity(walking).tolist() == [-0.5, 2.0]  # measured, not clipped
    switching = state(feet__switched=[True, False])
    switching.dt = 0.02
    assert metrics.foot_switches_per_second(switching).tolist() == pytest.approx([50.0, 0.0])
    airborne = metrics.feet_airborne(state(feet__contact=CONTACTS))
    assert airborne.tolist() == [0.0, 0.0, 0.0, 1.0]


PASSED_ON = {
    "joint_pos": "joint_pos",
    "joint_vel": "joint_vel",
    "last_action": "action",
    "base_quat": "base_quat",
    "base_lin_vel": "base_lin_vel",
    "base_lin_vel_world": "base_lin_vel_world",
    "base_ang_vel": "base_ang_vel",
    "base_lin_vel_heading": "base_lin_vel_heading",
    "foot_force": "foot_force",
    "projected_gravity": "projected_gravity",
}


@pytest.mark.parametrize(("term", "attribute"), PASSED_ON.items())
def test_observation_passes_on(term, attribute):
    given = state(**{attribute: [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]})
    assert getattr(observations, term)(given).tolist() == [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    assert isinstance(getattr(State, attribute, None), property) or attribute == "action"


def test_where_things_are_observed():
    given = state(base_heading=[0.5, -1.0], foot_pos=[[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]])
    assert observations.base_heading(given).tolist() == [[0.5], [-1.0]]
    assert observations.foot_pos(given).tolist() == [[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]]
    given = state(wrist_pos=[[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]])
    given.in_base_heading = lambda points: points - 1.0
    assert observations.wrist_pos(given).tolist() == [[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]]


def test_velocity_ahead_is_along_the_heading():
    given = state(base_lin_vel_heading=[[0.5, 1.0, 2.0], [-0.25, 0.0, 0.0]])
    assert metrics.lin_vel_x(given).tolist() == [0.5, -0.25]


def test_what_sensors_tell_is_observed():
    given = state(
        measured_joint_pos=[[0.5, 0.1]], measured_joint_vel=[[1.0, 2.0]], default_pose=[0.2, 0.3]
    )
    assert gait_observations.measured_joint_pos_rel(given)[0].tolist() == pytest.approx([0.3, -0.2])
    assert gait_observations.measured_joint_vel(given).tolist() == [[1.0, 2.0]]


def test_columns_of_a_command():
    values = {"height": [1.0, 2.0], "foot": [3.0, 4.0]}
    command = SimpleNamespace(column=lambda name: torch.tensor(values[name]))
    given = SimpleNamespace(commands={"it": command})
    seen = observations.command_columns(given, "it", ("foot", "height"))
    assert seen.tolist() == [[3.0, 1.0], [4.0, 2.0]]


def test_roll_pitch_and_yaw_are_observed():
    given = state(base_rpy=[[0.1, -0.2, 3.0]])
    assert gait_observations.base_rpy(given).tolist() == given.base_rpy.tolist()


def test_observations_that_compute():
    given = state(joint_pos=[[0.5, 0.1]], default_pose=[0.2, 0.3], feet__contact=[[True, False]])
    assert observations.joint_pos_rel(given)[0].tolist() == pytest.approx([0.3, -0.2])
    assert observations.foot_contact(given).tolist() == [[1.0, 0.0]]
    given = state(base_height=[0.5, 0.75])
    assert observations.base_height(given).tolist() == [[0.5], [0.75]]


def test_gait_clock():
    # At 2 Hz a cycle takes 0.5 s: start, a quarter, a half, one and an eighth.
    given = state(gait_time=[0.0, 0.125, 0.25, 0.5625])
    clock = observations.gait_clock(given, frequency=2.0)
    expected = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, -1.0], [HALF, HALF]])
    torch.testing.assert_close(clock, expected, atol=1e-6, rtol=0)


# Terms of manipulation are tested through their tasks, in states built for it (manipulation/).
MODULES = [m.name for m in pkgutil.iter_modules(mdp.__path__) if m.name != "manipulation"]


def test_there_are_modules_of_terms():
    assert {"rewards", "observations", "randomization", "gait", "command_rewards"} <= set(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_every_term_function_is_tested(module):
    """A function of the state is used, or stands in a table, in some test."""
    source = importlib.import_module(f"{mdp.__name__}.{module}")
    terms = {
        name
        for name, function in inspect.getmembers(source, inspect.isfunction)
        if function.__module__ == source.__name__
        and name[0] != "_"
        and next(iter(inspect.signature(function).parameters), "") == "state"
    }
    tests = "".join(path.read_text() for path in Path(__file__).parent.rglob("test_*.py"))
    missing = {name for name in terms if not re.search(rf'\.{name}\b|"{name}[" ]', tests)}
    assert missing == set()
