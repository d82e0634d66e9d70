"""What the tests of the platform share: a tiny experiment, and Ray on this machine."""

import copy
import logging
import os

import pytest

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# Ray runs workers at niceness 15: on a machine that is busy with something else none would start.
os.environ.setdefault("RAY_worker_niceness", "0")

TINY = {
    "name": "tiny",
    # 10 control steps an episode: several end in every rollout.
    "task": {"id": "biped_walk", "num_envs": 16, "episode_length_s": 0.2},
    "model": {"actor_hidden": [16], "critic_hidden": [16]},
    "algorithm": {
        "num_steps_per_env": 8,
        "num_epochs": 2,
        "num_minibatches": 2,
        "precision": "fp32",
    },
    "train": {"env_steps": 256, "checkpoint_every": 1, "video": False, "evaluate_episodes": 2},
    "tracking": {"system_metrics": False},
}
"""Two iterations of 16 environments and 8 steps; networks of one layer of 16 units."""


STROLL_FRAMES, STROLL_CRITIC_FRAMES = 7, 3
"""History of the task ``stroll``."""


def stroll():
    """Return the biped's task with a noisy history and a clean privileged group."""
    from dataclasses import replace

    from stridelab_envs.mdp import observations
    from stridelab_envs.mdp.terms import ObservationTerm
    from stridelab_envs.registry import get_task

    task = get_task("biped_walk").with_overrides(
        {"observations": {"policy": {"base_lin_vel": None, "joint_pos": {"noise": 0.05}}}}
    )
    critic = {
        "joint_pos": ObservationTerm(func=observations.joint_pos),
        "base_lin_vel": ObservationTerm(func=observations.base_lin_vel, scale=2.0),
        "base_quat": ObservationTerm(func=observations.base_quat),
    }
    return replace(
        task,
        id="stroll",
        observations={**task.observations, "critic": critic},
        history={"policy": STROLL_FRAMES, "critic": STROLL_CRITIC_FRAMES},
    )


@pytest.fixture
def stroll_task(monkeypatch):
    """The task ``stroll``, known by its name."""
    from stridelab_envs import registry

    registry.task_ids()
    monkeypatch.setitem(registry._tasks, "stroll", stroll)
    return stroll()


@pytest.fixture
def tiny_estimator(stroll_task) -> dict:
    """Dotted keys that make the tiny experiment one of the module ``estimator``."""
    hidden = {"actor_hidden": [16], "critic_hidden": [16], "estimator_hidden": [16]}
    return {"task.id": "stroll", "model": {"kind": "estimator", **hidden}}


def errand():
    """Return a task of the H1 with what skills look at; 12 control steps an episode."""
    from dataclasses import replace

    from stridelab_envs.mdp import observations
    from stridelab_envs.mdp.terms import ObservationTerm
    from stridelab_envs.registry import get_task

    walk = get_task("h1_walk").for_evaluation()
    own = {
        "joint_pos": ObservationTerm(func=observations.joint_pos_rel),
        "base_height": ObservationTerm(func=observations.base_height),
    }
    return replace(
        walk,
        id="errand",
        episode_length_s=0.24,
        action_delay=0.0,
        action_noise=0.0,
        observations={
            "policy": own,
            "critic": {**own, "base_lin_vel": ObservationTerm(func=observations.base_lin_vel)},
            "skill_state": get_task("h1_reach_task").observations["skill_state"],
        },
    )


def crouch():
    """Return a skill task whose command has another name than those of the H1."""
    from dataclasses import replace

    from stridelab_envs.mdp import observations
    from stridelab_envs.mdp.terms import ObservationTerm
    from stridelab_envs.registry import get_task

    task = get_task("h1_squat")
    own = {"depth_error": ObservationTerm(func=observations.height_error, params={"name": "depth"})}
    tail = {n: t for n, t in task.observations["policy"].items() if n[:7] != "height_"}
    return replace(
        task,
        id="h1_crouch",
        commands={"depth": task.commands["height"]},
        observations={"policy": {**own, **tail}},
        rewards={},
        metrics={},
    )


@pytest.fixture(scope="session")
def h1_tasks():
    """The tasks ``errand`` and ``h1_crouch``, known by their names."""
    from stridelab_envs import registry

    registry.task_ids()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry._tasks, "errand", errand)
        patch.setitem(registry._tasks, "h1_crouch", crouch)
        yield


@pytest.fixture(scope="session")
def skills_folder(tmp_path_factory, h1_tasks):
    """A folder with untrained bundles of five skills, ``four.yaml`` and ``five.yaml``."""
    import torch

    from stridelab.algorithms.ppo.config import module_spec
    from stridelab.experiment import parse_experiment
    from stridelab.export.bundle import describe_env, save_bundle
    from stridelab_envs.gym import action_space, observation_space
    from stridelab_envs.registry import make_env

    folder = tmp_path_factory.mktemp("skills")
    generator = torch.Generator().manual_seed(5)
    for name in ("walk", "reach", "squat", "step", "crouch"):
        tree = {
            **copy.deepcopy(TINY),
            "name": name,
            "task": {"id": f"h1_{name}", "num_envs": 2},
            "model": {"actor_hidden": [8], "critic_hidden": [8], "std": {"initial": 0.1}},
        }
        experiment = parse_experiment(tree)
        env = make_env(experiment.task_config(), num_envs=1, seed=0, num_threads=1)
        spec = module_spec(experiment.model, experiment.task_config())
        spec.observation_space, spec.action_space = observation_space(env), action_space(env)
        module = spec.build()
        with torch.no_grad():
            for value in module.parameters():
                value.copy_(0.3 * torch.randn(value.shape, generator=generator))
        for normalizer in module.normalizers.values():
            normalizer.mean.copy_(0.1 * torch.randn(normalizer.mean.shape, generator=generator))
        save_bundle(
            folder / name, module, experiment, describe_env(env), env_steps=0, git_commit=None
        )
    entries = {
        "walk": "walk: {policy: walk}",
        "reach": "reach: {policy: reach}",
        "squat": "squat: {policy: squat, spare: 1}",
        "step": "step: {policy: step}",
        "crouch": "crouch: {policy: crouch, spare: 2}",
    }
    for file, count in (("four.yaml", 4), ("five.yaml", 5)):
        lines = "".join(f"  {entry}\n" for entry in list(entries.values())[:count])
        (folder / file).write_text("skills:\n" + lines, encoding="utf-8")
    return folder


@pytest.fixture
def hierarchical(skills_folder) -> dict:
    """Dotted keys that make the tiny experiment one of the module ``hierarchical``."""
    return {
        "task": {"id": "errand", "num_envs": 8},
        "model": {
            "kind": "hierarchical",
            "skills": str(skills_folder / "four.yaml"),
            "actor_hidden": [16],
            "critic_hidden": [16],
        },
    }


@pytest.fixture
def build_hierarchical(tiny_experiment, hierarchical):
    """Build the module and environments of the hierarchical experiment with dotted keys set."""
    import torch

    from stridelab.algorithms.ppo.config import module_spec
    from stridelab_envs.gym import action_space, observation_space
    from stridelab_envs.registry import make_env

    def build(num_envs=8, **values):
        experiment = tiny_experiment(**hierarchical, **values)
        task = experiment.task_config()
        env = make_env(task, num_envs=num_envs, seed=0, num_threads=1)
        spec = module_spec(experiment.model, task)
        spec.observation_space, spec.action_space = observation_space(env), action_space(env)
        torch.manual_seed(0)
        return spec.build(), env

    return build


@pytest.fixture(scope="session")
def tiny_tree() -> dict:
    """The tiny experiment as nested mappings, to be left as it is."""
    return TINY


@pytest.fixture
def tiny(tiny_tree) -> dict:
    """The tiny experiment as nested mappings, to change at will."""
    return copy.deepcopy(tiny_tree)


@pytest.fixture
def tiny_experiment(tiny):
    """Build the tiny experiment with dotted keys set."""
    from stridelab.experiment import parse_experiment

    def build(**values):
        return parse_experiment(tiny).with_values(
            {key.replace("__", "."): value for key, value in values.items()}
        )

    return build


@pytest.fixture
def tiny_env(tiny_experiment):
    """Four environments of the tiny experiment."""
    from stridelab_envs.registry import make_env

    return make_env(tiny_experiment().task_config(), num_envs=4, seed=0, num_threads=1)


@pytest.fixture
def tiny_module(tiny_experiment, tiny_env):
    """A policy whose weights and normaliser are not those it starts with."""
    import torch

    from stridelab.algorithms.ppo.config import module_spec
    from stridelab_envs.gym import action_space, observation_space

    experiment = tiny_experiment()
    spec = module_spec(experiment.model, experiment.task_config())
    spec.observation_space, spec.action_space = observation_space(tiny_env), action_space(tiny_env)
    torch.manual_seed(0)
    module = spec.build()
    module.update_normalizers({"policy": torch.randn(50, 48) * 3.0 + 1.0})
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return module


@pytest.fixture
def tiny_bundle(tmp_path, tiny_module, tiny_env, tiny_experiment):
    """Folder of a policy bundle after 1234 environment steps."""
    from stridelab.export.bundle import describe_env, save_bundle

    folder = tmp_path / "policy"
    save_bundle(
        folder,
        tiny_module,
        tiny_experiment(),
        describe_env(tiny_env),
        env_steps=1234,
        git_commit="abc",
    )
    return folder


@pytest.fixture(scope="module")
def local_ray():
    """A Ray cluster of two cores, taken down before the next module."""
    import ray

    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    yield
    ray.shutdown()
