"""Rewards and metrics of following a command, by hand-computed numbers."""

import math
from types import SimpleNamespace

import pytest
import torch

from stridelab_envs.errors import ConfigError
from stridelab_envs.mdp import command_rewards, observations
from stridelab_envs.mdp.commands import VelocityCommand
from stridelab_envs.mdp.skills import FootCommand, HeightCommand, WristCommand

NAN = math.nan


def made(kind, **values):
    """A command of a kind that knows only what is given, in a state of two robots."""
    command = object.__new__(kind)
    command._dt = 0.02
    for name, value in values.items():
        tensor = torch.tensor(value) if isinstance(value, list) else value
        vars(command)[name] = tensor
    return SimpleNamespace(num_envs=2, commands={"it": command})


def test_velocity_rewards():
    given = made(
        VelocityCommand,
        mean_velocity=[[0.5, 0.2, 0.1], [-0.3, 0.0, 0.0]],
        value=[[0.2, -0.2, 0.4], [-0.3, 0.0, 0.0]],
    )
    # Errors (0.3, 0.4) and -0.3: squares 0.25 and 0.09.
    planar = command_rewards.tracking_lin_vel(given, "it", sharpness=5.0)
    assert planar.tolist() == pytest.approx([math.exp(-1.25), 1.0])
    turning = command_rewards.tracking_ang_vel(given, "it", sharpness=5.0)
    assert turning.tolist() == pytest.approx([math.exp(-0.45), 1.0])


def test_velocity_metrics():
    given = made(VelocityCommand, error=[[0.3, -0.1, -0.25], [NAN, NAN, NAN]], progress=0.4)
    error = command_rewards.lin_vel_error(given, "it")
    assert error.tolist() == pytest.approx([0.2, NAN], nan_ok=True)
    error = command_rewards.yaw_rate_error(given, "it")
    assert error.tolist() == pytest.approx([0.25, NAN], nan_ok=True)
    assert command_rewards.curriculum(given, "it").tolist() == pytest.approx([0.4, 0.4])


WRISTS = torch.tensor([[[0.1, -0.1, 0.1], [0.3, 0.3, -0.3]], [[0.06, 0.0, 0.0], [0.0, 0.0, 0.0]]])


def wrists(reachable, time_left=(0.0, 0.0)):
    return made(
        WristCommand,
        error=lambda state: WRISTS,
        reachable=lambda: torch.tensor(reachable),
        time_left=list(time_left),
    )


def test_wrists():
    value = command_rewards.wrists(wrists([[True, True]] * 2), "it", sharpness=4.0)
    assert value.tolist() == pytest.approx([math.exp(-0.8), math.exp(-0.04)])


@pytest.mark.parametrize(
    ("reachable", "expected"),
    [
        ([[True, True], [True, True]], [0.2, 0.01]),
        ([[True, False], [False, True]], [0.1, 0.0]),
        ([[False, True], [False, False]], [0.3, NAN]),
    ],
)
def test_wrist_error_over_what_can_be_reached(reachable, expected):
    given = wrists(reachable)
    error = command_rewards.wrist_error(given, "it", reachable_only=True)
    assert error.tolist() == pytest.approx(expected, nan_ok=True)
    error = command_rewards.wrist_error(given, "it", reachable_only=False)
    assert error.tolist() == pytest.approx([0.2, 0.01])


def test_wrist_error_is_measured_when_the_command_expires():
    given = wrists([[True, True]] * 2, time_left=(0.02, 0.0))
    error = command_rewards.wrist_error(given, "it", reachable_only=True)
    assert error.tolist() == pytest.approx([NAN, 0.01], nan_ok=True)


def test_height():
    given = made(
        HeightCommand, error=lambda state: torch.tensor([[-0.2], [0.05]]), time_left=[0.0, 0.04]
    )
    value = command_rewards.height(given, "it", sharpness=4.0)
    assert value.tolist() == pytest.approx([math.exp(-0.8), math.exp(-0.2)])
    error = command_rewards.height_error(given, "it")
    assert error.tolist() == pytest.approx([0.2, NAN], nan_ok=True)


LEGS = (
    ("left_hip_pitch", "left_knee", "left_ankle"),
    ("right_hip_pitch", "right_knee", "right_ankle"),
)
KINEMATICS = {"joints": LEGS, "leg": 0.4, "above": 0.2442, "least_ankle": -0.87}


def test_knee_angle_of_a_height():
    # 0.8 cos(k / 2) + 0.2442: the table of the robot, its straight legs and beyond.
    heights = [0.981, 0.905, 0.802, 0.660, 1.0442, 1.2]
    command = made(HeightCommand, value=[[height] for height in heights]).commands["it"]
    knees = [0.8, 1.2, 1.6, 2.05, 0.0, 0.0]
    assert command.knee(0.4, 0.2442).tolist() == pytest.approx(knees, abs=3e-3)


@pytest.fixture
def squatting(make_h1):
    """Commanded to 0.981, 0.802 and 0.660 m, and standing in the pose for 0.981 m."""
    env = make_h1("h1_squat", num_envs=3)
    env.state.commands["height"].value[:, 0] = torch.tensor([0.9810488, 0.8015654, 0.6601488])
    return env


def test_squat_reference(squatting):
    state = squatting.state
    value = command_rewards.squat_reference(state, "height", **KINEMATICS, sharpness=0.5)
    # Both legs from (-0.4, 0.8, -0.4) to (-0.8, 1.6, -0.8), and for the deepest one, where the
    # ankle stops at -0.87 and the hip makes up for it, to (-1.18, 2.05, -0.87).
    deep = 2.0 * math.acos((0.6601488 - 0.2442) / 0.8)
    hips = deep - 0.87
    assert hips == pytest.approx(1.18, abs=5e-3)
    distances = [
        0.0,
        math.sqrt(2 * (0.16 + 0.64 + 0.16)),
        math.sqrt(2 * ((hips - 0.4) ** 2 + (deep - 0.8) ** 2 + 0.47**2)),
    ]
    assert value.tolist() == pytest.approx([math.exp(-d / 2) for d in distances], abs=2e-3)


def test_the_squat_that_is_rewarded_has_the_height_that_is_asked_for(squatting):
    """The reference pose, put on the ground, measures what the command says."""
    state, sim = squatting.state, squatting.sim
    knee = state.commands["height"].knee(0.4, 0.2442)
    for names in LEGS:
        for name, angle in zip(names, (-knee / 2, knee, -knee / 2), strict=True):
            sim.qpos[:, 7 + state.joint_ids((name,))[0]] = angle.double()
    sim.forward(torch.arange(3))
    state._cache.clear()
    above_sole = state.base_pos[:, 2:] - state.foot_pos[:, :, 2] + 0.07
    commanded = state.commands["height"].value.expand(3, 2)
    torch.testing.assert_close(above_sole, commanded, atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("age", "contact", "expected"),
    [
        # Left foot: on the ground, in the air from 0.2 to 0.7 s, on the ground again.
        (0.0, [True, True], 1.0),
        (0.1, [False, True], 0.35),
        (0.2, [False, True], 1.0),
        (0.5, [True, True], 0.35),
        (0.5, [True, False], -0.3),
        (0.5, [False, False], 0.35),
        (0.7, [True, True], 1.0),
        (2.0, [False, True], 0.35),
    ],
)
def test_step_schedule(age, contact, expected):
    given = made(FootCommand, age=[age, age], moving=[0, 1])
    given.feet = SimpleNamespace(contact=torch.tensor([contact, contact[::-1]]))
    value = command_rewards.step_schedule(given, "it", lift=0.2, land=0.7)
    assert value.tolist() == pytest.approx([expected] * 2)


def test_max_command_x():
    given = made(VelocityCommand, high=[0.6, 0.1, 0.2])
    assert command_rewards.max_command_x(given, "it").tolist() == pytest.approx([0.6, 0.6])


def test_feet():
    offsets = torch.tensor([[[0.1, -0.3], [0.0, 0.0]], [[0.02, 0.02], [-0.02, -0.02]]])
    given = made(FootCommand, error=lambda state: offsets, time_left=[0.02, 0.0])
    value = command_rewards.feet(given, "it", sharpness=4.0)
    assert value.tolist() == pytest.approx([math.exp(-0.4), math.exp(-0.08)])
    error = command_rewards.foot_error(given, "it", moving_only=False)
    assert error.tolist() == pytest.approx([NAN, 0.02], nan_ok=True)


def test_moving_foot():
    offsets = torch.tensor([[[0.3, -0.4], [0.0, 0.1]]] * 2)
    given = made(FootCommand, error=lambda state: offsets, moving=[0, 1])
    value = command_rewards.moving_foot(given, "it", sharpness=2.0)
    assert value.tolist() == pytest.approx([math.exp(-1.0), math.exp(-0.2)])


def test_error_of_the_moving_foot():
    offsets = torch.tensor([[[0.1, -0.3], [0.0, 0.1]]] * 2)
    given = made(FootCommand, error=lambda state: offsets, time_left=[0.0] * 2, moving=[0, 1])
    error = command_rewards.foot_error(given, "it", moving_only=True)
    assert error.tolist() == pytest.approx([0.2, 0.05])


KINDS = {
    VelocityCommand: [
        *("tracking_lin_vel", "tracking_ang_vel", "lin_vel_error", "yaw_rate_error"),
        *("curriculum", "max_command_x"),
    ],
    WristCommand: ["wrists", "wrist_error"],
    HeightCommand: ["height", "height_error"],
    FootCommand: ["feet", "moving_foot", "foot_error"],
}


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, names in KINDS.items() for name in names]
)
def test_a_command_of_another_kind_is_refused(kind, name):
    other = HeightCommand if kind is not HeightCommand else FootCommand
    function = getattr(command_rewards, name)
    params = {"sharpness": 1.0, "reachable_only": True, "moving_only": True}
    wanted = {key: value for key, value in params.items() if key in function.__annotations__}
    message = f"^commands: a {kind.__name__} is needed, not {other.__name__}$"
    with pytest.raises(ConfigError, match=message):
        function(made(other), "it", **wanted)


class TestObservations:
    def test_of_any_command(self):
        given = made(HeightCommand, value=[[0.75], [0.5]], time_left=[1.5, 0.25])
        assert observations.command(given, "it").tolist() == [[0.75], [0.5]]
        assert observations.time_left(given, "it").tolist() == [[1.5], [0.25]]

    def test_mean_velocity(self):
        mean = [[0.5, 0.25, -1.0], [0.0, 2.0, 3.0]]
        given = made(VelocityCommand, mean_velocity=mean)
        assert observations.mean_velocity(given, "it").tolist() == mean

    def test_errors_come_flat(self):
        error = observations.wrist_error(wrists([[True, True]] * 2), "it")
        assert error[0].tolist() == pytest.approx([0.1, -0.1, 0.1, 0.3, 0.3, -0.3])
        given = made(HeightCommand, error=lambda state: torch.tensor([[-0.25], [0.5]]))
        assert observations.height_error(given, "it").tolist() == [[-0.25], [0.5]]
        offsets = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]] * 2)
        given = made(FootCommand, error=lambda state: offsets)
        assert observations.foot_error(given, "it").tolist() == [[1.0, 2.0, 3.0, 4.0]] * 2

    @pytest.mark.parametrize("name", ["wrist_error", "foot_error", "mean_velocity"])
    def test_a_command_of_another_kind_is_refused(self, name):
        with pytest.raises(ConfigError, match=r"is needed, not HeightCommand$"):
            getattr(observations, name)(made(HeightCommand), "it")
