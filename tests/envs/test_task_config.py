"""Overrides of a task: what they change, and how a wrong one is refused."""

import math

import pytest

from stridelab_envs.errors import ConfigError
from stridelab_envs.registry import get_task, task_ids


@pytest.fixture
def task():
    return get_task("biped_walk")


def on(task):
    return {name: weight for name, weight in task.reward_weights().items() if weight}


def test_no_overrides_change_nothing(task):
    assert task.with_overrides({}) == task


def test_the_original_stays_as_it_is(task):
    changed = task.with_overrides(
        {
            "rewards": {"upright": 9.0},
            "observations": {"policy": {"base_quat": None}},
            "terminations": {"tilted": None},
        }
    )
    assert changed != task
    assert task == get_task("biped_walk")


def test_reward_preset_by_name(task):
    changed = task.with_overrides({"rewards": "v6"})
    assert on(changed) == {
        "upright": 2.0,
        "forward_velocity": 1.0,
        "height": 0.5,
        "foot_switch": 5.0,
    }
    assert changed.rewards.keys() == task.rewards.keys()


@pytest.mark.parametrize("order", [["preset", "upright"], ["upright", "preset"]])
def test_weights_go_on_top_of_the_preset_in_any_order(task, order):
    values = {"preset": "v3", "upright": 7.5}
    changed = task.with_overrides({"rewards": {name: values[name] for name in order}})
    assert on(changed) == on(task.with_overrides({"rewards": "v3"})) | {"upright": 7.5}


def test_weight_alone_keeps_the_others(task):
    changed = task.with_overrides({"rewards": {"foot_switch": 3, "joint_torque": -0.01}})
    assert on(changed) == on(task) | {"foot_switch": 3.0, "joint_torque": -0.01}


def test_null_switches_a_reward_off(task):
    changed = task.with_overrides({"rewards": {"upright": None}})
    assert "upright" not in on(changed)
    assert on(changed) == {name: w for name, w in on(task).items() if name != "upright"}


def test_reward_settings(task):
    changed = task.with_overrides(
        {"rewards": {"forward_velocity": {"weight": 4, "limit": 2, "clip": [0, 1.5]}}}
    )
    term = changed.rewards["forward_velocity"]
    assert (term.weight, term.params, term.clip) == (4.0, {"limit": 2.0}, (0.0, 1.5))
    only_limit = task.with_overrides({"rewards": {"forward_velocity": {"limit": 2}}})
    assert only_limit.rewards["forward_velocity"].weight == 0.5  # v7's


def test_observation_settings(task):
    changed = task.with_overrides(
        {
            "observations": {
                "policy": {
                    "joint_vel": {"scale": 0.05, "noise": 0.5},
                    "gait_clock": {"frequency": 1},
                    "base_lin_vel": None,
                }
            }
        }
    )
    terms = changed.observations["policy"]
    assert list(terms) == [n for n in task.observations["policy"] if n != "base_lin_vel"]
    assert (terms["joint_vel"].scale, terms["joint_vel"].noise) == (0.05, 0.5)
    assert terms["gait_clock"].params == {"frequency": 1.0}
    assert terms["base_quat"] == task.observations["policy"]["base_quat"]


def test_what_another_group_is_shown_is_added_by_name():
    task = get_task("x1_walk")
    added = {"friction": {}, "base_mass": {}, "base_com": {"scale": 2.0}}
    changed = task.with_overrides({"observations": {"policy": added}})
    critic = task.observations["critic"]
    names = [*task.observations["policy"], *added]
    assert list(changed.observations["policy"]) == names
    assert changed.observations["policy"]["base_com"].scale == 2.0
    assert changed.observations["policy"]["base_mass"] == critic["base_mass"]
    assert changed.observations["critic"] == critic
    with pytest.raises(ConfigError, match=r"observations\.policy\.frction.*friction"):
        task.with_overrides({"observations": {"policy": {"frction": {}}}})


def test_terminations_and_randomization(task):
    changed = task.with_overrides(
        {
            "terminations": {"base_too_low": {"height": 0.3}, "tilted": None},
            "randomization": {"joint_pos": {"half_width": 0.2}, "base_velocity": None},
        }
    )
    assert {n: dict(t.params) for n, t in changed.terminations.items()} == {
        "base_too_low": {"height": 0.3}
    }
    assert {n: dict(t.params) for n, t in changed.randomization.items()} == {
        "joint_pos": {"half_width": 0.2},
        "joint_vel": {"half_width": 0.1},
    }


def test_scalars(task):
    changed = task.with_overrides(
        {
            "timestep": 0.0025,
            "decimation": 10,
            "episode_length_s": 5,
            "action_clip": 1,
            "min_stance_time": 0.2,
            "only_positive_rewards": True,
            "action_scale": 0.25,
        }
    )
    assert changed.control_dt == pytest.approx(0.025)
    assert changed.max_episode_steps == 200
    assert (changed.action_clip, changed.min_stance_time) == (1.0, 0.2)
    assert changed.only_positive_rewards is True
    assert changed.action_scale == 0.25
    groups = {"head": 0.1, "arms": 0.2, "legs": 0.3}
    assert task.with_overrides({"action_scale": groups}).action_scale == groups


UNKNOWN = {
    "task setting": ({"reward": "v6"}, "reward", 'did you mean "rewards"'),
    "reward": ({"rewards": {"uprigth": 1.0}}, "rewards.uprigth", 'did you mean "upright"'),
    "reward preset": ({"rewards": "v8"}, "rewards", "v0, v1, v2, v3, v4, v5, v6, v7"),
    "preset in a mapping": ({"rewards": {"preset": "v66"}}, "rewards", 'did you mean "v6"'),
    "reward parameter": (
        {"rewards": {"height": {"targt": 0.4}}},
        "rewards.height.targt",
        'did you mean "target"',
    ),
    "observation group": ({"observations": {"polic": {}}}, "observations.polic", '"policy"'),
    "observation": (
        {"observations": {"policy": {"joint_velocity": None}}},
        "observations.policy.joint_velocity",
        'did you mean "joint_vel"',
    ),
    "termination": ({"terminations": {"tilt": None}}, "terminations.tilt", '"tilted"'),
    "termination parameter": (
        {"terminations": {"tilted": {"limt": 1.0}}},
        "terminations.tilted.limt",
        'did you mean "limit"',
    ),
    "randomization": (
        {"randomization": {"joint_poss": None}},
        "randomization.joint_poss",
        'did you mean "joint_pos"',
    ),
    "name that is a number": ({"rewards": {6: 1.0}}, "rewards.6", 'unknown reward "6"'),
}


@pytest.mark.parametrize(("overrides", "path", "hint"), UNKNOWN.values(), ids=UNKNOWN)
def test_unknown_name(task, overrides, path, hint):
    with pytest.raises(ConfigError) as error:
        task.with_overrides(overrides)
    assert error.value.path == path
    assert hint in error.value.message
    assert "\n" not in str(error.value)


WRONG = {
    "weight is text": ({"rewards": {"upright": "2"}}, "rewards.upright", "'2'"),
    "weight is a flag": ({"rewards": {"upright": True}}, "rewards.upright", "True"),
    "weight is NaN": ({"rewards": {"upright": math.nan}}, "rewards.upright", "nan"),
    "weight is infinite": (
        {"rewards": {"upright": {"weight": math.inf}}},
        "rewards.upright.weight",
        "inf",
    ),
    "weight is a list": ({"rewards": {"upright": [1.0]}}, "rewards.upright", "[1.0]"),
    "rewards are a list": ({"rewards": ["v6"]}, "rewards", "preset's name or a mapping"),
    "rewards are null": ({"rewards": None}, "rewards", "preset's name or a mapping"),
    "preset is a list": ({"rewards": {"preset": ["v6"]}}, "rewards", "preset"),
    "preset is null": ({"rewards": {"preset": None}}, "rewards", "preset"),
    "clip is one number": ({"rewards": {"upright": {"clip": 1}}}, "rewards.upright.clip", "low"),
    "clip is empty": ({"rewards": {"upright": {"clip": [1, 1]}}}, "rewards.upright.clip", "below"),
    "parameter is text": (
        {"terminations": {"tilted": {"limit": "60 deg"}}},
        "terminations.tilted.limit",
        "'60 deg'",
    ),
    "name parameter is a number": (
        {"rewards": {"leg_symmetry": {"first": 3}}},
        "rewards.leg_symmetry.first",
        "left_hip_pitch",
    ),
    "noise is negative": (
        {"observations": {"policy": {"joint_pos": {"noise": -0.1}}}},
        "observations.policy.joint_pos.noise",
        "at least 0",
    ),
    "group is null": ({"observations": {"policy": None}}, "observations.policy", "mapping"),
    "termination is a number": (
        {"terminations": {"tilted": 1.0}},
        "terminations.tilted",
        "mapping",
    ),
    "timestep is zero": ({"timestep": 0}, "timestep", "greater than 0"),
    "decimation is a fraction": ({"decimation": 2.5}, "decimation", "whole number"),
    "decimation is zero": ({"decimation": 0}, "decimation", "at least 1"),
    "episode is negative": ({"episode_length_s": -1.0}, "episode_length_s", "greater than 0"),
    "flag is a number": ({"only_positive_rewards": 1}, "only_positive_rewards", "true or false"),
    "action scale is negative": ({"action_scale": {"legs": -0.5}}, "action_scale.legs", "greater"),
}


@pytest.mark.parametrize(("overrides", "path", "hint"), WRONG.values(), ids=WRONG)
def test_wrong_value(task, overrides, path, hint):
    with pytest.raises(ConfigError) as error:
        task.with_overrides(overrides)
    assert error.value.path.startswith(path)
    assert hint in error.value.message
    assert "\n" not in str(error.value)


def test_an_episode_has_at_least_one_step(task):
    with pytest.raises(ConfigError, match=r"^episode_length_s"):
        task.with_overrides({"episode_length_s": 0.001})


def test_a_group_keeps_at_least_one_observation(task):
    nothing = dict.fromkeys(task.observations["policy"])
    with pytest.raises(ConfigError, match=r"^observations\.policy"):
        task.with_overrides({"observations": {"policy": nothing}})


@pytest.mark.parametrize("scale", [{"leg": 0.5}, {"legs": 0.5}])
def test_action_scale_fits_the_robots_groups(make_biped, scale):
    with pytest.raises(ConfigError, match=r"^action_scale.*(legs|head)"):
        make_biped({"action_scale": scale})


@pytest.mark.parametrize("task_id", task_ids())
def test_presets_name_existing_terms(task_id):
    task = get_task(task_id)
    assert "policy" in task.observations
    for name, weights in task.reward_presets.items():
        assert weights.keys() <= task.rewards.keys(), name
        assert on(task.with_overrides({"rewards": name})) == weights, name


def test_v4_has_fourteen_terms_of_which_seven_are_penalties(task):
    weights = on(task.with_overrides({"rewards": "v4"}))
    assert len(weights) == 14
    assert sum(weight < 0 for weight in weights.values()) == 7


def test_v5_doubles_the_penalties_of_v4(task):
    v4, v5 = (on(task.with_overrides({"rewards": name})) for name in ("v4", "v5"))
    assert v5 == {name: 2 * w if w < 0 else w for name, w in v4.items()}


@pytest.mark.parametrize("version", ["v0", "v6", "v7"])
def test_versions_without_penalties(task, version):
    assert min(on(task.with_overrides({"rewards": version})).values()) > 0
