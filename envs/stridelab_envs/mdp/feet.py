"""Foot contacts over time: air time, touch-down, stance leg and its switches."""

from __future__ import annotations

import torch
from torch import Tensor


class FeetTracker:
    """Follows the contacts of two or more feet, without being fooled by chatter.

    A foot is *in stance* when it alone has carried the robot for ``min_stance`` seconds. A *switch*
    happens when the foot in stance changes to another one; standing on both feet, hopping on both
    and short bounces change nothing. The first stance of an episode is no switch.

    Args:
        num_envs: Number of environments.
        num_feet: Number of feet.
        dt: Control period [s].
        force_threshold: A foot touches the ground above this vertical force [N].
        min_stance: Time [s] a foot must stand alone, without a break, to be the stance foot.
        min_switch_interval: Least time [s] between two switches; alternating faster counts once.
    """

    def __init__(
        self,
        num_envs: int,
        num_feet: int,
        dt: float,
        *,
        force_threshold: float = 1.0,
        min_stance: float = 0.06,
        min_switch_interval: float = 0.0,
    ) -> None:
        self.dt = dt
        self.force_threshold = force_threshold
        # Whole numbers of dt must not fall to rounding.
        self.min_stance = min_stance - 1e-6
        self.min_switch_interval = min_switch_interval - 1e-6
        self.contact = torch.zeros(num_envs, num_feet, dtype=torch.bool)
        """Whether each foot touches the ground, ``(num_envs, num_feet)``."""
        self.air_time = torch.zeros(num_envs, num_feet)
        """Time since each foot left the ground [s]; at touch-down the length of the flight."""
        self.touchdown = torch.zeros(num_envs, num_feet, dtype=torch.bool)
        """Whether each foot has touched down in this step."""
        self.stance = torch.full((num_envs,), -1, dtype=torch.long)
        """Index of the stance foot; -1 before the first stance of an episode."""
        self.switched = torch.zeros(num_envs, dtype=torch.bool)
        """Whether the stance foot has changed in this step."""
        self.time_since_switch = torch.zeros(num_envs)
        """Time since the stance foot last changed [s]; counts from the start of the episode."""
        self._alone_time = torch.zeros(num_envs, num_feet)

    def reset(self, ids: Tensor) -> None:
        """Forget the past of environments ``ids (k,)``."""
        self.contact[ids] = False
        self.touchdown[ids] = False
        self.switched[ids] = False
        self.air_time[ids] = 0.0
        self.time_since_switch[ids] = 0.0
        self._alone_time[ids] = 0.0
        self.stance[ids] = -1

    def update(self, force: Tensor) -> None:
        """Take in the ground reaction of one control step.

        Args:
            force: Vertical force on each foot [N], positive upwards, ``(num_envs, num_feet)``.
        """
        contact = force > self.force_threshold
        before = self.contact
        self.touchdown = contact & ~before & (self.air_time > 0.0)
        grounded_for_long = contact & before
        self.air_time.masked_fill_(before, 0.0)  # a contact of one step ends a flight too
        self.air_time += self.dt
        self.air_time.masked_fill_(grounded_for_long, 0.0)
        self.contact = contact

        alone = contact & (contact.sum(dim=1, keepdim=True) == 1)
        self._alone_time += self.dt
        self._alone_time.masked_fill_(~alone, 0.0)
        settled = self._alone_time >= self.min_stance
        candidate = torch.where(settled.any(dim=1), settled.long().argmax(dim=1), self.stance)
        self.time_since_switch += self.dt
        first = self.stance < 0
        rested = self.time_since_switch >= self.min_switch_interval
        self.switched = (candidate != self.stance) & ~first & rested
        self.stance = torch.where(self.switched | first, candidate, self.stance)
        self.time_since_switch.masked_fill_(self.switched, 0.0)

    def get_state(self) -> dict[str, Tensor]:
        """Return what the tracker remembers."""
        return {name: value.clone() for name, value in vars(self).items() if torch.is_tensor(value)}

    def set_state(self, state: dict[str, Tensor]) -> None:
        """Take over what :meth:`get_state` returned."""
        for name, value in state.items():
            setattr(self, name, value.clone())
