"""One trial: the experiment with one assignment of the swept values and one seed."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ray import tune
from ray.train._internal.checkpoint_manager import _TrainingResult

from stridelab.algorithms.kinds import build_algorithm
from stridelab.evaluation.rollout import evaluate
from stridelab.experiment import Experiment, parse_experiment
from stridelab.experiment.paths import named_file
from stridelab.export.bundle import Policy, describe_env, load_bundle, save_bundle
from stridelab.modules.transfer import transfer_weights
from stridelab.tuning.checkpoints import FILES, RECORD, files_of, kept
from stridelab.tuning.storage import open_storage
from stridelab_envs.errors import UserError
from stridelab_envs.registry import make_env

ALGORITHM_FOLDER, POLICY_FOLDER = "algorithm", "policy"
"""What a checkpoint folder holds: RLlib's state to resume from, and the policy bundle."""
EVALUATION_SEED = 12_345
"""Every policy is evaluated from the same starts."""


def trial_case(config: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    """Return the assignment (dotted key to value) and the seed of a trial's Tune config."""
    return dict(config["case"]["assignment"]), int(config["case"]["seed"])


def trial_experiment(config: Mapping[str, Any]) -> Experiment:
    """Return the experiment of a trial's Tune config, with its assignment."""
    assignment, _ = trial_case(config)
    return parse_experiment(config["experiment"]).with_values(assignment)


class Trial(tune.Trainable):
    """Builds the algorithm, trains until ``train.env_steps``, evaluates at the end.

    Results are flat, by the names of the metric glossary; ``eval/...`` stands in the last one.

    The Tune config holds ``experiment`` (plain data of one run), ``case`` (see ``tuning.cases``),
    ``cpus`` and ``git_commit``.
    """

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> tune.PlacementGroupFactory:
        """Ask for the learner's process and one bundle for each runner."""
        resources = trial_experiment(config).resources
        main: dict[str, float] = {"CPU": config["cpus"]}
        if resources.gpus_per_learner:
            main["GPU"] = resources.gpus_per_learner
        runners = [{"CPU": resources.cpus_per_runner}] * resources.env_runners
        return tune.PlacementGroupFactory([main, *runners])

    def setup(self, config: dict[str, Any]) -> None:
        """Build runners and learner."""
        logging.getLogger("ray.rllib").setLevel(logging.ERROR)
        self.experiment = trial_experiment(config)
        _, seed = trial_case(config)
        self.num_threads = max(1, round(config["cpus"]))
        torch.set_num_threads(self.num_threads)
        self.algorithm = build_algorithm(self.experiment, seed=seed, num_threads=self.num_threads)
        task = self.experiment.task_config()
        env = make_env(task, num_envs=1, seed=0, num_threads=1)
        self._env_description = describe_env(env)
        if self.experiment.train.start_from is not None:
            self._take_weights(load_bundle(named_file(self.experiment.train.start_from)))
        self._first_step = 0
        if "start" in config["case"]:
            self._go_on_from(config["case"]["start"]["checkpoint"])

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Build everything anew for another config, in the same process."""
        self.algorithm.stop()
        self.setup(new_config)
        return True

    def _go_on_from(self, path: str) -> None:
        """Begin with what was learned in the stage before; environments start afresh.

        Where the observations are others, only the networks go on, terms matched by name.
        """
        storage = open_storage(self.experiment.resources.storage_path)
        with tune.Checkpoint(path, filesystem=storage.filesystem).as_directory() as place:
            folder = Path(place)
            policy = load_bundle(folder / POLICY_FOLDER)
            theirs, ours = policy.description["env"], self._env_description
            if all(theirs[key] == ours[key] for key in ("layouts", "history")):
                self.algorithm.restore_learner(str((folder / ALGORITHM_FOLDER).resolve()))
            else:
                self._take_weights(policy)
            before = self._take_changes(folder)
        self._first_step = self.algorithm.env_steps = int(before["env_steps"])
        commands = parse_experiment(before["experiment"]).task_config().commands
        if commands == self.experiment.task_config().commands:
            self.algorithm.set_curriculum(before["curriculum"])

    def _take_changes(self, folder: Path) -> dict[str, Any]:
        """Let this trial's own settings win over those a checkpoint was made with.

        A checkpoint holds the learning rate that an adaptive schedule has come to, which goes on,
        unless the setting itself is another one now: after a population's exploit, in a new stage.

        Returns:
            What :data:`RECORD` holds: ``experiment``, ``env_steps``, ``curriculum``, ...
        """
        record: dict[str, Any] = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        learning_rate = self.experiment.algorithm.learning_rate
        if record["experiment"]["algorithm"]["learning_rate"] != learning_rate:
            self.algorithm.set_learning_rate(learning_rate)
        return record

    def _take_weights(self, policy: Policy) -> None:
        """Begin with the networks and the normaliser of a trained policy."""
        theirs, ours = policy.description["env"], self._env_description
        if theirs["joints"] != ours["joints"]:
            raise UserError("train.start_from: the policy was trained on another robot")
        task = self.experiment.task_config()
        some = make_env(task, num_envs=256, seed=0, num_threads=1, stack_history=False)
        transfer_weights(
            policy.module,
            self._module,
            theirs["layouts"],
            ours["layouts"],
            some.reset(),
            keep_std=not self.experiment.train.fresh_std,
        )
        self.algorithm.env_runner_group.sync_weights(
            from_worker_or_learner_group=self.algorithm.learner_group, inference_only=True
        )

    def step(self) -> dict[str, Any]:
        """Train one iteration; after a kill in the last one there is nothing left to train."""
        if not self._is_over:
            self.algorithm.train()
        result: dict[str, Any] = {
            **self.algorithm.iteration_metrics,
            "env_steps": self.algorithm.env_steps,
        }
        if self._is_over:
            result |= self._evaluate()
            result["done"] = True
        return result

    @property
    def _is_over(self) -> bool:
        steps = self.algorithm.env_steps - self._first_step
        return bool(steps >= self.experiment.train.env_steps)

    def _evaluate(self) -> dict[str, float]:
        """Return ``eval/<name>`` of a deterministic evaluation."""
        episodes = self.experiment.train.evaluate_episodes
        if not episodes:
            return {}
        policy = Policy(self._module, {})
        evaluation = evaluate(
            policy.controller,
            self.experiment.task_config(),
            episodes=episodes,
            seed=EVALUATION_SEED,
            label="",
            num_threads=self.num_threads,
            squared_errors=policy.squared_errors,
        )
        return {f"eval/{name.partition('/')[2]}": v for name, v in evaluation.metrics.items()}

    @property
    def _module(self) -> Any:
        [module] = self.algorithm.learner_group.foreach_learner(
            lambda learner: learner.module["default_policy"].unwrapped()
        )
        return module.get()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Write RLlib's state and the policy bundle."""
        folder = Path(checkpoint_dir)
        self.algorithm.save_to_path(str((folder / ALGORITHM_FOLDER).resolve()))
        save_bundle(
            folder / POLICY_FOLDER,
            self._module,
            self.experiment,
            self._env_description,
            env_steps=self.algorithm.env_steps,
            git_commit=self.config.get("git_commit"),
        )
        record = {
            "experiment": self.experiment.to_dict(),
            "env_steps": self.algorithm.env_steps,
            "curriculum": self.algorithm.get_curriculum(),
            "iteration": self.iteration,
            "metrics": self.algorithm.iteration_metrics,
            FILES: files_of(folder),
        }
        (folder / RECORD).write_text(json.dumps(record), encoding="utf-8")

    def restore(self, checkpoint_path: Any) -> None:
        """Restore a checkpoint, or what has replaced it."""
        if isinstance(checkpoint_path, _TrainingResult):
            found = kept(checkpoint_path.checkpoint)
            checkpoint_path = _TrainingResult(found, checkpoint_path.metrics)
        super().restore(checkpoint_path)

    def load_checkpoint(self, checkpoint_dir: str | None) -> None:
        """Continue from a checkpoint."""
        assert checkpoint_dir is not None
        folder = Path(checkpoint_dir)
        self.algorithm.restore_from_path(str((folder / ALGORITHM_FOLDER).resolve()))
        record = self._take_changes(folder)
        self._iteration = record["iteration"]
        self.algorithm.iteration_metrics = record["metrics"]

    def cleanup(self) -> None:
        """Stop the runners."""
        self.algorithm.stop()
