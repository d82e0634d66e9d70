"""One robot and its policy: steps, pushes, placing, swapping."""

import mujoco
import numpy as np
import pytest
import torch

from stridelab.export.bundle import load_bundle
from stridelab.play.session import Session
from stridelab_envs.errors import UserError
from stridelab_envs.registry import make_env


def test_it_steps_as_the_policy_does_in_its_task(tiny_bundle, biped_session):
    policy = load_bundle(tiny_bundle)
    env = make_env(policy.experiment.task_config().for_evaluation(), num_envs=1, seed=0)
    act, obs, total = policy.controller(env), env.reset(), 0.0
    for _ in range(7):  # of the 10 steps of an episode
        step = env.step(act(obs))
        obs, total = step.obs, total + float(step.reward[0])
        biped_session.step()
    torch.testing.assert_close(biped_session.env.sim.qpos, env.sim.qpos)
    assert biped_session.episode_return == pytest.approx(total)
    assert biped_session.env_steps == 1234


def test_an_ended_episode_is_followed_by_the_next(biped_session):
    for _ in range(10):
        biped_session.step()
    assert biped_session.episode_return == 0.0
    assert biped_session.falls == 0  # the time limit is no fall
    data = mujoco.MjData(biped_session.env.sim.model)
    data.qpos[:] = biped_session.env.sim.qpos[0]
    data.qpos[3:7] = [0.5**0.5, 0.0, 0.5**0.5, 0.0]  # flat on its face
    biped_session.place(data)
    biped_session.step()
    assert biped_session.falls == 1


def test_a_reset_starts_an_episode(biped_session):
    for _ in range(3):
        biped_session.step()
    assert biped_session.episode_return != 0.0
    biped_session.reset()
    assert biped_session.episode_return == 0.0
    assert int(biped_session.env.state.episode_step[0]) == 0


def test_a_push_accelerates_by_force_over_mass(biped_session):
    # Momentum is force times time, whatever the limbs do; in the air nothing else pushes.
    env = biped_session.env
    data = mujoco.MjData(env.sim.model)
    data.qpos[:] = env.sim.qpos[0]
    data.qpos[2] += 1.0
    biped_session.place(data)
    force = np.zeros((env.sim.model.nbody, 6))
    force[env.sim.model.body(env.robot.base_body).id, 1] = 40.0
    biped_session.push(force)
    biped_session.step()
    biped_session.show(data)
    mujoco.mj_forward(env.sim.model, data)
    mujoco.mj_subtreeVel(env.sim.model, data)
    mass = float(mujoco.mj_getTotalmass(env.sim.model))
    expected = 40.0 * biped_session.dt / mass
    assert data.subtree_linvel[0, 1] == pytest.approx(expected, rel=0.01)


def test_show_and_place_are_inverse(biped_session):
    biped_session.step()
    data = mujoco.MjData(biped_session.env.sim.model)
    biped_session.show(data)
    assert data.time == pytest.approx(biped_session.dt)
    np.testing.assert_array_equal(data.qpos, biped_session.env.sim.qpos[0])
    np.testing.assert_array_equal(data.ctrl, biped_session.env.sim.ctrl[0])
    data.qpos[0], data.qvel[1] = 3.0, 0.5
    biped_session.place(data)
    assert float(biped_session.env.sim.qpos[0, 0]) == 3.0
    assert float(biped_session.env.sim.qvel[0, 1]) == 0.5
    assert float(biped_session.env.state.base_pos[0, 0]) == pytest.approx(3.0)


def test_another_policy_takes_over_in_the_middle_of_an_episode(
    biped_session, write_checkpoint, tmp_path
):
    biped_session.step()
    step = int(biped_session.env.state.episode_step[0])
    newer = load_bundle(write_checkpoint(tmp_path / "checkpoint", 99))
    biped_session.swap(newer)
    assert biped_session.env_steps == 99
    assert int(biped_session.env.state.episode_step[0]) == step
    biped_session.step()


def test_a_policy_of_another_task_is_refused(biped_session, walk_policy):
    with pytest.raises(UserError, match="does not fit task biped_walk"):
        biped_session.swap(walk_policy)
    assert biped_session.env_steps == 1234
    biped_session.step()


def test_inputs_turn_dials_before_each_step(walk_policy):
    told = []

    def turn(dials):
        told.append(dials.values)
        dials.turn({0: 0.5})

    session = Session(walk_policy, seed=0, inputs=(turn,))
    session.step()
    session.step()
    assert told[1][0] == 0.5
