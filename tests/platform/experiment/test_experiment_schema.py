import pickle
from typing import get_args

import pydantic
import pytest
import yaml

from stridelab.experiment import Experiment, load_experiment, parse_experiment
from stridelab_envs.errors import ConfigError

FULL = """\
name: toy.walk-1_a
description: |
  Two lines
  of words: "quoted", 1e-3
task:
  id: toy
  num_envs: 2_048
  rewards: {preset: v6, tracking_lin_vel: 2, upright: {width: 0.5}}
  randomization: {push: null}
  episode_length_s: 10.0
model:
  actor_hidden: [32]
  activation: tanh
  std: {kind: state_dependent, initial: {head: 0.3, arms: 0.4, legs: 1}, max: 2.0}
algorithm: {learning_rate: 3e-4, gamma: 1, num_minibatches: 8, precision: fp32}
train: {env_steps: 5e7, video: false}
resources: {cpus_per_trial: 4, storage_path: s3://bucket/runs}
tracking: {uri: "http://localhost:5000"}
seeds: [3, 1, 2]
sweep:
  mode: min
  parameters:
    task.rewards.tracking_lin_vel: {uniform: [1, 2.5]}
    algorithm.num_epochs: [2, 4]
    task.rewards: {presets: [v6, v7]}
  scheduler: {asha: {grace_period: 20}}
"""


def minimal(**changes):
    return {"name": "toy", "task": {"id": "toy"}, "train": {"env_steps": 1000}, **changes}


class TestDefaults:
    def test_smallest_file(self, write, minimal):
        experiment = load_experiment(write(minimal))
        assert experiment.task.num_envs == 1024
        assert experiment.task.overrides == {}
        assert experiment.model.actor_hidden == [256, 128, 64]
        assert experiment.model.std.initial == 1.0
        assert experiment.algorithm.learning_rate == 1e-3
        assert experiment.train.env_steps == 1000
        assert experiment.resources.cpus_per_trial is None
        assert experiment.seeds == [0]
        assert experiment.sweep is None

    def test_defaults_are_not_shared(self):
        first, second = parse_experiment(minimal()), parse_experiment(minimal())
        first.seeds.append(9)
        first.model.actor_hidden.append(9)
        assert second.seeds == [0]
        assert parse_experiment(minimal()).model.actor_hidden == [256, 128, 64]

    def test_every_field_is_described(self):
        def sections(model):
            for name, field in model.model_fields.items():
                annotations = [field.annotation]
                if name == "model":
                    yield name, field
                    annotations = [get_args(a)[0] for a in get_args(field.annotation)]
                for annotation in annotations:
                    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
                        assert annotation.__doc__
                        yield from sections(annotation)
                    elif name != "sweep":
                        yield name, field

        fields = list(sections(Experiment))
        assert len(fields) > 45
        assert [name for name, field in fields if not field.description] == []

    def test_is_frozen(self):
        experiment = parse_experiment(minimal())
        with pytest.raises(pydantic.ValidationError):
            experiment.name = "other"
        with pytest.raises(pydantic.ValidationError):
            experiment.task.num_envs = 3


class TestRoundTrip:
    @pytest.mark.parametrize("text", [FULL, "name: toy\ntask: {id: toy}\ntrain: {env_steps: 1}\n"])
    def test_dict_yaml_and_pickle(self, write, text):
        experiment = load_experiment(write(text))
        assert parse_experiment(experiment.to_dict()) == experiment
        assert load_experiment(write(experiment.to_yaml())) == experiment
        assert pickle.loads(pickle.dumps(experiment)) == experiment
        assert parse_experiment(yaml.safe_load(experiment.to_yaml())) == experiment

    def test_task_section_keeps_the_form_of_the_file(self, write):
        task = load_experiment(write(FULL)).to_dict()["task"]
        assert task == {
            "id": "toy",
            "num_envs": 2048,
            "rewards": {"preset": "v6", "tracking_lin_vel": 2, "upright": {"width": 0.5}},
            "randomization": {"push": None},
            "episode_length_s": 10.0,
        }

    def test_numbers(self, write):
        experiment = load_experiment(write(FULL))
        assert experiment.train.env_steps == 50_000_000
        assert type(experiment.train.env_steps) is int
        assert experiment.algorithm.learning_rate == 3e-4
        assert experiment.algorithm.gamma == 1.0
        assert experiment.model.std.initial == {"head": 0.3, "arms": 0.4, "legs": 1.0}

    def test_a_change_makes_a_difference(self, write):
        experiment = load_experiment(write(FULL))
        assert experiment != experiment.with_values({"task.rewards.upright": 1.0})
        assert experiment != experiment.with_values({"algorithm.gamma": 0.5})

    def test_to_dict_is_a_copy(self, write):
        experiment = load_experiment(write(FULL))
        experiment.to_dict()["task"]["rewards"]["preset"] = "v7"
        assert experiment.task.overrides["rewards"]["preset"] == "v6"


class TestTask:
    def test_task_config_has_the_changes(self, write):
        config = load_experiment(write(FULL)).task_config()
        assert config.reward_weights() == {"upright": 6.0, "tracking_lin_vel": 2.0}
        assert config.rewards["upright"].params == {"width": 0.5}
        assert dict(config.randomization) == {}
        assert config.episode_length_s == 10.0

    def test_a_shipped_task_is_found(self):
        experiment = parse_experiment(minimal(task={"id": "biped_walk", "rewards": "v6"}))
        assert experiment.task_config().id == "biped_walk"

    def test_section_names_cannot_hide_a_task_key(self):
        with pytest.raises(ConfigError, match=r'^task.overrides: unknown task setting "overrides"'):
            parse_experiment(minimal(task={"id": "toy", "overrides": {}}))


class TestFlat:
    def test_scalars_and_resolved_weights(self, write):
        flat = load_experiment(write(FULL)).flat()
        assert flat["name"] == "toy.walk-1_a"
        assert flat["task.num_envs"] == 2048
        assert flat["task.rewards.preset"] == "v6"
        assert flat["task.rewards.upright"] == 6.0
        assert flat["task.rewards.upright.width"] == 0.5
        assert flat["task.rewards.tracking_lin_vel"] == 2.0
        assert flat["task.randomization.push"] is None
        assert flat["model.actor_hidden"] == "[32]"
        assert flat["model.std.initial.legs"] == 1.0
        assert flat["algorithm.learning_rate"] == 3e-4
        assert flat["seeds"] == "[3, 1, 2]"
        assert not [key for key in flat if key.startswith("sweep")]
        assert all(isinstance(value, str | int | float | None) for value in flat.values())

    def test_preset_as_a_name(self):
        flat = parse_experiment(minimal(task={"id": "toy", "rewards": "v7"})).flat()
        assert flat["task.rewards.preset"] == "v7"
        assert flat["task.rewards.tracking_lin_vel"] == 0.7
        assert "task.rewards" not in flat


class TestWithValues:
    def test_sets_and_keeps(self):
        base = parse_experiment(minimal(seeds=[4]))
        changed = base.with_values({"algorithm.gamma": 0.9, "task.rewards.upright": 3})
        assert (changed.algorithm.gamma, base.algorithm.gamma) == (0.9, 0.99)
        assert changed.task_config().reward_weights()["upright"] == 3.0
        assert base.task.overrides == {}
        assert changed.seeds == [4]

    def test_takes_numpy_numbers(self):
        np = pytest.importorskip("numpy")
        changed = parse_experiment(minimal()).with_values(
            {"algorithm.num_epochs": np.int64(3), "algorithm.gamma": np.float32(0.5)}
        )
        assert changed.algorithm.num_epochs == 3
        assert type(changed.algorithm.gamma) is float

    def test_preset_never_undoes_a_term(self):
        values = {"task.rewards.upright": 3.0, "task.rewards": "v7"}
        weights = parse_experiment(minimal()).with_values(values).task_config().reward_weights()
        assert weights == {"upright": 3.0, "tracking_lin_vel": 0.7}

    def test_refuses_an_unknown_key(self):
        with pytest.raises(ConfigError) as caught:
            parse_experiment(minimal()).with_values({"algorithm.gama": 0.9})
        assert caught.value.path == "algorithm.gama"
        assert caught.value.message.startswith('unknown key "gama"; did you mean "gamma"?')

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**70, object(), {1: 2}])
    def test_refuses_what_is_no_plain_data(self, value):
        with pytest.raises(ConfigError, match=r"^task.rewards.upright: [^\n]+$"):
            parse_experiment(minimal()).with_values({"task.rewards.upright": value})


class TestParse:
    def test_without_places_the_path_leads(self):
        with pytest.raises(ConfigError, match=r"^train.env_steps: must be at least 1, got 0$"):
            parse_experiment(minimal(train={"env_steps": 0}))

    def test_with_places_the_nearest_one_leads(self):
        with pytest.raises(ValueError, match=r"^a.yaml:7: train.env_steps: must be at least 1"):
            parse_experiment(minimal(train={"env_steps": 0}), {"": "a.yaml:1", "train": "a.yaml:7"})

    def test_no_mapping(self):
        with pytest.raises(ConfigError, match=r"^must be a section \(key: value pairs\), got a li"):
            parse_experiment([1])
