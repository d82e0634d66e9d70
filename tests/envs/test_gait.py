"""The gait clock: who is to stand when, and the pose it wants, by hand."""

import math
from types import SimpleNamespace

import pytest
import torch

from stridelab_envs.mdp import gait
from stridelab_envs.robots import get_robot
from stridelab_envs.tasks import h1

PERIOD = 0.8
# Phase as a share of the cycle, sine, and whether the left and right foot are to stand.
PHASES = [
    (0.0, 0.0, (True, True)),
    (0.015, 0.0941, (True, True)),  # both while the sine is below 0.1
    (0.25, 1.0, (True, False)),
    (0.5, 0.0, (True, True)),
    (0.52, -0.1253, (False, True)),
    (0.75, -1.0, (False, True)),
    (0.99, -0.0628, (True, True)),
    (1.25, 1.0, (True, False)),
    (10.75, -1.0, (False, True)),
]


def at(*shares, contact=None):
    time = torch.tensor(shares) * PERIOD
    feet = SimpleNamespace(contact=torch.tensor(contact) if contact else None)
    return SimpleNamespace(gait_time=time, num_envs=len(shares), feet=feet)


def test_sine_and_stance():
    given = at(*(share for share, _, _ in PHASES))
    sine = gait.clock_sine(given, PERIOD)
    assert sine.tolist() == pytest.approx([sine for _, sine, _ in PHASES], abs=1e-4)
    stand = gait.meant_to_stand(given, PERIOD)
    assert [tuple(row) for row in stand.tolist()] == [stand for _, _, stand in PHASES]


def test_the_feet_take_turns():
    """Half a cycle later the other foot does the same; each stands for more than half of it."""
    shares = torch.linspace(0.0, 1.0, 401)[:-1]
    now = gait.meant_to_stand(at(*shares), PERIOD)
    later = gait.meant_to_stand(at(*(shares + 0.5)), PERIOD)
    assert (now == later.flip(1)).float().mean() > 0.99  # rounding where they change over
    # Both stand while |sine| < 0.1, asin(0.1) / (pi / 2) = 6.4 % of the time.
    assert now.all(dim=1).float().mean().item() == pytest.approx(0.064, abs=0.01)
    assert now.any(dim=1).all()


@pytest.mark.parametrize(
    ("contact", "expected"),
    [
        # The left foot is to stand, the right one to swing.
        ([True, False], 1.0),
        ([True, True], 0.35),
        ([False, False], 0.35),
        ([False, True], -0.3),
    ],
)
def test_contact_schedule(contact, expected):
    value = gait.contact_schedule(at(0.25, contact=[contact]), PERIOD)
    assert value.tolist() == pytest.approx([expected])


@pytest.fixture
def walker(make_h1):
    """Five robots at the start, a quarter, a half, three quarters and 2 % of the cycle."""
    env = make_h1("h1_walk", num_envs=5)
    env.state.episode_step[:] = torch.tensor([0, 10, 20, 30, 1])
    env.state._cache.clear()
    return env


SETTINGS = {"period": PERIOD, "amplitude": 0.3, "joints": h1.LEGS}


def test_reference_pose(walker):
    state = walker.state
    pose = gait.reference_pose(state, **SETTINGS)
    moved = dict(zip(get_robot("h1").joints, (pose - state.default_pose).T, strict=True))
    # A quarter: the left foot stands, the right one swings, and three quarters the other way.
    # After one step of 0.02 s the sine is 0.156, as is the share of the amplitude.
    eighth = 0.3 * math.sin(2 * math.pi * 0.02 / PERIOD)
    shares = {"right": [0.0, 0.3, 0.0, 0.0, eighth], "left": [0.0, 0.0, 0.0, 0.3, 0.0]}
    factors = {"hip_pitch": -1.0, "knee": 2.0, "ankle": -1.0}
    for joint, values in moved.items():
        side, _, name = joint.partition("_")
        expected = [factors.get(name, 0.0) * share for share in shares.get(side, [0.0] * 5)]
        assert values.tolist() == pytest.approx(expected, abs=1e-5), joint


def test_the_reference_keeps_the_sole_level_and_clear_of_the_ground(walker):
    state = walker.state
    pose = gait.reference_pose(state, **SETTINGS)
    model = walker.sim.model
    low, high = model.jnt_range[1:].T
    assert (pose.numpy() > low).all()
    assert (pose.numpy() < high).all()
    heights = state.foot_pos[:, :, 2].clone()
    orientation = walker.sim.read("xquat")[:, state._foot_bodies].clone()
    walker.sim.qpos[:, 7:] = pose.double()
    walker.sim.forward(torch.arange(5))
    state._cache.clear()
    lifted = state.foot_pos[:, :, 2] - heights
    # Thigh and shank of 0.4 m: at knee angle 1.4 the foot is 0.8 (cos 0.4 - cos 0.7) higher.
    expected = 0.8 * (math.cos(0.4) - math.cos(0.7))
    assert lifted[1].tolist() == pytest.approx([0.0, expected], abs=1e-4)
    assert lifted[3].tolist() == pytest.approx([expected, 0.0], abs=1e-4)
    turned = walker.sim.read("xquat")[:, state._foot_bodies]
    torch.testing.assert_close(turned, orientation, atol=1e-5, rtol=0)


def test_reference_tracking(walker):
    state = walker.state
    group = {"group": "legs", **SETTINGS}
    default = gait.reference_tracking(state, **group)
    # Standing in the default pose: 0 away, or the swing leg's (A, 2A, A) = sqrt(6) A.
    distances = [math.sqrt(6) * a for a in (0.0, 0.3, 0.0, 0.3, 0.3 * math.sin(math.pi / 20))]
    expected = [math.exp(-2 * d) - 0.2 * min(d, 0.5) for d in distances]
    assert default.tolist() == pytest.approx(expected, abs=1e-5)
    assert distances[1] > 0.5  # the second term is at its bound
    # Arms are none of its business.
    arm = 7 + state.joint_ids(("left_elbow",))[0]
    walker.sim.qpos[:, arm] += 1.0
    walker.sim.forward(torch.arange(5))
    state._cache.clear()
    torch.testing.assert_close(gait.reference_tracking(state, **group), default)
