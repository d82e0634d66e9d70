"""What the state reports, against plain MuJoCo and states written by hand."""

import math

import mujoco
import numpy as np
import pytest
import torch

from stridelab_envs.errors import UserError

HALF = math.sqrt(0.5)


def written(env, qpos=None, qvel=None):
    """Write values ``{(env, column): value}`` by hand and make everything derived current."""
    for (i, column), value in (qpos or {}).items():
        env.sim.qpos[i, column] = value
    for (i, column), value in (qvel or {}).items():
        env.sim.qvel[i, column] = value
    env.sim.forward(torch.arange(env.num_envs))
    env.state.reset(torch.arange(env.num_envs))
    return env.state


def plain(env, index):
    data = mujoco.MjData(env.sim.model)
    data.qpos[:], data.qvel[:] = env.sim.qpos[index].numpy(), env.sim.qvel[index].numpy()
    mujoco.mj_forward(env.sim.model, data)
    return data


@pytest.fixture
def moving(make_biped):
    """Two robots with random joints, turned and moving."""
    env = make_biped({"randomization": {"joint_vel": {"half_width": 3.0}}}, seed=5)
    for i, quat in enumerate([[0.5, 0.5, -0.5, 0.5], [0.8, 0.0, 0.6, 0.0]]):
        env.sim.qpos[i, 3:7] = torch.tensor(quat, dtype=torch.float64)
        env.sim.qvel[i, :6] = torch.tensor([0.3, -0.2, 0.1, 1.0, -2.0, 0.5])
    written(env)
    return env


def test_base_velocity_frames(make_biped):
    # Facing the world's y: forward motion is along y, the body sees it along its x.
    qpos = {(0, 3): HALF, (0, 6): HALF}
    qvel = dict(zip([(0, k) for k in range(6)], [0.0, 2.0, 0.5, 0.1, 0.2, 0.3], strict=True))
    state = written(make_biped(quiet=True), qpos, qvel)
    assert state.base_lin_vel_world[0].tolist() == pytest.approx([0.0, 2.0, 0.5])
    assert state.base_lin_vel[0].tolist() == pytest.approx([2.0, 0.0, 0.5], abs=1e-6)
    assert state.base_ang_vel[0].tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert state.projected_gravity[0].tolist() == pytest.approx([0.0, 0.0, -1.0], abs=1e-6)
    assert state.base_quat[0].tolist() == pytest.approx([HALF, 0.0, 0.0, HALF])


def test_base_velocities_agree_with_mujoco(moving):
    torso = moving.sim.model.body("torso").id
    for i in range(2):
        data, velocity = plain(moving, i), np.zeros(6)
        mujoco.mj_objectVelocity(
            moving.sim.model, data, mujoco.mjtObj.mjOBJ_XBODY, torso, velocity, 1
        )
        np.testing.assert_allclose(moving.state.base_ang_vel[i], velocity[:3], atol=1e-6)
        np.testing.assert_allclose(moving.state.base_lin_vel[i], velocity[3:], atol=1e-6)


def test_feet_agree_with_mujoco(moving):
    model = moving.sim.model
    for i in range(2):
        data, velocity = plain(moving, i), np.zeros(6)
        for foot, name in enumerate(["left_foot", "right_foot"]):
            body = model.body(name).id
            mujoco.mj_objectVelocity(model, data, mujoco.mjtObj.mjOBJ_XBODY, body, velocity, 0)
            np.testing.assert_allclose(moving.state.foot_pos[i, foot], data.xpos[body], atol=1e-6)
            np.testing.assert_allclose(moving.state.foot_vel[i, foot], velocity[3:], atol=1e-5)


def test_joints_come_in_the_order_of_the_spec(moving):
    data = plain(moving, 1)
    names = moving.robot.joints
    positions = [data.joint(name).qpos[0] for name in names]
    velocities = [data.joint(name).qvel[0] for name in names]
    np.testing.assert_allclose(moving.state.joint_pos[1], positions, atol=1e-6)
    np.testing.assert_allclose(moving.state.joint_vel[1], velocities, atol=1e-6)


def test_a_step_is_plain_mujoco_with_targets_around_the_default_pose(make_biped):
    env = make_biped(seed=3)
    actions = torch.linspace(-1.0, 1.0, 2 * 17).reshape(2, 17)
    data = [plain(env, i) for i in range(2)]
    env.step(actions)
    for i in range(2):
        for joint, name in enumerate(env.robot.joints):
            scale = 0.5 if any(part in name for part in ("hip", "knee", "ankle")) else 0.3
            target = env.robot.default_pose[joint] + scale * actions[i, joint].item()
            data[i].actuator(name).ctrl[0] = target
        mujoco.mj_step(env.sim.model, data[i], nstep=4)
        np.testing.assert_allclose(env.sim.qpos[i], data[i].qpos, atol=1e-6)
        np.testing.assert_allclose(env.sim.qvel[i], data[i].qvel, atol=1e-4)


def test_torques_of_the_first_step_are_the_robots_own(make_biped):
    env = make_biped({"rewards": {"preset": "v4", "joint_torque": -1.0}}, num_envs=3)
    data = [plain(env, i) for i in range(3)]
    env.step(torch.zeros(3, 17))
    for i in range(3):
        data[i].ctrl[:] = env.robot.default_pose
        mujoco.mj_step(env.sim.model, data[i], nstep=4)
        np.testing.assert_allclose(
            env.state.joint_torque[i], data[i].actuator_force, atol=1e-3, err_msg=f"robot {i}"
        )


def test_feet_carry_the_weight_when_standing(make_biped):
    env = make_biped(quiet=True)
    for _ in range(100):
        env.step(torch.zeros(2, 17))
    weight = float(env.sim.model.body_mass.sum()) * 9.81
    force = env.state.foot_force
    torch.testing.assert_close(force.sum(dim=1), torch.full((2,), weight), rtol=0.01, atol=0.0)
    torch.testing.assert_close(force[:, 0], force[:, 1], rtol=0.05, atol=0.0)
    assert env.state.feet.contact.all()


def test_left_foot_comes_first(make_biped):
    env = make_biped(quiet=True)
    # Roll of 30 degrees to the right, a little up: only the right foot reaches the ground.
    angle = math.radians(30) / 2
    qpos = {(0, 3): math.cos(angle), (0, 4): math.sin(angle), (0, 2): 0.38}
    written(env, qpos)
    for _ in range(3):
        env.step(torch.zeros(2, 17))
    assert env.state.feet.contact[0].tolist() == [False, True]
    assert env.state.foot_pos[0, 0, 2] > env.state.foot_pos[0, 1, 2]


def test_actions_are_clipped_and_remembered(make_biped):
    env = make_biped({"action_clip": 2.0})
    first, second = torch.full((2, 17), 5.0), torch.full((2, 17), -0.5)
    env.step(first)
    assert env.state.action.unique().tolist() == [2.0]
    assert env.state.last_action.unique().tolist() == [0.0]
    env.step(second)
    assert env.state.action.unique().tolist() == [-0.5]
    assert env.state.last_action.unique().tolist() == [2.0]


def test_quantities_are_fresh_after_every_step(make_biped):
    env = make_biped(quiet=True)
    for _ in range(3):
        env.step(torch.ones(2, 17))
        for i in range(2):
            data = plain(env, i)
            body = env.sim.model.body("left_foot").id
            np.testing.assert_allclose(env.state.foot_pos[i, 0], data.xpos[body], atol=1e-6)
        assert env.state.episode_time.tolist() == pytest.approx(
            (env.state.episode_step * 0.02).tolist()
        )


def test_joint_ids_by_name_and_group(make_biped):
    state = make_biped().state
    assert state.joint_ids(("head_pan", "left_elbow")) == [0, 11]
    assert state.joint_ids(("arms",)) == [1, 2, 3, 9, 10, 11]


def test_unknown_joint_names_the_nearest(make_biped):
    # A reward's parameter may name a joint, so this is a user's mistake.
    with pytest.raises(UserError, match=r'unknown joint.*"left_hip_pitch"'):
        make_biped().state.joint_ids(("left_hip_ptch",))


def test_heading_frame(make_biped):
    # Faces the world's y, leans 30 degrees forward (pitch in the heading frame) and turns about
    # its own z axis with 2 rad/s: cos(30) of it is about the vertical.
    yaw, pitch = math.pi / 4, math.radians(15)
    quat = [
        math.cos(yaw) * math.cos(pitch),
        -math.sin(yaw) * math.sin(pitch),
        math.cos(yaw) * math.sin(pitch),
        math.sin(yaw) * math.cos(pitch),
    ]
    qpos = {(0, 3 + k): value for k, value in enumerate(quat)}
    qvel = dict(zip([(0, k) for k in range(6)], [-0.5, 2.0, 0.1, 0.0, 0.0, 2.0], strict=True))
    state = written(make_biped(quiet=True), qpos, qvel)
    assert state.base_heading[0].item() == pytest.approx(math.pi / 2, abs=1e-6)
    assert state.base_lin_vel_heading[0].tolist() == pytest.approx([2.0, 0.5, 0.1], abs=1e-6)
    assert state.yaw_rate[0].item() == pytest.approx(2.0 * math.cos(math.radians(30)), abs=1e-6)
    assert state.yaw_rate[1].item() == pytest.approx(0.0)


def test_yaw_rate_is_mujocos_world_rate(moving):
    torso = moving.sim.model.body("torso").id
    for i in range(2):
        velocity = np.zeros(6)
        mujoco.mj_objectVelocity(
            moving.sim.model, plain(moving, i), mujoco.mjtObj.mjOBJ_XBODY, torso, velocity, 0
        )
        assert moving.state.yaw_rate[i].item() == pytest.approx(velocity[2], abs=1e-5)


def test_wrists_and_points_in_the_base_frame(make_h1):
    env = make_h1("h1_reach")
    state = written(env, {(1, 0): 3.0, (1, 1): -2.0, (1, 2): 0.9, (1, 3): HALF, (1, 6): HALF})
    for i in range(2):
        data = plain(env, i)
        for wrist, name in enumerate(["left_wrist", "right_wrist"]):
            np.testing.assert_allclose(
                state.wrist_pos[i, wrist], data.site(name).xpos, atol=1e-6, err_msg=name
            )
    # A metre ahead of the second robot, which stands at (3, -2) and faces the world's y.
    points = torch.tensor([[[1.0, 0.0, 0.5]], [[3.0, -1.0, 0.5]]])
    ahead = state.in_base_heading(points)
    torch.testing.assert_close(ahead, torch.tensor([[[1.0, 0.0, 0.5]]] * 2), atol=1e-6, rtol=0)


def test_a_robot_without_wrists_has_none(make_biped):
    assert make_biped().state.wrist_pos.shape == (2, 0, 3)


def test_joint_velocities_before_the_step_are_remembered(make_biped):
    env = make_biped({"randomization": {"joint_vel": {"half_width": 2.0}}})
    state = env.state
    # A new episode has no step behind it: nothing has been accelerated yet.
    assert torch.equal(state.last_joint_vel, state.joint_vel)
    for _ in range(3):
        before = state.joint_vel.clone()
        env.step(torch.ones(2, 17))
        assert torch.equal(state.last_joint_vel, before)
        assert not torch.equal(state.joint_vel, before)
    env._restart(torch.tensor([1]))
    assert torch.equal(state.last_joint_vel[1], state.joint_vel[1])
    assert torch.equal(state.last_joint_vel[0], before[0])
