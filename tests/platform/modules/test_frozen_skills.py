"""Skills inside a policy see what they saw in training, from the group ``skill_state``."""

from dataclasses import replace

import pytest
import torch

from stridelab.modules.frozen_skills import FrozenSkills
from stridelab.skills.description import describe_skills, skill_weights
from stridelab.skills.skill import load_skills
from stridelab_envs.errors import UserError
from stridelab_envs.registry import get_task, make_env


@pytest.fixture(scope="module")
def skills(skills_folder):
    return load_skills(skills_folder / "five.yaml")


@pytest.fixture(scope="module")
def env(skills):
    """Environments with every skill's own observation, without noise, and ``skill_state``."""
    task = skills.task(turn=10.0, episode_length_s=20.0)
    clean = {
        group: {name: replace(term, noise=0.0) for name, term in terms.items()}
        for group, terms in task.observations.items()
    }
    state = get_task("h1_reach_task").observations["skill_state"]
    task = replace(task, observations={**clean, "skill_state": state})
    return make_env(task, num_envs=4, seed=1, num_threads=1)


@pytest.fixture(scope="module")
def frozen(skills, env):
    frozen = FrozenSkills(describe_skills(skills, env), env.action_dim)
    frozen.load_weights(skill_weights(skills))
    return frozen


@pytest.fixture(scope="module")
def commanded(env, skills, frozen):
    """Observations some steps after the commands were given, the commands, the anchors."""
    obs = env.reset()
    anchor = frozen.anchor(obs["skill_state"])
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        obs = env.step(0.5 * torch.randn(4, env.action_dim, generator=generator)).obs
    command = torch.zeros(4, frozen.command_size)
    for skill, part in zip(skills.skills, frozen.slices, strict=True):
        value = env.state.commands[skill.command].value
        command[:, part.start : part.start + value.shape[1]] = value
    return obs, command, anchor


@pytest.mark.parametrize("name", ["walk", "reach", "squat", "step", "crouch"])
def test_a_skill_sees_what_it_saw_in_training(name, frozen, commanded):
    obs, command, anchor = commanded
    number = frozen.names.index(name)
    found = frozen.skills[number].observe(
        obs["skill_state"], command[:, frozen.read[number]], anchor
    )
    torch.testing.assert_close(found, obs[name], atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("number", range(5))
def test_a_skill_acts_as_its_bundle_does(number, skills, frozen, commanded):
    obs, command, anchor = commanded
    chosen = torch.full((4,), number)
    found = frozen(obs["skill_state"], chosen, command, anchor)
    expected = skills.skills[number].policy.act({"policy": obs[frozen.names[number]]})
    assert expected.abs().max() > 0.01
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_each_row_executes_its_own_skill(frozen, commanded):
    obs, command, anchor = commanded
    mixed = frozen(obs["skill_state"], torch.tensor([3, 0, 2, 1]), command, anchor)
    for row, number in enumerate([3, 0, 2, 1]):
        alone = frozen(obs["skill_state"], torch.full((4,), number), command, anchor)
        torch.testing.assert_close(mixed[row], alone[row])


def test_slices_and_what_is_read(frozen):
    assert frozen.slices == [slice(0, 3), slice(3, 9), slice(9, 11), slice(11, 14), slice(14, 17)]
    assert [sum(row) for row in frozen.used(spare=False)] == [3, 6, 1, 3, 1]
    assert [sum(row) for row in frozen.used(spare=True)] == [3, 6, 2, 3, 3]
    assert frozen.columns["squat.height"] == 9
    assert frozen.columns["step.foot"] == 13


def test_skills_hold_no_parameters_but_save_their_weights(frozen):
    assert list(frozen.parameters()) == []
    assert any(name.endswith("actor.0.weight") for name in frozen.state_dict())


def test_ranges_and_origin_are_described(skills, env):
    walk, reach, squat, step, _ = describe_skills(skills, env)
    assert (walk["low"], walk["high"]) == ([-1.0] * 3, [1.0] * 3)
    assert reach["command"][4] == "right_y"
    assert (reach["low"][4], reach["high"][4]) == (-0.25, 0.10)
    assert (squat["low"], squat["high"], squat["spare"]) == ([0.65], [1.03], 1)
    assert step["parts"][0]["spread_y"] == [0.2, 0.55]
    assert len(step["sha256"]) == 64


def without(env, name):
    terms = {n: t for n, t in env.task.observations["skill_state"].items() if n != name}
    task = replace(env.task, observations={**env.task.observations, "skill_state": terms})
    return make_env(task, num_envs=1, seed=0, num_threads=1)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("foot_pos", "lacks foot_pos, which skill step needs for foot_error"),
        ("gait_clock", "lacks gait_clock with .*, which skill walk needs for gait_clock"),
    ],
)
def test_a_state_that_lacks_something_is_refused(name, message, skills, env):
    with pytest.raises(UserError, match=message):
        describe_skills(skills, without(env, name))


def test_a_task_without_the_group_is_refused(skills):
    env = make_env(get_task("h1_walk"), num_envs=1, seed=0, num_threads=1)
    with pytest.raises(UserError, match='h1_walk: has no observation group "skill_state"'):
        describe_skills(skills, env)


def test_another_rate_is_refused(skills, env):
    slow = make_env(replace(env.task, decimation=8), num_envs=1, seed=0, num_threads=1)
    with pytest.raises(UserError, match=r"walk: the policy does not fit .*control_dt is 0\.04"):
        describe_skills(skills, slow)
