"""Contact sequences written by hand: one string a step names the feet on the ground."""

import pytest
import torch

from stridelab_envs.mdp.feet import FeetTracker

DT = 0.02
BOTH, LEFT, RIGHT, AIR = "LR", "L", "R", ""


def forces(*rows):
    """Vertical forces [N] of environments, each row naming the feet that carry 10 N."""
    return torch.tensor([[10.0 * ("L" in row), 10.0 * ("R" in row)] for row in rows])


def play(tracker, frames):
    """Feed contact frames to a tracker of one environment; return the steps that switched."""
    switches = []
    for step, frame in enumerate(frames):
        tracker.update(forces(frame))
        if tracker.switched.item():
            switches.append(step)
    return switches


@pytest.fixture
def tracker():
    return FeetTracker(1, 2, DT)


def test_alternation_counts_each_change_once(tracker):
    frames = [LEFT] * 5 + [BOTH] * 2 + [RIGHT] * 6 + [BOTH] + [LEFT] * 5
    # Right has stood alone for 3 steps at 5 + 2 + 3 - 1, left at 5 + 2 + 6 + 1 + 3 - 1.
    assert play(tracker, frames) == [9, 16]
    assert tracker.stance.item() == 0


def test_running_counts_too(tracker):
    assert play(tracker, ([LEFT] * 3 + [AIR] * 2 + [RIGHT] * 3 + [AIR] * 2) * 2) == [7, 12, 17]


def test_first_stance_is_no_switch(tracker):
    assert play(tracker, [BOTH] * 4 + [RIGHT] * 6) == []
    assert tracker.stance.item() == 1


def test_no_stance_before_min_stance(tracker):
    play(tracker, [RIGHT] * 2)
    assert tracker.stance.item() == -1


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param([BOTH, LEFT] * 8, id="other foot taps"),
        pytest.param([RIGHT, LEFT] * 8, id="feet flicker"),
        pytest.param([RIGHT, RIGHT, LEFT] * 6, id="two of three steps"),
        pytest.param([RIGHT, RIGHT, BOTH] * 6, id="stance broken by both feet"),
        pytest.param([RIGHT, RIGHT, AIR] * 6, id="stance broken by a bounce"),
        pytest.param(([AIR] * 3 + [BOTH] * 3) * 4, id="hops on both feet"),
        pytest.param(([AIR] * 3 + [LEFT] * 5) * 4, id="hops on the same foot"),
        pytest.param([BOTH] * 20, id="stands on both feet"),
        pytest.param([AIR] * 20, id="flies"),
    ],
)
def test_does_not_count(tracker, frames):
    assert play(tracker, [LEFT] * 4 + frames) == []
    assert tracker.stance.item() == 0


def test_hopping_on_both_feet_from_the_start_never_finds_a_stance(tracker):
    assert play(tracker, ([BOTH] * 4 + [AIR] * 4) * 4) == []
    assert tracker.stance.item() == -1


@pytest.mark.parametrize(
    ("dt", "min_stance", "steps"),
    [
        (0.02, 0.06, 3),
        (0.01, 0.06, 6),
        (0.005, 0.06, 12),
        (0.03, 0.06, 2),
        (0.04, 0.06, 2),
        (0.06, 0.06, 1),
        (0.1, 0.06, 1),
        (0.02, 0.07, 4),
        (0.02, 0.5, 25),
    ],
)
def test_switch_comes_exactly_after_min_stance(dt, min_stance, steps):
    tracker = FeetTracker(1, 2, dt, min_stance=min_stance)
    assert play(tracker, [LEFT] * steps + [RIGHT] * (steps + 3)) == [2 * steps - 1]


def test_contact_needs_more_than_the_threshold():
    tracker = FeetTracker(3, 2, DT, force_threshold=5.0)
    tracker.update(torch.tensor([[5.0, 5.01], [-50.0, 0.0], [6.0, 700.0]]))
    assert tracker.contact.tolist() == [[False, True], [False, False], [True, True]]


def test_time_since_switch(tracker):
    play(tracker, [LEFT] * 4)
    assert tracker.time_since_switch.item() == pytest.approx(4 * DT)  # from the start
    play(tracker, [RIGHT] * 2)
    assert tracker.time_since_switch.item() == pytest.approx(6 * DT)
    play(tracker, [RIGHT])
    assert tracker.time_since_switch.item() == 0.0
    play(tracker, [BOTH] * 3)
    assert tracker.time_since_switch.item() == pytest.approx(3 * DT)


def air_at_touchdown(tracker, frames):
    """Return ``(step, flight in steps)`` of each touch-down of the left foot."""
    found = []
    for step, frame in enumerate(frames):
        tracker.update(forces(frame))
        if tracker.touchdown[0, 0]:
            found.append((step, round(tracker.air_time[0, 0].item() / DT, 3)))
    return found


def test_air_time_at_touchdown_is_the_flight(tracker):
    # On the ground last in step 2 and again in step 8: six periods.
    frames = [BOTH] * 3 + [RIGHT] * 5 + [BOTH] * 3
    assert air_at_touchdown(tracker, frames) == [(8, 6.0)]


def test_air_time_grows_in_the_air_and_is_zero_on_the_ground(tracker):
    play(tracker, [BOTH] * 3)
    assert tracker.air_time.tolist() == [[0.0, 0.0]]
    play(tracker, [LEFT] * 4)
    torch.testing.assert_close(tracker.air_time, torch.tensor([[0.0, 4 * DT]]))


def test_each_flight_counts_alone(tracker):
    frames = [BOTH] * 2 + [RIGHT] * 4 + [BOTH] * 2 + [RIGHT] * 2 + [BOTH] * 2
    assert air_at_touchdown(tracker, frames) == [(6, 5.0), (10, 3.0)]


def test_a_tap_of_one_step_ends_the_flight(tracker):
    # Otherwise a foot that taps the ground would carry its air time from flight to flight.
    frames = [BOTH] * 2 + [RIGHT] * 4 + [BOTH] + [RIGHT] * 4 + [BOTH] + [RIGHT] * 4 + [BOTH]
    assert air_at_touchdown(tracker, frames) == [(6, 5.0), (11, 5.0), (16, 5.0)]


def test_standing_at_the_start_is_no_touchdown(tracker):
    assert air_at_touchdown(tracker, [BOTH] * 5) == []


def test_a_drop_at_the_start_is_a_flight(tracker):
    assert air_at_touchdown(tracker, [AIR] * 3 + [BOTH] * 3) == [(3, 4.0)]


def test_environments_are_apart_and_reset_forgets_only_its_own():
    tracker = FeetTracker(2, 2, DT)
    for _ in range(4):
        tracker.update(forces(LEFT, RIGHT))
    assert tracker.stance.tolist() == [0, 1]
    tracker.reset(torch.tensor([1]))
    assert tracker.stance.tolist() == [0, -1]
    assert tracker.contact.tolist() == [[True, False], [False, False]]
    torch.testing.assert_close(tracker.time_since_switch, torch.tensor([4 * DT, 0.0]))
    torch.testing.assert_close(tracker.air_time[1], torch.zeros(2))
    switched = []
    for _ in range(3):
        tracker.update(forces(RIGHT, LEFT))
        switched.append(tracker.switched.tolist())
    # Left is the first stance of the second environment's new episode.
    assert switched == [[False, False], [False, False], [True, False]]
    assert tracker.stance.tolist() == [1, 0]


def test_reset_forgets_time_alone():
    tracker = FeetTracker(1, 2, DT)
    play(tracker, [LEFT] * 2)
    tracker.reset(torch.tensor([0]))
    play(tracker, [LEFT] * 2)
    assert tracker.stance.item() == -1


def test_switches_come_no_faster_than_the_interval():
    tracker = FeetTracker(1, 2, DT, min_stance=2 * DT, min_switch_interval=5 * DT)
    # Right is settled in step 3, too early, and again in step 7; left is the stance in between.
    assert play(tracker, ([LEFT] * 2 + [RIGHT] * 2) * 3) == [7]
