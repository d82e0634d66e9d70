from collections.abc import Callable

import mujoco
import pytest

from stridelab_envs.robots import RobotSpec

Standing = Callable[[RobotSpec], tuple[mujoco.MjModel, mujoco.MjData]]


@pytest.fixture(scope="session")
def standing() -> Standing:
    """Put a robot on a floor in its default pose, with its actuators holding that pose."""
    models: dict[str, mujoco.MjModel] = {}

    def build(robot: RobotSpec) -> tuple[mujoco.MjModel, mujoco.MjData]:
        if robot.name not in models:
            spec = mujoco.MjSpec.from_file(str(robot.mjcf))
            spec.worldbody.add_geom(name="floor", type=mujoco.mjtGeom.mjGEOM_PLANE, size=[0, 0, 1])
            models[robot.name] = spec.compile()
        model = models[robot.name]
        data = mujoco.MjData(model)
        data.qpos[2] = robot.home_height
        data.qpos[7:] = data.ctrl[:] = robot.default_pose
        mujoco.mj_forward(model, data)
        return model, data

    return build
