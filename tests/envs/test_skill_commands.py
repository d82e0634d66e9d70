"""What the commands of the H1's skills mean: targets and errors by hand, draws by statistics."""

import math

import pytest
import torch

from stridelab_envs.mdp.skills import FootCommand
from stridelab_envs.tasks import h1
from stridelab_envs.tasks.h1_reach import ARM_LENGTH

WRISTS = [[0.2985, 0.2135, 1.0676], [0.2985, -0.2135, 1.0676]]
"""Wrists of the standing robot [m]: at the pelvis + 0.0866 m, the pelvis at 0.981 m."""


def place(env, index, *, x=0.0, y=0.0, dz=0.0, yaw=0.0):
    """Put a robot somewhere else, as it is, and make everything derived current."""
    env.sim.qpos[index, 0] += x
    env.sim.qpos[index, 1] += y
    env.sim.qpos[index, 2] += dz
    quat = [math.cos(yaw / 2), 0.0, 0.0, math.sin(yaw / 2)]
    env.sim.qpos[index, 3:7] = torch.tensor(quat, dtype=torch.float64)
    env.sim.forward(torch.arange(env.num_envs))
    env.state._cache.clear()


class TestWrists:
    @pytest.fixture
    def env(self, make_h1):
        return make_h1("h1_reach", num_envs=3)

    @pytest.fixture
    def command(self, env):
        return env.state.commands["wrists"]

    def test_no_offset_is_where_the_wrists_are_when_standing(self, env, command):
        torch.testing.assert_close(command.default, torch.tensor(WRISTS), atol=2e-4, rtol=0)
        command.value[:] = 0.0
        torch.testing.assert_close(command.target()[1], command.default)
        assert command.error(env.state).abs().max() < 1e-6

    def test_left_comes_before_right(self, env, command):
        assert command.names[:3] == ("left_x", "left_y", "left_z")
        command.value[:] = torch.tensor([0.1, 0.2, 0.3, -0.1, -0.2, -0.25])
        moved = command.target() - command.default
        torch.testing.assert_close(moved[0], torch.tensor([[0.1, 0.2, 0.3], [-0.1, -0.2, -0.25]]))
        # What the wrists lack: the error is where they are minus where they should be.
        torch.testing.assert_close(command.error(env.state), -moved, atol=1e-6, rtol=0)

    def test_targets_go_with_the_robot_and_turn_with_its_heading(self, env, command):
        command.value[:] = torch.tensor([0.1, 0.2, 0.3, -0.1, -0.2, -0.25])
        before = command.error(env.state).clone()
        place(env, 0, x=7.0, y=-3.0, yaw=2.5)
        torch.testing.assert_close(command.error(env.state), before, atol=1e-5, rtol=0)

    def test_targets_stay_at_their_height_when_the_robot_squats(self, env, command):
        command.value[:] = 0.0
        place(env, 1, dz=-0.2, yaw=-1.0)
        expected = torch.zeros(3, 2, 3)
        expected[1, :, 2] = -0.2  # the wrists are too low now
        torch.testing.assert_close(command.error(env.state), expected, atol=1e-5, rtol=0)

    def test_reachable(self, command):
        # Shoulders at (0, +-0.2135, 1.4199): standing wrists are 0.462 m away from them, a corner
        # of the box (0.5485, 0.25, -0.602), 0.852 m. Straight down the arm spans 0.614 m.
        down = [-0.2985, 0.0, 1.4199 - 1.0676 - 0.613]
        command.value[0] = torch.tensor([0.0] * 6)
        command.value[1] = torch.tensor([0.25, 0.25, -0.25, 0.0, 0.0, 0.0])
        command.value[2] = torch.tensor([*down, down[0], down[1], down[2] - 0.002])
        assert command.reachable().tolist() == [[True, True], [False, True], [True, False]]

    def test_three_in_ten_targets_are_out_of_reach(self, make_h1):
        command = make_h1("h1_reach", num_envs=1).state.commands["wrists"]
        unit = torch.rand(20_000, 6, generator=torch.Generator().manual_seed(0))
        command.value = command.sample(unit)
        lost = 1.0 - command.reachable().float().mean(dim=0)
        # 31 % of the box lies beyond 0.614 m of the shoulder; six deviations are 2 %.
        assert lost.tolist() == pytest.approx([0.31, 0.31], abs=0.02)
        assert ARM_LENGTH == 0.614


class TestHeight:
    def test_error_is_height_minus_command(self, make_h1):
        env = make_h1("h1_squat")
        command = env.state.commands["height"]
        command.value[:, 0] = torch.tensor([0.981, 0.7])
        assert command.error(env.state).shape == (2, 1)
        place(env, 1, x=4.0, dz=-0.081, yaw=1.0)
        assert command.error(env.state)[:, 0].tolist() == pytest.approx([0.0, 0.2], abs=1e-6)


FEET = torch.tensor([[[0.0, 0.2, 0.07], [0.0, -0.2, 0.07]]])
STRAIGHT = torch.zeros(1)
# Command dx, dy, foot and the planar targets of left and right foot, from FEET at yaw 0.
PLACES = {
    "left forward": ([0.2, 0.05, -1.0], [[0.2, 0.25], [0.0, -0.2]]),
    "right forward": ([0.2, 0.05, 1.0], [[0.0, 0.2], [0.2, -0.15]]),
    "zero is the right foot": ([0.1, 0.0, 0.0], [[0.0, 0.2], [0.1, -0.2]]),
    "left back and out": ([-0.1, 0.1, -0.3], [[-0.1, 0.3], [0.0, -0.2]]),
    "left too close": ([0.0, -0.25, -1.0], [[0.0, 0.0], [0.0, -0.2]]),  # 0.15 apart: to 0.2
    "right too close": ([0.0, 0.25, 1.0], [[0.0, 0.2], [0.0, 0.0]]),
    "left too far out": ([0.0, 0.25, -1.0], [[0.0, 0.35], [0.0, -0.2]]),  # 0.65 apart: to 0.55
    "right too far out": ([0.0, -0.25, 1.0], [[0.0, 0.2], [0.0, -0.35]]),
}


class TestFeet:
    @pytest.fixture
    def env(self, make_h1):
        return make_h1("h1_step", num_envs=4)

    @pytest.fixture
    def command(self, env):
        return env.state.commands["feet"]

    @pytest.mark.parametrize(("value", "planar"), PLACES.values(), ids=PLACES)
    def test_place(self, command, value, planar):
        targets = command.place(FEET, STRAIGHT, torch.tensor([value]))
        expected = torch.tensor([planar])
        torch.testing.assert_close(targets[..., :2], expected, atol=1e-6, rtol=0)

    def test_a_foot_far_ahead_is_held_back(self, command):
        feet = FEET.clone()
        feet[0, 0, 0] = 0.25  # the left one leads already
        targets = command.place(feet, STRAIGHT, torch.tensor([[0.25, 0.0, -1.0]]))
        assert targets[0, 0].tolist() == pytest.approx([0.35, 0.2, 0.07])  # not 0.5

    def test_crossed_feet_are_set_apart(self, command):
        """A robot that has come to stand with crossed feet is led out of it."""
        feet = FEET.clone()
        feet[0, 0, 1] = -0.3
        targets = command.place(feet, STRAIGHT, torch.tensor([[0.0, 0.0, -1.0]]))
        assert targets[0, :, 1].tolist() == pytest.approx([0.0, -0.2])  # 0.2 left of the right one

    def test_the_frame_is_that_of_the_heading(self, command):
        # Facing the world's y: forward is +y, left is -x; FEET are turned along.
        feet = torch.tensor([[[-0.2, 5.0, 0.07], [0.2, 5.0, 0.07]]])
        targets = command.place(feet, torch.tensor([math.pi / 2]), torch.tensor([[0.2, 0.05, -1]]))
        expected = torch.tensor([[[-0.25, 5.2], [0.2, 5.0]]])
        torch.testing.assert_close(targets[..., :2], expected, atol=1e-6, rtol=0)

    def test_only_the_chosen_foot_moves_and_within_its_bounds(self, command):
        generator = torch.Generator().manual_seed(0)
        count = 5000
        yaw = (torch.rand(count, generator=generator) - 0.5) * 6.0
        value = command.sample(torch.rand(count, 3, generator=generator))
        feet = torch.rand(count, 2, 3, generator=generator)
        targets = command.place(feet, yaw, value)
        right = value[:, 2] >= 0.0
        assert right.float().mean().item() == pytest.approx(0.5, abs=0.05)
        rows = torch.arange(count)
        stays = (~right).long()
        assert torch.equal(targets[rows, stays], feet[rows, stays])
        between = targets[:, 0] - targets[:, 1]  # left as seen from right
        ahead = torch.cos(yaw) * between[:, 0] + torch.sin(yaw) * between[:, 1]
        aside = torch.cos(yaw) * between[:, 1] - torch.sin(yaw) * between[:, 0]
        assert ahead.abs().max() <= 0.35 + 1e-5
        assert aside.min() >= 0.2 - 1e-5
        assert aside.max() <= 0.55 + 1e-5

    def test_the_anchor_is_where_the_feet_are_at_the_draw(self, env, command):
        for index in range(4):
            place(env, index, x=float(index), yaw=0.3 * index)
        feet = env.state.foot_pos.clone()
        command.draw(env.state, torch.tensor([1, 2]))
        expected = command.place(feet, env.state.base_heading, command.value)
        torch.testing.assert_close(command.targets[1:3], expected[1:3])
        # The others keep theirs, wherever they go; all still have those of the standing start.
        assert command.targets[3, :, 0].max() < 0.5
        place(env, 1, x=1.0)
        torch.testing.assert_close(command.targets[1:3], expected[1:3])

    def test_error_is_feet_minus_targets_in_the_heading_frame(self, env, command):
        command.targets = env.state.foot_pos.clone()
        assert command.error(env.state).abs().max() < 1e-6
        # The robot turns on the spot and moves 0.1 m along its new heading, the world's y.
        command.targets[0] = env.state.foot_pos[0]
        place(env, 0, yaw=math.pi / 2)
        command.targets[0] = env.state.foot_pos[0]
        place(env, 0, y=0.1, dz=0.5, yaw=math.pi / 2)
        expected = torch.tensor([[0.1, 0.0], [0.1, 0.0]])
        torch.testing.assert_close(command.error(env.state)[0], expected, atol=1e-5, rtol=0)

    def test_a_new_episode_has_targets_near_its_feet(self, env, command):
        place(env, 2, x=50.0)
        env._restart(torch.tensor([2]))
        moved = (command.targets - env.state.foot_pos)[2, :, :2]
        assert (moved.abs().amax(dim=1) > 0).sum() == 1
        assert moved.abs().max() <= 0.25 + 1e-5

    def test_age_and_foot_of_a_command(self, env, command):
        assert torch.equal(command.moving, (command.value[:, 2] >= 0.0).long())
        assert command.age.tolist() == [0.0] * 4
        for _ in range(5):
            command.tick(env.state)
        command.draw(env.state, torch.tensor([1]))
        assert command.age.tolist() == pytest.approx([0.1, 0.0, 0.1, 0.1])
        assert torch.equal(command.moving, (command.value[:, 2] >= 0.0).long())

    def test_targets_are_saved_too(self, make_h1, env, command):
        other = make_h1("h1_step", num_envs=4, seed=9).state.commands["feet"]
        assert isinstance(other, FootCommand)
        assert not torch.equal(other.targets, command.targets)
        command.tick(env.state)
        other.set_state(command.get_state())
        for name in ("targets", "moving", "age", "value"):
            assert torch.equal(getattr(other, name), getattr(command, name)), name


def test_ranges_are_those_a_high_level_policy_sends():
    assert list(h1.WRIST_RANGES.values()) == [
        [-0.10, 0.25], [-0.10, 0.25], [-0.25, 0.25], [-0.10, 0.25], [-0.25, 0.10], [-0.25, 0.25]
    ]  # fmt: skip
    assert set(map(tuple, h1.VELOCITY_RANGES.values())) == {(-1.0, 1.0)}
    assert h1.HEIGHT_RANGE == {"height": [0.65, 1.03]}
    assert h1.FOOT_RANGES == {"dx": [-0.25, 0.25], "dy": [-0.25, 0.25], "foot": [-1.0, 1.0]}
