"""The policy bundle: ``policy.safetensors`` and ``policy.json``, all that acting needs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from gymnasium import spaces
from ray.rllib.core.columns import Columns
from torch import Tensor

from stridelab.evaluation.files import replacing
from stridelab.experiment import Experiment, parse_experiment
from stridelab.experiment.imitation_section import ImitationSection
from stridelab.modules.actor_critic import POLICY, ActorCritic
from stridelab.modules.carried import Controller, mean_action
from stridelab.modules.kinds import module_class, module_kind
from stridelab.tracking.provenance import versions
from stridelab_envs.batch_env import BatchEnv
from stridelab_envs.errors import ConfigError, UserError

_FITTED = (
    "layouts",
    "history",
    "history_order",
    "joints",
    "control_dt",
    "default_pose",
    "action_scale",
    "action_clip",
)
"""What an environment must share with that of the training."""
_ADDED = {"history": {}, "history_order": "oldest_first"}
"""What descriptions lack that were written before there were histories."""
_OF_THE_MACHINE = ("resources", "tracking")
"""Sections of an experiment that mean nothing elsewhere."""
_RENAMED = {"resources": {"max_concurrent_trials": "max_concurrent"}}
"""Keys that sections of an experiment had under other names."""
FORMAT = 1
"""Version of the layout of ``policy.json``."""
WEIGHTS, DESCRIPTION = "policy.safetensors", "policy.json"


@dataclass
class Policy:
    """A trained policy and what it was trained on."""

    module: ActorCritic
    description: dict[str, Any]
    """The content of ``policy.json``."""

    @property
    def experiment(self) -> Experiment:
        """The experiment that trained this policy."""
        return parse_experiment(self.description["experiment"])

    @property
    def observation_size(self) -> int:
        """Width of the policy's observation, all frames of its history."""
        return int(self.module.observation_space[POLICY].shape[0])

    def controller(self, env: BatchEnv) -> Controller:
        """Return what acts in ``env`` and remembers what it is doing there."""
        return Controller(self.module, env)

    @torch.no_grad()
    def act(self, obs: dict[str, Tensor]) -> Tensor:
        """Return the mean action, ``(num_envs, action_dim)``, for raw observation groups.

        Of a module that remembers nothing; :meth:`controller` is for all.
        """
        return mean_action(self.module, self.module.forward_inference({Columns.OBS: obs}))

    @torch.no_grad()
    def squared_errors(self, obs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return how wrong the policy's own predictions are, name to squared error, ``(n,)``."""
        return self.module.squared_errors(obs)

    def check_fits(self, env: BatchEnv, groups: Mapping[str, str] | None = None) -> None:
        """Refuse an environment whose observations or actions are not those of the training.

        Args:
            env: The environment.
            groups: Observation groups the policy is to look at, by the names they had in
                training; None for all, under their own names.

        Raises:
            UserError: Names the first difference.
        """
        theirs, own = describe_env(env), dict(self.description["env"])
        if groups is not None:
            for key in ("layouts", "history"):
                offered, trained = theirs[key], own[key]
                theirs[key] = {name: offered[g] for name, g in groups.items() if g in offered}
                own[key] = {name: trained[name] for name in groups if name in trained}
        for key in _FITTED:
            trained, offered = own[key], theirs[key]
            if trained != offered:
                raise UserError(
                    f"the policy does not fit task {env.task.id}: {key} is {_short(offered)}, "
                    f"but it was trained with {_short(trained)}"
                )


def describe_env(env: BatchEnv) -> dict[str, Any]:
    """Return what a policy must know of its environment, as plain data.

    ``layouts`` maps group to term to ``[start, stop]`` in one frame; ``history`` names the groups
    whose observations have several frames, and how many; ``control_dt`` is in [s];
    ``default_pose`` in [rad], ``action_scale`` in [rad] per unit of action, both in the order of
    ``joints``.
    """
    return {
        "task": env.task.id,
        "robot": env.robot.name,
        "layouts": {
            group: {name: [columns.start, columns.stop] for name, columns in layout.items()}
            for group, layout in env.layouts.items()
        },
        "history": {group: frames for group, frames in env.history.items() if frames > 1},
        "history_order": "oldest_first",
        "joints": list(env.robot.joints),
        "default_pose": list(env.robot.default_pose),
        "action_scale": [round(float(scale), 6) for scale in env.action_scale],
        "action_clip": env.task.action_clip,
        "control_dt": round(env.control_dt, 9),
        "decimation": env.task.decimation,
    }


def save_bundle(
    folder: Path,
    module: ActorCritic,
    experiment: Experiment,
    env: dict[str, Any],
    *,
    env_steps: int,
    git_commit: str | None,
) -> None:
    """Write a bundle.

    Args:
        folder: Where to; made if absent.
        module: The module whose weights and normaliser are saved.
        experiment: What trained it.
        env: From :func:`describe_env`.
        env_steps: Environment steps of training.
        git_commit: Version of the code that trained it, if known.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: t.detach().cpu().contiguous() for name, t in module.state_dict().items()}
    description = {
        "format": FORMAT,
        "module": module_kind(module),
        "model_config": dict(module.model_config),
        "env": env,
        "env_steps": env_steps,
        "experiment": _portable(experiment.to_dict()),
        "git_commit": git_commit,
        "versions": versions(),
    }
    with replacing(folder / WEIGHTS) as scratch:
        safetensors.torch.save_file(weights, scratch)
    with replacing(folder / DESCRIPTION) as scratch:
        scratch.write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")


def _portable(experiment: dict[str, Any]) -> dict[str, Any]:
    """Take out what holds on the training machine only: its resources, tracking and paths."""
    kept = {key: value for key, value in experiment.items() if key not in _OF_THE_MACHINE}
    start = experiment["train"]["start_from"]
    if start is not None and Path(start).is_absolute():
        kept["train"] = {**experiment["train"], "start_from": None}
    imitation = experiment["algorithm"].get("imitation")
    if imitation is not None and not ImitationSection.model_validate(imitation).is_portable:
        kept["algorithm"] = {**experiment["algorithm"], "imitation": None}
    return kept


def load_bundle(folder: Path) -> Policy:
    """Read a bundle, or the one inside a checkpoint folder.

    Raises:
        UserError: If there is none, it is damaged, or of a format this version does not know.
    """
    if not (folder / DESCRIPTION).is_file() and (folder / "policy" / DESCRIPTION).is_file():
        folder = folder / "policy"
    try:
        description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        weights = safetensors.torch.load_file(folder / WEIGHTS)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(
            f"{folder}: no policy bundle here ({DESCRIPTION} and {WEIGHTS} are needed)"
        ) from None
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{folder}: the policy bundle cannot be read: {reason}") from None
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise UserError(f"{folder}: this version reads policy bundles of format {FORMAT} only")
    return Policy(_build_module(folder, description, weights), description)


def _build_module(
    folder: Path, description: dict[str, Any], weights: dict[str, Tensor]
) -> ActorCritic:
    kind = str(description.get("module"))
    try:
        module_type = module_class(kind)
    except ConfigError as error:
        raise UserError(f"{folder}: {error.message}") from None
    try:
        description["env"] = _ADDED | description["env"]
        description["experiment"] = _renamed(description["experiment"])
        env = {key: description["env"][key] for key in _FITTED}
        sizes = {
            group: env["history"].get(group, 1) * max(stop for _, stop in layout.values())
            for group, layout in env["layouts"].items()
        }
        clip = env["action_clip"]
        module = module_type(
            observation_space=spaces.Dict(
                {g: spaces.Box(-np.inf, np.inf, (size,), np.float32) for g, size in sizes.items()}
            ),
            action_space=spaces.Box(-clip, clip, (len(env["joints"]),), np.float32),
            model_config=dict(description["model_config"]),
        )
        module.load_state_dict(weights, strict=True)
        parse_experiment(description["experiment"])
    except KeyError as error:
        raise UserError(f"{folder}: {DESCRIPTION} lacks the key {error}") from None
    except ConfigError as error:
        raise UserError(f"{folder}: its experiment is not valid here: {error}") from None
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{folder}: {WEIGHTS} does not match {DESCRIPTION}: {reason}") from None
    except (AssertionError, AttributeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{folder}: {DESCRIPTION} is damaged: {reason}") from None
    module.eval()
    return module


def _renamed(experiment: Any) -> Any:
    """Return an experiment that an earlier version wrote, with today's names of its keys."""
    if not isinstance(experiment, dict):
        return experiment  # which is refused by whoever parses it
    tree = dict(experiment)
    for section, names in _RENAMED.items():
        if isinstance(tree.get(section), dict):
            tree[section] = {names.get(key, key): value for key, value in tree[section].items()}
    return tree


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
