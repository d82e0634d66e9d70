"""Changes of the robot: ranges that are filled, in the model's fields and in what physics does."""

import math

import mujoco
import numpy as np
import pytest
import torch

from stridelab_envs.batch_env import BatchEnv
from stridelab_envs.mdp import model_randomization as randomize
from stridelab_envs.mdp import privileged_observations
from stridelab_envs.registry import get_task

TERMS = get_task("x1_walk").randomization
COUNT = 16
IDS = torch.arange(COUNT)


@pytest.fixture
def env():
    """Robots of which nothing has been changed yet."""
    task = get_task("x1_walk").with_overrides({"randomization": dict.fromkeys(TERMS)})
    return BatchEnv(task, num_envs=COUNT, seed=3, num_threads=1)


def fills(values, low, high, share=0.8):
    """Whether values lie in a range and spread over most of it."""
    inside = values.min() >= low - 1e-9 and values.max() <= high + 1e-9
    return bool(inside and values.max() - values.min() > share * (high - low))


def test_friction_is_the_mean_with_the_ground(env):
    randomize.friction_with_ground(env.state, IDS, low=0.2, high=1.3, ground=0.6)
    values = env.sim.model_field("geom_friction")[:, :, 0]
    assert torch.equal(values, values[:, :1].expand_as(values))
    assert fills(values, 0.4, 0.95)


def test_restitution_sets_the_damping_of_contacts(env):
    randomize.restitution(env.state, IDS, low=0.0, high=0.4, ground=0.0)
    nominal = torch.tensor(env.sim.model.geom_solref)
    values = env.sim.model_field("geom_solref")
    ratio = values[..., 1]
    # Half of 0.4 is given back with a ratio of 0.731.
    assert ratio.max() == pytest.approx(1.0)
    assert 0.731 < ratio.min() < 0.78
    frequency = 1.0 / (values[..., 0] * ratio)
    torch.testing.assert_close(frequency, (1.0 / nominal.prod(dim=1)).expand_as(frequency))


@pytest.mark.parametrize("kept", [math.exp(-2), 0.2, 0.4, 0.7])
def test_a_ball_keeps_the_speed_it_should(kept):
    ratio = float(randomize.damping_ratio(torch.tensor([kept])))
    # Weightless, so that the bounce is the contact spring's alone; floor and ball alike.
    model = mujoco.MjModel.from_xml_string(f"""
        <mujoco><option timestep="0.0005" gravity="0 0 0"/>
          <default><geom solref="{0.02 / ratio} {ratio}" solimp="0.95 0.95 0.001"/></default>
          <worldbody><geom type="plane" size="0 0 1"/>
            <body pos="0 0 0.101"><freejoint/><geom size="0.1" mass="1"/></body>
          </worldbody></mujoco>""")
    data = mujoco.MjData(model)
    data.qvel[2] = -1.0
    mujoco.mj_step(model, data, nstep=1000)
    assert data.qvel[2] == pytest.approx(kept, abs=0.01)


def test_link_masses(env):
    model = env.sim.model
    before = torch.tensor(model.body_mass)
    for _ in range(3):  # drawn from the model's masses each time
        randomize.link_masses(env.state, IDS, low=0.9, high=1.1)
    env.sim.forward(IDS)
    mass = env.sim.model_field("body_mass")
    base = model.body("base").id
    assert torch.equal(mass[:, : base + 1], before[: base + 1].expand(COUNT, -1))
    factor = mass[:, base + 1 :] / before[base + 1 :]
    assert factor.shape == (COUNT, 12)
    assert fills(factor, 0.9, 1.1)
    inertia = env.sim.model_field("body_inertia") / torch.tensor(model.body_inertia)
    torch.testing.assert_close(inertia[:, base + 1 :], factor.unsqueeze(2).expand(-1, -1, 3))
    # The constants derived from masses follow.
    subtree = env.sim.batch.expanded("body_subtreemass")[:, base]
    np.testing.assert_allclose(subtree, mass.sum(dim=1))


def test_centre_of_mass_moves_from_its_place(env):
    number = env.sim.model.body("base").id
    for _ in range(3):
        randomize.centre_of_mass(env.state, IDS, body="base", half_width=0.05)
    place = env.sim.model_field("body_ipos")[:, number]
    shift = place - torch.tensor(env.sim.model.body_ipos[number])
    assert fills(shift, -0.05, 0.05)
    assert (place[:, 2] - 0.257378).abs().max() <= 0.05
    told = privileged_observations.centre_of_mass_shift(env.state, body="base")
    torch.testing.assert_close(told, shift.float())


def test_joint_terms_change_joints_alone(env):
    randomize.joint_friction(env.state, IDS, low=0.1, high=0.9)
    randomize.joint_damping(env.state, IDS, low=0.05, high=0.1)
    randomize.armature(env.state, IDS, low=1e-4, high=0.05)
    loss, damping = env.sim.model_field("dof_frictionloss"), env.sim.model_field("dof_damping")
    rotor = env.sim.model_field("dof_armature")
    for field in (loss, damping, rotor):
        assert (field[:, :6] == 0.0).all()
    assert fills(loss[:, 6:], 0.1, 0.9)
    assert fills(damping[:, 6:], 0.05, 0.1)
    assert fills(rotor[:, 6:], 1e-4, 0.05)
    assert torch.equal(rotor[:, 6:], rotor[:, 6:7].expand(-1, 12))


def test_gains_strength_and_offset_make_the_torque(env):
    sim, state = env.sim, env.state
    for _ in range(2):  # drawn from the model's gains each time, in any order
        randomize.motor_strength(state, IDS, low=0.8, high=1.2)
        randomize.motor_offset(state, IDS, half_width=0.035)
        randomize.gains(state, IDS, stiffness=[0.8, 1.2], damping=[0.7, 1.3])
    motors = state.actuators
    assert fills(motors.strength, 0.8, 1.2)
    assert fills(motors.stiffness, 0.8, 1.2)
    assert fills(motors.damping, 0.7, 1.3)
    assert fills(motors.offset, -0.035, 0.035)
    kp, kd = (
        torch.tensor([v] * 2).flatten()
        for v in ([30, 40, 35, 100, 35, 35], [3, 3, 4, 10, 0.5, 0.5])
    )
    sim.qvel[:, 6:] = torch.rand(COUNT, 12, dtype=torch.float64)
    sim.qpos[:, 7:] += 0.3
    sim.decimation = 1
    q, v = sim.qpos[:, 7:].clone(), sim.qvel[:, 6:].clone()
    env.step(torch.zeros(COUNT, 12))
    angle = motors.stiffness * kp * (state.default_pose + motors.offset - q)
    expected = motors.strength * (angle - motors.damping * kd * v)
    torch.testing.assert_close(state.joint_torque, expected.float(), rtol=1e-4, atol=1e-4)


def test_other_environments_stay_as_they_are(env):
    ids = torch.tensor([5, 2])
    for name, term in TERMS.items():
        if term.func.__module__ == randomize.__name__ and name != "push":
            term.func(env.state, ids, **term.params)
    fields = ("geom_friction", "geom_solref", "body_mass", "body_ipos", "actuator_gainprm")
    fields += ("actuator_biasprm", "dof_frictionloss", "dof_damping", "dof_armature")
    for name in fields:
        values = env.sim.model_field(name).flatten(1)
        changed = (values != values[0]).any(dim=1).nonzero().flatten()
        assert changed.tolist() == [2, 5], name


def test_episodes_start_above_the_ground(env):
    before = env.sim.qpos.clone()
    randomize.base_drop(env.state, torch.tensor([1]), height=0.09)
    before[1, 2] += 0.09
    assert torch.equal(env.sim.qpos, before)


class TestPush:
    def begin(self, env, **changes):
        params = {**TERMS["push"].params, **changes}
        randomize.growing_push(env.state, torch.tensor([1, 2]), **params)

    def test_stays_within_its_limits(self, env):
        push, before = env.state.push, env.sim.qvel.clone()
        self.begin(env, curriculum=False, linear=0.2, angular=0.3)
        seen = []
        while push.advance():
            added = env.sim.qvel - before
            torch.testing.assert_close(added[:, :2].float(), push.velocity[:, :2])
            torch.testing.assert_close(added[:, 3:6].float(), push.velocity[:, 2:])
            assert (added[:, 2] == 0.0).all()
            seen.append(push.velocity[1:3].clone())
            assert (push.velocity[[0, 3]] == 0.0).all()
        assert len(seen) == 26  # 0.25 s and one step
        seen = torch.stack(seen)
        assert fills(seen[..., :2], -0.2, 0.2, 0.9)
        assert fills(seen[..., 2:], -0.3, 0.3, 0.9)
        # The last draw stays with the robot, but no push is reported any more.
        torch.testing.assert_close((env.sim.qvel - before)[1:3, :2].float(), seen[-1, :, :2])
        assert (push.velocity == 0.0).all()

    @pytest.mark.parametrize(
        ("made", "expected"), [(0, 1), (47999, 1), (48000, 6), (96000, 11), (10**6, 26)]
    )
    def test_grows_with_training(self, env, made, expected):
        env.state.push.steps = float(made)
        self.begin(env)
        assert env.state.push._left.tolist() == [0, expected, expected] + [0] * (COUNT - 3)

    def test_comes_every_four_seconds(self):
        off = {name: None for name in TERMS if name != "push"}
        task = get_task("x1_walk").with_overrides({"randomization": off, "terminations": {}})
        env = BatchEnv(task, num_envs=2, seed=0, num_threads=1)
        pushed = []
        for step in range(1, 410):
            env.sim.qpos[:, 2] = 5.0  # in the air nothing ends
            env.sim.qvel.zero_()
            env.step(torch.zeros(2, 12))
            if env.state.push.velocity.any():
                pushed.append(step)
        assert pushed == [400]

    def test_is_over_when_the_episode_is(self, env):
        self.begin(env, curriculum=False)
        env.state.push.advance()
        env.reset()
        assert not env.state.push.advance()

    def test_base_acc_does_not_blame_the_robot(self, env):
        env.sim.qvel.zero_()
        env.sim.qpos[:, 2] = 5.0
        self.begin(env, linear=2.0)
        env.step(torch.zeros(COUNT, 12))
        change = (env.state.base_vel - env.state.last_base_vel)[:, :2].abs().amax(dim=1)
        assert env.state.push.velocity[1, :2].abs().max() > 0.1
        assert change.max() < 0.1
