"""Pages written from code say what the code does."""

import re
from dataclasses import replace

import pytest

from stridelab.experiment import Experiment
from stridelab.modules.kinds import MODULES
from stridelab.reference.markdown import section, settings, summary, table
from stridelab.reference.pages import reference_pages
from stridelab.reference.settings import experiment_page, module_pages
from stridelab.reference.tasks import task_page
from stridelab_envs import registry
from stridelab_envs.mdp.terms import RandomizationTerm, RewardTerm
from stridelab_envs.registry import get_task


def rows(page, title):
    """Return the cells of the first table below a heading."""
    _, _, below = page.partition(f"## {title}\n")
    lines = [line for line in below.split("\n## ")[0].splitlines() if line.startswith("|")]
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines[2:]]
    return [[cell.strip() for cell in row] for row in cells]


class TestMarkdown:
    def test_a_cell_is_one_line_and_its_bars_are_told_from_the_tables(self):
        assert table(["a", "b"], [("x\n  y", "|z|")]) == "| a | b |\n|---|---|\n| x y | \\|z\\| |"

    def test_what_is_empty_is_left_out(self):
        assert table(["a"], []) == ""
        assert section("T", "", "") == ""
        assert section("T", "", "x") == "## T\n\nx"

    def test_parameters(self):
        told = settings({"x": 0.50, "r": {"a": [0.0, 1.0]}, "n": "left", "on": True})
        assert told == "`x = 0.5`, `r = {a: [0, 1]}`, `n = left`, `on = True`"

    def test_the_first_sentence_of_a_docstring(self):
        def term():
            """Speed of :class:`thing.Leg`
            in ``x``.

            More.
            """

        assert summary(term) == "Speed of `thing.Leg` in `x`."


@pytest.fixture(scope="module")
def biped_page():
    return task_page("biped_walk")


class TestTask:
    def test_observation_layout(self, biped_page):
        found = {row[0]: row[1:] for row in rows(biped_page, "Observation group `policy`")}
        assert found["`joint_pos`"] == ["0-16", "Joint angles [rad].", "", ""]
        assert found["`joint_vel`"][0] == "17-33"
        assert found["`joint_vel`"][2] == "0.1"
        assert found["`gait_clock`"][0] == "46-47"
        assert "`frequency = 2`" in found["`gait_clock`"][1]

    def test_rewards_with_weights_and_presets(self, biped_page):
        found = {row[0]: row[1] for row in rows(biped_page, "Rewards") if len(row) == 4}
        weights = get_task("biped_walk").reward_weights()
        assert found == {f"`{name}`": f"{w:g}" for name, w in weights.items() if w}
        assert "Switched off, but ready: `air_time`" in biped_page
        assert "| term | v0 | v1 | v2 | v3 | v4 | v5 | v6 | v7 |" in biped_page
        assert "| `foot_switch` |  |  |  | 2 | 2 | 2 | 5 | 8 |" in biped_page

    def test_the_rest(self, biped_page):
        assert "| control | 50 Hz, 4 physics steps of 0.005 s |" in biped_page
        assert rows(biped_page, "Terminations")[1][0] == "`tilted`"
        assert len(rows(biped_page, "Randomisation")) == 3
        assert rows(biped_page, "Metrics")[0][0] == "`forward_velocity`"
        assert "## Commands" not in biped_page  # it has none

    def test_what_other_tasks_have(self, monkeypatch):
        def hop():
            """Never seen: the module's docstring is."""
            task = get_task("h1_walk")
            noisy = replace(task.observations["policy"]["joint_pos"], noise=0.25)
            push = RandomizationTerm(func=lambda state, ids: None, interval_s=(2.0, 3.5))
            cut = RewardTerm(func=task.rewards["torso"].func, clip=(0.0, 0.5))
            return replace(
                task,
                id="hop",
                observations={"policy": {"joint_pos": noisy}},
                history={"policy": 3},
                rewards={"torso": replace(task.rewards["torso"], clip=cut.clip)},
                randomization={"push": push},
            )

        monkeypatch.setitem(registry._tasks, "hop", hop)
        page = task_page("hop")
        assert "57 numbers: 3 frames of 19, oldest first" in page
        [observation] = rows(page, "Observation group `policy`")
        assert (observation[1], observation[4]) == ("0-18", "±0.25")
        assert rows(page, "Rewards")[0][3] == "0 to 0.5"
        assert rows(page, "Randomisation")[0][2] == "every 2 to 3.5 s"
        assert rows(page, "Commands")[0][0] == "`velocity`"


class TestSettings:
    def test_every_key_of_every_section(self):
        page = experiment_page()
        for name, field in Experiment.model_fields.items():
            assert f"`{name}`" in page
            section_class = field.annotation
            for key in getattr(section_class, "model_fields", {}):
                assert f"`{key}`" in page, f"{name}.{key}"
        assert ["`start`", "`null`"] in [row[:2] for row in rows(page, "`stages`")]
        for key in ("std.initial", "short_history", "desired_kl", "checkpoint_every", "scheduler"):
            assert f"| `{key}` |" in page

    def test_defaults_types_and_bounds(self):
        page = experiment_page()
        assert "| `env_steps` | required | whole number, ≥ 1, ≤ 1e+15 | " in page
        assert "| `gamma` | `0.99` | number, > 0, ≤ 1 | " in page
        assert "| `precision` | `bf16` | `fp32` or `bf16` | " in page
        assert "| `uri` | `null` | text or `null` | " in page
        assert '| `description` | `""` | text | ' in page

    def test_a_page_for_each_module(self):
        pages = module_pages()
        assert pages.keys() >= MODULES.keys()
        assert "model: {kind: estimator}" in pages["estimator"]
        assert "| `short_history` | `5` |" in pages["estimator"]


def test_every_task_module_and_algorithm_has_a_page_with_regular_tables(monkeypatch):
    # A new one is found without being named anywhere.
    monkeypatch.setitem(registry._tasks, "hop", lambda: replace(get_task("biped_walk"), id="hop"))
    pages = reference_pages()
    assert {f"tasks/{task_id}.md" for task_id in registry.task_ids()} <= pages.keys()
    assert {f"modules/{kind}.md" for kind in MODULES} <= pages.keys()
    assert {"tasks/hop.md", "algorithms/ppo.md", "experiment.md"} <= pages.keys()
    for path, text in pages.items():
        width = 0
        for line in text.splitlines():
            cells = len(re.split(r"(?<!\\)\|", line)) if line.startswith("|") else 0
            assert cells in (0, width) or width == 0, f"{path}: {line}"
            width = cells
        assert text.startswith("# ")
