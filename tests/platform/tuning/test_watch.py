"""The time budget, and new resources for the trials that are to go on."""

import signal
from types import SimpleNamespace

import pytest

from stridelab.tuning.watch import StudyWatch


class Trial(SimpleNamespace):
    def is_finished(self):
        return self.finished

    def set_config(self, config):
        self.config = config

    def create_placement_group_factory(self):
        self.asked = self.config["cpus"]


def trials():
    config = {"experiment": {"name": "walk", "resources": {"env_runners": 4}}, "cpus": 8.0}
    return [
        Trial(trial_id=f"t{i}", finished=finished, config=config, asked=8.0)
        for i, finished in enumerate((True, False, False))
    ]


@pytest.fixture
def signals(monkeypatch):
    raised = []
    monkeypatch.setattr(signal, "raise_signal", raised.append)
    monkeypatch.setattr(signal, "getsignal", lambda number: lambda *args: None)  # Tune's
    return raised


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(time=100.0)
    monkeypatch.setattr("stridelab.tuning.watch.time.monotonic", lambda: now.time)
    return now


def test_a_used_up_budget_stops_once(signals, clock):
    watch = StudyWatch(60.0)
    clock.time = 1000.0  # connecting took long; only the study counts
    watch.setup()
    for now, expected in ((1059.0, 0), (1061.0, 1), (1062.0, 1)):
        clock.time = now
        watch.on_step_end(1, trials())
        assert len(signals) == expected
    assert watch.is_over
    assert watch.unfinished == {"t1", "t2"}


def test_a_study_that_has_just_ended_is_not_stopped(signals, clock):
    watch = StudyWatch(60.0)
    watch.setup()
    clock.time = 1000.0
    watch.on_step_end(1, trials()[:1])
    assert not signals
    assert not watch.is_over
    assert watch.unfinished == set()


def test_a_signal_that_nobody_catches_is_not_raised(signals, clock, monkeypatch):
    """It would end the process."""
    monkeypatch.setattr(signal, "getsignal", lambda number: signal.SIG_DFL)
    watch = StudyWatch(60.0)
    watch.setup()
    clock.time = 1e6
    watch.on_step_end(1, trials())
    assert not signals


def test_without_a_budget_there_is_no_end(signals, clock):
    watch = StudyWatch(None)
    watch.setup()
    clock.time = 1e9
    watch.on_step_end(1, trials())
    assert not signals


def test_new_resources_reach_the_trials_that_go_on():
    watch = StudyWatch(None, ({"env_runners": 1}, 2.0))
    done, *going = trials()
    watch.on_step_begin(1, [done, *going])
    assert done.config["experiment"]["resources"] == {"env_runners": 4}
    for trial in going:
        assert trial.config["experiment"] == {"name": "walk", "resources": {"env_runners": 1}}
        assert trial.config["cpus"] == trial.asked == 2.0
        trial.config = {}
    watch.on_step_begin(2, [done, *going])  # and only once
    assert going[0].config == {}


def test_trials_that_never_started_get_a_folder():
    """Tune fails to list trials without one."""
    unbegun = SimpleNamespace(init_local_path=lambda: made.append("folder"))
    made = []
    StudyWatch(None).on_experiment_end([unbegun])
    assert made == ["folder"]
