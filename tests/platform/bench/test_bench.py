"""The throughput benchmarks: same work for all, ratios, processes, and who cannot take part."""

import io
import json
import subprocess
import sys
import textwrap

import pytest
import torch
from rich.console import Console
from typer.testing import CliRunner

from stridelab.bench import arena, suites
from stridelab.bench.arena import Match, compete
from stridelab.bench.contender import Entry
from stridelab.bench.hand_loop import HandLoop
from stridelab.bench.profiling import Stopwatch
from stridelab.bench.report import machine, ratio_rounds, report, tables
from stridelab.bench.stepping import BareBatch, EnvSteps, PhysicsReplay, SimulationSteps
from stridelab.bench.suites import Ratio, Size, Suite, env_suite, train_suite
from stridelab.bench.workload import SETTINGS, bench_env, bench_task
from stridelab.cli import bench as command
from stridelab.sampling.gae import advantages_and_returns

TINY = Size(num_envs=4, num_threads=1, rounds=2)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """MuJoCo appends its warnings to MUJOCO_LOG.TXT in the working directory."""
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class TestWorkload:
    def test_sizes(self):
        env = bench_env(2, 1)
        assert env.observation_sizes == {"policy": 69}
        assert env.action_dim == 19
        assert (env.control_dt, env.max_episode_steps) == (pytest.approx(0.02), 1000)
        assert list(env.layouts["policy"]) == [
            "base_lin_vel",
            "base_ang_vel",
            "projected_gravity",
            "command",
            "joint_pos",
            "joint_vel",
            "last_action",
        ]

    def test_task_is_not_for_users(self):
        """Registering happens in the benchmark's own processes alone."""
        code = "from stridelab_envs.registry import task_ids; import stridelab.bench.workload;"
        code += "print(*task_ids())"
        known = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert "biped_walk" in known.stdout
        assert bench_task().id not in known.stdout


class TestStepping:
    """Ratios mean something only if both sides compute the very same states."""

    @pytest.mark.parametrize("current", [True, False])
    def test_bare_batch_and_simulation_reach_the_same_states(self, current):
        ours = SimulationSteps(3, 1, steps=12)
        bare = BareBatch(3, 1, steps=12, current=current)
        for contender in (ours, bare):
            contender.prepare()
            assert contender.run() == 36
        assert torch.equal(ours.sim.qpos, bare.sim.qpos)
        assert ((ours.sim.qpos - ours.start[0]).abs().amax(dim=1) > 0.1).all()

    def test_replay_restarts_whom_the_environment_restarts(self):
        env, replay = EnvSteps(4, 1, steps=60), PhysicsReplay(4, 1, steps=60)
        assert sum(restart.ids.numel() for restart in replay.restarts) >= 3
        for _ in range(2):  # every round is the same
            for contender in (env, replay):
                contender.prepare()
                assert contender.run() == 240
            assert torch.equal(env.env.sim.qpos, replay.sim.qpos)
            assert torch.equal(env.env.sim.qvel, replay.sim.qvel)


class TestHandLoop:
    def test_advantages_are_the_platforms(self):
        loop = HandLoop(bench_env(3, 1), "fp32")
        generator = torch.Generator().manual_seed(0)
        rewards = torch.randn(5, 3, generator=generator)
        values = torch.randn(6, 3, generator=generator)
        fell = torch.rand(5, 3, generator=generator) < 0.3
        expected, _ = advantages_and_returns(
            rewards,
            values,
            fell,
            torch.zeros_like(fell),
            torch.empty(0),
            gamma=SETTINGS.gamma,
            gae_lambda=SETTINGS.gae_lambda,
        )
        assert fell.any()
        torch.testing.assert_close(loop._advantages(rewards, values, 1.0 - fell.float()), expected)

    @pytest.mark.parametrize("precision", ["bf16", "fp32"])
    def test_iteration_learns_from_every_step(self, precision):
        loop = HandLoop(bench_env(4, 1), precision)
        before = [parameter.detach().clone() for parameter in loop.parameters]
        assert loop.iterate() == 4 * 24
        assert loop.count == 4 * 24
        for old, new in zip(before, loop.parameters, strict=True):
            assert torch.isfinite(new).all()
            assert not torch.equal(old, new)

    def test_first_ratio_is_one(self):
        """What is learnt from is evaluated as it was sampled."""
        loop = HandLoop(bench_env(4, 1), "fp32")
        batch = loop._rollout()
        mean = loop.actor(batch.obs)
        std = loop.log_std.exp()
        logp = torch.distributions.Normal(mean, std).log_prob(batch.actions).sum(dim=1)
        torch.testing.assert_close(batch.log_prob, logp, atol=1e-4, rtol=0)


def match_of(**rates):
    return Match(rates=rates, env_steps=dict.fromkeys(rates, 100), seconds=3.0)


class TestRatios:
    def test_median_of_the_rounds_not_ratio_of_medians(self):
        match = match_of(a=[10.0, 30.0, 20.0], b=[10.0, 10.0, 40.0])
        found = ratio_rounds(match, Ratio("a", ("b",)))
        assert found["rounds"] == [1.0, 3.0, 0.5]
        assert (found["median"], found["min"], found["max"]) == (1.0, 0.5, 3.0)

    def test_the_fastest_of_several_settings_counts(self):
        match = match_of(a=[12.0, 12.0, 12.0], slow=[2.0, 3.0, 99.0], fast=[4.0, 4.0, 4.0])
        found = ratio_rounds(match, Ratio("a", ("slow", "fast", "absent")))
        assert found["against"] == "fast"
        assert found["median"] == 3.0

    def test_missing_side_gives_no_ratio(self):
        match = match_of(a=[1.0])
        assert ratio_rounds(match, Ratio("a", ("b",))) is None
        assert ratio_rounds(match, Ratio("b", ("a",))) is None

    def test_report_is_json_with_the_agreed_keys(self):
        suite = train_suite(TINY)
        names = [entry.name for entry in suite.entries if entry.name != "sb3"]
        match = match_of(**{name: [float(i + 1)] * 2 for i, name in enumerate(names)})
        match.skipped["sb3"] = "not installed: stable_baselines3"
        record = json.loads(json.dumps(report(suite, TINY, match, machine())))
        assert record["ratios"].keys() == set(suite.ratios) - {"sb3"}
        assert suite.ratios.keys() >= {"hand_loop", "hand_loop_fp32", "rsl_rl", "rllib_stock"}
        assert record["ratios"]["hand_loop"] == pytest.approx(1 / 2)
        assert record["ratios"]["hand_loop_fp32"] == pytest.approx(4 / 5)
        assert record["ratio_rounds"]["rsl_rl"]["against"] == "rsl_rl_compiled"
        assert record["rates"]["stridelab_bf16"]["rounds"] == [1.0, 1.0]
        assert record["machine"]["cores"] >= 1
        assert record["machine"]["torch"] == torch.__version__
        assert record["size"]["num_envs"] == 4
        assert record["seconds"] == 3.0

    def test_table_shows_rates_ratios_and_reasons(self):
        suite = env_suite(TINY)
        match = match_of(env=[50.0, 60.0], physics=[100.0, 100.0])
        match.skipped["other"] = "not installed: [rest]"
        console = Console(width=120, record=True, file=io.StringIO())
        console.print(tables(report(suite, TINY, match, machine())))
        text = console.export_text()
        assert "0.550" in text
        assert "0.500 - 0.600" in text
        assert "not installed: [rest]" in text


def test_quick_train_leaves_out_what_is_slow_to_start():
    names = {entry.name for entry in train_suite(TINY, quick=True).entries}
    assert names == {"stridelab_bf16", "hand_loop_bf16", "rsl_rl_bf16", "rllib_stock", "sb3"}


FAKES = """
import os, sys, time
from stridelab.bench.contender import Contender

class Steady(Contender):
    def __init__(self, seconds=0.0, log=None, name=""):
        self.seconds, self.log, self.name = seconds, log, name
        print("a library that prints")  # must not reach the protocol
    def run(self):
        time.sleep(self.seconds)
        if self.log:
            with open(self.log, "a") as file:
                file.write(f"{self.name} {os.environ['OMP_NUM_THREADS']}\\n")
        return 10

class Unbuildable(Contender):
    def __init__(self):
        raise ValueError("no such robot\\nsecond line")
    def run(self): ...

class Dies(Contender):
    rounds = 0
    def run(self):
        self.rounds += 1
        if self.rounds == 3:
            print("out of memory", file=sys.stderr, flush=True)
            os._exit(7)
        return 1
"""


@pytest.fixture
def fakes(tmp_path, monkeypatch):
    """A module of contenders that worker processes can import."""
    (tmp_path / "fake_contenders.py").write_text(textwrap.dedent(FAKES))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def entry(name, /, kind="Steady", needs=(), **options):
        return Entry(name, f"fake_contenders:{kind}", options, needs)

    return entry


class TestCompete:
    def test_turns_alternate_and_reverse(self, fakes, tmp_path):
        log = str(tmp_path / "turns")
        players = [fakes(name, name=name, log=log) for name in ("a", "b")]
        match = compete(players, rounds=3, num_threads=3)
        turns = [line.split() for line in (tmp_path / "turns").read_text().splitlines()]
        assert [name for name, _ in turns] == ["a", "b", "a", "b", "b", "a", "a", "b"]
        assert {threads for _, threads in turns} == {"3"}
        assert {name: len(rates) for name, rates in match.rates.items()} == {"a": 3, "b": 3}
        assert match.env_steps == {"a": 10, "b": 10}
        assert match.skipped == {}

    def test_rate_is_steps_over_seconds(self, fakes):
        match = compete([fakes("a", seconds=0.2)], rounds=1, num_threads=1)
        assert 25.0 < match.rates["a"][0] <= 50.0

    def test_who_cannot_take_part_is_named_and_the_others_go_on(self, fakes):
        players = [
            fakes("good"),
            fakes("absent", needs=("json", "no_such_package")),
            fakes("broken", kind="Unbuildable"),
            fakes("dies", kind="Dies"),
        ]
        match = compete(players, rounds=3, num_threads=1)
        assert match.rates.keys() == {"good"}
        assert len(match.rates["good"]) == 3
        assert match.skipped == {
            "absent": "not installed: no_such_package",
            "broken": "ValueError: no such robot",
            "dies": "ended with exit code 7: out of memory",
        }

    def test_time_limit_leaves_out_rounds_but_the_first(self, fakes):
        match = compete([fakes("a", seconds=0.01)], rounds=50, num_threads=1, time_limit=0.0)
        assert len(match.rates["a"]) == 1

    def test_no_process_is_left_behind(self, fakes, monkeypatch):
        started = []
        popen = subprocess.Popen

        def spy(*args, **kwargs):
            started.append(popen(*args, **kwargs))
            return started[-1]

        monkeypatch.setattr(arena.subprocess, "Popen", spy)

        def interrupt(text):
            if text.startswith("round"):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            compete([fakes("a"), fakes("b")], rounds=1, num_threads=1, on_progress=interrupt)
        assert [process.returncode for process in started] == [0, 0]


class TestStopwatch:
    def test_inner_sections_count_for_themselves_only(self):
        now = [0.0]
        watch = Stopwatch(clock=lambda: now[0])

        def wait(seconds):
            now[0] += seconds

        wait(1.0)
        with watch.section("env"):
            wait(2.0)
            with watch.section("physics"):
                wait(4.0)
            wait(0.5)
        wait(0.5)
        assert watch.finish() == {"rest": 1.5 / 8, "env": 2.5 / 8, "physics": 4.0 / 8}

    def test_watched_methods_are_put_back(self):
        class Thing:
            def work(self, x):
                return x + 1

        thing, own = Thing(), Thing()
        own.work = opposite = lambda x: x - 1
        watch = Stopwatch(clock=iter(range(100)).__next__)
        with watch.watching(thing, "work", "a"), watch.watching(own, "work", "b"):
            assert (thing.work(1), own.work(1)) == (2, 0)
        assert watch.seconds == {"rest": 2, "a": 1, "b": 1}
        assert (thing.work(1), own.work(1)) == (2, 0)
        assert watch.seconds == {"rest": 2, "a": 1, "b": 1}
        assert vars(thing) == {}
        assert own.work is opposite


class TestCommand:
    def test_missing_peers_are_said_and_our_failure_is_an_error(self, fakes, monkeypatch):
        seen = []

        def suite(size):
            seen.append(size)
            ours = fakes("ours", kind="Unbuildable" if size.rounds == 2 else "Steady")
            peer = fakes("peer", needs=("no_such_package",))
            return Suite("physics", (ours, peer), {"peer": Ratio("ours", ("peer",))})

        monkeypatch.setattr(command, "physics_suite", suite)
        good = CliRunner().invoke(command.app, ["physics", "--quick", "--threads", "1", "--json"])
        assert good.exit_code == 0
        record = json.loads(good.stdout)
        assert record["skipped"] == {"peer": "not installed: no_such_package"}
        assert len(record["rates"]["ours"]["rounds"]) == 3
        bad = CliRunner().invoke(command.app, ["physics", "--rounds", "2"])
        assert bad.exit_code == 1
        assert "no such robot" in bad.stdout
        assert seen[0] == Size(256, 1, 3, suites.QUICK_TIME_LIMIT)
        assert (seen[1].num_envs, seen[1].rounds, seen[1].time_limit) == (1024, 2, None)
