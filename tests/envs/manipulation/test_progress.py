"""Progress of what is moved: off unless an experiment gives it a weight."""

import pytest
import torch


@pytest.fixture
def rolling(make_task, renew):
    """A ball at x 1.0, y 0.5 that rolls; its goal is 4 m ahead and 3 m to the right."""

    def roll(velocity):
        fixed = {"ball_x": 1.0, "ball_y": 0.5, "ball_goal_y": -2.5, "ball_goal_z": 0.1}
        env = make_task("h1_ball", fixed=fixed)
        start = env.sim.model.joint("ball").dofadr[0]
        env.sim.qvel[:, start : start + 3] = torch.tensor([*velocity, 0.0]).double()
        renew(env)
        return env

    return roll


@pytest.mark.parametrize(
    ("velocity", "speed"),
    [((1.0, 0.0), 0.8), ((0.0, -1.0), 0.6), ((-0.5, 0.0), -0.4), ((3.0, 4.0), 0.0)],
)
def test_progress_is_the_speed_towards_the_target(rolling, velocity, speed):
    env = rolling(velocity)
    term = env.task.rewards["ball_progress"]
    assert term.func(env.state, **term.params).tolist() == pytest.approx([speed], abs=1e-5)


def test_progress_is_off_unless_it_is_given_a_weight(make_task):
    for name in ("ball", "box", "transfer", "lift", "carry"):
        assert make_task("h1_multitask").task.rewards[f"{name}_progress"].weight == 0.0


def test_progress_of_another_task_is_zero(rolling):
    env = rolling((1.0, 0.0))
    env.state.commands["goal"].task[:] = 0  # reach
    term = env.task.rewards["ball_progress"]
    assert term.func(env.state, **term.params).tolist() == [0.0]
