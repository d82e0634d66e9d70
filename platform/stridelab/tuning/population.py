"""Population based training on the search spaces of an experiment file."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ray.tune.schedulers import PopulationBasedTraining
from ray.tune.schedulers.pb2 import PB2

from stridelab.experiment import SearchSpace, SweepSection
from stridelab.experiment.coordinates import Coordinate

_TIME = "training_iteration"
_EXPLOITS = 10
"""How often a trial may change over its training, where the file does not say."""


class Explore:
    """Changes the values of a trial that has taken over another one's weights.

    As in Jaderberg et al. 2017: each value is drawn anew with a probability, otherwise real numbers
    are multiplied by one of the factors, and steps and list entries move to a neighbour. It happens
    on the coordinates of the search space, so that values stay inside it.

    Args:
        space: The search space.
        resample_probability: Of drawing a value anew.
        factors: Of which one multiplies a real number.
        seed: Seed of the draws.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        resample_probability: float,
        factors: Sequence[float],
        seed: int,
    ) -> None:
        self.space = space
        self.resample_probability = resample_probability
        self.factors = list(factors)
        self.random = np.random.RandomState(seed)

    def __call__(self, config: dict[str, Any]) -> dict[str, Any]:
        """Return the config of a trial with other values in its case."""
        case = config["case"]
        point = {**self.space.draw(self.random), **self.space.encode(case["assignment"])}
        moved = {name: self._move(self.space.coordinates[name], x) for name, x in point.items()}
        return {**config, "case": {**case, "assignment": self.space.decode(moved)}}

    def _move(self, axis: Coordinate, number: float) -> float:
        if self.random.random_sample() < self.resample_probability:
            return axis.draw(self.random)
        if axis.kind == "category":
            return axis.clip(number + self.random.choice([-1, 1]))
        moved = number * float(self.random.choice(self.factors))
        if axis.kind == "integer" and round(moved) == number:
            moved = number + self.random.choice([-1, 1])
        return axis.clip(moved)


class PBT(PopulationBasedTraining):
    """Ray's population based training, which notes whose weights a trial took over.

    See :class:`Explore` for what changes.
    """

    def _get_new_config(self, trial: Any, trial_to_clone: Any) -> tuple[dict[str, Any], Any]:
        config, operations = super()._get_new_config(trial, trial_to_clone)
        config["case"] |= _identity(trial, trial_to_clone)
        return config, operations


def pbt(sweep: SweepSection, iterations: int) -> PBT:
    """Return the scheduler ``pbt`` of a sweep."""
    args = {"perturbation_interval": _interval(iterations), **sweep.scheduler_args}
    explore = Explore(
        sweep.space,
        resample_probability=args.get("resample_probability", 0.25),
        factors=args.get("perturbation_factors", (1.2, 0.8)),
        seed=sweep.search_seed,
    )
    return PBT(time_attr=_TIME, require_attrs=False, custom_explore_fn=explore, **args)


class PopulationBandit(PB2):
    """Ray's PB2 on the coordinates of a search space, logarithmic ones as logarithms.

    Args:
        space: Search space of real ranges.
        kwargs: Arguments of Ray's PB2.
    """

    def __init__(self, space: SearchSpace, **kwargs: Any) -> None:
        self.space = space
        bounds = {name: _ends(axis) for name, axis in space.coordinates.items()}
        super().__init__(hyperparam_bounds={"case": {"coordinates": bounds}}, **kwargs)

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Give the trial the coordinates of its values, which the bandit looks at."""
        case = trial.config["case"]
        case["coordinates"] = self._coordinates(case["assignment"])
        super().on_trial_add(tune_controller, trial)

    def _coordinates(self, assignment: Mapping[str, Any]) -> dict[str, float]:
        point = self.space.encode(assignment)
        return {name: _log(self.space.coordinates[name], x) for name, x in point.items()}

    def _get_new_config(self, trial: Any, trial_to_clone: Any) -> tuple[dict[str, Any], Any]:
        chosen, operations = super()._get_new_config(trial, trial_to_clone)
        # Ray flattens the config and loses empty mappings: only the choice is taken from it.
        axes = self.space.coordinates
        point = {
            name: axes[name].clip(math.exp(x) if axes[name].kind == "log" else x)
            for name, x in chosen["case"]["coordinates"].items()
        }
        assignment = self.space.decode(point)
        config = copy.deepcopy(trial_to_clone.config)
        config["case"] |= {
            "assignment": assignment,
            "coordinates": self._coordinates(assignment),
            **_identity(trial, trial_to_clone),
        }
        return config, operations


def pb2(sweep: SweepSection, iterations: int) -> PopulationBandit:
    """Return the scheduler ``pb2`` of a sweep."""
    args = {"perturbation_interval": _interval(iterations), **sweep.scheduler_args}
    return PopulationBandit(sweep.space, time_attr=_TIME, require_attrs=False, **args)


def _identity(trial: Any, trial_to_clone: Any) -> dict[str, Any]:
    """Return what a trial's case keeps of its own, and whose values it took over."""
    return {
        "member": trial.config["case"]["member"],
        "cloned_from": trial_to_clone.config["case"]["member"],
    }


def _interval(iterations: int) -> int:
    return max(1, iterations // _EXPLOITS)


def _ends(axis: Coordinate) -> list[float]:
    return [_log(axis, axis.low), _log(axis, axis.high)]


def _log(axis: Coordinate, number: float) -> float:
    return math.log(number) if axis.kind == "log" else float(number)
