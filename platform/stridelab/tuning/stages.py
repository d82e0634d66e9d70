"""The stages of a study: what each trains, and what it goes on from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from stridelab.experiment import Experiment
from stridelab.tuning.cases import Case
from stridelab.tuning.folder import StudyFolder
from stridelab.tuning.outcomes import Outcome
from stridelab.tuning.tuner import Stage


def stages_of(experiment: Experiment, study: StudyFolder) -> list[Stage]:
    """Return the stages of a study in order; one without a name where the file has none."""
    if not experiment.stages:
        return [Stage(experiment, study.folder)]
    following = [*experiment.stages[1:], None]
    return [
        Stage(
            experiment.stage(section),
            study.folder.child(section.name),
            name=section.name,
            keeps_best=after is not None and after.starts_from_best,
        )
        for section, after in zip(experiment.stages, following, strict=True)
    ]


def going_on(stage: Stage, before: Stage, outcomes: Sequence[Outcome]) -> Stage:
    """Return a stage with its trials: those that went through the whole stage before it."""
    cases = tuple(_cases(before, outcomes))
    return replace(stage, cases=cases)


def _cases(before: Stage, outcomes: Sequence[Outcome]) -> Iterator[Case]:
    for outcome in outcomes:
        chosen = outcome.best_checkpoint if before.keeps_best else outcome.checkpoint
        if outcome.error or outcome.is_unfinished or not outcome.is_full_length or chosen is None:
            continue
        yield {
            "assignment": outcome.assignment,
            "seed": outcome.seed,
            "start": {
                "checkpoint": chosen.path,
                "env_steps": chosen.env_steps,
                "stage": before.name,
                "kind": "best" if before.keeps_best else "last",
                "run_id": outcome.run_id,
            },
        }


def with_earlier_curves(outcomes: Sequence[Outcome], earlier: Sequence[Outcome]) -> list[Outcome]:
    """Return outcomes whose curves begin with those of the stage they went on from."""
    known = {(outcome.configuration, outcome.seed): outcome for outcome in earlier}
    return [
        outcome.after(known[key])
        if (key := (outcome.configuration, outcome.seed)) in known
        else outcome
        for outcome in outcomes
    ]
