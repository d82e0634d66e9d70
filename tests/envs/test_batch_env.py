"""The contract of ``BatchEnv``, for every task, and the bookkeeping of episodes by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from stridelab_envs.batch_env import BatchEnv
from stridelab_envs.errors import ConfigError
from stridelab_envs.mdp.terms import RewardTerm
from stridelab_envs.registry import get_task, make_env, task_ids

each_task = pytest.mark.parametrize("task_id", task_ids())


def random_actions(env, steps, seed=11):
    generator = torch.Generator().manual_seed(seed)
    shape = (steps, env.num_envs, env.action_dim)
    return torch.randn(shape, generator=generator)


def rollout(env, steps=25):
    """Every tensor of a reset and ``steps`` steps of random actions, by name and step."""
    seen = {("reset", group): value for group, value in env.reset().items()}
    for t, action in enumerate(random_actions(env, steps)):
        step = env.step(action)
        seen |= {(t, "obs", group): value for group, value in step.obs.items()}
        seen |= {(t, "final_obs", group): value for group, value in step.final_obs.items()}
        seen |= {(t, name): getattr(step, name) for name in ("reward", "terminated", "truncated")}
        seen |= {(t, "log", name): value for name, value in step.log.items()}
    return seen


def assert_same(left, right):
    assert left.keys() == right.keys()
    for name in left:
        same = torch.allclose(left[name], right[name], rtol=0, atol=0, equal_nan=True)
        assert same, name


@each_task
def test_contract(task_id):
    env = make_env(get_task(task_id), num_envs=3, seed=1, num_threads=1)
    assert env.control_dt == pytest.approx(env.task.timestep * env.task.decimation)
    assert env.sim.control_dt == pytest.approx(env.control_dt)
    sizes = env.observation_sizes
    assert "policy" in sizes
    for name, value in rollout(env).items():
        if "log" in name:
            assert value.shape[0] > 0, name
        elif name[-1] in sizes:
            assert value.shape == (3, sizes[name[-1]]), name
        else:
            assert value.shape == (3,), name
        ended = name[-1] in ("terminated", "truncated")
        assert value.dtype == (torch.bool if ended else torch.float32), name
        if "log" in name:
            value = value[~value.isnan()]  # a metric that was not measured in the episode
        assert torch.isfinite(value).all(), name


@each_task
def test_layouts_cover_their_groups_without_holes(task_id):
    env = make_env(get_task(task_id), num_envs=1, seed=1, num_threads=1)
    assert env.layouts.keys() == env.observation_sizes.keys() == env.task.observations.keys()
    for group, layout in env.layouts.items():
        assert list(layout) == list(env.task.observations[group])
        end = 0
        for name, columns in layout.items():
            assert columns.start == end, name
            assert columns.stop > columns.start, name
            end = columns.stop
        assert env.observation_sizes[group] == end * env.history[group]


@each_task
def test_equal_seeds_give_equal_rollouts(task_id):
    first, second, other = (
        make_env(get_task(task_id), num_envs=3, seed=seed, num_threads=1) for seed in (4, 4, 5)
    )
    seen = rollout(first)
    assert_same(seen, rollout(second))
    different = rollout(other)
    assert not torch.equal(seen["reset", "policy"], different["reset", "policy"])
    assert not torch.equal(seen[24, "obs", "policy"], different[24, "obs", "policy"])


@each_task
def test_seeding_again_repeats_the_rollout(task_id):
    env = make_env(get_task(task_id), num_envs=3, seed=4, num_threads=1)
    env.seed(9)
    seen = rollout(env)
    env.seed(9)
    assert_same(seen, rollout(env))


def test_threads_do_not_change_results(make_biped):
    short = {"episode_length_s": 0.2, "rewards": "v4"}
    one, two = (make_biped(short, num_envs=5, num_threads=n) for n in (1, 2))
    assert_same(rollout(one), rollout(two))


def test_environments_of_a_batch_differ(make_biped):
    obs = make_biped(num_envs=4).reset()["policy"]
    assert len({tuple(row) for row in obs.tolist()}) == 4


def test_layout_names_the_right_columns(make_biped):
    env = make_biped()
    obs = env.reset()["policy"]
    assert env.observation_sizes == {"policy": 48}
    columns = env.layouts["policy"]
    assert torch.equal(obs[:, columns["joint_pos"]], env.state.joint_pos)
    assert torch.equal(obs[:, columns["base_quat"]], env.state.base_quat)
    assert torch.equal(obs[:, columns["joint_vel"]], env.state.joint_vel * 0.1)
    assert obs[:, columns["gait_clock"]].tolist() == [[0.0, 1.0]] * 2


def test_noise_and_scale(make_biped):
    noisy = {"joint_pos": {"noise": 0.2, "scale": 3.0}, "base_quat": {"scale": 2.0}}
    env = make_biped({"observations": {"policy": noisy}}, num_envs=16, quiet=True)
    obs, columns = env.reset()["policy"], env.layouts["policy"]
    assert torch.equal(obs[:, columns["base_quat"]], torch.tensor([[2.0, 0, 0, 0]] * 16))
    noise = obs[:, columns["joint_pos"]] / 3.0 - env.state.default_pose
    assert -0.2 - 1e-6 <= noise.min() < -0.18
    assert 0.18 < noise.max() <= 0.2 + 1e-6
    assert noise.abs().mean() == pytest.approx(0.1, rel=0.2)
    assert not torch.equal(noise, env.reset()["policy"][:, columns["joint_pos"]] / 3.0)


def test_truncation_at_the_limit_and_not_terminated(make_biped):
    env = make_biped({"episode_length_s": 0.1})
    assert env.max_episode_steps == 5
    for t in range(1, 16):
        step = env.step(torch.zeros(2, 17))
        assert step.truncated.tolist() == [t % 5 == 0] * 2, t
        assert not step.terminated.any()


def test_a_fall_in_the_last_step_is_no_truncation(make_biped, tip_over):
    env = make_biped({"episode_length_s": 0.1})
    for _ in range(4):
        env.step(torch.zeros(2, 17))
    tip_over(env, 1)
    step = env.step(torch.zeros(2, 17))
    assert step.terminated.tolist() == [False, True]
    assert step.truncated.tolist() == [True, False]
    assert step.log["episode/fell"].tolist() == [0.0, 1.0]


def test_same_step_restart(make_biped):
    short, long = make_biped({"episode_length_s": 0.1}), make_biped()
    for action in random_actions(short, 5) * 0.3:
        cut, whole = short.step(action), long.step(action)
    # The last observation is that of the run that goes on; what comes back is a fresh start.
    assert torch.equal(cut.final_obs["policy"], whole.obs["policy"])
    fresh, columns = cut.obs["policy"], short.layouts["policy"]
    assert fresh[:, columns["gait_clock"]].tolist() == [[0.0, 1.0]] * 2
    assert (fresh[:, columns["joint_pos"]] - short.state.default_pose).abs().max() <= 0.0501
    assert (fresh[:, columns["base_quat"]] - torch.tensor([1.0, 0, 0, 0])).abs().max() < 1e-6
    assert torch.equal(fresh, short._observe()["policy"])
    assert short.state.action.abs().max() == 0.0
    assert short.state.episode_step.tolist() == [0, 0]


def test_only_ended_environments_restart(make_biped, tip_over):
    env, twin = make_biped(num_envs=3), make_biped(num_envs=3)
    tip_over(env, 1)
    for t in range(4):
        action = random_actions(env, 1, seed=t)[0] * 0.3
        step, other = env.step(action), twin.step(action)
        for row in (0, 2):
            assert torch.equal(step.obs["policy"][row], other.obs["policy"][row])
            assert torch.equal(step.reward[row], other.reward[row])
        ended = [False, t == 0, False]
        assert step.terminated.tolist() == ended
        assert (step.obs["policy"] != step.final_obs["policy"]).any(dim=1).tolist() == ended
    assert env.state.episode_step.tolist() == [4, 3, 4]


def test_what_a_step_returned_stays(make_biped):
    env = make_biped({"episode_length_s": 0.06})
    kept = [env.reset()["policy"]]
    copies = [kept[0].clone()]
    for action in random_actions(env, 8):
        step = env.step(action)
        fields = [*step.obs.values(), *step.final_obs.values(), step.reward, step.terminated]
        kept += [*fields, *step.log.values()]
        copies += [value.clone() for value in (*fields, *step.log.values())]
    assert all(torch.equal(left, right) for left, right in zip(kept, copies, strict=True))


def test_episode_log(make_biped, tip_over):
    env = make_biped({"episode_length_s": 0.1, "rewards": "v4"}, num_envs=3)
    env.reset()
    total, x_velocity, logs = torch.zeros(3), torch.zeros(3), []
    for t, action in enumerate(random_actions(env, 5) * 0.5):
        if t == 2:
            tip_over(env, 1)
        step = env.step(action)
        total += step.reward
        x_velocity += step.final_obs["policy"][:, env.layouts["policy"]["base_lin_vel"]][:, 0]
        logs.append(step.log)
        if t == 2:
            fallen = total[1].item(), x_velocity[1].item()
            total[1] = 0.0
    assert [bool(log) for log in logs] == [False, False, True, False, True]
    fell, timed_out = logs[2], logs[4]
    assert fell["episode/length"].tolist() == [3.0]
    assert fell["episode/fell"].tolist() == [1.0]
    assert fell["episode/return"].tolist() == pytest.approx([fallen[0]], rel=1e-5)
    assert fell["metric/forward_velocity"].tolist() == pytest.approx([fallen[1] / 3], rel=1e-4)
    assert timed_out["episode/length"].tolist() == [5.0, 5.0]
    assert timed_out["episode/fell"].tolist() == [0.0, 0.0]
    expected = total[[0, 2]].tolist()
    assert timed_out["episode/return"].tolist() == pytest.approx(expected, rel=1e-5)
    for log in (fell, timed_out):
        rewards = torch.stack([value for name, value in log.items() if name[:7] == "reward/"])
        assert len(rewards) == 14
        together = rewards.sum(dim=0) * log["episode/length"] * env.control_dt
        torch.testing.assert_close(together, log["episode/return"], rtol=1e-4, atol=1e-6)
        assert {name for name in log if name[:7] == "metric/"} == {
            "metric/forward_velocity",
            "metric/foot_switches_per_second",
            "metric/airborne_share",
        }


def test_reset_forgets_running_episodes(make_biped):
    env = make_biped({"episode_length_s": 0.1})
    for _ in range(3):
        env.step(torch.ones(2, 17))
    env.reset()
    steps = [env.step(torch.zeros(2, 17)) for _ in range(5)]
    assert [step.truncated.any().item() for step in steps] == [False] * 4 + [True]
    log = steps[-1].log
    assert log["episode/length"].tolist() == [5.0, 5.0]
    expected = torch.stack([step.reward for step in steps]).sum(dim=0)
    torch.testing.assert_close(log["episode/return"], expected)
    rewards = sum(value for name, value in log.items() if name[:7] == "reward/")
    torch.testing.assert_close(rewards * 5 * 0.02, expected)
    column = env.layouts["policy"]["base_lin_vel"].start
    velocity = torch.stack([step.final_obs["policy"][:, column] for step in steps]).mean(dim=0)
    torch.testing.assert_close(log["metric/forward_velocity"], velocity)


def test_desynchronize_moves_the_clock_and_not_the_log(make_biped):
    env = make_biped({"episode_length_s": 0.2}, num_envs=16)
    env.reset()
    env.desynchronize()
    start = env.state.episode_step.clone()
    assert start.min() >= 0
    assert start.max() < 10
    assert start.unique().numel() > 3
    lengths = torch.zeros(16)
    for t in range(1, 11):
        step = env.step(torch.zeros(16, 17))
        lengths[step.truncated] = t
        logged = step.log.get("episode/length", torch.zeros(0))
        assert logged.tolist() == [t] * int(step.truncated.sum())
    assert (lengths == 10 - start).all()


def constant(value):
    return lambda state: torch.full((state.num_envs,), value)


def test_a_reward_of_weight_zero_is_not_computed(make_biped):
    def broken(state):
        raise AssertionError("computed")

    def change(task):
        terms = {
            "off": RewardTerm(func=broken, weight=0.0),
            "on": RewardTerm(func=constant(3.0), weight=-2.0),
        }
        return replace(task, rewards=terms, episode_length_s=0.02)

    step = make_biped(change=change).step(torch.zeros(2, 17))
    assert step.reward.tolist() == pytest.approx([-2.0 * 3.0 * 0.02] * 2)
    assert [name for name in step.log if name[:7] == "reward/"] == ["reward/on"]
    assert step.log["reward/on"].tolist() == pytest.approx([-6.0] * 2)


def test_a_reward_is_clipped_before_its_weight(make_biped):
    terms = {"steep": RewardTerm(func=constant(-7.0), weight=-2.0, clip=(-1.5, 1.0))}
    env = make_biped(change=lambda task: replace(task, rewards=terms))
    assert env.step(torch.zeros(2, 17)).reward.tolist() == pytest.approx([3.0 * 0.02] * 2)


def test_only_positive_rewards_clips_the_sum(make_biped):
    terms = {
        "gain": RewardTerm(func=constant(1.0)),
        "loss": RewardTerm(func=lambda state: torch.tensor([0.5, 4.0]), weight=-1.0),
    }
    env = make_biped(
        change=lambda t: replace(
            t, rewards=terms, only_positive_rewards=True, episode_length_s=0.02
        )
    )
    step = env.step(torch.zeros(2, 17))
    assert step.reward.tolist() == pytest.approx([0.5 * 0.02, 0.0])
    assert step.log["episode/return"].tolist() == pytest.approx([0.5 * 0.02, 0.0])


def test_no_rewards_at_all(make_biped):
    env = make_biped(change=lambda task: replace(task, rewards={}))
    assert env.step(torch.zeros(2, 17)).reward.tolist() == [0.0, 0.0]


def test_a_broken_simulation_restarts_alone(make_biped, tmp_path):
    env, twin = (make_biped(num_envs=3, dump_dir=tmp_path / name) for name in ("a", "b"))
    for t in range(8):
        if t in (2, 5):
            env.sim.qvel[1, 4] = float("nan")
        action = random_actions(env, 1, seed=t)[0] * 0.3
        step, other = env.step(action), twin.step(action)
        broke = t in (2, 5)
        assert step.terminated.tolist() == [False, broke, False]
        assert not step.truncated.any()
        for value in (step.obs["policy"], step.final_obs["policy"], step.reward):
            assert torch.isfinite(value).all()
        for row in (0, 2):
            assert torch.equal(step.obs["policy"][row], other.obs["policy"][row])
            assert torch.equal(step.reward[row], other.reward[row])
        if broke:
            assert step.reward[1].item() == 0.0
            assert step.log["episode/fell"].tolist() == [1.0]
            assert all(torch.isfinite(value).all() for value in step.log.values())
            upright = env.layouts["policy"]["base_quat"]
            assert step.obs["policy"][1, upright].tolist() == pytest.approx([1.0, 0, 0, 0])
    assert (env.sim.failures, twin.sim.failures) == (2, 0)
    assert env.state.episode_step.tolist() == [8, 2, 8]
    assert [path.name for path in (tmp_path / "a").iterdir()] == [env.sim.dump_path.name]
    assert not (tmp_path / "b").exists()
    assert np.load(env.sim.dump_path)["env_id"] == 1


def test_actions_of_the_wrong_shape_are_refused(make_biped):
    env = make_biped()
    for shape in ((17,), (1, 17), (2, 16), (2, 1)):
        with pytest.raises((ValueError, RuntimeError)):
            env.step(torch.zeros(shape))


@pytest.mark.parametrize("num_envs", [0, -3])
def test_num_envs_is_at_least_one(num_envs):
    with pytest.raises(ConfigError, match=r"^num_envs: must be at least 1"):
        BatchEnv(get_task("biped_walk"), num_envs=num_envs, seed=0)


def test_torch_works_on_one_thread_within_a_step_and_on_as_many_as_before_after_it():
    seen = []

    def count(state):
        seen.append(torch.get_num_threads())
        if len(seen) > 2:
            raise RuntimeError("a term that fails")
        return torch.zeros(state.num_envs)

    task = get_task("biped_walk")
    task = replace(task, rewards={"count": RewardTerm(func=count, weight=1.0)})
    env = make_env(task, num_envs=2, seed=1, num_threads=1)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for _ in range(2):
            env.step(torch.zeros(2, env.action_dim))
            assert torch.get_num_threads() == 2
        with pytest.raises(RuntimeError, match="fails"):
            env.step(torch.zeros(2, env.action_dim))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert seen == [1, 1, 1]
