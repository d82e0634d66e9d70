"""What a module carries on from step to step of an episode, for many environments at once."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from ray.rllib.core.columns import Columns
from torch import Tensor

from stridelab.modules.actor_critic import ActorCritic
from stridelab_envs.batch_env import BatchEnv


def initial_state(module: ActorCritic, num_envs: int) -> dict[str, Tensor]:
    """Return the module's state where episodes begin, ``(num_envs, ...)``; empty if it has none."""
    state: Mapping[str, Tensor] = module.get_initial_state()
    return {name: value.repeat(num_envs, *[1] * value.dim()) for name, value in state.items()}


def begun_anew(
    state: Mapping[str, Tensor], first: Mapping[str, Tensor], ended: Tensor
) -> dict[str, Tensor]:
    """Return ``state`` with that of ended episodes replaced by ``first``; ``ended (num_envs,)``."""
    rows = ended.unsqueeze(-1)
    return {name: torch.where(rows, first[name], value) for name, value in state.items()}


def mean_action(module: ActorCritic, out: Mapping[str, Tensor]) -> Tensor:
    """Return the mean of the distribution that a forward pass gave, ``(n, action_dim)``."""
    kind = module.get_inference_action_dist_cls()
    action: Tensor = kind.from_logits(out[Columns.ACTION_DIST_INPUTS]).to_deterministic().sample()
    return action


def tell(module: ActorCritic, env: BatchEnv, action: Tensor) -> None:
    """Let environments know what stored actions ``(num_envs, action_size)`` told to skills."""
    for name, rows, value in module.commands_given(action):
        env.tell(name, rows, value)


class Controller:
    """A module acting without exploration in all environments of ``env``.

    Call it with the raw observation groups ``(num_envs, size)`` that the environments have just
    shown for actions ``(num_envs, action_dim)``. What it remembers ends with each episode.

    Args:
        module: The module.
        env: The environments.
    """

    def __init__(self, module: ActorCritic, env: BatchEnv) -> None:
        self._module, self._env = module, env
        self._first = initial_state(module, env.num_envs)
        self._state = dict(self._first)

    @torch.no_grad()
    def __call__(self, obs: Mapping[str, Tensor]) -> Tensor:
        """Return the action, the likeliest or the mean."""
        state = begun_anew(self._state, self._first, self._env.state.episode_step == 0)
        out = self._module.forward_inference({Columns.OBS: obs, Columns.STATE_IN: state})
        self._state = dict(out.get(Columns.STATE_OUT, {}))
        if Columns.ACTIONS_FOR_ENV not in out:
            return mean_action(self._module, out)
        tell(self._module, self._env, out[Columns.ACTIONS])
        action: Tensor = out[Columns.ACTIONS_FOR_ENV]
        return action
