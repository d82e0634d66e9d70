"""What a film shows beside the robot, by number: arrows, contacts, reward terms."""

from types import SimpleNamespace

import imageio.v3 as iio
import mujoco
import numpy as np
import pytest
import torch

from stridelab.evaluation.overlay import Arrow, Disc, EnvOverlay, RewardStrip, add_marks
from stridelab.evaluation.video import VideoRecorder
from stridelab_envs.mdp.commands import VelocityCommand


@pytest.fixture
def looking_left():
    """A robot 2 m high that looks along the world's y axis and walks there at 0.5 m/s."""
    command = VelocityCommand.__new__(VelocityCommand)
    command.names = VelocityCommand.COLUMNS
    command.value = torch.tensor([[1.0, 0.0, 0.3]])
    state = SimpleNamespace(
        commands={"velocity": command},
        base_heading=torch.tensor([np.pi / 2]),
        base_pos=torch.tensor([[3.0, 1.0, 2.0]]),
        base_lin_vel_heading=torch.tensor([[0.5, 0.0, 0.1]]),
        foot_pos=torch.tensor([[[3.0, 1.1, 0.05], [3.0, 0.9, 0.3]]]),
        feet=SimpleNamespace(contact=torch.tensor([[True, False]])),
        ground_height=lambda points: torch.zeros(points.shape[:-1]),
    )
    return SimpleNamespace(state=state, robot=SimpleNamespace(home_height=2.0), reward_terms={})


def test_arrows_point_where_the_robot_is_told_to_go_and_goes(looking_left):
    told, done, foot = EnvOverlay(looking_left).marks(0)
    np.testing.assert_allclose(told.end - told.start, [0.0, 1.6, 0.0], atol=1e-6)
    np.testing.assert_allclose(done.end - done.start, [0.0, 0.8, 0.0], atol=1e-6)
    np.testing.assert_allclose(told.start[:2], [3.0, 1.0], rtol=1e-6)
    assert done.start[2] > told.start[2] > 0.0
    assert isinstance(foot, Disc)
    np.testing.assert_allclose(foot.centre[:2], [3.0, 1.1], rtol=1e-6)


def test_a_robot_at_rest_has_no_arrows(looking_left):
    looking_left.state.commands["velocity"].value.zero_()
    looking_left.state.base_lin_vel_heading = torch.tensor([[0.01, 0.0, 5.0]])
    assert [type(mark) for mark in EnvOverlay(looking_left).marks(0)] == [Disc]


def test_lines_tell_command_and_contacts(looking_left):
    lines = EnvOverlay(looking_left).lines(0)
    assert [(name, value) for name, value, _ in lines] == [
        ("command velocity", "+1.00 +0.00 +0.30"),
        ("foot contacts", "●  ○"),
    ]


def test_marks_stop_where_the_scene_is_full():
    model = mujoco.MjModel.from_xml_string("<mujoco/>")
    scene = mujoco.MjvScene(model, maxgeom=2)
    mark = Arrow(start=np.zeros(3), end=np.ones(3), width=0.1, colour="#ff0000")
    add_marks(scene, [Disc(centre=np.ones(3), radius=0.2, colour="#00ff00"), mark, mark])
    assert scene.ngeom == 2
    np.testing.assert_allclose(scene.geoms[0].size, [0.2, 0.2, 0.003], rtol=1e-5)
    np.testing.assert_allclose(scene.geoms[1].rgba[:3], [1.0, 0.0, 0.0])


def test_strip_shows_the_terms_that_weigh_most_in_their_own_order():
    strip = RewardStrip(320, 60, 25)
    strip.add({f"term{number}": float(number) for number in range(12)})
    assert strip.shown() == [f"term{number}" for number in range(2, 12)]


def test_strip_draws_gains_up_and_costs_down():
    strip = RewardStrip(400, 112, 25)
    for value in (1.0, -1.0) * 100:
        strip.add({"gain": abs(value), "cost": -0.5})
    picture = strip.draw().astype(int)
    assert picture.shape == (112, 400, 3)
    blue = picture[..., 2] - picture[..., 0] > 100
    orange = picture[..., 0] - picture[..., 2] > 100
    middle = 16  # of the first row: 0.8 of 112 / 5.6
    assert blue[:middle].any()
    assert not blue[middle + 1 :].any()
    assert orange[2 * middle + 5 : 56].any()
    assert not orange[:36].any()


def test_terms_of_a_step_add_up_to_its_reward(tiny_env):
    tiny_env.reset()
    reward = tiny_env.step(torch.zeros(4, tiny_env.action_dim)).reward
    terms = tiny_env.reward_terms
    assert list(terms) == [name for name, term in tiny_env.task.rewards.items() if term.weight]
    torch.testing.assert_close(sum(terms.values()) * tiny_env.control_dt, reward)
    mean = EnvOverlay(tiny_env).rewards([1, 3])["upright"]
    assert mean == pytest.approx(float(terms["upright"][[1, 3]].mean()))


@pytest.mark.render
def test_a_film_has_the_strip_below_the_pictures(tiny_env, tmp_path):
    try:
        from mujoco.egl import GLContext

        GLContext(64, 64).free()
    except Exception as error:
        pytest.skip(f"no headless OpenGL here: {error}")
    tiny_env.reset()
    tiny_env.step(torch.zeros(4, tiny_env.action_dim))
    path = tmp_path / "film.mp4"
    settings = {"title": "t", "control_dt": tiny_env.control_dt, "width": 320, "height": 240}
    overlay = EnvOverlay(tiny_env)
    with VideoRecorder(tiny_env.sim, path, indices=(0, 1), overlay=overlay, **settings) as film:
        film.capture([0.0, 0.0])
    (frame,) = iio.imread(path, plugin="FFMPEG")
    assert frame.shape == (300, 320, 3)
    assert frame[245:].mean() < 60.0 < frame[:240].mean()
    marked = film.kept[0].astype(int)
    with VideoRecorder(tiny_env.sim, path, indices=(0, 1), **settings) as film:
        film.capture([0.0, 0.0])
    assert np.abs(marked - film.kept[0]).max() > 60  # the discs under the feet
