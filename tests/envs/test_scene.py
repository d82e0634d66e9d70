"""The scene adds a floor and looks; it leaves the robot's physics alone."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from stridelab_envs.errors import UserError
from stridelab_envs.robots.scene import build_scene

# The defaults are hostile on purpose: the floor must not inherit them.
ROBOT = """
<mujoco model="box">
  <option timestep="0.004" integrator="implicitfast" iterations="7" gravity="0 0 -9.5"/>
  <default>
    <geom friction="0.1 0.1 0.1" condim="1" contype="2" conaffinity="4" margin="0.2" group="3"/>
  </default>
  <worldbody>
    <body name="base" pos="0 0 0.5">
      <freejoint name="root"/>
      <geom name="box" type="box" size="0.1 0.1 0.1" mass="2" contype="1" conaffinity="1"
            condim="3" margin="0"/>
    </body>
  </worldbody>
</mujoco>
"""


@pytest.fixture
def robot_file(tmp_path):
    path = tmp_path / "box.xml"
    path.write_text(ROBOT)
    return path


@pytest.fixture
def model(robot_file):
    return build_scene(robot_file)


class TestPhysics:
    def test_options_of_the_robot_file_stay(self, model):
        assert model.opt.timestep == 0.004
        assert model.opt.integrator == mujoco.mjtIntegrator.mjINT_IMPLICITFAST
        assert model.opt.iterations == 7
        assert model.opt.gravity[2] == -9.5

    def test_solver_scale_is_that_of_the_robot_alone(self, model, robot_file):
        alone = mujoco.MjModel.from_xml_path(str(robot_file))
        assert model.stat.meaninertia == alone.stat.meaninertia
        assert model.stat.meanmass == alone.stat.meanmass
        assert model.nq == alone.nq
        assert model.nbody == alone.nbody

    def test_floor_does_not_inherit_the_robot_defaults(self, model):
        floor = model.geom("floor")
        assert floor.type[0] == mujoco.mjtGeom.mjGEOM_PLANE
        assert floor.bodyid[0] == 0
        np.testing.assert_array_equal(floor.size, [0.0, 0.0, 0.05])
        np.testing.assert_array_equal(floor.friction, [1.0, 0.005, 0.0001])
        assert (floor.contype[0], floor.conaffinity[0], floor.condim[0]) == (1, 1, 3)
        assert floor.margin[0] == 0.0
        assert floor.group[0] == 0

    def test_box_comes_to_rest_on_the_floor(self, model):
        data = mujoco.MjData(model)
        for _ in range(400):
            mujoco.mj_step(model, data)
        # Half the box's side above z = 0, less the contact's sag.
        assert data.qpos[2] == pytest.approx(0.1, abs=2e-3)
        assert np.abs(data.qvel).max() < 1e-2

    def test_friction_is_that_of_the_floor(self, model):
        # MuJoCo takes the larger of both frictions: 1.0 (floor), not 0.1 (box).
        data = mujoco.MjData(model)
        data.qpos[2] = 0.0995
        mujoco.mj_forward(model, data)
        assert data.ncon == 4
        np.testing.assert_allclose([c.friction[0] for c in data.contact], 1.0)


class TestView:
    def test_sun_follows_the_robot(self, model):
        data = mujoco.MjData(model)
        mujoco.mj_forward(model, data)
        before = data.light("sun").xpos.copy()
        direction = data.light("sun").xdir.copy()
        data.qpos[:2] = [25.0, -3.0]
        data.qpos[3:7] = [0.0, 1.0, 0.0, 0.0]  # upside down: the sun must not turn with it
        mujoco.mj_forward(model, data)
        np.testing.assert_allclose(data.light("sun").xpos - before, [25.0, -3.0, 0.0], atol=1e-9)
        np.testing.assert_allclose(data.light("sun").xdir, direction)

    def test_offscreen_buffer_holds_a_large_image(self, model):
        assert model.vis.global_.offwidth >= 1280
        assert model.vis.global_.offheight >= 960

    def test_sky_and_floor_are_textured(self, model):
        assert mujoco.mjtTexture.mjTEXTURE_SKYBOX in model.tex_type
        material = model.geom("floor").matid[0]
        assert model.mat_texid[material, mujoco.mjtTextureRole.mjTEXROLE_RGB] >= 0


class TestErrors:
    def assert_one_line(self, error, path):
        assert "\n" not in str(error.value)
        assert str(path) in str(error.value)

    def test_missing_file(self, tmp_path):
        path = tmp_path / "absent.xml"
        with pytest.raises(UserError) as error:
            build_scene(path)
        self.assert_one_line(error, path)

    def test_broken_model(self, tmp_path):
        path = tmp_path / "broken.xml"
        path.write_text(ROBOT.replace('mass="2"', 'mass="2" material="absent"'))
        with pytest.raises(UserError, match="absent") as error:
            build_scene(path)
        self.assert_one_line(error, path)

    def test_second_floor(self, tmp_path):
        path = tmp_path / "floored.xml"
        path.write_text(ROBOT.replace('name="box"', 'name="floor"'))
        with pytest.raises(UserError, match="already") as error:
            build_scene(path)
        self.assert_one_line(error, path)
