"""How cost and memory grow: who competes, the record, the picture, histories read in two ways."""

import copy
import json
import subprocess
import sys

import pytest
import torch
from matplotlib.image import imread
from typer.testing import CliRunner

from stridelab.bench import worker
from stridelab.bench.arena import Match, compete
from stridelab.bench.histories import HistoryAsStacks, HistoryByIndex
from stridelab.bench.report import report
from stridelab.bench.scaling import scale_suites, scaling
from stridelab.bench.scaling_plot import draw_scaling
from stridelab.bench.suites import Size
from stridelab.bench.training import PlatformTraining
from stridelab.cli import bench as command

SIZE = Size(num_envs=1024, num_threads=2, rounds=2)
ABOUT = {"cpu": "a processor", "cores": 2, "load_average": 0.0}


class TestWhoCompetes:
    def test_full(self):
        environments, runners, history = scale_suites(SIZE)
        assert [entry.name for entry in environments.entries] == [
            f"{kind}_{count}"
            for count in (64, 256, 1024, 4096)
            for kind in ("physics", "env", "train")
        ]
        assert {entry.options["num_envs"] for entry in environments.entries} == {
            64, 256, 1024, 4096,
        }  # fmt: skip
        assert [
            (entry.name, entry.options.get("runners", 0), entry.options.get("asynchronous", False))
            for entry in runners.entries
        ] == [
            ("train_1024", 0, False),
            ("runners_0_async", 0, True),
            ("runners_1", 1, False),
            ("runners_1_async", 1, True),
            ("runners_2", 2, False),
            ("runners_2_async", 2, True),
        ]
        assert all(ratio.against == ("train_1024",) for ratio in runners.ratios.values())
        assert len(runners.ratios) == 5
        assert [entry.name for entry in history.entries] == ["history_index", "history_stacks"]

    def test_quick_is_one_match_in_which_nobody_comes_twice(self):
        [suite] = scale_suites(Size(256, 2, 3), quick=True)
        names = [entry.name for entry in suite.entries]
        assert names == [
            "physics_64", "env_64", "train_64", "physics_256", "env_256", "train_256",
            "runners_2", "history_index", "history_stacks",
        ]  # fmt: skip
        assert suite.ratios.keys() == {"env_64", "env_256", "runners_2", "history"}


def test_threads_are_shared_out_among_runners(monkeypatch):
    from stridelab.algorithms import ppo
    from stridelab.bench import training
    from stridelab_envs import registry

    registry.task_ids()
    monkeypatch.setattr(
        registry, "_tasks", copy.deepcopy(registry._tasks)
    )  # the workload's task is added
    asked = []

    class BuiltError(Exception):
        pass

    def build_config(experiment, *, seed, num_threads):
        asked.append(
            (experiment.resources.env_runners, experiment.algorithm.asynchronous, num_threads)
        )
        raise BuiltError

    monkeypatch.setattr(training, "start_ray", lambda num_cpus: asked.append(num_cpus))
    monkeypatch.setattr(ppo, "build_config", build_config)
    for runners, asynchronous in ((0, False), (1, True), (2, True), (4, False)):
        with pytest.raises(BuiltError):
            PlatformTraining(8, 2, "bf16", runners=runners, asynchronous=asynchronous)
    assert asked == [1, (0, False, 2), 2, (1, True, 2), 3, (2, True, 1), 5, (4, False, 1)]


class TestHistories:
    def test_both_ways_give_the_same_observations(self):
        index, stacks = HistoryByIndex(3), HistoryAsStacks(3)
        assert index.lengths == {"policy": 66, "critic": 3}
        assert index.ended.any()
        count = 0
        for ours, theirs in zip(index.observations(), stacks.observations(), strict=True):
            count += 1
            assert ours.keys() == theirs.keys() == {"policy", "critic"}
            assert all(torch.equal(ours[group], theirs[group]) for group in ours)
        assert count == 24 + 5 * 4  # steps, then minibatches of every epoch
        assert ours["policy"].shape[1] == 66 * index.frames["policy"].shape[2]
        assert index.run() == stacks.run() == 24 * 3


HOLDS = """
from stridelab.bench import worker
from stridelab.bench.contender import Contender

class Holds(Contender):
    def run(self):
        bytearray(b"1") * 2**28  # 256 MiB for a moment
        return 1

before = worker.peak_memory()
reply = worker.timed_round(Holds())
print(before, reply["peak_memory"], reply["env_steps"])
"""


def test_peak_memory_is_that_of_the_round():
    """In a process of its own: of a large one the system may take pages back meanwhile."""
    if worker.peak_memory() is None:
        pytest.skip("this system does not tell")
    done = subprocess.run(
        [sys.executable, "-c", HOLDS], capture_output=True, text=True, check=True, timeout=120
    )
    before, peak, env_steps = map(int, done.stdout.split())
    assert 200 * 2**20 < peak - before < 300 * 2**20
    assert env_steps == 1


def match_of(suite, absent=()):
    """A match in which contender i does 1000 / (i + 1) steps a second with i MiB."""
    match = Match(seconds=2.0)
    for index, entry in enumerate(suite.entries):
        if entry.name in absent:
            match.skipped[entry.name] = "broke"
            continue
        match.rates[entry.name] = [1000.0 / (index + 1), 500.0 / (index + 1), 1000.0 / (index + 1)]
        match.env_steps[entry.name] = 10
        match.peak_memory[entry.name] = (index + 1) * 2**20
    return match


@pytest.fixture
def quick_record():
    size = Size(256, 2, 3)
    [suite] = scale_suites(size, quick=True)
    return scaling([report(suite, size, match_of(suite, {"train_64"}), ABOUT)])


class TestRecord:
    def test_curves_are_costs_by_number_of_environments(self, quick_record):
        record = json.loads(json.dumps(quick_record))
        assert record["cost"]["physics"].keys() == {"64", "256"}
        assert record["cost"]["physics"]["64"] == {"cost": 1e-3, "least": 1e-3, "most": 2e-3}
        assert record["cost"]["train"].keys() == {"256"}  # train_64 broke
        assert record["peak_memory"] == {
            "env": {"64": 2 * 2**20, "256": 5 * 2**20},
            "train": {"256": 6 * 2**20},
        }
        assert record["runners"] == {"synchronous": {"2": pytest.approx(6 / 7)}, "asynchronous": {}}
        assert record["history"]["stacks"] == {
            "cost": pytest.approx(9e-3),
            "least": pytest.approx(9e-3),
            "most": pytest.approx(18e-3),
            "peak_memory": 9 * 2**20,
        }
        assert record["parts"][0]["skipped"] == {"train_64": "broke"}

    def test_parts_are_put_together(self):
        suites = scale_suites(SIZE)
        record = scaling([report(suite, SIZE, match_of(suite), ABOUT) for suite in suites])
        assert record["cost"]["train"].keys() == {"64", "256", "1024", "4096"}
        assert record["runners"]["synchronous"].keys() == {"1", "2"}
        assert record["runners"]["asynchronous"].keys() == {"0", "1", "2"}
        assert record["runners"]["synchronous"]["2"] == pytest.approx(1 / 5)
        assert record["seconds"] == 6.0

    def test_picture_is_whole(self, quick_record, tmp_path):
        path = tmp_path / "new" / "scale.png"
        draw_scaling(quick_record, path)
        assert imread(path)[..., :3].std() > 0.05
        assert [file.name for file in path.parent.iterdir()] == ["scale.png"]


class TestCommand:
    @pytest.fixture
    def invoke(self, monkeypatch):
        def invoke(*options, absent=()):
            monkeypatch.setattr(
                command,
                "compete",
                lambda entries, **kw: match_of(
                    next(s for s in scale_suites(Size(256, 2, 3), quick=True)), absent
                ),
            )
            return CliRunner().invoke(command.app, ["scale", "--quick", *options])

        return invoke

    def test_json_and_picture(self, invoke, tmp_path):
        result = invoke("--json", "--plot", str(tmp_path / "scale.png"))
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["benchmark"] == "scale"
        assert (tmp_path / "scale.png").is_file()
        assert f"written: {tmp_path / 'scale.png'}" in result.stderr.replace("\n", "")

    def test_all_contenders_are_ours(self, invoke):
        result = invoke(absent={"runners_2"})
        assert result.exit_code == 1
        assert "broke" in result.stdout


@pytest.mark.slow
def test_histories_run_in_processes_of_their_own():
    *_, history = scale_suites(Size(4, 1, 1))
    match = compete(history.entries, rounds=1, num_threads=1)
    assert match.skipped == {}
    assert match.env_steps == {"history_index": 96, "history_stacks": 96}
    assert set(match.peak_memory) == set(match.env_steps)


@pytest.mark.slow
@pytest.mark.ray
def test_sampling_processes_train():
    _, runners, _ = scale_suites(Size(4, 2, 1))
    [both] = [entry for entry in runners.entries if entry.name == "runners_2_async"]
    match = compete([both], rounds=1, num_threads=2)
    assert match.skipped == {}
    assert match.env_steps == {"runners_2_async": 4 * 24}
