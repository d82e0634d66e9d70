"""What guides advise, by hand."""

import math

import pytest
import torch

from stridelab.skills.guides import GUIDES, dribble, push
from stridelab_envs.registry import get_task

VELOCITY = ("lin_vel_x", "lin_vel_y", "ang_vel_z")


def advised(ball, to_target):
    """Advice in one state: planar places of the ball and of its target, seen from the ball."""
    goal = {"object": torch.tensor([[*ball, 0.0]]), "target": torch.tensor([[*to_target, 0.0]])}
    advice = dribble(goal)
    assert [bool(where) for where in advice.skill.values()] == [True]
    return [advice.command[f"walk.{name}"].item() for name in VELOCITY]


@pytest.mark.parametrize("foot", [-0.2, 0.2])
def test_a_ball_before_either_foot_is_pushed(foot):
    assert advised((0.4, foot), (3.0, 0.0)) == pytest.approx([0.5, 0.0, 0.0], abs=1e-6)


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_a_robot_beside_the_line_moves_aside_first(side):
    # 0.3 m farther aside than its nearer foot is to be, and 0.1 m too near.
    speed = advised((0.4, -0.5 * side), (3.0, 0.0))
    assert speed == pytest.approx([1.5 * (0.4 - 0.5), -0.5 * side, 0.0], abs=1e-6)


def test_a_robot_ahead_of_the_ball_walks_back_but_not_over_it():
    assert advised((-0.3, -0.5), (3.0, 0.0))[0] == pytest.approx(-0.5)
    assert advised((-0.3, -0.2), (3.0, 0.0)) == pytest.approx([0.0, 0.4, 0.0], abs=1e-6)
    assert advised((-0.3, 0.2), (3.0, 0.0)) == pytest.approx([0.0, -0.4, 0.0], abs=1e-6)


def test_a_robot_that_looks_aside_turns_before_it_pushes():
    # 0.4 m behind the ball and 0.2 m to the left of the line, which is 45 degrees to the left.
    root = 0.5**0.5
    forward, _, turn = advised((root * (0.4 + 0.2), root * (0.4 - 0.2)), (2.0, 2.0))
    assert turn == pytest.approx(0.8)
    assert forward < 0.0


def test_half_of_what_leads_aside_is_told():
    # The line is 0.1 rad to the left; 0.4 m behind and 0.2 m to the left of it.
    cos, sin = math.cos(0.1), math.sin(0.1)
    ball = (0.4 * cos + 0.2 * sin, 0.4 * sin - 0.2 * cos)
    velocity = advised(ball, (3.0 * cos, 3.0 * sin))
    assert velocity == pytest.approx([0.5 * cos, 0.5 * 0.5 * sin, 4.0 * 0.1], abs=1e-5)


def test_a_ball_at_its_target_is_left_alone():
    assert advised((0.4, -0.2), (0.2, 0.3)) == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("guide", [dribble, push])
def test_commands_do_not_jump(guide):
    """A student takes the mean of what it cannot tell apart."""
    torch.manual_seed(0)
    goal = {
        "object": torch.rand(20_000, 3) - 0.3,
        "target": torch.rand(20_000, 3) * 2.0 - 1.0,
        "left_wrist": torch.rand(20_000, 3) * 0.4 - 0.2,
        "right_wrist": torch.rand(20_000, 3) * 0.4 - 0.2,
    }
    step = 1e-4
    # Straight behind the ball, and which hand pushes, are the only places where it may.
    clear = (goal["target"][:, :2].norm(dim=1) > 0.1) & (goal["target"][:, 1].abs() > 0.1)
    clear &= ~((goal["target"][:, 0] < 0.0) & (goal["target"][:, 1].abs() < 0.1))
    one = guide(goal)
    other = guide({part: value + step for part, value in goal.items()})
    for name, values in one.command.items():
        assert (other.command[name] - values)[clear].abs().max() < 50.0 * step, name


def pushing(cube, across, left=(-0.3, 0.16, 0.0), right=(-0.3, -0.16, 0.0)):
    """Advice in one state: cube from the base, its target from it, wrists from its sides."""
    goal = {
        "object": torch.tensor([[*cube, 0.07]]),
        "target": torch.tensor([[0.05, across, 0.0]]),
        "left_wrist": torch.tensor([left]),
        "right_wrist": torch.tensor([right]),
    }
    advice = push(goal)
    [skill] = [name for name, where in advice.skill.items() if where]
    numbers = {k: v.item() for k, v in advice.command.items() if k.startswith(f"{skill}.")}
    return skill, [numbers[name] for name in numbers]


def test_a_cube_far_off_is_walked_to_from_aside():
    # To bring it 0.2 m to the left, have it 0.26 m to the right: 0.26 m to the left of here.
    skill, command = pushing((0.6, 0.0), 0.2)
    assert skill == "walk"
    assert command == pytest.approx([0.0, 0.4, 0.0])
    assert pushing((0.6, -0.26), 0.2)[1] == pytest.approx([0.3, 0.0, 0.0], abs=1e-6)


def test_a_hand_goes_outside_of_the_cube_first():
    # Right wrist before the cube, 0.10 m left of its right side: to 0.06 m beyond that side.
    skill, command = pushing((0.45, -0.26), 0.2, right=(-0.15, 0.10, 0.0))
    assert skill == "reach"
    x, y = 0.28 - 0.2985, (-0.26 - 0.05 - 0.06) + 0.2135
    assert command == pytest.approx([-0.1, 0.0, 0.02, x, y, 0.02], abs=1e-6)


def test_a_hand_beside_the_cube_pushes():
    # 0.03 m beyond the right side: 0.12 m on, the most at a time.
    _, command = pushing((0.45, -0.26), 0.2, right=(0.0, -0.03, 0.0))
    x, y = (0.45 + 0.06) - 0.2985, (-0.26 - 0.05 - 0.03 + 0.12) + 0.2135
    assert command == pytest.approx([-0.1, 0.0, 0.02, x, y, 0.02], abs=1e-6)


def test_the_other_hand_pushes_the_other_way():
    _, one = pushing((0.45, -0.26), 0.2, right=(0.0, -0.03, 0.0))
    _, other = pushing((0.45, 0.26), -0.2, left=(0.0, 0.03, 0.0))
    mirrored = [*other[3:], *other[:3]]
    assert [mirrored[0], -mirrored[1], mirrored[2]] == pytest.approx(one[:3], abs=1e-6)
    assert [mirrored[3], -mirrored[4], mirrored[5]] == pytest.approx(one[3:], abs=1e-6)


def test_a_cube_at_its_target_is_left_alone():
    skill, command = pushing((0.6, 0.0), 0.07, right=(0.0, -0.03, 0.0))
    assert skill == "reach"  # no step towards it
    assert command[4] == pytest.approx(-0.05 - 0.06 - 0.03 + 0.2135)  # the hand goes away


def test_guides_are_of_tasks():
    for name in GUIDES:
        assert get_task(name).id == name


@pytest.mark.parametrize("task", ["h1_lift", "h1_carry"])
def test_with_a_panel_the_robot_crouches(task):
    advice = GUIDES[task]({"object": torch.zeros(3, 3)})
    assert advice.skill["squat"].tolist() == [True] * 3
    assert advice.command["squat.height"].tolist() == pytest.approx([0.75] * 3)


def test_before_the_other_table_the_robot_stands():
    advice = GUIDES["h1_transfer"]({"object": torch.zeros(3, 3)})
    assert advice.skill["reach"].tolist() == [True] * 3
    assert [value.tolist() for value in advice.command.values()] == [[0.0] * 3] * 6
