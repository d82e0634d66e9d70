"""Evaluation counts whole first episodes, one in each environment."""

import json
import math
from types import SimpleNamespace

import pytest
import torch

from stridelab.evaluation import rollout
from stridelab.evaluation.rollout import evaluate, first_episodes
from stridelab_envs.batch_env import Step

ENDS = {0: [2, 4, 6], 1: [5], 2: [6]}
"""Environment to the steps in which its episodes end; the limit is 6."""


class Scripted:
    """Three environments whose episodes end when the script says."""

    num_envs, max_episode_steps = 3, 6

    def __init__(self, ends=ENDS):
        self.ends = ends
        self.steps = 0
        self.actions = []

    def obs(self):
        return {"policy": torch.full((3, 1), float(self.steps))}

    def reset(self):
        self.steps = 0
        return self.obs()

    def step(self, actions):
        self.steps += 1
        self.actions.append(actions)
        ended = torch.tensor([self.steps in self.ends[env] for env in range(3)])
        truncated = ended & (self.steps == 6)
        ids = ended.nonzero().flatten()
        log = {"episode/length": torch.full((len(ids),), float(self.steps)), "metric/env": ids + 10}
        return Step(
            self.obs(),
            torch.zeros(3),
            ended & ~truncated,
            truncated,
            self.obs(),
            {name: value.float() for name, value in log.items()} if len(ids) else {},
        )


def test_only_the_first_episode_of_each_environment_counts():
    """Environment 0 falls three times; taking every episode would count its falls thrice."""
    values = first_episodes(lambda obs: obs["policy"], Scripted())
    assert values["episode/length"].tolist() == [2.0, 5.0, 6.0]
    assert values["metric/env"].tolist() == [10.0, 11.0, 12.0]


def test_it_acts_on_what_it_has_just_seen_and_stops_when_all_have_ended():
    env = Scripted({0: [1], 1: [3], 2: [2]})
    first_episodes(lambda obs: obs["policy"] * 2.0, env)
    assert env.steps == 3
    assert [actions[0].item() for actions in env.actions] == [0.0, 2.0, 4.0]


def test_errors_are_averaged_over_the_first_episode_under_the_root():
    """Squared errors 0, 1, 2, ... at the observations before steps 1, 2, 3, ..."""

    def squared(obs):
        return {"estimator": obs["policy"].squeeze(1)}

    values = first_episodes(lambda obs: obs["policy"], Scripted(), squared)
    # Means of 0..1, of 0..4 and of 0..5; what follows the first episode does not count.
    expected = [0.5**0.5, 2.0**0.5, 2.5**0.5]
    assert values["metric/estimator_rmse"].tolist() == pytest.approx(expected)


class Sparse(Scripted):
    """Metrics that are not measured in every episode, or in none."""

    def step(self, actions):
        step = super().step(actions)
        if step.log:
            env = step.log.pop("metric/env") - 10
            step.log["episode/fell"] = (env == 1).float()
            step.log["metric/sometimes"] = torch.where(env == 2, math.nan, env * 4.0)
            step.log["metric/never"] = torch.full_like(env, math.nan)
        return step


def test_means_are_over_the_episodes_in_which_something_was_measured(monkeypatch, recwarn):
    built = []

    def build(task, **settings):
        built.append((task, settings))
        return Sparse()

    monkeypatch.setattr(rollout, "make_env", build)
    task = SimpleNamespace(for_evaluation=lambda: "whole commands")
    result = evaluate(lambda env: lambda obs: obs["policy"], task, episodes=3, seed=7, label="x")
    assert built == [("whole commands", {"num_envs": 3, "seed": 7, "num_threads": 0})]
    assert result.metrics["metric/sometimes"] == 2.0  # of 0 and 4
    assert result.std["metric/sometimes"] == 2.0
    assert math.isnan(result.metrics["metric/never"])
    assert result.metrics["episode/fall_rate"] == pytest.approx(1 / 3)
    assert result.metrics["episode/survival_rate"] == pytest.approx(2 / 3)
    written = json.loads(result.to_json())
    assert written["metrics"]["metric/never"] is written["std"]["metric/never"] is None
    assert [str(warning.message) for warning in recwarn] == []


@pytest.fixture
def evaluated(tiny_experiment):
    def run(act, *, episodes=3, seed=0, **values):
        task = tiny_experiment(**values).task_config()
        return evaluate(
            lambda env: act, task, episodes=episodes, seed=seed, label="zero", num_threads=1
        )

    return run


def stand(obs):
    return torch.zeros(obs["policy"].shape[0], 17)


def test_standing_reaches_the_time_limit(evaluated):
    result = evaluated(stand)
    assert (result.label, result.episodes) == ("zero", 3)
    assert result.metrics["episode/length"] == 10.0
    assert result.metrics["episode/survival_rate"] == 1.0
    assert result.metrics["episode/fell"] == 0.0
    assert result.std["episode/length"] == 0.0
    assert result.metrics["metric/forward_velocity"] == pytest.approx(0.0, abs=0.2)
    assert result.rewards["upright"] > 0.0
    assert not any(name.startswith("reward/") for name in [*result.metrics, *result.rewards])


def test_rewards_per_second_add_up_to_the_return(evaluated):
    result = evaluated(stand)
    assert result.metrics["episode/return"] == pytest.approx(0.2 * sum(result.rewards.values()))


def test_falling(evaluated):
    """Full deflection throws the robot over within two seconds."""
    result = evaluated(lambda obs: stand(obs) + 3.0, task__episode_length_s=2.0)
    assert result.metrics["episode/survival_rate"] == 1.0 - result.metrics["episode/fell"]
    assert result.metrics["episode/survival_rate"] < 1.0
    assert result.metrics["episode/length"] < 100.0


def test_equal_seeds_give_equal_evaluations(evaluated):
    assert evaluated(stand) == evaluated(stand)
    assert evaluated(stand, seed=1).metrics != evaluated(stand).metrics
