"""How studies and trials read in MLflow: run names, parameters, tags."""

from __future__ import annotations

from typing import Any

from stridelab.experiment import Experiment
from stridelab.tracking.trials import TrialInfo
from stridelab.tuning.outcomes import label_of, title_of
from stridelab.tuning.trial import trial_case, trial_experiment


def describe_study(experiment: Experiment) -> dict[str, str]:
    """Return the tags of a study's parent run: what it compares, and how."""
    tags = {"stridelab.task": experiment.task.id}
    if experiment.sweep is not None:
        tags |= {
            "stridelab.scheduler": experiment.sweep.scheduler_name,
            "stridelab.search": experiment.sweep.search_name,
        }
    if experiment.differences:
        tags["stridelab.swept"] = ", ".join(experiment.differences)
    if experiment.stages:
        tags["stridelab.stages"] = ", ".join(stage.name for stage in experiment.stages)
    return tags


def describe_trial(trial: Any) -> TrialInfo:
    """Describe a trial for tracking, with every setting resolved."""
    config = trial.config
    assignment, seed = trial_case(config)
    experiment = trial_experiment(config)
    params: dict[str, Any] = {k: v for k, v in experiment.flat().items() if k != "seeds"}
    stage = config.get("stage", "")
    configuration = label_of(config)
    compared = configuration if config.get("compared") or not stage else ""
    label = ": ".join(word for word in (stage, compared) if word)
    return TrialInfo(
        title_of(config),
        {**params, "seed": seed},
        {
            "stridelab.assignment": label,
            "stridelab.seed": str(seed),
            "stridelab.task": experiment.task.id,
            **({"stridelab.stage": stage} if stage else {}),
            **_lineage(config, experiment),
        },
        varying=tuple(assignment) if "member" in config["case"] else (),
    )


def _lineage(config: dict[str, Any], experiment: Experiment) -> dict[str, str]:
    """Return tags that say which policy a trial began with."""
    start = config["case"].get("start")
    if start is not None:
        return {
            "stridelab.parent_policy": f"{start['stage']} ({start['kind']})",
            "stridelab.parent_policy.run_id": str(start["run_id"]),
            "stridelab.parent_policy.checkpoint": start["checkpoint"],
            "stridelab.parent_policy.env_steps": str(start["env_steps"]),
        }
    if "cloned_from" in config["case"]:
        return {"stridelab.parent_policy": f"member {config['case']['cloned_from']}"}
    if experiment.train.start_from is not None:
        return {"stridelab.parent_policy": experiment.train.start_from}
    return {}
