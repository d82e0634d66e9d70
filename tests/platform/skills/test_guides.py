"""What guides advise, by hand."""

import pytest
import torch

from stridelab.skills.guides import GUIDES, dribble
from stridelab_envs.registry import get_task


def advised(ball, to_target):
    """Advice in one state: planar places of the ball and of its target, seen from the ball."""
    goal = {"object": torch.tensor([[*ball, 0.0]]), "target": torch.tensor([[*to_target, 0.0]])}
    advice = dribble(goal)
    assert advice.skill == "walk"
    return [advice.command[name].item() for name in ("lin_vel_x", "lin_vel_y", "ang_vel_z")]


def test_a_ball_before_the_right_foot_is_pushed():
    assert advised((0.4, -0.2), (3.0, 0.0)) == pytest.approx([0.5, 0.0, 0.0], abs=1e-6)


def test_a_robot_beside_the_line_moves_aside_first():
    # 0.4 m to the right of where its right foot would meet the ball, and 0.1 m too near.
    speed = advised((0.4, 0.2), (3.0, 0.0))
    assert speed == pytest.approx([1.5 * (0.4 - 0.5), 0.5, 0.0], abs=1e-6)


def test_a_robot_ahead_of_the_ball_walks_back():
    assert advised((-0.3, -0.2), (3.0, 0.0))[0] == pytest.approx(-0.5)


def test_a_robot_that_looks_aside_turns_before_it_pushes():
    forward, _, turn = advised((0.4, -0.2), (2.0, 2.0))
    assert turn == pytest.approx(0.8)
    assert forward < 0.5


def test_a_ball_at_its_target_is_left_alone():
    assert advised((0.4, -0.2), (0.3, 0.3)) == [0.0, 0.0, 0.0]


def test_guides_are_of_tasks():
    for name in GUIDES:
        assert get_task(name).id == name
