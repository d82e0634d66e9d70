"""Configurations are stopped by one score over their seeds."""

import pickle
from dataclasses import dataclass, field

import pytest
from ray.tune.schedulers import ASHAScheduler, MedianStoppingRule, TrialScheduler

from stridelab.tuning.schedulers import build_scheduler, iterations_of
from stridelab.tuning.seed_scheduler import SchedulerState, SeedScheduler

METRIC = "episode/return"


@dataclass(eq=False)
class Trial:
    """What schedulers use of a Tune trial."""

    gamma: float
    seed: int
    status: str = "PENDING"
    config: dict = field(init=False)

    def __post_init__(self):
        self.config = {"case": {"assignment": {"algorithm.gamma": self.gamma}, "seed": self.seed}}

    @property
    def trial_id(self):
        return f"{self.gamma}-{self.seed}"

    def is_finished(self):
        return self.status == "TERMINATED"


class Study:
    """Calls a scheduler as Tune does."""

    def __init__(self, scheduler, state=None):
        self.scheduler = scheduler
        scheduler.set_search_properties(METRIC, "max")
        if state is not None:
            SchedulerState(scheduler).set_state(state)
        self.stopped = []
        self.trials = []

    def get_trials(self):
        return self.trials

    def get_live_trials(self):
        return []

    def stop_trial(self, trial):
        trial.status = "TERMINATED"
        self.stopped.append(trial.trial_id)
        self.scheduler.on_trial_remove(self, trial)

    def add(self, gamma, seeds, status="RUNNING"):
        trials = [Trial(gamma, seed, status) for seed in seeds]
        self.trials += trials
        for trial in trials:
            self.scheduler.on_trial_add(self, trial)
        return trials

    def report(self, trial, iteration, score):
        result = {METRIC: score, "training_iteration": iteration}
        return self.scheduler.on_trial_result(self, trial, result)


def asha(grace=2, max_t=4):
    scheduler = ASHAScheduler(
        time_attr="training_iteration", grace_period=grace, reduction_factor=2, max_t=max_t
    )
    return SeedScheduler(scheduler, aggregate="mean", milestones=[grace, max_t])


def test_a_configuration_is_judged_when_its_last_running_seed_arrives():
    study = Study(asha())
    for trial, score in zip(study.add(0.9, (0, 1)), (10.0, 30.0), strict=True):
        assert study.report(trial, 1, 0.0) == TrialScheduler.CONTINUE
        assert study.report(trial, 2, score) == TrialScheduler.CONTINUE
    a, b = study.add(0.5, (0, 1))
    # One lucky seed of 0.5 beats the mean of 0.9, which is 20; both together do not.
    assert study.report(a, 2, 25.0) == TrialScheduler.CONTINUE
    assert study.report(b, 2, 5.0) == TrialScheduler.STOP
    assert study.report(a, 3, 99.0) == TrialScheduler.STOP
    judged = study.scheduler.get_state()["configurations"]
    assert [entry["judged"] for entry in judged.values()] == [[(2, 20.0)], [(2, 15.0)]]


def test_a_good_configuration_goes_on():
    study = Study(asha())
    for trial in study.add(0.9, (0, 1)):
        study.report(trial, 2, 10.0)
    a, b = study.add(0.5, (0, 1))
    assert study.report(a, 2, 5.0) == TrialScheduler.CONTINUE
    assert study.report(b, 2, 25.0) == TrialScheduler.CONTINUE


def test_seeds_that_wait_hold_nothing_up_and_never_start():
    study = Study(asha())
    for trial in study.add(0.9, (0, 1, 2)):
        study.report(trial, 2, 10.0)
    first, *waiting = study.add(0.5, (0, 1, 2), status="PENDING")
    first.status = "RUNNING"
    assert study.report(first, 1, 1.0) == TrialScheduler.CONTINUE
    assert study.report(first, 2, 1.0) == TrialScheduler.STOP
    assert study.stopped == [trial.trial_id for trial in waiting]


def test_a_seed_that_comes_when_all_is_decided_never_starts():
    study = Study(asha())
    for trial in study.add(0.9, (0, 1)):
        study.report(trial, 2, 10.0)
    [first] = study.add(0.5, (0,))
    study.report(first, 2, 1.0)
    first.status = "TERMINATED"
    [late] = study.add(0.5, (1,), status="PENDING")
    [other] = study.add(0.7, (0,), status="PENDING")
    assert study.scheduler.choose_trial_to_run(study) is other
    assert study.stopped == [late.trial_id]


def test_a_missing_score_is_no_decision():
    """No episode has ended by the milestone: the next result counts."""
    study = Study(asha())
    [best] = study.add(0.9, (0,))
    study.report(best, 2, 10.0)
    [trial] = study.add(0.5, (0,))
    assert study.scheduler.on_trial_result(study, trial, {"training_iteration": 2}) == "CONTINUE"
    assert study.report(trial, 2, float("nan")) == TrialScheduler.CONTINUE
    assert study.report(trial, 3, 1.0) == TrialScheduler.STOP


def test_a_resumed_study_compares_with_what_was_before():
    study = Study(asha())
    for trial in study.add(0.9, (0, 1)):
        study.report(trial, 2, 10.0)
    state = pickle.loads(pickle.dumps(SchedulerState(study.scheduler).get_state()))
    resumed = Study(asha(), state)
    resumed.add(0.9, (0, 1), status="TERMINATED")
    [trial] = resumed.add(0.5, (0,))
    assert resumed.report(trial, 2, 1.0) == TrialScheduler.STOP
    # Saved again before all trials are back, nothing is lost.
    assert len(resumed.scheduler.get_state()["configurations"]) == 2
    again = Study(asha(), state)
    assert again.scheduler.get_state() == state


def test_a_stopped_configuration_stays_stopped():
    study = Study(asha())
    [best] = study.add(0.9, (0,))
    study.report(best, 2, 10.0)
    [trial] = study.add(0.5, (0,))
    study.report(trial, 2, 1.0)
    resumed = Study(asha(), study.scheduler.get_state())
    [trial] = resumed.add(0.5, (0,))
    assert resumed.report(trial, 1, 1.0) == TrialScheduler.STOP


def test_a_trial_that_is_tried_again_is_no_new_seed():
    study = Study(asha())
    a, b = study.add(0.9, (0, 1))
    study.report(a, 2, 10.0)
    study.scheduler.on_trial_error(study, b)
    b.status = "PENDING"
    study.scheduler.on_trial_add(study, b)
    b.status = "RUNNING"
    study.report(b, 2, 30.0)
    [entry] = study.scheduler.get_state()["configurations"].values()
    assert entry["judged"] == [(2, 20.0)]


def test_median_rule_on_means():
    rule = MedianStoppingRule(
        time_attr="training_iteration", grace_period=1, min_samples_required=1, min_time_slice=9
    )
    study = Study(SeedScheduler(rule, aggregate="mean", milestones=range(1, 10)))
    good = study.add(0.9, (0, 1))
    for iteration in (1, 2):
        for trial in good:
            study.report(trial, iteration, 10.0)
    a, b = study.add(0.5, (0, 1))
    study.report(a, 1, 100.0)
    assert study.report(b, 1, 0.0) == TrialScheduler.CONTINUE  # their mean is 50
    c, d = study.add(0.6, (0, 1))
    study.report(c, 1, 1.0)
    assert study.report(d, 1, 2.0) == TrialScheduler.STOP


@pytest.mark.parametrize(
    ("scheduler", "milestones"),
    [
        ({"asha": {"grace_period": 3, "reduction_factor": 3}}, [3, 9, 27, 40]),
        ("median_stopping", list(range(1, 41))),
    ],
)
def test_milestones(tiny_experiment, scheduler, milestones):
    sweep = {"parameters": {"algorithm.gamma": [0.9]}, "scheduler": scheduler}
    experiment = tiny_experiment(train__env_steps=128 * 40, sweep=sweep)
    assert iterations_of(experiment) == 40
    assert build_scheduler(experiment).milestones == milestones


def test_the_median_rule_looks_at_a_long_trial_a_hundred_times(tiny_experiment):
    sweep = {"parameters": {"algorithm.gamma": [0.9]}, "scheduler": "median_stopping"}
    built = build_scheduler(tiny_experiment(train__env_steps=128 * 1000, sweep=sweep))
    assert built.milestones == list(range(10, 1001, 10))
