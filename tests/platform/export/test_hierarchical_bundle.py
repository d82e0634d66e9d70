"""A bundle of the high-level policy holds its skills: their own files are needed no more."""

import json
import shutil

import pytest
import torch
from typer.testing import CliRunner

from stridelab.cli.main import app
from stridelab.export.bundle import DESCRIPTION, describe_env, load_bundle, save_bundle
from stridelab.export.writer import export_policy
from stridelab.modules.hierarchical import Hierarchical
from stridelab_envs.errors import UserError


@pytest.fixture
def bundle(tmp_path, build_hierarchical, tiny_experiment, hierarchical, skills_folder):
    """The bundle, its module and environments; the skills' own bundles are gone."""
    own = tmp_path / "skills"
    shutil.copytree(skills_folder, own)
    changes = {"model__skills": str(own / "four.yaml"), "model__residual__start": 0.0}
    module, env = build_hierarchical(**changes)
    experiment = tiny_experiment(**hierarchical, **changes)
    folder = tmp_path / "policy"
    save_bundle(folder, module, experiment, describe_env(env), env_steps=1, git_commit=None)
    shutil.rmtree(own)
    return folder, module, env


def test_a_loaded_policy_acts_like_the_saved_one(bundle):
    folder, module, env = bundle
    policy = load_bundle(folder)
    assert type(policy.module) is Hierarchical
    policy.check_fits(env)
    saved, loaded = module.state_dict(), policy.module.state_dict()
    assert saved.keys() == loaded.keys()
    for name, value in saved.items():
        assert torch.equal(value, loaded[name]), name
    obs = env.reset()
    mine, theirs = policy.controller(env), type(policy)(module, {}).controller(env)
    for _ in range(4):
        action = mine(obs)
        assert torch.equal(action, theirs(obs))
        obs = env.step(action).obs


def test_the_description_names_the_skills(bundle):
    description = json.loads((bundle[0] / DESCRIPTION).read_text())
    skills = description["model_config"]["skills"]
    assert [skill["name"] for skill in skills] == ["walk", "reach", "squat", "step"]
    assert "skill_weights" not in description["model_config"]


def test_it_is_not_exported_as_a_graph(bundle, tmp_path):
    path = tmp_path / "policy.onnx"
    with pytest.raises(UserError, match="a hierarchical policy remembers from step to step"):
        export_policy(load_bundle(bundle[0]), path, format="onnx", batch="free")
    assert not path.exists()


def test_it_can_be_evaluated(bundle):
    result = CliRunner().invoke(app, ["evaluate", str(bundle[0]), "--episodes", "2", "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["length"] == 12.0
