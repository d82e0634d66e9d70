import pytest

from stridelab_envs import registry
from stridelab_envs.mdp.terms import ObservationTerm, RandomizationTerm, RewardTerm
from stridelab_envs.plugins import Registry
from stridelab_envs.tasks.config import TaskConfig

MINIMAL = "name: toy\ntask: {id: toy}\ntrain: {env_steps: 1000}\n"


def _zero(state, *args, **params):
    raise AssertionError("no simulation runs in these tests")


def _toy() -> TaskConfig:
    return TaskConfig(
        id="toy",
        description="A task of two rewards.",
        robot="biped17",
        observations={"policy": {"joint_pos": ObservationTerm(func=_zero)}},
        rewards={
            "upright": RewardTerm(func=_zero, weight=0.5, params={"width": 0.25}),
            "tracking_lin_vel": RewardTerm(func=_zero, weight=1.5),
        },
        reward_presets={
            "v6": {"upright": 6.0},
            "v7": {"upright": 7.0, "tracking_lin_vel": 0.7},
        },
        randomization={"push": RandomizationTerm(func=_zero, params={"speed": 0.5})},
    )


@pytest.fixture(autouse=True)
def toy_task(monkeypatch):
    """A registered task `toy` whose numbers these tests know, and one other."""
    tasks = Registry("task", "stridelab.tasks")
    tasks |= {"biped_walk": registry.biped_walk, "toy": _toy}
    monkeypatch.setattr(registry, "_tasks", tasks)


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write text or bytes to `walk.yaml` in the working directory and return that name."""
    monkeypatch.chdir(tmp_path)

    def write_file(content: str | bytes) -> str:
        data = content.encode() if isinstance(content, str) else content
        (tmp_path / "walk.yaml").write_bytes(data)
        return "walk.yaml"

    return write_file


@pytest.fixture
def minimal() -> str:
    """The smallest experiment, three lines."""
    return MINIMAL
