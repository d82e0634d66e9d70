"""Mistakes at the command line: exit code 2, one line, and nothing is made or started."""

import json
import os
import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest
import yaml

from stridelab.cli.main import main
from stridelab_envs import plugins, registry
from stridelab_envs.plugins import Registry
from stridelab_envs.tasks.biped_walk import biped_walk

RUN_ID = "0123456789abcdef0123456789abcdef"


def sweep(tree):
    tree["sweep"] = {"parameters": {"algorithm.gamma": [0.9, 0.99]}}


def no_change(tree):
    pass


def task(**values):
    return lambda tree: tree["task"].update(values)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working directory, and a Ray that must not be started."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)

    def started(*args, **kwargs):
        raise AssertionError("a cluster was started")

    monkeypatch.setattr("ray.init", started)
    return folder


@pytest.fixture
def stridelab(here, monkeypatch, capsys):
    """Run the command line with the tiny experiment, changed, in ``tiny.yaml``."""

    def run(*arguments, tree=None):
        if tree is not None:
            (here / "tiny.yaml").write_text(yaml.safe_dump(tree))
        before = sorted(here.rglob("*"))
        monkeypatch.setattr("sys.argv", ["stridelab", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        assert sorted(here.rglob("*")) == before, "something was made"
        return ended.value.code, out, err

    return run


@pytest.fixture
def refused(stridelab, tiny):
    """Return the one line of an error."""

    def run(*arguments, change=no_change):
        change(tiny)
        code, out, err = stridelab(*arguments, tree=tiny)
        assert code == 2
        assert out == ""
        assert err.endswith("\n")
        assert err.count("\n") == 1, err
        assert err.startswith("error: ")
        return err.strip().removeprefix("error: ")

    return run


EXPERIMENTS = {
    "unknown task": (
        task(id="biped_wolk"),
        'tiny.yaml:{id}: task.id: unknown task "biped_wolk"; did you mean "biped_walk"?',
    ),
    "misspelt reward": (
        task(rewards={"upri": 2.0}),
        'tiny.yaml:{upri}: task.rewards.upri: unknown reward "upri"; did you mean "upright"?',
    ),
    "wrong type": (
        task(num_envs="many"),
        'tiny.yaml:{num_envs}: task.num_envs: must be an integer, got "many"',
    ),
    "negative": (
        task(num_envs=-4),
        "tiny.yaml:{num_envs}: task.num_envs: must be at least 1, got -4",
    ),
    "zero": (
        task(num_envs=0),
        "tiny.yaml:{num_envs}: task.num_envs: must be at least 1, got 0",
    ),
}


@pytest.mark.parametrize("name", EXPERIMENTS)
@pytest.mark.parametrize("command", ["train", "sweep"])
def test_experiment(refused, here, command, name):
    change, expected = EXPERIMENTS[name]
    message = refused(command, "tiny.yaml", change=change)
    lines = (here / "tiny.yaml").read_text().splitlines()
    numbers = {line.split(":")[0].strip(): i for i, line in enumerate(lines, start=1)}
    assert message.startswith(expected.format_map(numbers))


def test_missing_file(refused):
    assert refused("train", "tyni.yaml") == "tyni.yaml: there is no such file"


OVERRIDES = {
    "trian.env_steps=5": 'unknown key "trian"; did you mean "train"?',
    "task.rewards.upri=1": 'unknown reward "upri"; did you mean "upright"?',
    "algorithm.gama=0.9": 'unknown key "gama"; did you mean "gamma"?',
    "train.env_steps=lots": 'must be an integer, got "lots"',
    "env_steps": "expected key=value, for example train.env_steps=1e6",
}


@pytest.mark.parametrize("override", OVERRIDES)
def test_override(refused, override):
    message = refused("train", "tiny.yaml", override)
    assert message.startswith(f'override "{override}": ')
    assert OVERRIDES[override] in message


def test_train_on_a_sweep(refused):
    message = refused("train", "tiny.yaml", change=sweep)
    assert message == "tiny.yaml: compares configurations; use `stridelab sweep`"


def test_sweep_without_one(refused):
    message = refused("sweep", "tiny.yaml")
    assert message == "tiny.yaml: has no sweep or ablation section; use `stridelab train`"


@pytest.mark.parametrize(("command", "change"), [("train", no_change), ("sweep", sweep)])
def test_nothing_to_resume(refused, here, command, change):
    message = refused(command, "tiny.yaml", "--resume", change=change)
    folder = here / "runs" / "studies"
    assert message == f'there is no study "tiny" to resume in {folder}'


def test_runners_that_do_not_divide_the_environments(refused):
    message = refused("train", "tiny.yaml", "resources.env_runners=3")
    assert "resources.env_runners" in message
    assert "must divide task.num_envs" in message


@pytest.mark.parametrize("command", [("evaluate",), ("play", "--video", "film.mp4")])
class TestPolicy:
    def test_unknown(self, refused, command):
        message = refused(*command, "nowhere")
        assert message == "nowhere: no such folder, and not an MLflow run id (32 hex digits)"

    def test_a_name_too_long_for_a_folder(self, refused, command):
        assert "no such folder" in refused(*command, "x" * 5000)

    def test_folder_without_a_bundle(self, refused, command, tmp_path):
        assert "no policy bundle here" in refused(*command, tmp_path)

    def test_unreadable(self, refused, command, tiny_bundle):
        (tiny_bundle / "policy.json").write_text('{"format": 1')
        message = refused(*command, tiny_bundle)
        assert message.startswith(f"{tiny_bundle}: the policy bundle cannot be read: ")

    def test_of_other_observations(self, refused, command, tiny_bundle):
        """A policy is not let loose on columns it was not trained on."""
        path = tiny_bundle / "policy.json"
        description = json.loads(path.read_text())
        layout = description["env"]["layouts"]["policy"]
        layout["base_lin_vel"], layout["base_ang_vel"] = (
            layout["base_ang_vel"],
            layout["base_lin_vel"],
        )
        path.write_text(json.dumps(description))
        message = refused(*command, tiny_bundle)
        assert message.startswith("the policy does not fit task biped_walk: layouts is ")

    def test_run_without_a_store(self, refused, command):
        assert "runs/mlflow.db" in refused(*command, RUN_ID)


@pytest.mark.parametrize(
    "options", [(), ("--video", "film.mp4", "--viewer"), ("--web", "--viewer")]
)
def test_play_without_saying_how(refused, tiny_bundle, options):
    message = refused("play", tiny_bundle, *options)
    assert message == "say how to look: --video FILE, --web or --viewer"


@pytest.mark.parametrize("command", [("evaluate",), ("play", "--video", "film.mp4")])
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("algorithm.gamma=1", "only the task can be changed, as task.KEY=VALUE"),
        ("task.rewards.uprigt=1", 'did you mean "upright"'),
    ],
)
def test_a_policy_in_a_task_that_is_none(refused, tiny_bundle, command, change, expected):
    message = refused(command[0], tiny_bundle, change, *command[1:])
    assert message.startswith(f'override "{change}": ')
    assert expected in message


def test_play_follows_the_task_that_is_trained(refused, tmp_path):
    message = refused("play", tmp_path, "task.profile=reference", "--web", "--follow")
    assert message == "--follow plays in the task that is trained: no task.KEY=VALUE"


def test_play_follows_in_live_viewers_only(refused, tiny_bundle):
    message = refused("play", tiny_bundle, "--video", "film.mp4", "--follow")
    assert message == "--follow and --gamepad need --web or --viewer"


def test_play_follows_checkpoints(refused, tmp_path):
    message = refused("play", tmp_path, "--web", "--follow")
    assert message.startswith(f"{tmp_path}: holds no whole checkpoint yet")


def test_no_store_to_look_at(refused):
    assert "no runs yet" in refused("ui")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["train", "tyni.yaml"], "error: tyni.yaml: there is no such file"),
        (["evaluate", "nowhere"], "error: nowhere: no such folder"),
    ],
)
def test_as_a_program(tmp_path, arguments, expected):
    done = subprocess.run(
        [sys.executable, "-m", "stridelab.cli.main", *arguments],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith(expected)
    assert list(tmp_path.iterdir()) == []


def test_tasks_as_json(stridelab):
    code, out, err = stridelab("tasks", "--json")
    assert code == 0
    assert err == ""
    [biped] = [record for record in json.loads(out) if record["id"] == "biped_walk"]
    assert biped["robot"] == "biped17"
    assert biped["observations"] == {"policy": 48}
    assert biped["actions"] == 17
    assert biped["control_rate_hz"] == pytest.approx(50.0)
    assert biped["rewards"]["upright"] > 0.0
    assert {"v6", "v7"} <= set(biped["reward_presets"])


def test_tasks_as_a_table(stridelab):
    code, out, _ = stridelab("tasks")
    assert code == 0
    assert "biped_walk" in out


def test_a_package_that_is_broken_spoils_only_its_own_tasks(stridelab, monkeypatch):
    broken = EntryPoint("broken", "nowhere.at.all:task", "stridelab.tasks")
    tasks = Registry("task", "stridelab.tasks")
    tasks.register("biped_walk", biped_walk)
    monkeypatch.setattr(registry, "_tasks", tasks)
    monkeypatch.setattr(plugins, "entry_points", lambda *, group: [broken])
    code, out, err = stridelab("tasks", "--json")
    assert code == 1
    assert [record["id"] for record in json.loads(out)] == ["biped_walk"]
    assert err.startswith('task "broken" of (nowhere.at.all:task) cannot be loaded: ')
    assert err.count("\n") == 1
