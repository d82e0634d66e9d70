"""What ships can be used: experiment files, snippets of the page on sweeps, policies."""

import re
from pathlib import Path

import pytest

from stridelab.experiment import load_experiment, parse_experiment
from stridelab.experiment.search_space import _CHECKS, NULL_OR
from stridelab.experiment.yaml_text import parse_yaml
from stridelab.export.bundle import load_bundle

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted([*ROOT.glob("experiments/train/*.yaml"), *ROOT.glob("experiments/sweeps/*.yaml")])
POLICIES = sorted(path.parent for path in ROOT.glob("experiments/policies/*/policy.json"))
PAGE = (ROOT / "docs" / "sweeps.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)
HEAD = {
    "name": "snippet",
    "task": {"id": "biped_walk"},
    "algorithm": {"num_minibatches": 1},
    "train": {"env_steps": 1_000_000},
}


def test_there_are_files_and_snippets():
    assert len(FILES) > 10
    assert len(SNIPPETS) >= 6
    assert len(POLICIES) >= 5


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_file_is_valid_and_in_its_folder(path):
    experiment = load_experiment(path)
    assert experiment.is_sweep == (path.parent.name == "sweeps")
    assert experiment.description


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.name)
def test_a_policy_can_be_loaded(path):
    assert load_bundle(path).experiment.seeds


@pytest.mark.parametrize("text", SNIPPETS, ids=range(len(SNIPPETS)))
def test_a_snippet_is_valid(text):
    tree, _ = parse_yaml(text)
    parse_experiment({**HEAD, **tree})


def test_the_page_shows_every_kind_of_space_and_every_scheduler():
    for kind in (*_CHECKS, NULL_OR):
        if kind != "grid":  # a bare list
            assert f"{{{kind}: " in PAGE, kind
    for scheduler in ("fifo", "asha", "median_stopping", "hyperband", "pbt", "pb2"):
        assert f"`{scheduler}`" in PAGE
