"""The high-level policy: it chooses a skill, commands it and adds a small residual.

Networks, bounds and the order of operations are those of the training document; ``literal`` and
the raw command head reproduce it where the default differs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from ray.rllib.core.columns import Columns
from torch import Tensor, nn
from torch.distributions import Categorical
from torch.nn import functional

from stridelab.modules.actor_critic import CRITIC, POLICY, ActorCritic, Auxiliary
from stridelab.modules.frozen_skills import ANCHOR_SIZE, FrozenSkills
from stridelab.modules.hierarchical_distribution import (
    ActionShape,
    HierarchicalDistribution,
    HighLevelAction,
)
from stridelab.modules.hierarchical_metrics import rollout_metrics
from stridelab.modules.networks import Perceptron, hidden_layers
from stridelab.modules.normalizer import RunningNormalizer

if TYPE_CHECKING:
    from stridelab.sampling.rollout import Rollout

SKILL_STATE = "skill_state"
"""Observation group with what the skills look at besides their commands."""
WEIGHTS = "skill_weights"
"""Key of ``model_config`` that is there only while a module is built for training."""
COMMAND_LOG_STD, RESIDUAL_LOG_STD = (-5.0, 2.0), (-5.0, 0.0)
"""Bounds of the log standard deviations (training document, section 4.2)."""
_CAP_SHARPNESS = 4.0
_RESIDUAL_START, _RESIDUAL_STD_START = 1e-4, -2.0
_NO_SKILL = -1.0
_CERTAIN = 20.0
"""Logit of a skill that is always executed; minus this that of the others."""


class Hold(NamedTuple):
    """What is carried on from step to step within an episode; RLlib's state of the module."""

    timer: Tensor
    """Steps for which the skill is kept yet, ``(n,)``."""
    skill: Tensor
    """Skill executed last, -1 at the start of an episode, ``(n,)``."""
    command: Tensor
    """Raw command executed last, ``(n, command_size)``."""
    anchor: Tensor
    """Where the feet were when the skill was chosen, ``(n, 7)``."""


class Hierarchical(ActorCritic):
    """Gating, command and residual heads on one backbone; frozen skills turn them into an action.

    A skill is chosen every ``hold_steps`` steps and kept in between; the residual is sampled at
    every step, and so is the command unless ``hold_command`` keeps it with the skill. The action is
    ``clamp(skill(clamped command) + clipped residual)``.

    ``model_config`` keys: ``actor_hidden`` (backbone), ``critic_hidden``, ``activation``,
    ``normalize_observations``, ``history``, ``skills`` (see
    :mod:`stridelab.modules.frozen_skills`), ``hold_steps``, ``hold_command``, ``random_gating``
    (skills are drawn with equal probabilities, in evaluation too), ``fixed_skill`` (number of the
    only one executed, or None), ``affine_commands`` (a command of 0 is the centre of its range, 1
    its end; otherwise in the units of the skill),
    ``command_std`` (at the start), ``gating_entropy`` (``coef``, which falls linearly to 0 at the
    fraction ``until`` of training), ``literal`` (see :class:`ActionShape`), ``residual`` (``clip``,
    and ``start`` as a fraction of training), ``curriculum`` (list of ``place``, ``low``, ``high``,
    ``until``: the range of one number of the command before a fraction of training),
    ``control_dt`` [s], and ``skill_weights`` (name to state dict), which is needed only once and
    not kept.
    """

    residual_clip: Tensor
    command_low: Tensor
    command_high: Tensor
    symmetric = False  # an action is a skill and its command, and frozen skills lean to a side
    stays_own = ("skills", "residual_clip", "command_low", "command_high")
    deviations = ("command_log_std", "residual_log_std")

    def setup(self) -> None:
        """Build the networks from the observation and action spaces, and the skills."""
        config = self.model_config
        assert isinstance(config, Mapping)
        sizes = {group: int(space.shape[0]) for group, space in self.observation_space.items()}
        self.critic_group = CRITIC if CRITIC in sizes else POLICY
        num_actions = int(self.action_space.shape[0])
        self.action_clip = float(self.action_space.high[0])
        self.hold_steps = int(config["hold_steps"])
        self.gating_entropy_coef = 0.0
        self.random_gating = bool(config["random_gating"])
        self.fixed_skill: int | None = config.get("fixed_skill")
        self.skills = FrozenSkills(config["skills"], num_actions)
        if WEIGHTS in config:
            self.skills.load_weights(config[WEIGHTS])
            self.model_config: dict[str, Any] = {k: config[k] for k in config if k != WEIGHTS}
        literal = bool(config["literal"])
        self.action_shape = ActionShape(
            self.skills.used(spare=literal), num_actions, literal, bool(config["hold_command"])
        )
        self.action_dist_cls = HierarchicalDistribution.shaped(self.action_shape)
        self._build_networks(sizes, config, num_actions)
        self._build_ranges(config)
        self.normalizers = nn.ModuleDict()
        if config["normalize_observations"]:
            for group in sorted({POLICY, self.critic_group}):
                frames = config["history"].get(group, 1)
                self.normalizers[group] = RunningNormalizer(sizes[group] // frames)

    def _build_networks(
        self, sizes: Mapping[str, int], config: Mapping[str, Any], num_actions: int
    ) -> None:
        hidden, commands = list(config["actor_hidden"]), self.skills.command_size
        self.backbone = nn.Sequential(
            *hidden_layers(sizes[POLICY], hidden, str(config["activation"]))
        )
        self.gating = nn.Linear(hidden[-1], self.action_shape.num_skills)
        self.command_mean = nn.Linear(hidden[-1], commands)
        self.command_log_std = nn.Linear(hidden[-1], commands)
        self.residual_mean = nn.Linear(hidden[-1], num_actions)
        self.residual_log_std = nn.Linear(hidden[-1], num_actions)
        self.critic = Perceptron(
            sizes[self.critic_group], config["critic_hidden"], 1, config["activation"]
        )
        with torch.no_grad():
            self.command_log_std.bias.fill_(torch.tensor(config["command_std"]).log())
            for layer in (self.residual_mean, self.residual_log_std):
                layer.weight.uniform_(-_RESIDUAL_START, _RESIDUAL_START)
            self.residual_mean.bias.zero_()
            self.residual_log_std.bias.fill_(_RESIDUAL_STD_START)

    def _build_ranges(self, config: Mapping[str, Any]) -> None:
        low, high = [], []
        for skill in config["skills"]:
            # Spare numbers are read by nobody; any range will do.
            low += [*skill["low"], *[0.0] * skill["spare"]]
            high += [*skill["high"], *[1.0] * skill["spare"]]
        full = torch.tensor([low, high])
        self.register_buffer("_full_range", full, persistent=False)
        affine = bool(config["affine_commands"])
        unit = torch.stack([torch.zeros_like(full[0]), torch.ones_like(full[0])])
        centre_and_half = torch.stack([full.mean(dim=0), (full[1] - full[0]) / 2])
        self.register_buffer("scaling", centre_and_half if affine else unit, persistent=False)
        # These change during training, so they travel with the weights and into checkpoints.
        self.register_buffer("command_low", full[0].clone())
        self.register_buffer("command_high", full[1].clone())
        self.register_buffer("residual_clip", torch.zeros(()))
        self.set_progress(0.0)

    def set_progress(self, fraction: float) -> None:
        """Take ranges, the residual's bound and the weight of the entropy from their schedules.

        Args:
            fraction: How much of the training is over, 0 to 1.
        """
        config = self.model_config
        entropy = config["gating_entropy"]
        self.gating_entropy_coef = entropy["coef"] * max(0.0, 1.0 - fraction / entropy["until"])
        residual = config["residual"]
        self.residual_clip.fill_(residual["clip"] if fraction >= residual["start"] else 0.0)
        self.command_low.copy_(self._full_range[0])
        self.command_high.copy_(self._full_range[1])
        for entry in config["curriculum"]:
            if fraction < entry["until"]:
                self.command_low[entry["place"]] = entry["low"]
                self.command_high[entry["place"]] = entry["high"]

    def act(self, normalized: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the distribution's inputs, ``(..., input_size)``, in float32.

        Args:
            normalized: The group ``policy``, ``(..., size)``.
            context: Whether a skill is held, and which, ``(..., 2)``; without it none is.
        """
        features = self.backbone(normalized)
        with torch.autocast(features.device.type, enabled=False):
            features = features.float()
            heads = [
                self._logits(features),
                self.command_mean(features),
                self._bounded_log_std(self.command_log_std(features)),
                self.residual_mean(features),
                self.residual_log_std(features).clamp(*RESIDUAL_LOG_STD),
            ]
        if context is None:
            context = features.new_zeros(*features.shape[:-1], 2)
        residual_on = (self.residual_clip > 0).to(context.dtype).expand(*context.shape[:-1], 1)
        return torch.cat([*heads, context, residual_on], dim=-1)

    def _logits(self, features: Tensor) -> Tensor:
        logits: Tensor = self.gating(features)
        if self.random_gating:
            return torch.zeros_like(logits)
        if self.fixed_skill is not None:
            logits = torch.full_like(logits, -_CERTAIN)
            logits[..., self.fixed_skill] = _CERTAIN
        return logits

    def _bounded_log_std(self, raw: Tensor) -> Tensor:
        """Keep deviations of commands below half a range, softly: a gradient remains.

        A clamped command pays nothing for a larger deviation, so entropy alone would raise it until
        commands jump from end to end. In the units of the skills the document's bounds hold.
        """
        if self.model_config["affine_commands"]:
            raw = -functional.softplus(-raw, beta=_CAP_SHARPNESS)
        return raw.clamp(*COMMAND_LOG_STD)

    def evaluate(
        self, normalized: Mapping[str, Tensor], actions: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return distribution inputs and values; what was held is read from ``actions``."""
        return {
            Columns.ACTION_DIST_INPUTS: self.act(normalized[POLICY], self._context(actions)),
            Columns.VF_PREDS: self.value(normalized),
        }

    def auxiliary(self, normalized: Mapping[str, Tensor], out: Mapping[str, Tensor]) -> Auxiliary:
        """Return the loss ``gating_entropy``: it keeps skills from being given up too early.

        Entropy of the choice over all states, those in which a skill is held as well. Commands take
        long to become useful, and a skill that is hardly ever chosen learns no commands.
        """
        if not self.gating_entropy_coef:
            return Auxiliary({}, {})
        logits = self.action_shape.split_inputs(out[Columns.ACTION_DIST_INPUTS]).logits
        entropy = Categorical(logits=logits).entropy().mean()
        return Auxiliary({"gating_entropy": -self.gating_entropy_coef * entropy}, {})

    def _context(self, actions: Tensor | None) -> Tensor | None:
        """Return whether a skill was held, and which, ``(..., 2)``."""
        return None if actions is None else actions[..., :2].flip(-1)

    def get_initial_state(self) -> dict[str, Tensor]:
        """Return the state at the start of an episode, of one environment."""
        return {
            "timer": torch.zeros(1),
            "skill": torch.full((1,), _NO_SKILL),
            "command": torch.zeros(self.action_shape.command_size),
            "anchor": torch.zeros(ANCHOR_SIZE),
        }

    def _forward_exploration(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return self._decide(batch, explore=True)

    def _forward_inference(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return self._decide(batch, explore=False)

    def _forward_train(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        normalized = self.normalize(batch[Columns.OBS])
        context = self._context(batch.get(Columns.ACTIONS))
        return {Columns.ACTION_DIST_INPUTS: self.act(normalized[POLICY], context)}

    @torch.no_grad()
    def _decide(self, batch: Mapping[str, Any], *, explore: bool) -> dict[str, Any]:
        """Choose, command and execute; RLlib's own runners have a time axis of length 1."""
        obs, state_in = batch[Columns.OBS], batch[Columns.STATE_IN]
        timed = obs[POLICY].dim() == 3
        if timed:
            obs = {group: value.squeeze(1) for group, value in obs.items()}
        hold = Hold(
            state_in["timer"].squeeze(-1),
            state_in["skill"].squeeze(-1),
            state_in["command"],
            state_in["anchor"],
        )
        held = (hold.timer > 0).to(hold.skill.dtype)
        context = torch.stack([held, hold.skill], dim=-1)
        inputs = self.act(self.normalize(obs)[POLICY], context)
        distribution = self.action_dist_cls.from_logits(inputs)
        stored = distribution.sample() if explore else distribution.mode()
        if self.random_gating and not explore:
            stored[..., 0] = distribution.sample()[..., 0]
        action = self.action_shape.split_action(stored)
        if self.action_shape.hold_command:
            kept = torch.where(action.held.unsqueeze(-1) > 0, hold.command, action.command)
            action = action._replace(command=kept)
            stored = self.action_shape.join_action(action)
        hold = self._next_hold(hold, action, obs[SKILL_STATE])
        out = {
            Columns.ACTIONS: stored,
            Columns.ACTION_LOGP: distribution.logp(stored),
            Columns.ACTION_DIST_INPUTS: inputs,
            Columns.ACTIONS_FOR_ENV: self.execute(action, obs[SKILL_STATE], hold.anchor),
        }
        if timed:
            out = {name: value.unsqueeze(1) for name, value in out.items()}
        state_out = {
            "timer": hold.timer.unsqueeze(-1),
            "skill": hold.skill.unsqueeze(-1),
            "command": hold.command,
            "anchor": hold.anchor,
        }
        return {**out, Columns.STATE_OUT: state_out}

    def _next_hold(self, hold: Hold, action: HighLevelAction, state: Tensor) -> Hold:
        """Return what the next step finds: a skill chosen now is kept for ``hold_steps``."""
        skill = action.skill.to(hold.skill.dtype)
        timer = torch.where(hold.timer > 0, hold.timer - 1.0, self.hold_steps - 1.0)
        # A skill that is chosen again goes on with what it is doing.
        changed = (skill != hold.skill).unsqueeze(-1)
        anchor = torch.where(changed, self.skills.anchor(state), hold.anchor)
        return Hold(timer, skill, action.command, anchor)

    def clamped_command(self, command: Tensor) -> Tensor:
        """Return raw commands ``(..., command_size)`` in the skills' units, within their ranges."""
        centre, half = self.scaling
        return torch.clamp(centre + half * command, self.command_low, self.command_high)

    def clipped_residual(self, residual: Tensor) -> Tensor:
        """Return raw residuals ``(..., num_actions)`` within the bound of the phase."""
        return residual.clamp(-self.residual_clip, self.residual_clip)

    def execute(self, action: HighLevelAction, state: Tensor, anchor: Tensor) -> Tensor:
        """Return the robot's action, ``(n, num_actions)``.

        Args:
            action: What was sampled.
            state: Observation group ``skill_state``, ``(n, size)``.
            anchor: Where the feet were when the skill was chosen, ``(n, 7)``.
        """
        command = self.clamped_command(action.command)
        base = self.skills(state, action.skill, command, anchor)
        total = base + self.clipped_residual(action.residual)
        return total.clamp(-self.action_clip, self.action_clip)

    def commands_given(self, action: Tensor) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Give what each skill is told by stored actions ``(n, action_size)``.

        Yields:
            Name of the command, rows ``(k,)`` and executed command ``(k, width)``.
        """
        parts = self.action_shape.split_action(action)
        command = self.clamped_command(parts.command)
        for number, name in enumerate(self.skills.command_names):
            rows = (parts.skill == number).nonzero().flatten()
            if rows.numel():
                yield name, rows, command[rows, self.skills.read[number]]

    def rollout_metrics(self, rollout: Rollout) -> dict[str, float]:
        """Return how skills, commands and residual were used in a rollout."""
        return rollout_metrics(self, rollout)
