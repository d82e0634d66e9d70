"""A third-party package adds a robot, a task and a reward without touching this repository."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parents[2] / "example_package"
PIP = ("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation")

pytestmark = [pytest.mark.slow]


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """Run a Python module where the example is installed: in a folder of its own on the path."""
    site, here = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("here")
    source = tmp_path_factory.mktemp("source") / "example"
    subprocess.run(["cp", "-r", str(EXAMPLE), str(source)], check=True)  # building leaves traces
    subprocess.run(
        [sys.executable, *PIP, "--target", str(site), str(source)], check=True, timeout=300
    )
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    environment.pop("RAY_ADDRESS", None)

    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-m", *map(str, arguments)],
            cwd=here, env=environment, capture_output=True, text=True, timeout=600,
        )  # fmt: skip

    return run


def test_its_own_tests(python):
    done = python("pytest", "-p", "no:cacheprovider", EXAMPLE / "tests")
    assert done.returncode == 0, done.stdout
    assert "4 passed" in done.stdout


def test_tasks_and_check(python):
    tasks = json.loads(python("stridelab.cli.main", "tasks", "--json").stdout)
    [stilts] = [task for task in tasks if task["id"] == "stilts_stand"]
    assert stilts["robot"] == "stilts"
    assert stilts["observations"] == {"policy": 24}
    done = python(
        "stridelab.cli.main", "check", "stilts_stand", "--num-envs=4", "--seconds=0.5", "--json"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["robot"] == "stilts"


@pytest.mark.ray
def test_train(python):
    tiny = (
        "task.num_envs=8", "task.episode_length_s=0.2", "task.rewards.feet_level=0.7",
        "model.actor_hidden=[8]", "model.critic_hidden=[8]", "algorithm.num_steps_per_env=10",
        "algorithm.precision=fp32", "train.env_steps=160", "train.video=false",
        "train.evaluate_episodes=2", "tracking.system_metrics=false",
    )  # fmt: skip
    done = python("stridelab.cli.main", "train", EXAMPLE / "stilts_stand.yaml", *tiny, "--json")
    assert done.returncode == 0, done.stderr
    [outcome] = json.loads(done.stdout)
    assert outcome["metrics"]["env_steps"] == 160
    assert outcome["metrics"]["reward/feet_level"] > 0.0
    bundle = json.loads((Path(outcome["checkpoint"]) / "policy" / "policy.json").read_text())
    assert bundle["env"]["robot"] == "stilts"
