"""A module of our own: the plain one, whose critic drops inputs while it learns."""

from typing import Literal

from pydantic import Field
from torch import nn

from stridelab.experiment import ModelSection
from stridelab.modules.actor_critic import ActorCritic


class DropoutSection(ModelSection):
    """Settings in the experiment file: the plain module's, and one more."""

    kind: Literal["dropout_actor_critic"] = "dropout_actor_critic"
    dropout: float = Field(default=0.1, ge=0.0, lt=1.0, description="Share of inputs dropped.")


class DropoutActorCritic(ActorCritic):
    """An actor-critic whose critic does not see every input."""

    section = DropoutSection

    def setup(self) -> None:
        """Build the plain networks, and put the dropout before the critic."""
        super().setup()
        self.critic = nn.Sequential(nn.Dropout(self.model_config["dropout"]), self.critic)
