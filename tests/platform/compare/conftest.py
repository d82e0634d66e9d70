"""A real store with studies whose scores are known."""

import itertools
import os
import shutil

import numpy as np
import pytest

from stridelab.compare.collect import ASSIGNMENT_TAG, KIND_TAG, SEED_TAG, STUDY_TAG
from stridelab.tracking.store import default_uri, open_store
from stridelab.tracking.trials import run_name

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

SCORES = {
    "baseline": (1.0, 2.0, 3.0, 4.0),
    "rewards=v6": (2.0, 4.0, 6.0, 100.0),
    "rewards=v7": (7.0, 8.0, 9.0),
}
"""Returns of the study "versions": IQM 2.5, 5 and (mean) 8."""
RATES = (1e-4, 1e-3, 1e-2, 1e-1)
HEADS = (1.0, 2.0, 3.0)


def rate_score(rate):
    """What the study "grid" scores: only the rate matters, 10 for each power of ten."""
    return 10.0 * (np.log10(rate) + 4.0)


class Studies:
    """Writes studies as the tracking callback does."""

    def __init__(self, folder):
        self.folder = folder
        self.uri = default_uri(folder)

    def study(self, experiment, study, trials):
        """Write a parent and its trials ``(assignment text, seed, params, curve, last)``.

        ``curve`` holds ``(env_steps, time_total_s, episode/return)``.
        """
        store = open_store(self.uri, experiment, self.folder)
        parent = store.create_run(study, {KIND_TAG: "sweep", STUDY_TAG: study})
        ids = []
        for assignment, seed, params, curve, last in trials:
            tags = {KIND_TAG: "trial", STUDY_TAG: study, ASSIGNMENT_TAG: assignment}
            run = store.create_run(
                f"{assignment} seed={seed}", {**tags, SEED_TAG: str(seed)}, parent_run_id=parent
            )
            store.log_params(run, {**params, "seed": seed})
            for steps, seconds, value in curve:
                results = {"episode/return": value, "time_total_s": seconds, "env_steps": steps}
                at_end = last if steps == curve[-1][0] else {}
                store.log_metrics(run, {**results, **at_end}, steps)
            store.finish(run, "FINISHED")
            ids.append(run)
        store.finish(parent, "FINISHED")
        store.close()
        return parent, ids

    def unfinished(self, experiment, study, status):
        """Write a trial that has no result; ``status`` RUNNING, FAILED or KILLED."""
        store = open_store(self.uri, experiment, self.folder)
        run = store.create_run("late", {KIND_TAG: "trial", STUDY_TAG: study})
        if status != "RUNNING":
            store.finish(run, status)
        store.close()
        return run


def versions_trials():
    for assignment, scores in SCORES.items():
        preset = assignment.partition("=")[2] or "v5"
        params = {"task.rewards.preset": preset, "task.rewards.upright": ord(preset[-1]) / 2}
        for seed, score in enumerate(scores):
            curve = [(100, 1.0, 0.0), (200, 2.0, score / 2), (300, 3.0, score)]
            last = {
                "eval/survival_rate": score / 100,
                "reward/upright": score / 2,
                "reward/action_rate": -0.25,
            }
            yield assignment, seed, params, curve, last


def grid_trials():
    for rate, head in itertools.product(RATES, HEADS):
        values = {"algorithm.learning_rate": rate, "model.std.initial.head": head}
        params = {**values, "algorithm.kind": "ppo"}
        yield run_name(values), 0, params, [(200, 2.0, rate_score(rate))], {}


@pytest.fixture(scope="session")
def studies(tmp_path_factory):
    """Experiments "versions" (a study and a failed trial), "grid" and "empty" (a running trial)."""
    site = Studies(tmp_path_factory.mktemp("compare store"))
    site.parent, site.ids = site.study("versions", "versions", versions_trials())
    site.unfinished("versions", "versions", "FAILED")
    site.study("versions", "again", itertools.islice(versions_trials(), 2))
    site.unfinished("empty", "empty", "RUNNING")
    site.study("grid", "grid", grid_trials())
    return site


@pytest.fixture(scope="session")
def versions(studies):
    """The study "versions", compared."""
    from stridelab.compare.analysis import compare
    from stridelab.compare.collect import collect

    return compare(collect(studies.uri, [studies.parent], "episode/return"))


@pytest.fixture(scope="session")
def grid(studies):
    """The study "grid", compared."""
    from stridelab.compare.analysis import compare
    from stridelab.compare.collect import collect

    return compare(collect(studies.uri, ["grid"], "episode/return"))


@pytest.fixture(scope="session")
def chromium():
    """Path of a browser without a window; the test is skipped without one."""
    for name in ("chromium", "chromium-browser", "google-chrome", "chrome"):
        if path := shutil.which(name):
            return path
    pytest.skip("there is no Chromium")
