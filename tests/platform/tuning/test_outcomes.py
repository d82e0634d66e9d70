"""From Tune's results to outcomes, and from one stage to the next."""

from types import SimpleNamespace

import numpy as np
import pytest
from pyarrow import fs

from stridelab.tuning.outcomes import Outcome, outcome_of, title_of
from stridelab.tuning.seed_search import configuration_key
from stridelab.tuning.storage import open_storage
from stridelab.tuning.tuner import Stage

METRIC = "episode/return"


def checkpoint(name):
    return SimpleNamespace(path=f"/runs/{name}", filesystem=fs.LocalFileSystem())


@pytest.fixture
def result(tiny):
    """Build a result of Tune, with env_steps and score of each kept checkpoint."""

    def build(*kept, steps=256, case=None, error=None, **more):
        metrics = {"env_steps": steps, "trial_id": "t", METRIC: 1.0}
        return SimpleNamespace(
            metrics=metrics,
            trial_config={
                "experiment": tiny,
                "case": {"assignment": {"algorithm.gamma": 0.9}, "seed": 3, **(case or {})},
                **more,
            },
            error=error,
            checkpoint=checkpoint("last"),
            best_checkpoints=[
                (checkpoint(f"at-{at}"), {"env_steps": at, METRIC: score}) for at, score in kept
            ],
            metrics_dataframe=None,
        )

    return build


def read(result, mode="max", unfinished=()):
    return outcome_of(
        result,
        result.trial_config,
        run_ids={"t": "run"},
        metric=METRIC,
        mode=mode,
        unfinished=unfinished,
    )


@pytest.mark.parametrize(("mode", "best"), [("max", "/runs/at-128"), ("min", "/runs/at-256")])
def test_best_and_last_checkpoint(result, mode, best):
    outcome = read(result((128, 5.0), (192, float("nan")), (256, 1.0)), mode)
    assert outcome.best_checkpoint.path == best
    assert outcome.checkpoint.path == "/runs/last"
    assert outcome.checkpoint.env_steps == 256
    assert outcome.run_id == "run"
    assert outcome.configuration == configuration_key(
        {"assignment": {"algorithm.gamma": 0.9}, "member": None}
    )


def test_without_scores_the_last_checkpoint_is_the_best(result):
    assert read(result()).best_checkpoint == read(result()).checkpoint


@pytest.mark.parametrize(
    ("steps", "start", "full"), [(256, 0, True), (255, 0, False), (400, 200, False)]
)
def test_full_length_counts_the_steps_of_this_stage(result, steps, start, full):
    case = {"start": {"env_steps": start}} if start else {}
    assert read(result(steps=steps, case=case)).is_full_length is full


def test_a_trial_that_never_reported_still_has_its_values(result):
    started = result()
    started.metrics, started.checkpoint = {"trial_id": "t"}, None
    outcome = read(started, unfinished={"t"})
    assert outcome.assignment == {"algorithm.gamma": 0.9}
    assert outcome.seed == 3
    assert outcome.is_unfinished
    assert not outcome.is_full_length
    assert outcome.checkpoint is None


def test_unfinished_and_failed(result):
    assert read(result(), unfinished={"t"}).is_unfinished
    failed = read(result(error=RuntimeError("first\nactor died")), unfinished={"t"})
    assert failed.error == "actor died"
    assert not failed.is_unfinished


@pytest.mark.parametrize(
    ("more", "title"),
    [
        ({}, "seed=3"),
        ({"compared": True}, "gamma=0.9 seed=3"),
        ({"compared": True, "stage": "flat"}, "flat gamma=0.9 seed=3"),
        ({"compared": True, "case": {"member": 2}}, "member 2 seed=3"),
        ({"compared": True, "case": {"assignment": {}}}, "baseline seed=3"),
        (
            {"compared": True, "case": {"assignment": {"task.rewards.up": None}}},
            "without up seed=3",
        ),
    ],
)
def test_titles(result, more, title):
    assert title_of(result(**more).trial_config) == title


def outcome(seed=0, steps=(128.0, 256.0), **more):
    curve = (np.array(steps), np.array(steps) / 100.0)
    settings = {
        "assignment": {},
        "seed": seed,
        "label": "baseline",
        "metrics": {"env_steps": steps[-1]},
        "curves": {METRIC: curve},
        "checkpoint": read_checkpoint("last", 256),
        "best_checkpoint": read_checkpoint("best", 128),
        "run_id": f"run{seed}",
        "error": None,
        "configuration": "{}",
    }
    return Outcome(**{**settings, **more})


def read_checkpoint(name, steps):
    from stridelab.tuning.outcomes import Checkpoint

    return Checkpoint(f"/runs/{name}", fs.LocalFileSystem(), steps)


class TestGoingOn:
    @pytest.fixture
    def stage(self, tiny_experiment):
        def build(name, keeps_best):
            return Stage(tiny_experiment(), open_storage("/runs"), name=name, keeps_best=keeps_best)

        return build

    @pytest.mark.parametrize(
        ("keeps_best", "path", "steps", "kind"),
        [(True, "/runs/best", 128, "best"), (False, "/runs/last", 256, "last")],
    )
    def test_from_the_best_or_the_last(self, stage, keeps_best, path, steps, kind):
        from stridelab.tuning.stages import going_on

        before = stage("flat", keeps_best)
        ready = going_on(stage("rough", False), before, [outcome(seed=7)])
        assert ready.trial_count == 1
        assert ready.cases == (
            {
                "assignment": {},
                "seed": 7,
                "start": {
                    "checkpoint": path,
                    "env_steps": steps,
                    "stage": "flat",
                    "kind": kind,
                    "run_id": "run7",
                },
            },
        )

    def test_only_those_that_went_through(self, stage):
        from stridelab.tuning.stages import going_on

        outcomes = [
            outcome(seed=0, error="died"),
            outcome(seed=1, is_unfinished=True),
            outcome(seed=2, is_full_length=False),  # a scheduler stopped it
            outcome(seed=3),
        ]
        ready = going_on(stage("rough", False), stage("flat", True), outcomes)
        assert [case["seed"] for case in ready.cases] == [3]

    def test_curves_go_on_from_where_the_policy_was_taken(self):
        """From the best checkpoint at 128: what came after it is another branch."""
        joined = outcome(steps=(192.0, 256.0, 320.0)).after(
            outcome(steps=(64.0, 128.0, 192.0, 256.0))
        )
        steps, values = joined.curves[METRIC]
        assert steps.tolist() == [64.0, 128.0, 192.0, 256.0, 320.0]
        assert values.tolist() == [0.64, 1.28, 1.92, 2.56, 3.2]
