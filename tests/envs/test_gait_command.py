"""Walk, stand, walk: segments, clock, flights and curriculum, by hand-made states."""

import math
from types import SimpleNamespace

import pytest
import torch

from stridelab_envs.mdp.gait_command import GaitCommand

RANGES = {"lin_vel_x": [-0.4, 1.2], "lin_vel_y": [-0.4, 0.4], "ang_vel_z": [-0.6, 0.6]}
STEPS = 2400


def make_state(count, *, steps=STEPS, seed=0):
    """Robots that stand still on both feet."""
    return SimpleNamespace(
        num_envs=count,
        dt=0.01,
        max_episode_steps=steps,
        generator=torch.Generator().manual_seed(seed),
        robot=SimpleNamespace(feet=("left_foot", "right_foot")),
        feet=SimpleNamespace(contact=torch.ones(count, 2, dtype=torch.bool)),
        base_lin_vel=torch.zeros(count, 3),
        base_lin_vel_heading=torch.zeros(count, 3),
        yaw_rate=torch.zeros(count),
    )


def make_command(state, *, curriculum=False, **changes):
    params = {
        "ranges": RANGES,
        "walk_time": [4.0, 6.0],
        "stand_time": [2.0, 3.0],
        "period": 0.7,
        "sharpness": [5.0, 10.0],
        "widest_x": [-0.75, 1.5],
    }
    command = GaitCommand(state, curriculum=curriculum, **(params | changes))
    command.reset(state, torch.arange(state.num_envs))
    return command


def make_step(command, state):
    command.tick(state)
    command.advance(state)


class TestSchedule:
    @pytest.fixture(scope="class")
    def episode(self):
        """Commands in force in each step of one episode of 400 robots, ``(2400, 400, 3)``."""
        state = make_state(400)
        command = make_command(state)
        values = []
        for _ in range(STEPS):
            values.append(command.value.clone())
            make_step(command, state)
        return torch.stack(values)

    def test_walks_stands_and_walks_again(self, episode):
        standing = (episode == 0.0).all(dim=2)
        changes = (standing[1:] != standing[:-1]).sum(dim=0)
        assert torch.equal(changes, torch.full((400,), 2))
        assert not standing[0].any()
        assert not standing[-1].any()

    def test_a_segment_holds_one_command(self, episode):
        new = (episode[1:] != episode[:-1]).any(dim=2).sum(dim=0)
        assert torch.equal(new, torch.full((400,), 2))

    def test_share_of_standing(self, episode):
        share = (episode == 0.0).all(dim=2).float().mean(dim=0)
        # 2 / (2 + 6 + 6) and 3 / (3 + 4 + 4) are the extremes.
        assert share.min() > 2 / 14 - 1e-3
        assert share.max() < 3 / 11 + 1e-3
        # The mean of the three ratios is 0.2003 by integration; 400 robots give it to 0.004.
        assert share.mean() == pytest.approx(0.2003, abs=0.004)

    def test_velocities_fill_their_ranges(self, episode):
        first = episode[0]
        for column, (low, high) in enumerate(RANGES.values()):
            assert first[:, column].min() == pytest.approx(low, abs=0.02 * (high - low))
            assert first[:, column].max() == pytest.approx(high, abs=0.02 * (high - low))
            assert first[:, column].mean() == pytest.approx((low + high) / 2, abs=0.08)

    def test_nothing_is_drawn_after_the_last_segment(self):
        state = make_state(3)
        command = make_command(state)
        for _ in range(STEPS):
            make_step(command, state)
        last = command.value.clone()
        make_step(command, state)
        assert torch.equal(command.value, last)

    def test_time_left_ends_at_exactly_zero(self):
        state = make_state(50)
        command = make_command(state)
        end = command._ends[:, 0].max()
        for _ in range(int(end)):
            command.tick(state)
            assert torch.equal(command.expiring, command._elapsed == command._segment_end)
            command.advance(state)


class TestClock:
    @pytest.fixture
    def walking(self):
        state = make_state(2)
        command = make_command(state)
        command._start_phase = torch.tensor([0.0, 0.5])
        command.value = torch.tensor([[0.5, 0.0, 0.0], [0.0, 0.0, 0.3]])
        return command, state

    def test_phase_advances_with_the_period(self, walking):
        command, state = walking
        for _ in range(7):
            command.tick(state)
        assert command.phase.tolist() == pytest.approx([0.1, 0.6])
        assert command.sine[0] == pytest.approx(math.sin(0.2 * math.pi), abs=1e-6)

    def test_standing_holds_the_clock_and_walking_starts_it_anew(self, walking):
        command, state = walking
        for _ in range(20):
            command.tick(state)
        command.value[1] = torch.tensor([0.03, 0.0, 0.04])  # norm 0.05: stand
        command.tick(state)
        assert command.standing.tolist() == [False, True]
        assert command.phase.tolist() == pytest.approx([0.3, 0.0])
        assert command.stance[1].tolist() == [True, True]
        command.value[1, 0] = 0.04
        for _ in range(7):
            command.tick(state)
        assert command.phase[1] == pytest.approx(0.6)

    def test_stance_by_phase(self, walking):
        command, state = walking
        command._start_phase = torch.tensor([0.0, 0.5])
        seen = []
        for _ in range(70):
            command.tick(state)
            seen.append(command.stance[0].tolist())
        # |sin| < 0.1 for 1.1 ticks on either side of a half cycle.
        assert seen[0] == [True, True]
        assert seen[1:33] == [[True, False]] * 32
        assert seen[33:36] == [[True, True]] * 3
        assert seen[36:68] == [[False, True]] * 32
        assert seen[68:] == [[True, True]] * 2

    def test_start_phase_is_drawn(self):
        command = make_command(make_state(1000))
        assert set(command._start_phase.tolist()) == {0.0, 0.5}
        assert command._start_phase.mean() == pytest.approx(0.25, abs=0.03)


def test_flights():
    state = make_state(1)
    command = make_command(state)
    command.value[:] = torch.tensor([0.5, 0.0, 0.0])
    command._start_phase[:] = 0.0
    flights = []
    for tick in range(1, 71):
        # The right foot leaves at tick 5 and lands at 20, within its swing; the left one leaves
        # at 40 and is still in the air when the clock wants it down, at tick 69.
        state.feet.contact = torch.tensor([[tick < 40, not 5 <= tick < 20]])
        command.tick(state)
        flights.append(command.flight[0].tolist())
    landed = {i + 1: flight for i, flight in enumerate(flights) if any(flight)}
    # A flight begins one step after the last contact; the step of landing counts.
    assert landed.keys() == {20, 69}
    assert landed[20] == pytest.approx([0.0, 0.15])
    assert landed[69] == pytest.approx([0.29, 0.0])


def test_long_flights_count_half_a_second():
    state = make_state(1)
    command = make_command(state, period=10.0)
    command.value[:] = torch.tensor([0.5, 0.0, 0.0])
    command._start_phase[:] = 0.0
    for tick in range(1, 102):
        state.feet.contact = torch.tensor([[True, not 20 <= tick < 101]])
        command.tick(state)
    assert command.flight[0].tolist() == pytest.approx([0.0, 0.5])


def test_score():
    state = make_state(2)
    command = make_command(state)
    command.value = torch.tensor([[0.5, 0.1, 0.3], [0.0, 0.0, 0.0]])
    command._set_clock(0.01)
    state.base_lin_vel = torch.tensor([[0.3, 0.2, 9.0], [0.1, -0.05, 9.0]])
    expected = [math.exp(-5 * (0.04 + 0.01)), math.exp(-10 * 0.15)]
    assert command.lin_vel_score(state).tolist() == pytest.approx(expected)


class TestCurriculum:
    def run(self, command, state, *, good, steps=STEPS):
        """One episode everywhere in which velocities follow, or stay zero."""
        for _ in range(steps):
            state.base_lin_vel[:, :2] = command.value[:, :2] if good else 5.0
            make_step(command, state)
        command.reset(state, torch.arange(state.num_envs))

    def test_ranges_widen_after_good_episodes(self):
        state = make_state(2, steps=200)
        command = make_command(state, curriculum=True)
        limits = []
        for _ in range(5):
            self.run(command, state, good=True, steps=200)
            limits.append([command.low[0].item(), command.high[0].item()])
        # The first episode is counted in the period after it.
        expected = [[-0.4, 1.2], [-0.65, 1.5], [-0.75, 1.5], [-0.75, 1.5], [-0.75, 1.5]]
        torch.testing.assert_close(torch.tensor(limits), torch.tensor(expected))
        assert command.high[1:].tolist() == pytest.approx([0.4, 0.6])

    def test_ranges_stay_after_bad_or_short_episodes(self):
        state = make_state(2, steps=200)
        command = make_command(state, curriculum=True)
        for _ in range(3):
            self.run(command, state, good=False, steps=200)
        for _ in range(4):
            self.run(command, state, good=True, steps=150)  # three quarters, below 0.8
        assert command.high[0] == pytest.approx(1.2)

    def test_without_curriculum_ranges_stay(self):
        state = make_state(2, steps=200)
        command = make_command(state)
        for _ in range(3):
            self.run(command, state, good=True, steps=200)
        assert command.high[0] == pytest.approx(1.2)


def test_a_saved_command_goes_on_alike():
    state = make_state(8)
    command = make_command(state, curriculum=True)
    for _ in range(900):
        make_step(command, state)
    saved, generator = command.get_state(), state.generator.get_state()
    for _ in range(700):
        make_step(command, state)
    expected = command.get_state()

    state.generator.set_state(generator)
    other_state = make_state(8, seed=1)
    other = make_command(other_state, curriculum=True)
    other.set_state(saved)
    other.generator.set_state(generator)
    for _ in range(700):
        make_step(other, other_state)
    result = other.get_state()
    assert result.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(result[name], value, rtol=0, atol=0, equal_nan=True, msg=name)


def test_a_command_by_hand_knows_no_pauses():
    state = make_state(3)
    command = make_command(state)
    told = torch.tensor([0.6, 0.0, -0.2])
    command.give(state, told)
    for _ in range(STEPS - 1):
        make_step(command, state)
        torch.testing.assert_close(command.value, told.expand(3, 3))
    assert not command.standing.any()
    command.give(state, torch.zeros(3))
    assert command.standing.all()
    assert (command.phase == 0.0).all()
