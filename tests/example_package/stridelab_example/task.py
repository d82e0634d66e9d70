"""The task ``stilts_stand``: stay up, feet level."""

from stridelab_envs.mdp import metrics, randomization, rewards, terminations
from stridelab_envs.mdp import observations as obs
from stridelab_envs.mdp.terms import ObservationTerm, RandomizationTerm, RewardTerm, StateTerm
from stridelab_envs.tasks.config import TaskConfig
from stridelab_example.robot import SPEC
from stridelab_example.terms import feet_level


def stilts_stand() -> TaskConfig:
    """Return the task."""
    return TaskConfig(
        id="stilts_stand",
        description="Stand on two stilts with level feet.",
        robot="stilts",
        action_scale=0.3,
        observations={
            "policy": {
                "projected_gravity": ObservationTerm(func=obs.projected_gravity),
                "base_ang_vel": ObservationTerm(func=obs.base_ang_vel, scale=0.25),
                "joint_pos": ObservationTerm(func=obs.joint_pos_rel),
                "joint_vel": ObservationTerm(func=obs.joint_vel, scale=0.1),
                "last_action": ObservationTerm(func=obs.last_action),
            }
        },
        rewards={
            "height": RewardTerm(
                func=rewards.height_linear, weight=1.0, params={"target": SPEC.home_height}
            ),
            "feet_level": RewardTerm(func=feet_level, weight=0.5, params={"width": 0.02}),
            "action_rate": RewardTerm(func=rewards.action_rate, weight=-0.01),
        },
        terminations={
            "base_too_low": StateTerm(
                func=terminations.base_too_low, params={"height": 0.6 * SPEC.home_height}
            ),
            "tilted": StateTerm(func=terminations.tilted, params={"limit": 1.0}),
        },
        randomization={
            "joint_pos": RandomizationTerm(
                func=randomization.joint_pos_offset, params={"half_width": 0.05}
            ),
        },
        metrics={"forward_velocity": StateTerm(func=metrics.forward_velocity)},
    )
