"""An algorithm of our own: PPO whose entropy bonus fades."""

from typing import Any, Literal

from pydantic import Field

from stridelab.algorithms.ppo import PPO, PPOConfig
from stridelab.algorithms.ppo.learner import PPOLearner
from stridelab.experiment import AlgorithmSection
from stridelab.sampling.rollout import Rollout


class AnnealedSection(AlgorithmSection):
    """Settings in the experiment file: PPO's, and one more."""

    kind: Literal["annealed_ppo"] = "annealed_ppo"
    entropy_half_life: float = Field(
        default=1e6, gt=0.0, description="Environment steps after which the bonus has halved."
    )


class AnnealedLearner(PPOLearner):
    """PPO's learner, which makes the entropy bonus smaller from rollout to rollout."""

    def update_rollout(self, rollout: Rollout) -> dict[str, float]:
        """Learn from a rollout, then halve the bonus by its share of the half-life."""
        metrics = super().update_rollout(rollout)
        metrics["policy/entropy_coef"] = self._settings.entropy_coef
        half_lives = rollout.env_steps / self._settings.entropy_half_life
        changed = self._settings.entropy_coef * 0.5**half_lives
        self.config.settings = self._settings.model_copy(update={"entropy_coef": changed})
        return metrics


class AnnealedConfig(PPOConfig):
    """PPO's config with the learner above."""

    def get_default_learner_class(self) -> Any:
        """Return the learner."""
        return AnnealedLearner


class AnnealedPPO(PPO):
    """PPO with a fading entropy bonus."""

    section = AnnealedSection

    @classmethod
    def get_default_config(cls) -> AnnealedConfig:
        """Return the config."""
        return AnnealedConfig(algo_class=cls)
