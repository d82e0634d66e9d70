"""A third-party package adds robot, task, reward, module and algorithm from outside."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parents[2] / "example_package"
CLI = ("-m", "stridelab.cli.main")
PIP = ("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation")

pytestmark = [pytest.mark.slow]


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """Run Python where the example is installed: in a folder of its own on the path."""
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
            [sys.executable, *map(str, arguments)],
            cwd=here, env=environment, capture_output=True, text=True, timeout=600,
        )  # fmt: skip

    return run


def test_its_own_tests(python):
    done = python("-m", "pytest", "-p", "no:cacheprovider", EXAMPLE / "tests")
    assert done.returncode == 0, done.stdout
    assert "4 passed" in done.stdout


def test_tasks_and_check(python):
    tasks = json.loads(python(*CLI, "tasks", "--json").stdout)
    [stilts] = [task for task in tasks if task["id"] == "stilts_stand"]
    assert stilts["robot"] == "stilts"
    assert stilts["observations"] == {"policy": 24}
    done = python(*CLI, "check", "stilts_stand", "--num-envs=4", "--seconds=0.5", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["robot"] == "stilts"


@pytest.mark.ray
def test_train(python):
    tiny = (
        "task.num_envs=8", "task.episode_length_s=0.2", "task.rewards.feet_level=0.7",
        "model.actor_hidden=[8]", "model.critic_hidden=[8]", "algorithm.num_steps_per_env=10",
        "model.kind=dropout_actor_critic", "model.dropout=0.2",
        "algorithm.kind=annealed_ppo", "algorithm.entropy_half_life=80",
        "algorithm.precision=fp32", "train.env_steps=160", "train.video=false",
        "train.evaluate_episodes=2", "tracking.system_metrics=false",
    )  # fmt: skip
    done = python(*CLI, "train", EXAMPLE / "stilts_stand.yaml", *tiny, "--json")
    assert done.returncode == 0, done.stderr
    [outcome] = json.loads(done.stdout)
    assert outcome["metrics"]["env_steps"] == 160
    assert outcome["metrics"]["reward/feet_level"] > 0.0
    bundle = json.loads((Path(outcome["checkpoint"]) / "policy" / "policy.json").read_text())
    assert bundle["env"]["robot"] == "stilts"
    assert bundle["module"] == "dropout_actor_critic"
    assert bundle["model_config"]["dropout"] == 0.2
    # Two iterations of 80 steps: the bonus was halved once before the second.
    assert outcome["metrics"]["policy/entropy_coef"] == pytest.approx(0.005)
    policy = Path(outcome["checkpoint"]) / "policy"
    done = python(*CLI, "evaluate", policy, "--episodes=2", "--json")
    assert done.returncode == 0, done.stderr


REFUSED = {
    "model.dropout=1.5": "must be below 1.0, got 1.5",
    "model.dropuot=0.1": 'unknown key "dropuot"; did you mean "dropout"?',
    "algorithm.kind=anealed_ppo": 'did you mean "annealed_ppo"?',
    "model.kind=dropout": "dropout_actor_critic, got",
}
LOAD = """
import sys
from stridelab.experiment import load_experiment
from stridelab_envs.errors import UserError
for override in sys.argv[2:]:
    try:
        load_experiment(sys.argv[1], ["model.kind=dropout_actor_critic", override])
    except UserError as error:
        print(error)
"""


def test_settings_of_its_own_are_checked(python):
    done = python("-c", LOAD, EXAMPLE / "stilts_stand.yaml", *REFUSED)
    lines = done.stdout.splitlines()
    assert len(lines) == len(REFUSED), done.stderr
    for line, (override, expected) in zip(lines, REFUSED.items(), strict=True):
        assert line.startswith(f'override "{override}": ')
        assert expected in line
