"""From an experiment to RLlib's ``AlgorithmConfig``."""

from __future__ import annotations

from functools import partial
from typing import Any

from ray.rllib.algorithms.ppo import PPOConfig as RLlibPPOConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from stridelab.algorithms.ppo.advantages import columns_of, policy_layout
from stridelab.algorithms.ppo.imitation import load_teacher, shown_to
from stridelab.algorithms.ppo.task_teachers import check_teachers
from stridelab.experiment.schema import Experiment
from stridelab.experiment.sections import (
    AlgorithmSection,
    AnyModel,
    EstimatorSection,
    HierarchicalSection,
    ModelSection,
)
from stridelab.modules.estimator_inputs import estimator_inputs
from stridelab.modules.kinds import module_class
from stridelab.sampling.runner import BatchedEnvRunner
from stridelab.skills.module_config import hierarchical_config
from stridelab_envs.errors import ConfigError
from stridelab_envs.mirror import TaskMirror
from stridelab_envs.registry import make_env
from stridelab_envs.robots import get_robot
from stridelab_envs.tasks.config import TaskConfig


class PPOConfig(RLlibPPOConfig):
    """RLlib's PPO config, the experiment's ``algorithm`` section that the learner reads, a mirror.

    The mirror is that of the task; None where the learner needs none. So are the columns of the
    policy's frames by which advantages are normalised, and where each term lies in such a frame.
    """

    def __init__(self, algo_class: Any = None) -> None:
        from stridelab.algorithms.ppo.algorithm import PPO

        super().__init__(algo_class=algo_class or PPO)
        self.settings = AlgorithmSection()
        self.total_env_steps: int | None = None
        self.mirror: TaskMirror | None = None
        self.advantage_columns: slice | None = None
        self.policy_layout: dict[str, slice] | None = None
        self.runner_patience_s = 30.0
        """Time after which a runner may count as hanging, when others are ready [s]."""

    def get_default_learner_class(self) -> Any:
        """Return the learner that takes rollouts."""
        from stridelab.algorithms.ppo.learner import PPOLearner

        return PPOLearner


def build_config(
    experiment: Experiment, *, seed: int, num_threads: int, config: PPOConfig | None = None
) -> PPOConfig:
    """Translate an experiment.

    Args:
        experiment: The validated experiment.
        seed: Seed of networks, sampling and minibatches.
        num_threads: Threads of physics and of torch in each process.
        config: Config to fill in, of an algorithm that builds on PPO; PPO's own by default.

    Raises:
        ConfigError: If the experiment does not fit the task's robot.
    """
    task = experiment.task_config()
    settings, resources = experiment.algorithm, experiment.resources
    runners = max(1, resources.env_runners)
    num_envs = experiment.task.num_envs
    if num_envs % runners:
        raise ConfigError(
            "resources.env_runners", f"must divide task.num_envs ({num_envs}), got {runners}"
        )
    batch = num_envs * settings.num_steps_per_env
    config = config or PPOConfig()
    config.settings = settings
    config.total_env_steps = experiment.train.env_steps
    config.mirror = TaskMirror(task) if settings.symmetry.is_on else None
    if settings.normalize_advantages_by is not None:
        config.advantage_columns = columns_of(settings.normalize_advantages_by, task)
    if settings.imitation is not None and settings.imitation.is_by_task:
        config.policy_layout = policy_layout(task)
    task = taught(task, settings)
    config.environment(
        env="stridelab",
        env_config={
            "make_env": partial(make_env, task, num_threads=num_threads, stack_history=False),
            "num_threads": num_threads,
        },
    )
    config.framework("torch")
    config.debugging(seed=seed)
    config.env_runners(
        env_runner_cls=BatchedEnvRunner,
        num_env_runners=resources.env_runners,
        num_envs_per_env_runner=num_envs // runners,
        num_cpus_per_env_runner=resources.cpus_per_runner,
        rollout_fragment_length=settings.num_steps_per_env,
        sample_timeout_s=600.0,
    )
    config.learners(num_learners=0, num_gpus_per_learner=resources.gpus_per_learner)
    config.training(
        lr=settings.learning_rate,
        gamma=settings.gamma,
        lambda_=settings.gae_lambda,
        clip_param=settings.clip_param,
        entropy_coeff=settings.entropy_coef,
        vf_loss_coeff=settings.value_loss_coef,
        grad_clip=settings.max_grad_norm,
        num_epochs=settings.num_epochs,
        train_batch_size_per_learner=batch,
        minibatch_size=batch // settings.num_minibatches,
        use_kl_loss=False,
    )
    config.fault_tolerance(
        restart_failed_env_runners=True,
        delay_between_env_runner_restarts_s=2.0,
        # Iterations go on with the others while a runner starts again.
        env_runner_health_probe_timeout_s=0.0,
        env_runner_restore_timeout_s=60.0,
    )
    config.rl_module(rl_module_spec=module_spec(experiment.model, task))
    config.reporting(min_time_s_per_iteration=None, min_train_timesteps_per_iteration=0)
    return config


def taught(task: TaskConfig, settings: AlgorithmSection) -> TaskConfig:
    """Return ``task`` with what a teacher looks at; the task itself if there is none.

    Raises:
        ConfigError: If a teacher does not fit the task.
        UserError: If there is no such bundle or it is damaged.
    """
    imitation = settings.imitation
    if imitation is None:
        return task
    if not imitation.is_by_task:
        return shown_to(load_teacher(imitation), task)
    by = settings.normalize_advantages_by
    check_teachers(imitation, columns_of(by, task) if by else None, task)
    return task


def module_spec(model: AnyModel, task: TaskConfig) -> RLModuleSpec:
    """Return the module of an experiment's ``model`` section for a task."""
    return RLModuleSpec(
        module_class=module_class(model.kind), model_config=module_config(model, task)
    )


def module_config(model: AnyModel, task: TaskConfig) -> dict[str, Any]:
    """Return the module's ``model_config``; the initial std is given per joint.

    Raises:
        ConfigError: If the task lacks what the module needs.
    """
    if isinstance(model, HierarchicalSection):
        return hierarchical_config(model, task)
    config: dict[str, Any] = {
        "actor_hidden": list(model.actor_hidden),
        "critic_hidden": list(model.critic_hidden),
        "std_initial": _initial_std(model, task),
        "std_min": model.std.min,
        "std_max": model.std.max,
        "scale_mean": model.std.scale_mean,
    }
    if isinstance(model, EstimatorSection):
        return config | {
            "estimator_hidden": list(model.estimator_hidden),
            "short_history": model.short_history,
            "detach_estimate": model.detach_estimate,
            "estimator_loss_coef": model.estimator_loss_coef,
            **estimator_inputs(task, model.short_history),
        }
    return config | {
        "activation": model.activation,
        "normalize_observations": model.normalize_observations,
        "std_kind": model.std.kind,
        "history": dict(task.history),
        **_own_settings(model),
    }


def _own_settings(model: ModelSection) -> dict[str, Any]:
    """Return what the section of an installed module has besides those of the plain one."""
    dump = model.model_dump()
    return {name: value for name, value in dump.items() if name not in ModelSection.model_fields}


def _initial_std(model: ModelSection | EstimatorSection, task: TaskConfig) -> list[float]:
    robot = get_robot(task.robot)
    initial = model.std.initial
    if not isinstance(initial, dict):
        return [float(initial)] * robot.num_joints
    return robot.per_joint(initial, "initial")
