"""What happens within an episode: commands, random changes, delayed actions, sparse metrics."""

import copy
import itertools
import math
from dataclasses import replace

import pytest
import torch

from stridelab_envs.mdp import observations as obs
from stridelab_envs.mdp.commands import Command
from stridelab_envs.mdp.terms import (
    CommandTerm,
    ObservationTerm,
    RandomizationTerm,
    RewardTerm,
    StateTerm,
)
from stridelab_envs.registry import get_task

H1_SKILLS = ["h1_walk", "h1_reach", "h1_squat", "h1_step"]


def commanded(task):
    """The biped with a command of three steps that is rewarded, measured and observed."""
    term = CommandTerm(
        func=Command, params={"ranges": {"go": [-1.0, 1.0]}, "resampling_time": [0.06, 0.06]}
    )
    asked = {"func": lambda state: state.commands["it"].value[:, 0]}
    last = {"func": lambda state: state.commands["it"].expiring.float()}
    return replace(
        task,
        commands={"it": term},
        observations={"policy": {"it": ObservationTerm(func=obs.command, params={"name": "it"})}},
        rewards={"asked": RewardTerm(**asked)},
        metrics={"asked": StateTerm(**asked), "last": StateTerm(**last)},
        episode_length_s=0.14,
    )


class TestCommands:
    def test_a_step_is_rewarded_for_the_command_the_policy_saw(self, make_biped):
        env = make_biped(change=commanded, quiet=True)
        shown = env.reset()["policy"][:, 0]
        commands, total = [shown], torch.zeros(2)
        for t in range(1, 15):
            step = env.step(torch.zeros(2, 17))
            torch.testing.assert_close(step.reward, shown * 0.02)
            total += shown
            # The true last observation shows what would have come next.
            kept = torch.equal(step.final_obs["policy"][:, 0], shown)
            assert kept == (t % 7 not in (3, 6)), t
            if t % 7 == 0:  # the episode ends within its third command
                assert not torch.equal(step.obs["policy"][:, 0], shown)
                torch.testing.assert_close(step.log["metric/asked"], total / 7)
                assert step.log["metric/last"].tolist() == pytest.approx([2 / 7] * 2)
                total = torch.zeros(2)
            shown = step.obs["policy"][:, 0]
            commands.append(shown)
        distinct = {tuple(row.tolist()) for row in commands}
        assert len(distinct) == 7  # three an episode, and the first of the third episode

    def test_a_fall_draws_a_new_command_there_alone(self, make_biped, tip_over):
        env = make_biped(change=commanded, quiet=True)
        before = env.reset()["policy"].clone()
        tip_over(env, 1)
        after = env.step(torch.zeros(2, 17)).obs["policy"]
        assert (after != before).any(dim=1).tolist() == [False, True]
        assert env.state.commands["it"].time_left.tolist() == pytest.approx([0.04, 0.06])


class Calls:
    """A random change that notes when it is made, and where."""

    def __init__(self, *interval_s):
        self.made = []
        self.term = RandomizationTerm(func=self, interval_s=interval_s or None)
        self.step = 0

    def __call__(self, state, ids):
        self.made.append((self.step, ids.tolist()))

    def put(self, task):
        return replace(task, randomization={"noted": self.term})

    def run(self, env, steps):
        for self.step in range(1, steps + 1):
            env.step(torch.zeros(env.num_envs, env.action_dim))


class TestRepeatedChanges:
    def test_without_an_interval_it_is_made_when_an_episode_starts(self, make_biped):
        calls = Calls()
        env = make_biped({"episode_length_s": 0.1}, change=calls.put)
        assert calls.made == [(0, [0, 1])]
        calls.run(env, 6)
        assert calls.made == [(0, [0, 1]), (5, [0, 1])]

    @pytest.mark.parametrize(("interval", "steps"), [(0.1, 5), (2.5, 125)])
    def test_at_a_fixed_interval(self, make_biped, interval, steps):
        calls = Calls(interval, interval)
        env = make_biped(change=calls.put)
        assert calls.made == []
        calls.run(env, 3 * steps)
        assert calls.made == [(steps * k, [0, 1]) for k in (1, 2, 3)]

    def test_at_random_times_of_its_own_for_each_environment(self, make_biped):
        calls = Calls(0.1, 0.3)
        env = make_biped(num_envs=8, change=calls.put)
        calls.run(env, 60)
        for i in range(8):
            times = [0, *(step for step, ids in calls.made if i in ids)]
            gaps = [later - sooner for sooner, later in itertools.pairwise(times)]
            assert min(gaps) >= 5
            assert max(gaps) <= 15
        assert len({tuple(ids) for _, ids in calls.made}) > 8

    def test_a_new_episode_waits_anew(self, make_biped):
        calls = Calls(0.1, 0.1)
        env = make_biped({"episode_length_s": 0.08}, change=calls.put)
        calls.run(env, 20)
        assert calls.made == []

    def test_it_acts_on_the_step_it_is_made_in(self, make_h1):
        def change(task):
            def kick(state, ids):
                state.sim.qvel[ids, 0] += 1.0

            term = RandomizationTerm(func=kick, interval_s=(0.06, 0.06))
            return replace(task, randomization={"kick": term})

        env = make_h1("h1_squat", change=change)
        speeds = []
        for _ in range(3):
            env.step(torch.zeros(2, 19))
            speeds.append(env.state.base_lin_vel_world[0, 0].item())
        assert abs(speeds[1]) < 0.2
        assert speeds[2] > 0.6


def applied(env):
    """What the actuators got, in units of the action."""
    return ((env.sim.ctrl - env.state.default_pose) / env.action_scale).float()


class TestDelayedActions:
    def test_none(self, make_biped):
        env = make_biped()
        for action in torch.randn(3, 2, 17, generator=torch.Generator().manual_seed(0)):
            env.step(action)
            torch.testing.assert_close(applied(env), action.clamp(-3.0, 3.0))

    def test_a_share_of_what_was_applied_before_remains(self, make_biped):
        no_end = {"base_too_low": None, "tilted": None}
        env = make_biped({"action_delay": 0.6, "terminations": no_end}, num_envs=16)
        generator = torch.Generator().manual_seed(0)
        before, shares = torch.zeros(16, 17), []
        for _ in range(40):
            action = torch.randn(16, 17, generator=generator).clamp(-3.0, 3.0)
            env.step(action)
            now = applied(env)
            # One share for all joints of a robot: now = action + share (before - action).
            difference = before - action
            share = ((now - action) * difference).sum(dim=1) / difference.square().sum(dim=1)
            torch.testing.assert_close(now, action + share[:, None] * difference, atol=1e-4, rtol=0)
            shares.append(share)
            before = now
        drawn = torch.stack(shares)  # (40, 16), uniform in [0, 0.6]
        assert drawn.min() > -1e-4
        assert drawn.max() < 0.6 + 1e-4
        assert drawn.mean().item() == pytest.approx(0.3, abs=6 * 0.6 / math.sqrt(12 * 640))
        assert drawn.std().item() == pytest.approx(0.6 / math.sqrt(12), rel=0.1)
        assert drawn.std(dim=0).min() > 0.1  # anew in every step
        assert drawn.std(dim=1).min() > 0.05  # for every robot by itself

    def test_the_policy_sees_what_it_did_and_not_what_was_applied(self, make_biped):
        env = make_biped({"action_delay": 1.0, "action_noise": 0.1})
        action = torch.full((2, 17), 0.5)
        env.step(action)
        assert torch.equal(env.state.action, action)
        assert not torch.allclose(applied(env), action, atol=0.01)

    def test_noise_is_a_share_of_the_action(self, make_biped):
        env = make_biped({"action_noise": 0.05}, num_envs=16)
        factors = []
        for value in (-0.5, 0.0, 2.0):
            env.step(torch.full((16, 17), value))
            if value:
                factors.append(applied(env) / value - 1.0)
            else:
                assert applied(env).abs().max() < 1e-6
        noise = torch.cat(factors)
        assert noise.mean().item() == pytest.approx(0.0, abs=6 * 0.05 / math.sqrt(544))
        assert noise.std().item() == pytest.approx(0.05, rel=0.15)

    def test_an_episode_starts_from_the_default_pose(self, make_biped, tip_over):
        env = make_biped({"action_delay": 1.0}, quiet=True)
        env.step(torch.full((2, 17), 3.0))
        assert applied(env).min() > 0.0
        tip_over(env, 1)
        env.step(torch.full((2, 17), 3.0))
        env.step(torch.zeros(2, 17))
        # Nothing lags behind in the robot that has just been put up; in the other one it does.
        assert applied(env)[1].abs().max() < 1e-6
        assert applied(env)[0].min() > 0.0


class TestSparseMetrics:
    def measured(self, make_biped, *rows, over_episode="mean"):
        """The log of an episode in which a metric takes one row of values after another."""
        values = iter(torch.tensor(rows))
        metric = {"it": StateTerm(func=lambda state: next(values), over_episode=over_episode)}
        env = make_biped(
            {"episode_length_s": 0.02 * len(rows)}, change=lambda t: replace(t, metrics=metric)
        )
        for _ in rows:
            step = env.step(torch.zeros(2, 17))
        return step.log["metric/it"].tolist()

    def test_the_mean_is_over_what_was_measured(self, make_biped):
        nan = math.nan
        mean = self.measured(make_biped, [nan, 1.0], [4.0, nan], [nan, 2.0], [2.0, nan], [nan, 6.0])
        assert mean == [3.0, 3.0]

    def test_the_sum_and_the_last_are_of_what_was_measured(self, make_biped):
        nan = math.nan
        rows = [nan, 1.0], [4.0, nan], [nan, 2.0], [2.0, nan], [nan, 6.0]
        assert self.measured(make_biped, *rows, over_episode="sum") == [6.0, 9.0]
        assert self.measured(make_biped, *rows, over_episode="last") == [2.0, 6.0]
        never = self.measured(make_biped, [nan, 1.0], [nan, nan], over_episode="sum")
        assert never == pytest.approx([nan, 1.0], nan_ok=True)

    def test_never_measured_is_nan_and_zero_is_not(self, make_biped):
        mean = self.measured(make_biped, [math.nan, 0.0], [math.nan, math.nan])
        assert mean == pytest.approx([math.nan, 0.0], nan_ok=True)

    def test_the_next_episode_forgets(self, make_biped):
        values = iter(torch.tensor([[5.0, 5.0], [math.nan, 1.0]]))
        metric = {"it": StateTerm(func=lambda state: next(values))}
        env = make_biped({"episode_length_s": 0.02}, change=lambda t: replace(t, metrics=metric))
        logs = [env.step(torch.zeros(2, 17)).log["metric/it"].tolist() for _ in range(2)]
        assert logs == [[5.0, 5.0], pytest.approx([math.nan, 1.0], nan_ok=True)]


def busy(make_h1, task_id, seed):
    """An H1 with everything on, in which much happens within a few steps."""
    [command] = get_task(task_id).commands
    overrides = {
        "episode_length_s": 0.3,
        "commands": {command: {"resampling_time": [0.06, 0.2]}},
        "randomization": {"push": {"interval_s": [0.04, 0.2]}},
    }
    return make_h1(task_id, overrides, num_envs=4, seed=seed, quiet=False)


def play(env, steps, seed):
    generator = torch.Generator().manual_seed(seed)
    seen = []
    for _ in range(steps):
        step = env.step(torch.randn(4, 19, generator=generator))
        seen += [*step.obs.values(), *step.final_obs.values(), step.reward, step.terminated]
        seen += [step.truncated, *step.log.values()]
    return seen


@pytest.mark.parametrize("task_id", H1_SKILLS)
def test_what_was_saved_goes_on_alike(make_h1, task_id):
    source, target = (busy(make_h1, task_id, seed) for seed in (1, 2))
    play(source, 20, seed=0)
    play(target, 7, seed=9)
    saved = source.get_state()
    kept = copy.deepcopy(saved)
    expected = play(source, 25, seed=3)
    for _ in range(2):  # the second time, what was saved must still be what was saved
        target.set_state(saved)
        seen = play(target, 25, seed=3)
        assert len(seen) == len(expected)
        for left, right in zip(seen, expected, strict=True):
            torch.testing.assert_close(left, right, rtol=0, atol=0, equal_nan=True)
    fields = {name for name in saved["simulation"] if name.startswith("model.")}
    assert fields == {"model.geom_friction", "model.body_mass"}
    for name, value in kept["simulation"].items():
        assert torch.equal(saved["simulation"][name], value), name
    assert any(value.dtype == torch.bool and value.any() for value in expected)
