"""The model section of the high-level policy: what is accepted, what is refused and how."""

import re

import pytest

from stridelab.algorithms.ppo.config import module_config
from stridelab_envs.errors import ConfigError, UserError


@pytest.fixture(autouse=True)
def toy_task():
    """These tests need the robot's own tasks, not the folder's toy."""


def test_defaults(tiny_experiment, hierarchical):
    model = tiny_experiment(**hierarchical).model
    assert model.hold_steps == 3
    assert (model.residual.clip, model.residual.start) == (0.05, 0.5)
    assert (model.command_head, model.likelihood) == ("affine", "executed")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("hold_steps", 0, "model.hold_steps: must be at least 1"),
        ("hold_step", 3, 'did you mean "hold_steps"'),
        ("residual__start", 1.5, "model.residual.start: must be at most 1"),
        ("command_head", "affin", 'did you mean "affine"'),
        ("curriculum", {"walk": {"lin_vel_x": {"range": [0.0], "until": 0.5}}}, "range"),
    ],
)
def test_mistakes_in_the_section(tiny_experiment, hierarchical, key, value, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        tiny_experiment(**hierarchical, **{f"model__{key}": value})


def test_an_unknown_kind_names_all(tiny_experiment):
    with pytest.raises(ConfigError, match='did you mean "hierarchical"'):
        tiny_experiment(model={"kind": "hierarchicl"})


NARROW = {"range": [-0.5, 0.5], "until": 0.5}


@pytest.mark.parametrize(
    ("curriculum", "message"),
    [
        ({"wlak": {"lin_vel_x": NARROW}}, 'model.curriculum.wlak: .*did you mean "walk"'),
        ({"walk": {"lin_vel": NARROW}}, r"model.curriculum.walk.lin_vel: .*lin_vel_x"),
        (
            {"squat": {"height": NARROW}},
            r"model.curriculum.squat.height.range: must lie within \[0.65, 1.03\]",
        ),
    ],
)
def test_mistakes_that_only_the_skills_show(tiny_experiment, hierarchical, curriculum, message):
    experiment = tiny_experiment(**hierarchical, model__curriculum=curriculum)
    with pytest.raises(UserError, match=message):
        module_config(experiment.model, experiment.task_config())


def test_a_missing_skills_file(tiny_experiment, hierarchical):
    experiment = tiny_experiment(**hierarchical, model__skills="nowhere.yaml")
    with pytest.raises(UserError, match=r"nowhere\.yaml: there is no such file"):
        module_config(experiment.model, experiment.task_config())


def test_relative_files_start_where_the_study_was_started(
    tiny_experiment, hierarchical, skills_folder, tmp_path, monkeypatch
):
    monkeypatch.setenv("TUNE_ORIG_WORKING_DIR", str(skills_folder))
    monkeypatch.chdir(tmp_path)
    experiment = tiny_experiment(**hierarchical, model__skills="five.yaml")
    assert len(module_config(experiment.model, experiment.task_config())["skills"]) == 5


def test_a_sweep_over_its_settings(tiny_experiment, hierarchical):
    sweep = {"parameters": {"model.hold_steps": [1, 3, 10], "model.residual.clip": [0.0, 0.1]}}
    assert tiny_experiment(**hierarchical, sweep=sweep).sweep is not None
