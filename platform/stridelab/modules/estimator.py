"""The policy that estimates its own velocity: history encoder, estimator, privileged critic.

Networks, sizes and parameter names are those of the X1 pipeline, so that its state dicts load one
to one: ``state_estimator``, ``long_history``, ``actor``, ``critic`` and ``std``. It has no
observation normaliser.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.apis import SelfSupervisedLossAPI
from torch import Tensor, nn
from torch.nn import functional

from stridelab.modules.actor_critic import CRITIC, POLICY, ActorCritic, Auxiliary
from stridelab.modules.distributions import DiagonalGaussian
from stridelab.modules.history import last_frames
from stridelab.modules.networks import Perceptron
from stridelab_envs.errors import UserError

ESTIMATE = "estimate"
"""Column of the estimates in what :meth:`Estimator.outputs` returns."""
_CONVOLUTIONS = ((32, 6, 3), (16, 4, 2))
"""Channels, kernel and stride of the layers over a frame's values."""
_CODE = (128, 64)
"""Widths of the layers behind the convolutions; the last is that of the code."""


class HistoryEncoder(nn.Sequential):
    """Convolutions over the values of a frame, with the frames as channels.

    The kernels slide over neighbouring values of a frame and see every frame at once; that is
    unusual, and kept so that trained weights fit.

    Args:
        length: Frames of the history.
        size: Values of a frame.

    Raises:
        UserError: If a frame is too small for the kernels.
    """

    def __init__(self, length: int, size: int) -> None:
        self.stack_shape = (length, size)
        layers: list[nn.Module] = []
        for channels, kernel, stride in _CONVOLUTIONS:
            layers += [nn.Conv1d(length, channels, kernel, stride), nn.ReLU()]
            length, width = channels, (size - kernel) // stride + 1
            if width < 1:
                raise UserError(
                    f"the module estimator needs larger frames: {self.stack_shape[1]} values do "
                    "not fill its kernels"
                )
            size = width
        hidden, code = _CODE
        super().__init__(
            *layers,
            nn.Flatten(),
            nn.Linear(length * size, hidden),
            nn.ELU(),
            nn.Linear(hidden, code),
        )

    def forward(self, input: Tensor) -> Tensor:
        """Map stacks ``(..., length * size)`` to codes ``(..., 64)``."""
        codes: Tensor = super().forward(input.reshape(-1, *self.stack_shape))
        return codes.view(*input.shape[:-1], codes.shape[-1])


class Estimator(ActorCritic, SelfSupervisedLossAPI):
    """Actor on the newest frames, an estimate of the base's velocity and a code of the history.

    The estimate is the base's linear velocity in the body frame, in the units of the critic's
    observation (``target_scale`` times m/s); its error is a loss of the module's own.

    ``model_config`` keys: ``actor_hidden``, ``critic_hidden``, ``estimator_hidden`` (widths),
    ``short_history`` (frames the actor and the estimator see), ``detach_estimate`` (the policy's
    gradient stops at the estimate), ``estimator_loss_coef``, ``std_initial`` (one number an
    action), ``std_min``, ``std_max``, ``scale_mean`` (means in units of ``std_initial``; the
    original's are not), ``history`` (frames of an observation by group), ``target``
    (columns of the true velocity in a frame of the critic), ``target_scale``.
    """

    predicts = True

    def setup(self) -> None:
        """Build the networks from the observation and action spaces."""
        config = self.model_config
        assert isinstance(config, Mapping)
        self.critic_group = CRITIC
        self.frame_sizes = {
            group: int(space.shape[0]) // config["history"].get(group, 1)
            for group, space in self.observation_space.items()
        }
        self.short_history = int(config["short_history"])
        start, stop = config["target"]
        self.target_columns = slice(start, stop)
        self.target_scale = float(config["target_scale"])
        self.detach_estimate = bool(config["detach_estimate"])
        self.loss_coef = float(config["estimator_loss_coef"])
        num_actions, num_estimates = int(self.action_space.shape[0]), stop - start
        frame = self.frame_sizes[POLICY]
        short = self.short_history * frame
        self.state_estimator = Perceptron(short, config["estimator_hidden"], num_estimates)
        self.long_history = HistoryEncoder(config["history"][POLICY], frame)
        self.actor = Perceptron(
            short + num_estimates + _CODE[-1], config["actor_hidden"], num_actions
        )
        self.critic = Perceptron(
            int(self.observation_space[CRITIC].shape[0]), config["critic_hidden"], 1
        )
        initial = torch.tensor(config["std_initial"], dtype=torch.float32)
        self.std = nn.Parameter(initial)
        self.scale_mean = bool(config["scale_mean"])
        scale = initial.clone() if self.scale_mean else torch.ones_like(initial)
        self.register_buffer("mean_scale", scale, persistent=False)
        self.std_bounds = (float(config["std_min"]), float(config["std_max"]))
        self.normalizers = nn.ModuleDict()
        self.action_dist_cls = DiagonalGaussian

    def _short(self, stacked: Tensor) -> Tensor:
        return last_frames(stacked, self.short_history, self.frame_sizes[POLICY])

    def _mean(self, stacked: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean actions ``(..., num_actions)`` and estimates ``(..., 3)``."""
        short = self._short(stacked)
        estimate = self.state_estimator(short)
        used = estimate.detach() if self.detach_estimate else estimate
        mean = self.actor(torch.cat([short, used, self.long_history(stacked)], dim=-1))
        return (mean * self.mean_scale if self.scale_mean else mean), estimate

    def _log_std(self, mean: Tensor) -> Tensor:
        return self.std.clamp(*self.std_bounds).log().expand_as(mean)

    def _outputs(self, normalized: Tensor) -> tuple[Tensor, Tensor]:
        mean, _ = self._mean(normalized)
        return mean, self._log_std(mean)

    def _act(self, stacked: Tensor) -> tuple[Tensor, Tensor]:
        """Return distribution inputs ``(..., 2 * num_actions)`` and estimates ``(..., 3)``."""
        mean, estimate = self._mean(stacked)
        return torch.cat([mean, self._log_std(mean)], dim=-1), estimate

    def outputs(self, normalized: Tensor) -> dict[str, Tensor]:
        """Return distribution inputs and estimates of stacked observations."""
        inputs, estimate = self._act(normalized)
        return {Columns.ACTION_DIST_INPUTS: inputs, ESTIMATE: estimate}

    def target(self, obs: Mapping[str, Tensor]) -> Tensor:
        """Return what the estimate should be: of the newest privileged frame, ``(..., 3)``."""
        return last_frames(obs[CRITIC], 1, self.frame_sizes[CRITIC])[..., self.target_columns]

    def auxiliary(self, normalized: Mapping[str, Tensor], out: Mapping[str, Tensor]) -> Auxiliary:
        """Return the loss ``estimator`` and the metric ``estimator/rmse`` [m/s]."""
        target = self.target(normalized)
        loss = functional.mse_loss(out[ESTIMATE], target)
        # The length of the three-dimensional error, hence three times the mean over components.
        rmse = (target.shape[-1] * loss.detach()).sqrt() / abs(self.target_scale)
        return Auxiliary({"estimator": self.loss_coef * loss}, {"estimator/rmse": rmse})

    def squared_errors(self, obs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the squared error of the estimated velocity, ``estimator`` [m^2/s^2], ``(n,)``."""
        error = self.state_estimator(self._short(obs[POLICY])) - self.target(obs)
        return {"estimator": (error / self.target_scale).square().sum(dim=-1)}

    def _forward_train(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return self.outputs(batch[Columns.OBS][POLICY])

    def compute_self_supervised_loss(
        self,
        *,
        learner: Any,
        module_id: str,
        config: Any,
        batch: dict[str, Any],
        fwd_out: dict[str, Any],
        **kwargs: Any,
    ) -> Tensor:
        """Add the module's own loss to that of a stock RLlib learner."""
        loss: Tensor = learner.compute_loss_for_module(
            module_id=module_id, config=config, batch=batch, fwd_out=fwd_out
        )
        auxiliary = self.auxiliary(batch[Columns.OBS], fwd_out)
        for name, value in auxiliary.losses.items():
            learner.metrics.log_value((module_id, f"{name}_loss"), value.detach(), window=1)
        return loss + sum(auxiliary.losses.values())
