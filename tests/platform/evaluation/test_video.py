"""Recording a falling box, and what happens where there is no OpenGL."""

from __future__ import annotations

import os

import imageio.v3 as iio
import mujoco
import numpy as np
import pytest

from stridelab.evaluation.video import VideoRecorder, forward_velocity, open_renderer
from stridelab_envs.errors import UserError
from stridelab_envs.robots.scene import build_scene

BOX = """
<mujoco>
  <worldbody>
    <body name="base" pos="0 0 1.2">
      <freejoint/>
      <geom type="box" size="0.2 0.15 0.1" rgba="0.9 0.2 0.1 1"/>
    </body>
  </worldbody>
</mujoco>
"""
CONTROL_DT = 0.02


class Boxes:
    """A few boxes that fall; the smallest scene source."""

    def __init__(self, model, count=1):
        self.model = model
        self._data = [mujoco.MjData(model) for _ in range(count)]
        for data in self._data:
            mujoco.mj_forward(model, data)

    def data(self, index):
        return self._data[index]

    def step(self):
        for data in self._data:
            mujoco.mj_step(self.model, data, nstep=round(CONTROL_DT / self.model.opt.timestep))


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "box.xml"
    path.write_text(BOX)
    return build_scene(path)


@pytest.fixture(scope="module")
def egl():
    """Skip where this machine has no EGL; asked of MuJoCo itself, not of the code under test."""
    try:
        from mujoco.egl import GLContext

        GLContext(64, 64).free()
    except Exception as error:
        pytest.skip(f"no headless OpenGL here: {error}")


def recorder(source, path, **settings):
    chosen = {"title": "box", "control_dt": CONTROL_DT, "width": 160, "height": 120} | settings
    return VideoRecorder(source, path, **chosen)


@pytest.mark.render
@pytest.mark.usefixtures("egl")
class TestRecording:
    def test_one_second_of_a_falling_box(self, model, tmp_path):
        path = tmp_path / "out" / "box.mp4"
        boxes = Boxes(model)
        with recorder(boxes, path) as video:
            for _ in range(50):
                video.capture([0.0])
                boxes.step()
            assert not path.exists()
        frames = iio.imread(path, plugin="FFMPEG")
        assert frames.shape == (25, 120, 160, 3)
        assert iio.immeta(path, plugin="FFMPEG")["fps"] == 25
        assert [file.name for file in path.parent.iterdir()] == ["box.mp4"]
        # Beside the caption the picture changes as the box falls, and is not one flat colour.
        view = frames[:, 80:].astype(int)
        assert np.abs(view[0] - view[-1]).mean() > 3.0
        assert view[0].std() > 10.0
        assert len(video.kept) == 25
        assert video.kept[0].shape == (120, 160, 3)

    def test_picture_shows_the_red_box_in_the_middle(self, model, tmp_path):
        with recorder(Boxes(model), tmp_path / "box.mp4") as video:
            video.capture([0.0])
        red, green, blue = np.moveaxis(video.kept[0].astype(int), -1, 0)
        rows, columns = np.nonzero(red - np.maximum(green, blue) > 60)
        assert rows.mean() == pytest.approx(60, abs=6)
        assert columns.mean() == pytest.approx(80, abs=6)

    def test_camera_follows_and_jumps_after_a_reset(self, model, tmp_path):
        boxes = Boxes(model)
        data = boxes.data(0)

        def red_column(video):
            red = video.kept[-1][..., 0].astype(int) - video.kept[-1][..., 1]
            return np.nonzero(red > 60)[1].mean()

        with recorder(boxes, tmp_path / "box.mp4", control_dt=0.04) as video:
            video.capture([0.0])
            data.qpos[:2] = [40.0, -7.0]
            mujoco.mj_forward(model, data)
            video.capture([0.0])
            assert red_column(video) == pytest.approx(80, abs=6)
            data.qpos[0] += 0.3  # within the lag: the box moves in the picture first
            mujoco.mj_forward(model, data)
            video.capture([0.0])
            lagging = red_column(video)
            for _ in range(20):
                video.capture([0.0])
            assert abs(lagging - 80) > 10
            assert red_column(video) == pytest.approx(80, abs=6)

    def test_tiles_have_their_own_simulations(self, model, tmp_path):
        path = tmp_path / "box.mp4"
        boxes = Boxes(model, count=3)
        boxes.data(2).qpos[3:7] = [0.7, 0.0, 0.7, 0.0]
        mujoco.mj_forward(model, boxes.data(2))
        with recorder(boxes, path, indices=(0, 2), width=322) as video:
            video.capture([0.0, 1.0])
        (frame,) = iio.imread(path, plugin="FFMPEG")
        assert frame.shape == (120, 320, 3)
        left, right = frame[80:, :160].astype(int), frame[80:, 160:].astype(int)
        assert np.abs(left - right).max() > 60

    def test_exception_leaves_no_video(self, model, tmp_path):
        folder = tmp_path / "out"
        boxes = Boxes(model)
        with pytest.raises(RuntimeError), recorder(boxes, folder / "box.mp4") as video:
            video.capture([0.0])
            raise RuntimeError
        assert not list(folder.iterdir())

    def test_kept_pictures_stay_few_and_even(self, model, tmp_path, monkeypatch):
        monkeypatch.setattr("stridelab.evaluation.video._MAX_KEPT", 4)
        taken = []
        monkeypatch.setattr(
            VideoRecorder,
            "_render",
            lambda *_: taken.append(1) or np.full((120, 160, 3), len(taken), dtype=np.uint8),
        )
        with recorder(Boxes(model), tmp_path / "box.mp4", control_dt=0.04) as video:
            for _ in range(13):
                video.capture([0.0])
        assert [int(picture[0, 0, 0]) for picture in video.kept] == [1, 5, 9, 13]

    def test_foreign_model_with_a_small_buffer(self):
        small = mujoco.MjModel.from_xml_string(BOX)
        assert small.vis.global_.offwidth < 800
        with open_renderer(small, 800, 200) as renderer:
            assert renderer.render().shape == (200, 800, 3)


class TestRefusals:
    def test_missing_opengl_is_one_line_with_a_remedy(self, model, monkeypatch):
        def missing(*_args, **_kwargs):
            raise AttributeError("'NoneType' object has no attribute\n 'eglQueryDevicesEXT'")

        monkeypatch.delenv("MUJOCO_GL", raising=False)
        monkeypatch.setattr(mujoco, "Renderer", missing)
        with pytest.raises(UserError, match="libegl1") as error:
            open_renderer(model, 64, 64)
        assert "\n" not in str(error.value)
        # With a backend that does not work, child processes could not even import MuJoCo.
        assert "MUJOCO_GL" not in os.environ

    def test_choice_of_the_user_stays(self, model, monkeypatch):
        monkeypatch.setenv("MUJOCO_GL", "osmesa")
        monkeypatch.setattr(mujoco, "Renderer", lambda *_: "renderer")
        assert open_renderer(model, 64, 64) == "renderer"
        assert os.environ["MUJOCO_GL"] == "osmesa"

    def test_unknown_body_names_the_nearest(self, model, tmp_path):
        with pytest.raises(UserError, match='did you mean "base"'):
            recorder(Boxes(model), tmp_path / "a.mp4", body="bas")

    def test_more_frames_than_control_steps(self, model, tmp_path):
        with pytest.raises(UserError, match="at most 50"):
            recorder(Boxes(model), tmp_path / "a.mp4", fps=60)

    def test_no_environment(self, model, tmp_path):
        with pytest.raises(UserError, match="at least one"):
            recorder(Boxes(model), tmp_path / "a.mp4", indices=())


class TestForwardVelocity:
    @pytest.mark.parametrize(
        ("yaw", "velocity", "forward"),
        [
            (0.0, (0.7, 0.2, -1.0), 0.7),
            (np.pi / 2, (0.7, 0.2, -1.0), 0.2),
            (np.pi, (0.7, 0.2, -1.0), -0.7),
        ],
    )
    def test_is_along_the_heading(self, model, yaw, velocity, forward):
        data = mujoco.MjData(model)
        data.qpos[3:7] = [np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)]
        data.qvel[:3] = velocity
        data.qvel[3:] = [0.0, 0.0, 3.0]
        mujoco.mj_forward(model, data)
        assert forward_velocity(model, data, 1) == pytest.approx(forward)

    def test_pitch_does_not_shorten_it(self, model):
        data = mujoco.MjData(model)
        data.qpos[3:7] = [np.cos(0.4), 0.0, np.sin(0.4), 0.0]
        data.qvel[:3] = [0.5, 0.0, 0.0]
        mujoco.mj_forward(model, data)
        assert forward_velocity(model, data, 1) == pytest.approx(0.5)

    def test_looking_straight_up_has_no_heading(self, model):
        data = mujoco.MjData(model)
        data.qpos[3:7] = [np.sqrt(0.5), 0.0, -np.sqrt(0.5), 0.0]
        data.qvel[:3] = [0.5, 0.0, 0.0]
        mujoco.mj_forward(model, data)
        assert forward_velocity(model, data, 1) == pytest.approx(0.0, abs=1e-6)
