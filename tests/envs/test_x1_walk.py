"""The X1's walking task: what is observed, paid and drawn, and that it runs and stands."""

import pytest
import torch

from stridelab_envs.batch_env import BatchEnv
from stridelab_envs.errors import ConfigError
from stridelab_envs.registry import get_task

# Term and weight, as published.
WEIGHTS = {
    "ref_joint_pos": 2.2,
    "feet_clearance": 1.0,
    "feet_contact_number": 2.0,
    "feet_air_time": 1.2,
    "foot_slip": -0.1,
    "feet_distance": 0.2,
    "knee_distance": 0.2,
    "feet_contact_forces": -0.01,
    "tracking_lin_vel": 1.8,
    "tracking_ang_vel": 1.1,
    "vel_mismatch_exp": 0.5,
    "low_speed": 0.2,
    "track_vel_hard": 0.5,
    "default_joint_pos": 1.0,
    "orientation": 1.0,
    "feet_rotation": 0.3,
    "base_height": 0.2,
    "base_acc": 0.2,
    "action_smoothness": -0.002,
    "torques": -8e-9,
    "dof_vel": -2e-8,
    "dof_acc": -1e-7,
    "collision": -1.0,
    "stand_still": 2.5,
    "dof_vel_limits": -1.0,
    "dof_pos_limits": -10.0,
    "dof_torque_limits": -0.1,
}
POLICY = {
    "gait_phase": 2,
    "lin_vel_command": 2,
    "ang_vel_command": 1,
    "joint_pos": 12,
    "joint_vel": 12,
    "last_action": 12,
    "base_ang_vel": 3,
    "base_rpy": 3,
}
CRITIC = {
    "gait_phase": 2,
    "lin_vel_command": 2,
    "ang_vel_command": 1,
    "joint_pos": 12,
    "joint_vel": 12,
    "last_action": 12,
    "joint_pos_ref": 12,
    "base_lin_vel": 3,
    "base_ang_vel": 3,
    "base_rpy": 3,
    "push_lin_vel": 2,
    "push_ang_vel": 3,
    "friction": 1,
    "base_mass": 1,
    "stance_mask": 2,
    "foot_contact": 2,
}
QUIET = {"randomization": dict.fromkeys(get_task("x1_walk").randomization)}


def make(overrides=None, *, num_envs=4, seed=0):
    task = get_task("x1_walk").with_overrides(overrides or {})
    return BatchEnv(task, num_envs=num_envs, seed=seed, num_threads=1, stack_history=False)


def test_rewards_and_weights():
    task = get_task("x1_walk")
    # The vendor's 27, and the load of the swinging foot, which only an experiment switches on.
    assert len(WEIGHTS) == 27
    assert task.reward_weights() == WEIGHTS | {"swing_load": 0.0}
    assert task.only_positive_rewards


@pytest.mark.parametrize(
    ("group", "widths", "size"), [("policy", POLICY, 47), ("critic", CRITIC, 73)]
)
def test_layouts(group, widths, size):
    layout = make().layouts[group]
    assert {name: columns.stop - columns.start for name, columns in layout.items()} == widths
    assert list(layout) == list(widths)
    assert max(columns.stop for columns in layout.values()) == size


def test_histories():
    env = BatchEnv(get_task("x1_walk"), num_envs=2, seed=0, num_threads=1)
    assert env.history == {"policy": 66, "critic": 3}
    assert env.observation_sizes == {"policy": 3102, "critic": 219}
    first = env.reset()
    second = env.step(torch.ones(2, 12)).obs
    for group, width in (("policy", 47), ("critic", 73)):
        assert second[group].shape == (2, env.observation_sizes[group])
        # Oldest first: the first frame has moved one place towards the front.
        assert torch.equal(second[group][:, :-width], first[group][:, width:])
    newest = slice(3055 + env.layouts["policy"]["last_action"].start, 3055 + 41)
    assert (second["policy"][:, newest] == 1.0).all()
    velocity = env.layouts["critic"]["base_lin_vel"]
    assert (2 * 73 + velocity.start, 2 * 73 + velocity.stop) == (199, 202)


def test_the_critic_sees_no_noise():
    critic = get_task("x1_walk").observations["critic"]
    assert all(term.noise == 0.0 for term in critic.values())


def test_observation_of_the_standing_robot():
    env = make(QUIET | {"observations": {"policy": {name: {"noise": 0} for name in POLICY}}})
    obs = env.reset()
    command = env.state.commands["velocity"]
    policy = {name: obs["policy"][:, columns] for name, columns in env.layouts["policy"].items()}
    scaled = command.value * torch.tensor([2.0, 2.0, 1.0])
    torch.testing.assert_close(policy["lin_vel_command"], scaled[:, :2])
    torch.testing.assert_close(policy["ang_vel_command"], scaled[:, 2:])
    for name in ("joint_pos", "joint_vel", "last_action", "base_ang_vel", "base_rpy"):
        assert policy[name].abs().max() < 1e-6, name
    critic = {name: obs["critic"][0, columns] for name, columns in env.layouts["critic"].items()}
    assert critic["base_mass"].item() == pytest.approx(2.13, abs=1e-4)
    assert critic["friction"].item() == 1.0
    assert critic["stance_mask"].tolist() == [1.0, 1.0]


def test_noise_half_widths():
    env = make(QUIET, num_envs=64)
    obs = env.reset()["policy"]
    expected = {"joint_pos": 0.03, "joint_vel": 0.1125, "base_ang_vel": 0.3, "base_rpy": 0.15}
    for name, columns in env.layouts["policy"].items():
        value = obs[:, columns]
        if name in expected:
            assert 0.95 * expected[name] < value.abs().max() <= expected[name]
    assert (obs[:, env.layouts["policy"]["last_action"]] == 0.0).all()


@pytest.mark.parametrize("profile", ["fast", "reference"])
def test_stands_for_a_while_without_a_policy(profile):
    # The joints are too soft to stand for ever: an upright robot tips over in some two seconds.
    env = make(QUIET | {"profile": profile}, num_envs=1)
    env.reset()
    for _ in range(150):
        step = env.step(torch.zeros(1, 12))
        assert not step.terminated.any()
    assert env.state.base_pos[0, 2] > 0.55
    assert env.control_dt == pytest.approx(0.01)
    for _ in range(150):
        step = env.step(torch.zeros(1, 12))
        if step.terminated.any():
            return
    pytest.fail("a robot that has tipped over goes on")


def test_profiles_differ_in_physics_alone():
    task = get_task("x1_walk")
    reference = task.with_overrides({"profile": "reference"})
    assert (reference.timestep, reference.decimation, reference.integrator) == (0.001, 10, "euler")
    assert reference.with_overrides({"profile": "fast"}) == task.with_overrides({"profile": "fast"})
    own = task.with_overrides({"decimation": 4, "profile": "reference"})
    assert (own.timestep, own.decimation) == (0.001, 4)
    h1 = get_task("h1_walk").with_overrides({"profile": "reference"})
    assert h1.control_dt == pytest.approx(get_task("h1_walk").control_dt)
    with pytest.raises(ConfigError, match=r'^profile: unknown profile "fats"; did you mean "fast"'):
        task.with_overrides({"profile": "fats"})
    with pytest.raises(ConfigError, match=r'^integrator: unknown integrator "rk4"'):
        task.with_overrides({"integrator": "rk4"})


def test_reference_is_a_pd_law():
    """Torques of one physics step follow from the state before it, and nothing is clamped."""
    env = make(QUIET | {"profile": "reference", "decimation": 1}, num_envs=2)
    env.reset()
    model = env.sim.model
    kp, kd = torch.tensor(model.actuator_gainprm[:, 0]), -torch.tensor(model.actuator_biasprm[:, 2])
    action = torch.linspace(-4.0, 4.0, 24).view(2, 12)  # targets beyond the knees' range too
    env.sim.qvel[:, 6:] = 0.5
    q, v = env.sim.qpos[:, 7:].clone(), env.sim.qvel[:, 6:].clone()
    env.step(action)
    target = env.state.default_pose + 0.5 * action
    limit = env.state.joint_torque_limit.double()
    torque = (kp * (target - q) - kd * v).clamp(-limit, limit)
    torch.testing.assert_close(env.state.joint_torque, torque.float(), rtol=1e-5, atol=1e-4)
    assert (target[0, 3] < 0.0) & (torque[0, 3] < 0.0)


@pytest.mark.parametrize("name", get_task("x1_walk").randomization)
def test_null_switches_a_randomization_off(name):
    task = get_task("x1_walk")
    changed = task.with_overrides({"randomization": {name: None}})
    assert changed.randomization.keys() == task.randomization.keys() - {name}
    env = BatchEnv(changed, num_envs=2, seed=0, num_threads=1)
    assert torch.isfinite(env.step(torch.zeros(2, 12)).reward).all()


def rollout(env, steps):
    generator = torch.Generator().manual_seed(5)
    out = []
    for _ in range(steps):
        step = env.step(0.5 * torch.randn(env.num_envs, 12, generator=generator))
        out += [*step.obs.values(), *step.final_obs.values(), step.reward, step.terminated]
    return out


def test_a_saved_environment_goes_on_alike():
    push = {"interval_s": [0.1, 0.3], "duration": [0.2, 0.2]}
    env = make({"randomization": {"push": push}})
    env.reset()
    rollout(env, 40)
    saved = env.get_state()
    expected = rollout(env, 140)
    assert any(value.any() for value in expected[5::6])  # some fell and were drawn anew
    other = make({"randomization": {"push": push}}, seed=9)
    other.set_state(saved)
    for mine, its in zip(rollout(other, 140), expected, strict=True):
        assert torch.equal(mine, its)


def test_evaluation_holds_nothing_back():
    task = get_task("x1_walk").for_evaluation()
    env = BatchEnv(task, num_envs=2, seed=0, num_threads=1)
    command = env.state.commands["velocity"]
    assert command.low[0] == pytest.approx(-0.4)
    assert command.high[0] == pytest.approx(1.2)
    assert task.commands["velocity"].params["curriculum"] is False
    assert task.randomization["push"].params["curriculum"] is False
