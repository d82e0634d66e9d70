"""Commands as numbers: how they are drawn, held, followed and widened, on a hand-made state."""

import math
from types import SimpleNamespace

import pytest
import torch

from stridelab_envs.errors import ConfigError
from stridelab_envs.mdp.commands import Command, VelocityCommand, expect

DT = 0.02
RANGES = {"a": [-1.0, 3.0], "b": [0.5, 0.5], "c": [-0.2, -0.1]}
FULL = {"lin_vel_x": [-1.0, 1.0], "lin_vel_y": [-1.0, 1.0], "ang_vel_z": [-1.0, 1.0]}
NARROW = {"lin_vel_x": [0.2, 1.0], "lin_vel_y": [0.0, 0.0], "ang_vel_z": [0.0, 0.0]}


def state(num_envs=2, seed=0, velocity=(0.0, 0.0, 0.0)):
    """A state that knows velocities alone; ``velocity`` is forward, left, yaw rate."""
    made = SimpleNamespace(
        num_envs=num_envs, dt=DT, generator=torch.Generator().manual_seed(seed), commands={}
    )
    move(made, velocity)
    return made


def move(made, *velocities):
    rows = torch.tensor(velocities).expand(made.num_envs, 3)
    made.base_lin_vel_heading = torch.cat([rows[:, :2], torch.full((len(rows), 1), 9.0)], dim=1)
    made.yaw_rate = rows[:, 2]


def all_of(made):
    return torch.arange(made.num_envs)


def plain(made, resampling_time=(1.0, 3.0), ranges=RANGES):
    command = Command(made, ranges=ranges, resampling_time=resampling_time)
    command.reset(made, all_of(made))
    return command


class TestDraws:
    def test_uniform_within_each_range(self):
        made = state(20_000)
        command = plain(made)
        assert command.names == ("a", "b", "c")
        low, high = torch.tensor([-1.0, 0.5, -0.2]), torch.tensor([3.0, 0.5, -0.1])
        assert (command.value >= low).all()
        assert (command.value <= high).all()
        # Of a uniform number: mean (low + high) / 2, deviation (high - low) / sqrt(12); the
        # tolerance is six deviations of the mean and of the deviation of 20 000 draws.
        spread = (high - low) / math.sqrt(12.0)
        tolerance = 6.0 * (4.0 / math.sqrt(12.0)) / math.sqrt(20_000)
        mean = command.value.mean(dim=0)
        torch.testing.assert_close(mean, (low + high) / 2, rtol=0, atol=tolerance)
        torch.testing.assert_close(command.value.std(dim=0), spread, rtol=0, atol=tolerance)

    def test_columns_and_times_are_independent(self):
        command = plain(state(20_000), ranges={"a": [0.0, 1.0], "b": [0.0, 1.0]})
        numbers = torch.cat([command.value, command.time_left[:, None]], dim=1)
        correlation = torch.corrcoef(numbers.T) - torch.eye(3)
        assert correlation.abs().max() < 6.0 / math.sqrt(20_000)

    def test_columns_by_name(self):
        command = plain(state(5))
        assert torch.equal(command.column("c"), command.value[:, 2])
        assert command.column("b").tolist() == [0.5] * 5

    def test_times_are_whole_steps_over_the_whole_range(self):
        steps = plain(state(20_000), (0.1, 0.2)).time_left / DT
        torch.testing.assert_close(steps, steps.round())
        numbers, counts = steps.round().long().unique(return_counts=True)
        assert numbers.tolist() == [5, 6, 7, 8, 9, 10]
        # The ends are half as wide as the rest: 2000 and 4000 of 20 000.
        assert counts.tolist() == pytest.approx([2000, 4000, 4000, 4000, 4000, 2000], rel=0.12)

    def test_equal_seeds_give_equal_commands(self):
        first, second, other = (plain(state(6, seed=seed)) for seed in (3, 3, 4))
        assert torch.equal(first.value, second.value)
        assert torch.equal(first.time_left, second.time_left)
        assert not torch.equal(first.value, other.value)


class TestTime:
    # 2 s and 8 s: enough steps for rounding to add up to more than 1e-6 s.
    @pytest.mark.parametrize("seconds", [0.02, 0.06, 1.0, 2.0, 8.0, 20.0])
    def test_a_command_is_held_for_exactly_its_time(self, seconds):
        made = state()
        command = plain(made, (seconds, seconds))
        steps, held = round(seconds / DT), []
        for _ in range(3):
            before = command.value.clone()
            count = 0
            while torch.equal(command.value, before):
                command.tick(made)
                count += 1
                last = command.expiring.tolist()
                command.advance(made)
                assert last == [count == steps] * 2
            held.append(count)
        assert held == [steps] * 3

    def test_less_than_a_step_is_one_step(self):
        made = state()
        command = plain(made, (0.001, 0.001))
        command.tick(made)
        assert command.expiring.all()

    def test_only_what_has_expired_is_drawn_anew(self):
        made = state(3)
        command = plain(made)
        command.time_left[:] = torch.tensor([0.02, 0.04, 0.02])
        before = command.value.clone()
        command.tick(made)
        command.advance(made)
        assert (command.value != before).any(dim=1).tolist() == [True, False, True]
        assert command.time_left[1].item() == pytest.approx(0.02)
        assert (command.time_left[[0, 2]] >= 1.0 - 1e-6).all()

    def test_a_reset_draws_for_the_environments_named(self):
        made = state(3)
        command = plain(made)
        command.tick(made)
        before, left = command.value.clone(), command.time_left.clone()
        command.reset(made, torch.tensor([1]))
        assert (command.value != before).any(dim=1).tolist() == [False, True, False]
        assert (command.time_left != left).tolist() == [False, True, False]

    def test_what_was_saved_goes_on_alike(self):
        made, other = state(4, seed=1), state(4, seed=2)
        source, target = plain(made, (0.04, 0.1)), plain(other, (0.04, 0.1))
        saved, generator = source.get_state(), made.generator.get_state()
        expected = follow(source, made)
        other.generator.set_state(generator)
        target.set_state(saved)
        assert torch.equal(follow(target, other), expected)


def follow(command, made, steps=12):
    """The commands of the next steps, ``(steps, num_envs, columns)``."""
    values = []
    for _ in range(steps):
        command.tick(made)
        command.advance(made)
        values.append(command.value.clone())
    return torch.stack(values)


WRONG = {
    "one number": ({"ranges": {"a": [1.0]}}, "a", "[low, high]"),
    "low above high": ({"ranges": {"a": [1.0, 0.0]}}, "a", "[1.0, 0.0]"),
    "not a number": ({"ranges": {"a": [math.nan, 1.0]}}, "a", "nan"),
    "time": ({"resampling_time": [3.0, 1.0]}, "resampling_time", "[3.0, 1.0]"),
}


@pytest.mark.parametrize(("changes", "path", "hint"), WRONG.values(), ids=WRONG)
def test_wrong_bounds(changes, path, hint):
    with pytest.raises(ConfigError) as error:
        Command(state(), **({"ranges": RANGES, "resampling_time": [1.0, 3.0]} | changes))
    assert error.value.path == path
    assert hint in error.value.message
    assert "\n" not in str(error.value)


def test_a_term_gets_the_kind_it_needs():
    command = plain(state())
    assert expect(command, Command) is command
    with pytest.raises(ConfigError, match=r"^commands: a VelocityCommand is needed, not Command$"):
        expect(command, VelocityCommand)


def walking(made, **changes):
    settings = {"ranges": FULL, "resampling_time": [8.0, 8.0]} | changes
    command = VelocityCommand(made, **settings)
    command.reset(made, all_of(made))
    return command


class TestVelocity:
    def test_the_columns_are_given(self):
        turned = {name: FULL[name] for name in ("lin_vel_y", "lin_vel_x", "ang_vel_z")}
        with pytest.raises(ConfigError, match=r"^ranges: must name lin_vel_x, lin_vel_y, ang_vel"):
            walking(state(), ranges=turned)

    def test_the_mean_starts_with_the_velocity_at_hand(self):
        made = state(velocity=(0.3, -0.1, 0.2))
        mean = walking(made).mean_velocity
        torch.testing.assert_close(mean, torch.tensor([[0.3, -0.1, 0.2]] * 2))

    def test_the_mean_is_exponential(self):
        # A step to v: after a time t the mean is v (1 - exp(-t / T)).
        made = state()
        command = walking(made, smoothing_time=0.2)
        move(made, (0.8, -0.4, 0.5))
        for step in range(1, 31):
            command.tick(made)
            share = 1.0 - math.exp(-step * DT / 0.2)
            expected = torch.tensor([[0.8, -0.4, 0.5]] * 2) * share
            torch.testing.assert_close(command.mean_velocity, expected)

    def test_errors_are_of_means_over_windows(self):
        made = state(1)
        command = walking(made, window=0.06)  # three steps
        speeds = [(0.1, 0.0, -0.4), (0.7, 0.0, 0.4), (0.4, 0.3, 0.0)]
        asked = [(0.5, 0.1, 0.2), (0.5, 0.1, 0.2), (-0.1, 0.1, 0.5)]
        for window in range(2):
            for step, (speed, wanted) in enumerate(zip(speeds, asked, strict=True)):
                command.value[0] = torch.tensor(wanted)
                move(made, speed)
                command.tick(made)
                assert command.error.isnan().all().item() == (step < 2), (window, step)
            # Means of speed (0.4, 0.1, 0.0) and of what was asked for (0.3, 0.1, 0.3).
            assert command.error[0].tolist() == pytest.approx([0.1, 0.0, -0.3], abs=1e-6)

    def test_a_swinging_pelvis_is_no_error(self):
        made = state(1)
        command = walking(made)
        command.value[0] = torch.tensor([0.5, 0.0, 0.0])
        for step in range(50):
            swing = math.sin(2 * math.pi * step / 25)  # two steps of 0.5 s in the window of 1 s
            move(made, (0.5 + 0.2 * swing, 0.3 * swing, 1.5 * swing))
            command.tick(made)
        assert command.error[0].tolist() == pytest.approx([0.0] * 3, abs=1e-5)

    def test_a_new_episode_starts_a_new_window(self):
        made = state(2)
        command = walking(made, window=0.06)
        command.value[:] = 0.0
        move(made, (5.0, 5.0, 5.0))
        command.tick(made)
        command.tick(made)
        command.reset(made, torch.tensor([1]))
        command.value[:] = 0.0
        move(made, (0.6, 0.6, 0.6))
        command.tick(made)
        assert command.error[0].tolist() == pytest.approx([10.6 / 3] * 3)
        assert command.error[1].isnan().all()
        command.tick(made)
        command.tick(made)
        assert command.error[0].isnan().all()
        assert command.error[1].tolist() == pytest.approx([0.6] * 3)

    def test_what_was_saved_goes_on_alike(self):
        made, other = state(3, seed=1), state(3, seed=2)
        settings = {"start_ranges": NARROW, "curriculum": True, "window": 0.06}
        source, target = walking(made, **settings), walking(other, **settings)
        source.value[:] = 0.0
        for _ in range(4):  # one window closed, the next one begun
            source.tick(made)
        assert source.progress == pytest.approx(0.02)
        target.set_state(source.get_state())
        other.generator.set_state(made.generator.get_state())
        for command, own in ((source, made), (target, other)):
            move(own, (0.1, 0.2, 0.3))
            command.tick(own)
            command.tick(own)
            command.reset(own, all_of(own))
        for name in ("value", "low", "high", "mean_velocity", "error", "time_left"):
            left, right = getattr(source, name), getattr(target, name)
            torch.testing.assert_close(left, right, rtol=0, atol=0, equal_nan=True)
        assert target.progress == source.progress


class TestCurriculum:
    def start(self, num_envs=10, **changes):
        made = state(num_envs)
        settings = {"start_ranges": NARROW, "curriculum": True, "window": DT}
        return made, walking(made, **(settings | changes))

    def test_without_one_the_ranges_are_whole(self):
        for changes in ({"curriculum": False}, {"start_ranges": None}):
            _, command = self.start(**changes)
            assert command.low.tolist() == [-1.0] * 3
            assert command.high.tolist() == [1.0] * 3
        assert self.start(curriculum=False)[1].progress == 1.0

    def test_it_begins_narrow(self):
        _, command = self.start(2000)
        assert command.progress == 0.0
        assert command.value[:, 0].min() >= 0.2
        assert command.value[:, 0].min() < 0.22
        assert command.value[:, 1:].abs().max() == 0.0

    def test_it_never_leaves_the_whole_ranges(self):
        ranges = FULL | {"lin_vel_x": [-0.5, 0.5], "ang_vel_z": [0.1, 0.3]}
        _, command = self.start(2000, ranges=ranges)
        assert command.low.tolist() == pytest.approx([0.2, 0.0, 0.1])
        assert command.high.tolist() == pytest.approx([0.5, 0.0, 0.1])
        assert command.value[:, 0].max() <= 0.5

    @pytest.mark.parametrize(("good", "widens"), [(6, False), (7, True)])
    def test_more_than_three_fifths_must_follow_well(self, good, widens):
        made, command = self.start()
        command.value[:] = 0.0
        move(made, *[(0.0, 0.0, 0.0)] * good, *[(0.0, 0.0, 0.31)] * (10 - good))
        command.tick(made)
        assert command.progress == pytest.approx(0.02 if widens else 0.0)

    @pytest.mark.parametrize(
        ("velocity", "good"),
        [
            ((0.24, -0.24, 0.29), True),
            ((0.26, 0.0, 0.0), False),
            ((0.0, -0.26, 0.0), False),
            ((0.0, 0.0, -0.31), False),
        ],
    )
    def test_what_counts_as_well(self, velocity, good):
        made, command = self.start()
        command.value[:] = 0.0
        move(made, velocity)
        command.tick(made)
        assert (command.progress > 0.0) == good

    def test_half_way_lies_in_the_middle(self):
        made, command = self.start()
        command.value[:] = 0.0
        for _ in range(25):
            command.tick(made)
        assert command.progress == pytest.approx(0.5)
        torch.testing.assert_close(command.low, torch.tensor([-0.4, -0.5, -0.5]))
        torch.testing.assert_close(command.high, torch.tensor([1.0, 0.5, 0.5]))

    def test_it_ends_with_the_whole_ranges(self):
        made, command = self.start()
        command.value[:] = 0.0
        for _ in range(60):
            command.tick(made)
        assert command.progress == 1.0
        assert command.low.tolist() == [-1.0] * 3
        assert command.high.tolist() == [1.0] * 3

    def test_the_pace_does_not_depend_on_when_windows_close(self):
        """Environments that close their windows one after another widen as much as together."""
        made, command = self.start(4, window=4 * DT)
        command.value[:] = 0.0
        command._steps[:] = torch.arange(4.0)
        for _ in range(4):
            command.tick(made)
        assert command.progress == pytest.approx(0.02)


class TestByHand:
    def test_it_holds_through_draws_and_episodes(self):
        made = state()
        command = plain(made)
        told = torch.tensor([2.0, 0.5, -0.15])
        command.give(made, told)
        for _ in range(400):  # longer than the longest time a command is held
            command.tick(made)
            command.advance(made)
            torch.testing.assert_close(command.value, told.expand(2, 3))
        command.reset(made, torch.tensor([1]))
        torch.testing.assert_close(command.value, told.expand(2, 3))

    def test_what_is_told_is_a_copy(self):
        made = state()
        command = plain(made)
        told = torch.tensor([2.0, 0.5, -0.15])
        command.give(made, told)
        told.zero_()
        command.reset(made, all_of(made))
        assert command.value[0, 0] == 2.0

    def test_none_draws_again(self):
        made = state()
        command = plain(made)
        command.give(made, torch.tensor([2.0, 0.5, -0.15]))
        command.give(made, None)
        assert command.value[0, 0] != 2.0
        assert command.value[0, 0] != command.value[1, 0]
