"""Every term function by hand-computed numbers, on a hand-made state."""

import inspect
import math
from types import SimpleNamespace

import pytest
import torch

from stridelab_envs.mdp import metrics, observations, randomization, rewards, terminations
from stridelab_envs.mdp.state import State

HALF = math.sqrt(0.5)
CONTACTS = [[True, True], [True, False], [False, True], [False, False]]


def state(**values):
    """Build a state that knows only what is given; dotted names as ``feet__contact``."""
    feet = {k[6:]: torch.tensor(v) for k, v in values.items() if k.startswith("feet__")}
    own = {k: torch.tensor(v) for k, v in values.items() if not k.startswith("feet__")}
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
        {"base_pos": at_height(0.42, 0.32, 0.52, 1.42, 5.0, -1.0)},
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


def tilt(degrees):
    return [math.sin(math.radians(degrees)), 0.0, -math.cos(math.radians(degrees))]


def test_terminations():
    low = terminations.base_too_low(state(base_pos=at_height(0.26, 0.25, 0.0)), height=0.252)
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
    "projected_gravity": "projected_gravity",
}


@pytest.mark.parametrize(("term", "attribute"), PASSED_ON.items())
def test_observation_passes_on(term, attribute):
    given = state(**{attribute: [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]})
    assert getattr(observations, term)(given).tolist() == [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    assert isinstance(getattr(State, attribute, None), property) or attribute == "action"


def test_observations_that_compute():
    given = state(joint_pos=[[0.5, 0.1]], default_pose=[0.2, 0.3], feet__contact=[[True, False]])
    assert observations.joint_pos_rel(given)[0].tolist() == pytest.approx([0.3, -0.2])
    assert observations.foot_contact(given).tolist() == [[1.0, 0.0]]


def test_gait_clock():
    # At 2 Hz a cycle takes 0.5 s: start, a quarter, a half, one and an eighth.
    given = state(episode_time=[0.0, 0.125, 0.25, 0.5625])
    clock = observations.gait_clock(given, frequency=2.0)
    expected = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, -1.0], [HALF, HALF]])
    torch.testing.assert_close(clock, expected, atol=1e-6, rtol=0)


def test_every_term_function_is_tested():
    def public(module):
        functions = inspect.getmembers(module, inspect.isfunction)
        return {n for n, f in functions if f.__module__ == module.__name__ and n[0] != "_"}

    tested = {name.split()[0] for name in REWARDS} | {"opposed_joints"}
    assert public(rewards) - tested == set()
    computed = {"joint_pos_rel", "foot_contact", "gait_clock"}
    assert public(observations) - set(PASSED_ON) - computed == set()
    assert public(terminations) == {"base_too_low", "tilted"}
    assert public(metrics) == {"forward_velocity", "foot_switches_per_second", "feet_airborne"}
    assert public(randomization) == {"joint_pos_offset", "joint_vel_offset", "base_velocity"}


@pytest.fixture
def still(make_biped):
    """Four robots standing still, and a copy of their state to compare with."""
    env = make_biped(num_envs=4, quiet=True)
    return env, env.sim.qpos.clone(), env.sim.qvel.clone()


IDS = torch.tensor([2, 0])


def draws(seed, *widths):
    """Uniform numbers in [-1, 1) as the generator of ``seed`` gives them, two rows each."""
    generator = torch.Generator().manual_seed(seed)
    return [2 * torch.rand(2, w, generator=generator, dtype=torch.float64) - 1 for w in widths]


def test_joint_pos_offset(still):
    env, qpos, qvel = still
    env.seed(7)
    randomization.joint_pos_offset(env.state, IDS, half_width=0.1)
    qpos[IDS, 7:] += 0.1 * draws(7, 17)[0]
    torch.testing.assert_close(env.sim.qpos, qpos)
    assert torch.equal(env.sim.qvel, qvel)
    assert (env.sim.qpos[0, 7:] - env.state.default_pose).abs().max() <= 0.1


def test_joint_vel_offset(still):
    env, qpos, qvel = still
    env.seed(7)
    randomization.joint_vel_offset(env.state, IDS, half_width=2.0)
    qvel[IDS, 6:] += 2.0 * draws(7, 17)[0]
    torch.testing.assert_close(env.sim.qvel, qvel)
    assert torch.equal(env.sim.qpos, qpos)


def test_base_velocity(still):
    env, qpos, qvel = still
    env.seed(7)
    randomization.base_velocity(env.state, IDS, linear=0.5, angular=3.0)
    linear, angular = draws(7, 3, 3)
    qvel[IDS, :3] += 0.5 * linear
    qvel[IDS, 3:6] += 3.0 * angular
    torch.testing.assert_close(env.sim.qvel, qvel)
    assert torch.equal(env.sim.qpos, qpos)


def test_offsets_fill_their_range(make_biped):
    env = make_biped({"randomization": {"joint_pos": {"half_width": 0.3}}}, num_envs=16)
    offset = (env.sim.qpos[:, 7:] - env.state.default_pose).abs()
    assert 0.27 < offset.max() <= 0.3  # 272 draws: all below 0.27 has a chance of 4e-13
