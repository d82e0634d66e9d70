"""Stages and ablations as they are written, and what is refused with its line."""

from dataclasses import replace

import pytest

from stridelab.experiment import load_experiment, parse_experiment
from stridelab_envs import registry
from stridelab_envs.errors import ConfigError, UserError
from stridelab_envs.registry import get_task

HEAD = "name: toy\ntask: {id: toy}\ntrain: {env_steps: 1000}\n"  # three lines


def message(path):
    with pytest.raises(UserError) as caught:
        load_experiment(path)
    return str(caught.value)


STAGES = """\
stages:
- {name: flat}
- name: push
  start: last
  train.env_steps: 500
  task.rewards: v7
  task.rewards.upright: 2.5
"""


class TestStages:
    def test_each_differs_from_the_experiment_not_from_the_one_before(self, write):
        text = HEAD + STAGES + "- {name: calm, task.randomization.push: null}\n"
        experiment = load_experiment(write(text))
        flat, push, calm = (experiment.stage(stage) for stage in experiment.stages)
        assert [stage.name for stage in experiment.stages] == ["flat", "push", "calm"]
        assert [stage.starts_from_best for stage in experiment.stages] == [True, False, True]
        assert flat.train.env_steps == calm.train.env_steps == 1000
        assert push.train.env_steps == 500
        assert push.task_config().reward_weights() == {"upright": 2.5, "tracking_lin_vel": 0.7}
        assert calm.task_config().reward_weights() == {"upright": 0.5, "tracking_lin_vel": 1.5}
        assert dict(calm.task_config().randomization) == {}
        assert flat.stages == []

    def test_round_trip(self, write):
        experiment = load_experiment(write(HEAD + STAGES))
        assert parse_experiment(experiment.to_dict()) == experiment
        assert load_experiment(write(experiment.to_yaml())) == experiment
        assert "stages" not in " ".join(experiment.flat())
        assert experiment.single()["stages"] == []

    @pytest.mark.parametrize(
        ("stages", "expected"),
        [
            (
                "- {name: a}\n- {name: a}\n",
                '6: stages[1].name: "a" names an earlier stage already',
            ),
            (
                "- {name: a, start: best}\n",
                "5: stages[0].start: the first stage has none before it to start from",
            ),
            (
                "- name: a\n- name: b\n  task.rewards.uprigt: 1.0\n",
                "7: stages[1].task.rewards.uprigt: unknown reward "
                '"uprigt"; did you mean "upright"? (known: tracking_lin_vel, upright)',
            ),
            (
                "- name: a\n- name: b\n  train.env_steps: 0\n",
                "7: stages[1].train.env_steps: must be at least 1, got 0",
            ),
            (
                "- name: a\n- name: b\n  model.activation: tanh\n",
                "7: stages[1].model.activation: cannot differ between stages; only task, "
                "algorithm, train can",
            ),
            (
                "- name: a\n- name: b\n  task: {num_envs: 8}\n",
                "7: stages[1].task: is a whole section; write dotted keys such as task.rewards",
            ),
            (
                "- name: a\n- name: b\n  train.start_from: policy\n",
                "7: stages[1].train.start_from: a later stage starts from the stage before it",
            ),
            (
                "- name: a\n- name: b\n  algorithm.num_minibatches: 7\n",
                "7: stages[1].algorithm.num_minibatches: must divide task.num_envs * "
                "algorithm.num_steps_per_env = 1024 * 24 = 24576, got 7",
            ),
            (
                "- name: a b\n",
                '5: stages[0].name: must hold only letters, digits, _ and -, got "a b"',
            ),
            (
                "- name: a\n- name: b\n  start: first\n",
                '7: stages[1].start: must be one of best, last, got "first"',
            ),
            ("- {start: last}\n", "5: stages[0].name: is required"),
        ],
    )
    def test_refused(self, write, stages, expected):
        assert message(write(f"{HEAD}stages:\n{stages}")) == f"walk.yaml:{expected}"

    def test_another_robot(self, write):
        registry._tasks |= {"other": lambda: replace(get_task("toy"), id="other", robot="h1")}
        text = HEAD + "stages:\n- name: a\n- name: b\n  task.id: other\n"
        assert message(write(text)) == (
            "walk.yaml:6: stages[1]: has the robot h1, but the first stage has biped17"
        )

    def test_what_is_swept_cannot_be_set_by_a_stage(self, write):
        text = (
            HEAD
            + "sweep: {parameters: {algorithm.gamma: [0.9, 0.99]}}\n"
            + "stages:\n- name: a\n- name: b\n  algorithm.gamma: 0.5\n"
        )
        assert message(write(text)) == (
            "walk.yaml:8: stages[1].algorithm.gamma: is what the trials differ in, so no stage can "
            "set it"
        )

    def test_every_trial_is_tried_in_every_stage(self, write):
        text = (
            HEAD
            + "sweep: {parameters: {algorithm.num_minibatches: [8, 16]}}\n"
            + "stages:\n- name: a\n- {name: b, task.num_envs: 1, algorithm.num_steps_per_env: 8}\n"
        )
        assert "sweep.parameters.algorithm.num_minibatches: must divide" in message(write(text))

    def test_a_population_has_no_stages(self):
        tree = {
            "name": "toy",
            "task": {"id": "toy"},
            "train": {"env_steps": 1},
            "sweep": {
                "parameters": {"algorithm.gamma": {"uniform": [0.9, 0.99]}},
                "scheduler": "pbt",
                "samples": 2,
            },
            "stages": [{"name": "a"}],
        }
        with pytest.raises(ConfigError, match=r"^stages: pbt changes values while training"):
            parse_experiment(tree)


class TestAblation:
    def parse(self, task=None, **ablation):
        return parse_experiment(
            {
                "name": "toy",
                "task": {"id": "toy", **(task or {})},
                "train": {"env_steps": 1000},
                "ablation": {"metric": "eval/survival_rate", **ablation},
            }
        )

    def test_all_terms_that_are_on(self):
        experiment = self.parse({"rewards": {"upright": 0.0}}, rewards="all", randomization="all")
        assert experiment.switches == {
            "task.rewards.tracking_lin_vel": None,
            "task.randomization.push": None,
        }
        assert experiment.is_sweep

    def test_named_terms_beside_a_preset(self):
        experiment = self.parse({"rewards": "v7"}, rewards=["upright"])
        [key] = experiment.switches
        run = parse_experiment(experiment.single())
        weights = run.with_values({key: None}).task_config().reward_weights()
        assert weights == {"upright": 0.0, "tracking_lin_vel": 0.7}

    @pytest.mark.parametrize(
        ("task", "ablation", "line"),
        [
            ({}, {}, "ablation: must name rewards or randomization to switch off"),
            (
                {},
                {"rewards": ["uprigt"]},
                'ablation.rewards: unknown reward "uprigt"; did you mean "upright"? '
                "(known: tracking_lin_vel, upright)",
            ),
            (
                {"rewards": {"upright": 0}},
                {"rewards": ["upright"]},
                'ablation.rewards: "upright" has weight 0, so it is off already',
            ),
            (
                {},
                {"rewards": "all", "metric": "episode/return"},
                "ablation.metric: changes by itself when a reward is switched off; use a metric of "
                "the task, such as eval/survival_rate",
            ),
            (
                {},
                {"rewards": "every"},
                'ablation.rewards: must be a list of names or "all", got "every"',
            ),
            ({}, {"rewards": ["upright"] * 2}, 'ablation.rewards: holds "upright" twice'),
            (
                {"randomization": {"push": None}},
                {"randomization": "all"},
                "ablation: switches nothing off: the task has no term that is on",
            ),
            (
                {},
                {"reward": ["upright"]},
                'ablation.reward: unknown key "reward"; did you mean "rewards"? '
                "(known: metric, mode, randomization, rewards)",
            ),
        ],
    )
    def test_refused(self, task, ablation, line):
        with pytest.raises(ConfigError) as caught:
            self.parse(task, **ablation)
        assert str(caught.value) == line

    def test_not_beside_a_sweep(self, write):
        text = (
            HEAD
            + "sweep: {parameters: {algorithm.gamma: [0.9]}}\n"
            + "ablation: {metric: episode/length, rewards: all}\n"
        )
        assert message(write(text)) == (
            "walk.yaml:5: ablation: cannot stand beside a sweep; make two files of it"
        )

    def test_return_is_a_fine_metric_of_randomisations(self):
        assert self.parse(metric="episode/return", randomization="all").switches


class TestResources:
    @pytest.mark.parametrize(
        ("text", "seconds"), [("90m", 5400.0), ("1.5h", 5400.0), ("2d", 172_800.0), ("30s", 30.0)]
    )
    def test_time_budget(self, text, seconds):
        tree = {"name": "toy", "task": {"id": "toy"}, "train": {"env_steps": 1}}
        experiment = parse_experiment({**tree, "resources": {"time_budget": text}})
        assert experiment.resources.time_budget_s == seconds

    @pytest.mark.parametrize(
        ("resources", "line"),
        [
            (
                "time_budget: 2 days",
                'time_budget: must be a time such as 90m, 12h or 2d, got "2 days"',
            ),
            ("time_budget: 0h", 'time_budget: must be a time such as 90m, 12h or 2d, got "0h"'),
            ("time_budget: 3600", "time_budget: must be text, got 3600 (put it in quotes)"),
            (
                "gpus_per_learner: 1.5",
                "gpus_per_learner: must be at most 1 or a whole number, got 1.5",
            ),
            ("cpus_per_trial: 0", "cpus_per_trial: must be above 0.0, got 0"),
        ],
    )
    def test_refused(self, write, resources, line):
        path = write(f"{HEAD}resources:\n  {resources}\n")
        assert message(path) == f"walk.yaml:5: resources.{line}"

    def test_fractions(self, write):
        text = "resources: {cpus_per_trial: 0.5, cpus_per_runner: 0.25, gpus_per_learner: 0.25}\n"
        resources = load_experiment(write(HEAD + text)).resources
        assert resources.cpus_per_trial == 0.5
        assert resources.gpus_per_learner == 0.25

    def test_what_to_do_with_an_existing_study(self, write):
        assert load_experiment(write(HEAD)).on_existing == "restart"
        assert load_experiment(write(HEAD + "on_existing: refuse\n")).on_existing == "refuse"
        assert message(write(HEAD + "on_existing: replace\n")) == (
            'walk.yaml:4: on_existing: must be one of resume, restart, refuse, got "replace"'
        )
