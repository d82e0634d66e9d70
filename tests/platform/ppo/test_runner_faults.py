"""Remote runners that raise, hang or are killed while they sample."""

import os
import signal
import time

import psutil
import pytest

from stridelab.algorithms.ppo import build_config
from stridelab.experiment import parse_experiment
from stridelab.sampling.remote import RunnerError
from stridelab_envs.errors import ConfigError, UserError

pytestmark = [pytest.mark.faults, pytest.mark.ray, pytest.mark.slow]

STEPS = 8 * 16
"""Environment steps of an iteration with both runners."""
HANG_S = 300.0
PATIENCE_S = 2.0


class Trap:
    """Makes environments of a task that fail where a file of the runner's number says so.

    Args:
        folder: ``<runner>`` holds a fault that comes once, ``<runner>.always`` one that stays,
            ``<runner>.build`` spoils the next environments. ``<runner>.built`` gets a line with
            the process id whenever environments are built.
        make_env: Makes environments that do not fail.
    """

    def __init__(self, folder, make_env):
        self.folder = folder
        self.make_env = make_env

    def __call__(self, *, num_envs, seed):
        runner = str(seed)
        with (self.folder / f"{runner}.built").open("a") as file:
            file.write(f"{os.getpid()}\n")
        if (self.folder / f"{runner}.build").exists():
            raise OSError("the robot's meshes are gone")
        env = self.make_env(num_envs=num_envs, seed=seed)
        step = env.step
        env.step = lambda action: self._spring(runner) or step(action)
        return env

    def _spring(self, runner):
        once, always = self.folder / runner, self.folder / f"{runner}.always"
        if always.exists():
            fault = always.read_text()
        elif once.exists():
            fault = once.read_text()
            once.unlink()
        else:
            return
        if fault == "raise":
            raise ZeroDivisionError("a foot has no mass")
        if fault == "mistake":
            raise ConfigError("task.rewards.upright", "must be a number")
        if fault == "hang":
            time.sleep(HANG_S)
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture(scope="module", autouse=True)
def _by_value():
    """Runners cannot import this file."""
    import sys

    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


@pytest.fixture(scope="module")
def build(local_ray, tiny_tree, tmp_path_factory):
    """Build an algorithm with remote runners whose environments are trapped, and its folder."""
    algorithms = []

    def build_algorithm(runners, **settings):
        folder = tmp_path_factory.mktemp("traps")
        experiment = parse_experiment(tiny_tree).with_values(
            {
                "task.id": "h1_walk",  # its commands have a curriculum
                "resources": {"env_runners": runners, "cpus_per_runner": 0.25},
                **{f"algorithm.{name}": value for name, value in settings.items()},
            }
        )
        config = build_config(experiment, seed=0, num_threads=1)
        config.env_config["make_env"] = Trap(folder, config.env_config["make_env"])
        config.runner_patience_s = PATIENCE_S
        algorithm = config.build_algo()
        algorithms.append(algorithm)
        algorithm.train()
        assert algorithm.env_steps == STEPS
        return algorithm, folder

    yield build_algorithm
    for algorithm in algorithms:
        algorithm.stop()


@pytest.fixture(scope="module")
def pair(build):
    """An algorithm with two runners, and where its traps are set, for one test after another."""
    return build(2)


@pytest.fixture(scope="module")
def single(build):
    """An algorithm with one runner that samples while the learner learns."""
    return build(1, asynchronous=True)


def built(folder):
    """Return the runners' names and the process of each time one was built."""
    return {
        file.stem: [int(line) for line in file.read_text().splitlines()]
        for file in sorted(folder.glob("*.built"))
    }


def seen(algorithm):
    """Return what each runner has of the training: normalised frames and the curriculum."""
    return algorithm.env_runner_group.foreach_env_runner(
        lambda runner: (
            runner.module.state_dict()["normalizers.policy.count"].item(),
            runner.get_curriculum(),
        ),
        local_env_runner=False,
    )


def train_until_all_are_back(algorithm, deadline_s=120.0):
    deadline = time.monotonic() + deadline_s
    while time.monotonic() < deadline:
        before = algorithm.env_steps
        algorithm.train()
        if algorithm.env_steps - before == STEPS:
            return
    raise AssertionError("the runner did not come back")


@pytest.mark.parametrize("fault", ["raise", "hang", "kill"])
def test_the_iteration_goes_on_with_the_others(pair, fault):
    algorithm, folder = pair
    [command] = algorithm.get_curriculum()
    algorithm.set_curriculum({command: 0.4})
    before, steps = built(folder), algorithm.env_steps
    other, failing = before
    (folder / failing).write_text(fault)
    started_at = time.time()
    algorithm.train()
    failed_at = time.time()
    assert algorithm.env_steps == steps + STEPS // 2
    assert failed_at - started_at < PATIENCE_S + 20.0  # a machine may be busy

    train_until_all_are_back(algorithm)
    after = built(folder)
    assert after[other] == before[other]  # left alone
    *_, old, new = after[failing]
    assert after[failing] == [*before[failing], new]
    assert not psutil.pid_exists(old)
    began_at = psutil.Process(new).create_time()
    assert began_at - failed_at <= 5.0
    # It acts with the weights of now, and its commands are as wide as those of the others.
    assert seen(algorithm) == [(algorithm.env_steps, {command: 0.4})] * 2


def test_where_all_fail_all_are_asked_again(pair):
    algorithm, folder = pair
    [command] = algorithm.get_curriculum()
    algorithm.set_curriculum({command: 0.6})
    algorithm.train()
    before, steps = built(folder), algorithm.env_steps
    for runner in before:
        (folder / runner).write_text("raise")
    algorithm.train()
    assert algorithm.env_steps > steps
    train_until_all_are_back(algorithm)
    assert [len(times) for times in built(folder).values()] == [
        len(times) + 1 for times in before.values()
    ]
    assert seen(algorithm) == [(algorithm.env_steps, {command: 0.6})] * 2


def test_a_runner_that_started_again_unnoticed(pair):
    """Killed while the learner learns, a runner may be back before the next iteration."""
    algorithm, folder = pair
    [command] = algorithm.get_curriculum()
    algorithm.set_curriculum({command: 0.2})
    algorithm.train()
    runner, processes = next(iter(built(folder).items()))
    os.kill(processes[-1], signal.SIGKILL)
    deadline = time.monotonic() + 120.0
    while len(built(folder)[runner]) == len(processes):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    train_until_all_are_back(algorithm)
    assert seen(algorithm) == [(algorithm.env_steps, {command: 0.2})] * 2


def test_a_mistake_of_the_user_ends_the_training_at_once(pair):
    algorithm, folder = pair
    runner = next(iter(built(folder)))
    (folder / runner).write_text("mistake")
    with pytest.raises(UserError, match=r"^task.rewards.upright: must be a number$"):
        algorithm.train()


def test_three_failures_in_a_row_end_the_training(pair):
    algorithm, folder = pair
    train_until_all_are_back(algorithm)
    *_, (runner, before) = built(folder).items()
    (folder / f"{runner}.always").write_text("raise")
    with pytest.raises(RunnerError) as caught:
        for _ in range(1000):
            algorithm.train()
            time.sleep(0.1)
    text = str(caught.value)
    assert text.splitlines()[-1] == (
        "environment runner 2 failed 3 times in a row: ZeroDivisionError: a foot has no mass"
    )
    assert "_spring" in text  # the traceback says where
    assert len(built(folder)[runner]) == len(before) + 2


def test_a_runner_that_fails_while_the_learner_learns(single):
    algorithm, folder = single
    [runner] = built(folder)
    for iteration in (2, 3, 4):
        if iteration == 3:
            (folder / runner).write_text("raise")
        algorithm.train()
        assert algorithm.env_steps == iteration * STEPS
    assert len(built(folder)[runner]) == 2


def test_a_runner_that_cannot_be_built_again(single):
    algorithm, folder = single
    [runner] = built(folder)
    (folder / f"{runner}.build").touch()
    (folder / runner).write_text("kill")
    with pytest.raises(RuntimeError, match=r"(?s)runner 1 does not start again.*meshes are gone"):
        for _ in range(3):  # one iteration ahead
            algorithm.train()
