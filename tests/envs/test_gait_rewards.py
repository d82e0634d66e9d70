"""Rewards and observations of the gait command by hand-computed numbers."""

import math
from types import SimpleNamespace

import pytest
import torch

from stridelab_envs.errors import ConfigError
from stridelab_envs.mdp import gait_observations, gait_rewards
from stridelab_envs.mdp.gait_command import GaitCommand

SWING = ((0.3, 0.0), (0.0, -0.4))


def state(gait=None, **values):
    """Build a state that knows only what is given; ``gait`` holds attributes of the command."""
    command = object.__new__(GaitCommand)
    for name, value in (gait or {}).items():
        setattr(command, name, torch.tensor(value))
    command._sharpness = (5.0, 10.0)
    contact = values.pop("contact", None)
    feet = SimpleNamespace(contact=torch.tensor(contact)) if contact else None
    own = {name: torch.tensor(value) for name, value in values.items()}
    return SimpleNamespace(commands={"velocity": command}, feet=feet, **own)


def value_of(function, given, **params):
    return function(given, command="velocity", **params).tolist()


def test_tracking_lin_vel():
    given = state(
        {"value": [[1.0, 0.2, 0.5], [0.0, 0.0, 0.0]], "standing": [False, True]},
        base_lin_vel=[[0.8, 0.3, 9.0], [0.02, -0.05, 9.0]],
    )
    expected = [math.exp(-5 * 0.05), math.exp(-10 * 0.07)]
    assert value_of(gait_rewards.tracking_lin_vel, given) == pytest.approx(expected)


def test_tracking_ang_vel():
    given = state(
        {"value": [[9.0, 9.0, 0.5], [0.0, 0.0, 0.0]], "standing": [False, True]},
        base_ang_vel=[[9.0, 9.0, 0.2], [9.0, 9.0, -0.1]],
    )
    expected = [math.exp(-5 * 0.09), math.exp(-10 * 0.1)]
    result = value_of(gait_rewards.tracking_ang_vel, given, walking=5.0, standing=10.0)
    assert result == pytest.approx(expected)


def test_track_vel_hard():
    given = state(
        {"value": [[0.5, 0.0, 0.5]]},
        base_lin_vel=[[0.2, 0.4, 9.0]],
        base_ang_vel=[[9.0, 9.0, 0.4]],
    )
    expected = (math.exp(-5) + math.exp(-1)) / 2 - 0.2 * (0.5 + 0.1)
    assert value_of(gait_rewards.track_vel_hard, given) == pytest.approx([expected])


@pytest.mark.parametrize(
    ("wanted", "speed", "score"),
    [
        (1.0, 0.4, -1.0),
        (1.0, 0.6, 1.2),
        (1.0, 1.1, 1.2),
        (1.0, 1.3, 0.0),
        (1.0, -0.9, -2.0),
        (-0.4, -0.3, 1.2),
        (-0.4, 0.01, -2.0),  # the wrong way counts before too slow
        (0.05, 0.05, 0.0),
        (-0.05, 1.0, 0.0),
    ],
)
def test_low_speed(wanted, speed, score):
    given = state({"value": [[wanted, 9.0, 9.0]]}, base_lin_vel=[[speed, 9.0, 9.0]])
    assert value_of(gait_rewards.low_speed, given) == pytest.approx([score])


def clock(*sines):
    """Attributes of a clock with these sines."""
    return {
        "sine": list(sines),
        "stance": [[sine > -0.1, sine < 0.1] for sine in sines],
        "standing": [False] * len(sines),
    }


def test_reference_pose_bends_the_leg_that_swings():
    given = state(clock(-0.5, 0.5, 0.05, -1.0), default_pose=[0.1, 0.2])
    pose = gait_rewards.reference_pose(given, "velocity", SWING)
    expected = [[0.1 + 0.15, 0.2], [0.1, 0.2 - 0.2], [0.1, 0.2], [0.4, 0.2]]
    torch.testing.assert_close(pose, torch.tensor(expected))
    relative = gait_observations.joint_pos_ref(
        SimpleNamespace(**vars(given), joint_pos=pose + 0.01), "velocity", SWING
    )
    torch.testing.assert_close(relative, torch.full((4, 2), 0.01), atol=1e-6, rtol=0)


def test_ref_joint_pos():
    gait = clock(0.5, -0.5, 0.0)
    gait["standing"] = [False, False, True]
    given = state(gait, default_pose=[0.1, 0.2], joint_pos=[[0.4, 0.4], [1.25, 0.2], [3.0, 3.0]])
    # Distances: (0.3, 0.4) -> 0.5; 1.0; standing.
    expected = [math.exp(-1) - 0.1, math.exp(-2) - 0.1, 1.0]
    assert value_of(gait_rewards.ref_joint_pos, given, swing=SWING) == pytest.approx(expected)


def test_feet_contact_number():
    given = state(
        {"stance": [[True, False], [True, True], [False, True]]},
        contact=[[True, False], [True, False], [True, False]],
    )
    result = value_of(gait_rewards.feet_contact_number, given)
    assert result == pytest.approx([1.0, 0.35, -0.3])


def test_swing_load():
    given = state(
        {"stance": [[True, False], [True, False], [True, True], [False, True], [True, False]]},
        foot_force=[[300.0, 100.0], [400.0, -90.0], [200.0, 200.0], [400.0, 0.0], [0.0, -5.0]],
    )
    result = value_of(gait_rewards.swing_load, given)
    assert result == pytest.approx([0.25, 0.0, 0.0, 1.0, 0.0])


def test_feet_clearance():
    given = state(
        {"stance": [[True, False], [False, False], [False, False], [False, True]]},
        foot_lift=[[0.04, 0.04], [0.04, 0.05], [0.03, 0.061], [0.02, 0.04]],
    )
    result = value_of(gait_rewards.feet_clearance, given, low=0.03, high=0.06)
    assert result == [1.0, 2.0, 0.0, 0.0]


def test_feet_air_time():
    given = state({"flight": [[0.3, 0.5], [0.0, 0.2]]})
    assert value_of(gait_rewards.feet_air_time, given) == pytest.approx([0.8, 0.2])


def test_base_height_is_above_the_feet_that_stand():
    given = state(
        {"stance": [[True, False], [True, True]]},
        foot_pos=[[[9.0, 9.0, 0.14], [9.0, 9.0, 0.5]], [[9.0, 9.0, 0.05], [9.0, 9.0, 0.07]]],
        base_pos=[[9.0, 9.0, 0.71], [9.0, 9.0, 0.64]],
    )
    params = {"target": 0.61, "ankle": 0.04, "sharpness": 100.0}
    expected = [1.0, math.exp(-1.0)]  # 0.71 - 0.10 and 0.64 - 0.02
    assert value_of(gait_rewards.base_height, given, **params) == pytest.approx(expected, rel=1e-4)


def test_stand_still():
    given = state(
        {"standing": [True, False]},
        default_pose=[0.1, 0.2],
        joint_pos=[[0.4, 0.6], [0.1, 0.2]],
    )
    expected = [math.exp(-0.25), 0.0]
    assert value_of(gait_rewards.stand_still, given) == pytest.approx(expected)


def test_observations():
    given = state(
        {
            "phase": [0.125, 0.0],
            "value": [[0.1, 0.2, 0.3], [0.0, 0.0, 0.0]],
            "stance": [[True, False], [True, True]],
        },
    )
    half = math.sqrt(0.5)
    phase = gait_observations.gait_phase(given, "velocity")
    torch.testing.assert_close(phase, torch.tensor([[half, half], [0.0, 1.0]]))
    assert value_of(gait_observations.lin_vel_command, given)[0] == pytest.approx([0.1, 0.2])
    assert value_of(gait_observations.ang_vel_command, given)[0] == pytest.approx([0.3])
    assert value_of(gait_observations.stance_mask, given) == [[1.0, 0.0], [1.0, 1.0]]
    push = SimpleNamespace(push=SimpleNamespace(velocity=torch.arange(5.0).unsqueeze(0)))
    assert gait_observations.push_lin_vel(push).tolist() == [[0.0, 1.0]]
    assert gait_observations.push_ang_vel(push).tolist() == [[2.0, 3.0, 4.0]]


def test_another_command_is_refused():
    given = SimpleNamespace(commands={"velocity": object()})
    with pytest.raises(ConfigError, match=r"^commands: a GaitCommand is needed, not object"):
        gait_rewards.feet_air_time(given, "velocity")
