"""What one runner brings back from ``num_steps`` control steps in ``num_envs`` environments."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from stridelab.modules.history import FrameWindows, frame_windows


@dataclass
class Rollout:
    """Time-major record of sampling; ``T`` steps, ``N`` environments."""

    obs: dict[str, Tensor]
    """Newest frames of the observation groups, ``(T + 1, N, size)``: row t was acted on at step t,
    row T comes next."""
    actions: Tensor
    """What was sampled, ``(T, N, action_size)``."""
    dist_inputs: Tensor
    """Parameters of the distribution that sampled, ``(T, N, k)``."""
    logp: Tensor
    """Log-probability of ``actions`` when they were sampled, ``(T, N)``."""
    rewards: Tensor
    """``(T, N)``."""
    terminated: Tensor
    """The step ended its episode in failure, ``(T, N)`` bool."""
    truncated: Tensor
    """The step ended its episode by the time limit, ``(T, N)`` bool."""
    final_obs: dict[str, Tensor]
    """True last frames of truncated episodes, ``(K, size)``, ordered as ``truncated.nonzero()``."""
    past: dict[str, Tensor] = field(default_factory=dict)
    """Frames before row 0 of ``obs`` in groups whose observations have H > 1 of them,
    ``(H - 1, N, size)``; left out where the receiver holds them (:class:`PastFrames`)."""
    episodes: dict[str, Tensor] = field(default_factory=dict)
    """One value for each episode that ended, ``(num_ended,)``; see ``Step.log``."""
    curriculum: dict[str, float] = field(default_factory=dict)
    """How far each curriculum of the source has come, 0 to 1."""
    sim_failures: int = 0
    """Simulations restarted because physics failed."""
    seconds: float = 0.0
    """Wall-clock time of sampling [s]."""
    source: str = ""
    """Who sampled: equal for rollouts that continue one another."""
    number: int = 0
    """Place among the rollouts of the source."""

    @property
    def num_steps(self) -> int:
        """Control steps, T."""
        return int(self.rewards.shape[0])

    @property
    def num_envs(self) -> int:
        """Environments, N."""
        return int(self.rewards.shape[1])

    @property
    def env_steps(self) -> int:
        """Environment steps, T times N."""
        return int(self.rewards.numel())

    def windows(self) -> dict[str, FrameWindows]:
        """Return the whole observations of every group, built by index when asked for."""
        return frame_windows(self.obs, self.past, self.terminated | self.truncated)


class PastFrames:
    """The last frames of every source, so that a rollout need not bring them again.

    With 66 frames an observation and 24 steps a rollout, the past is most of a rollout.
    """

    def __init__(self) -> None:
        self._past: dict[str, tuple[int, dict[str, Tensor]]] = {}

    @property
    def held(self) -> dict[str, int]:
        """Source to the number of its rollout whose last frames are held."""
        return {source: number for source, (number, _) in self._past.items()}

    def complete(self, rollouts: list[Rollout]) -> list[Rollout]:
        """Give rollouts that came without their past what is held, and hold their last frames."""
        held, self._past = self._past, {}
        complete = []
        for rollout in rollouts:
            if not rollout.past and rollout.source in held:
                rollout = replace(rollout, past=held[rollout.source][1])
            if rollout.past:
                windows = rollout.windows()
                last = {group: windows[group].past(rollout.num_steps) for group in rollout.past}
                self._past[rollout.source] = (rollout.number, last)
            complete.append(rollout)
        return complete


def concatenate(rollouts: list[Rollout]) -> Rollout:
    """Join the rollouts of several runners along the environments; all have the same T."""
    if len(rollouts) == 1:
        return rollouts[0]

    def side_by_side(name: str) -> Tensor:
        return torch.cat([getattr(rollout, name) for rollout in rollouts], dim=1)

    truncated = side_by_side("truncated")
    groups = rollouts[0].obs.keys()
    names = {name for rollout in rollouts for name in rollout.episodes}
    return Rollout(
        obs={g: torch.cat([r.obs[g] for r in rollouts], dim=1) for g in groups},
        actions=side_by_side("actions"),
        dist_inputs=side_by_side("dist_inputs"),
        logp=side_by_side("logp"),
        rewards=side_by_side("rewards"),
        terminated=side_by_side("terminated"),
        truncated=truncated,
        final_obs=_reordered_final_obs(rollouts, truncated),
        past={g: torch.cat([r.past[g] for r in rollouts], dim=1) for g in rollouts[0].past},
        episodes={
            name: torch.cat([r.episodes[name] for r in rollouts if name in r.episodes])
            for name in sorted(names)
        },
        sim_failures=sum(rollout.sim_failures for rollout in rollouts),
        seconds=max(rollout.seconds for rollout in rollouts),
    )


def _reordered_final_obs(rollouts: list[Rollout], truncated: Tensor) -> dict[str, Tensor]:
    """Bring the runners' final observations into the time-major order of the joined record."""
    columns = torch.cumsum(torch.tensor([0, *(r.rewards.shape[1] for r in rollouts)]), dim=0)
    keys = []
    for rollout, offset in zip(rollouts, columns[:-1].tolist(), strict=True):
        time, env = rollout.truncated.nonzero(as_tuple=True)
        keys.append(time * truncated.shape[1] + env + offset)
    order = torch.argsort(torch.cat(keys))
    return {
        group: torch.cat([rollout.final_obs[group] for rollout in rollouts])[order]
        for group in rollouts[0].final_obs
    }
