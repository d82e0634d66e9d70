"""Delays of targets and joint sensors, measured in physics and control steps."""

import pytest
import torch

from stridelab_envs.batch_env import BatchEnv
from stridelab_envs.mdp.privileged_observations import action_lag
from stridelab_envs.registry import get_task

TERMS = get_task("x1_walk").randomization
HIP_YAW, KNEE = 2, 3


def make(*, action=None, observation=None, count=4, seed=0, **overrides):
    """Robots with delays alone; a lag is one range [s] for ``low`` and ``high``."""
    off = dict.fromkeys(TERMS)
    for name, lag in (("action_lag", action), ("observation_lag", observation)):
        if lag is not None:
            off[name] = {"low": lag[0], "high": lag[1]}
    policy = {name: {"noise": 0.0} for name in ("joint_pos", "joint_vel")}
    task = get_task("x1_walk").with_overrides(
        {
            "randomization": off,
            "observations": {"policy": policy},
            "history": {"policy": 1, "critic": 1},
            "terminations": dict.fromkeys(get_task("x1_walk").terminations),
        }
        | overrides
    )
    return BatchEnv(task, num_envs=count, seed=seed, num_threads=1)


def torque_of_target(env, joint):
    """Torque [N m] of one physics step without the part that is owed to the joint's own motion."""
    motors = env.sim.model
    kp, kd = motors.actuator_gainprm[joint, 0], -motors.actuator_biasprm[joint, 2]
    q, v = env.before
    return (
        env.state.joint_torque[:, joint]
        + kp * (q[:, joint] - env.state.default_pose[joint])
        + kd * v[:, joint]
    )


def test_who_is_told_is_told_the_lag_in_force():
    env = make(action=[0.013, 0.013])
    env.reset()
    assert action_lag(env.state).tolist() == [[pytest.approx(0.013, abs=2e-6)]] * 4
    env = make(action=[0.005, 0.04], count=32)
    env.reset()
    lags = action_lag(env.state)
    assert lags.shape == (32, 1)
    assert 0.004 < lags.min() < 0.015 < 0.03 < lags.max() < 0.041
    assert action_lag(make().state).tolist() == [[0.0]] * 4


@pytest.mark.parametrize("milliseconds", [5, 6, 13, 40])
def test_targets_arrive_late_by_whole_steps(milliseconds):
    lag = milliseconds / 1000
    env = make(action=[lag, lag], profile="reference", decimation=1)
    env.reset()
    arrived = []
    for step in range(60):
        env.before = env.sim.qpos[:, 7:].clone(), env.sim.qvel[:, 6:].clone()
        action = torch.zeros(4, 12)
        action[:, HIP_YAW] = 1.0 + step
        env.step(action)
        # 35 N m/rad times 0.5 rad per unit of action.
        arrived.append((torque_of_target(env, HIP_YAW) / 17.5).round(decimals=2)[0].item())
    # Before the first target arrives the motors hold the default pose.
    expected = [0.0] * milliseconds + [1.0 + k for k in range(60 - milliseconds)]
    assert arrived[: milliseconds + 2] == expected[: milliseconds + 2]
    # 42.5 N m at most: compare while the torque is not clipped.
    within = [abs(17.5 * value) < 35.0 for value in expected]
    assert [a for a, ok in zip(arrived, within, strict=True) if ok] == pytest.approx(
        [e for e, ok in zip(expected, within, strict=True) if ok], abs=0.02
    )


@pytest.mark.parametrize(
    ("milliseconds", "steps"), [(0, 0), (1, 1), (5, 1), (10, 2), (13, 3), (40, 8)]
)
def test_joints_are_seen_late(milliseconds, steps):
    lag = milliseconds / 1000
    env = make(observation=[lag, lag], decimation=1)  # physics and control of 5 ms
    env.reset()
    pos, vel, seen = [], [], []
    pos += [env.state.joint_pos.clone()] * (steps + 1)
    vel += [env.state.joint_vel.clone()] * (steps + 1)
    generator = torch.Generator().manual_seed(0)
    for _ in range(30):
        step = env.step(torch.randn(4, 12, generator=generator))
        pos.append(env.state.joint_pos.clone())
        vel.append(env.state.joint_vel.clone())
        seen.append(step.obs["policy"])
    columns = env.layouts["policy"]
    assert (pos[-1] - pos[0]).abs().max() > 0.05
    for k, obs in enumerate(seen, start=1):
        late = pos[k] - env.state.default_pose
        torch.testing.assert_close(obs[:, columns["joint_pos"]], late)
        torch.testing.assert_close(obs[:, columns["joint_vel"]], 0.05 * vel[k])


def test_the_critic_sees_joints_at_once():
    env = make(observation=[0.04, 0.04])
    env.reset()
    for _ in range(5):
        obs = env.step(torch.ones(4, 12)).obs["critic"]
    columns = env.layouts["critic"]["joint_pos"]
    torch.testing.assert_close(obs[:, columns], env.state.joint_pos - env.state.default_pose)


def test_delays_are_drawn_for_each_episode():
    env = make(action=[0.005, 0.04], observation=[0.0, 0.04], count=16)
    actions, sensors = env.sim.model_field("actuator_delay"), env.sim.model_field("sensor_delay")
    drawn = [[], []]
    for _ in range(20):
        env.reset()
        late = actions[:, :1].expand(-1, 12)
        assert torch.equal(actions, late)  # all joints alike
        lagged = sensors[:, -24:]
        assert torch.equal(lagged, lagged[:, :1].expand(-1, 24))
        assert (sensors[:, :-24] == 0.0).all()  # forces are felt at once
        drawn[0] += [round(1000 * value) for value in actions[:, 0].tolist()]
        drawn[1] += [round(1000 * value) for value in lagged[:, 0].tolist()]
    assert (min(drawn[0]), max(drawn[0])) == (5, 40)
    assert (min(drawn[1]), max(drawn[1])) == (0, 40)
    assert len(set(drawn[0])) > 30


def test_buffers_start_with_the_episodes_own_pose():
    env = make(
        observation=[0.04, 0.04],
        randomization={
            **dict.fromkeys(TERMS),
            "joint_pos": {"half_width": 0.1},
            "observation_lag": {"low": 0.04, "high": 0.04},
        },
    )
    for _ in range(2):
        obs = env.reset()["policy"][:, env.layouts["policy"]["joint_pos"]]
        torch.testing.assert_close(obs, env.state.joint_pos - env.state.default_pose)
        assert obs.abs().max() > 0.05
        env.step(torch.ones(4, 12))


def test_models_without_delays_have_no_buffers():
    env = make()
    assert env.sim.model.nhistory == 0
    assert env.sim.model.nsensor == 3
    assert torch.equal(env.state.measured_joint_pos, env.state.joint_pos)


def test_delayed_environments_are_saved():
    def run(env, steps):
        generator = torch.Generator().manual_seed(2)
        return [
            env.step(torch.randn(4, 12, generator=generator)).obs["policy"] for _ in range(steps)
        ]

    env = make(action=[0.005, 0.04], observation=[0.0, 0.04])
    env.reset()
    run(env, 10)
    saved = env.get_state()
    expected = run(env, 10)
    other = make(action=[0.005, 0.04], observation=[0.0, 0.04], seed=7)
    other.set_state(saved)
    for mine, its in zip(run(other, 10), expected, strict=True):
        assert torch.equal(mine, its)
