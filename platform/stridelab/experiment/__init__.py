"""The experiment file: schema, loader, dotted overrides and search-space syntax."""

from __future__ import annotations

from stridelab.experiment.ablation import AblationSection
from stridelab.experiment.loader import load_experiment, parse_experiment
from stridelab.experiment.schema import Experiment
from stridelab.experiment.search_space import SearchSpace, Space
from stridelab.experiment.sections import (
    AlgorithmSection,
    ModelSection,
    ResourcesSection,
    StdSection,
    TaskSection,
    TrackingSection,
    TrainSection,
)
from stridelab.experiment.stages import StageSection
from stridelab.experiment.sweep import SweepSection

__all__ = [
    "AblationSection",
    "AlgorithmSection",
    "Experiment",
    "ModelSection",
    "ResourcesSection",
    "SearchSpace",
    "Space",
    "StageSection",
    "StdSection",
    "SweepSection",
    "TaskSection",
    "TrackingSection",
    "TrainSection",
    "load_experiment",
    "parse_experiment",
]
