"""The skills file: what it becomes, and how a wrong one is refused."""

import json
import shutil

import pytest
import torch

from stridelab.skills import load_skills
from stridelab_envs.errors import UserError
from stridelab_envs.registry import get_task, make_env
from stridelab_envs.tasks import h1

WIDTHS = {"walk": 3, "reach": 6, "squat": 2, "step": 3}
COMMANDS = {"walk": "velocity", "reach": "wrists", "squat": "height", "step": "feet"}
RANGES = {
    "walk": h1.VELOCITY_RANGES,
    "reach": h1.WRIST_RANGES,
    "squat": h1.HEIGHT_RANGE,
    "step": h1.FOOT_RANGES,
}


@pytest.fixture
def skill_set(skills_file):
    return load_skills(skills_file())


class TestSkills:
    def test_they_stand_side_by_side_in_the_order_of_the_file(self, skill_set):
        start = 0
        for skill, (name, width) in zip(skill_set.skills, WIDTHS.items(), strict=True):
            assert skill.name == name
            assert (skill.columns.start, skill.columns.stop) == (start, start + width)
            start += width
        # Velocity 3, wrists 6, height and a spare 2, foot 3.
        assert skill_set.command_size == start == 14

    def test_command_ranges_and_observation_come_from_the_bundle(self, skill_set):
        for skill in skill_set.skills:
            assert skill.command == COMMANDS[skill.name]
            ranges = {name: tuple(map(float, b)) for name, b in RANGES[skill.name].items()}
            assert list(skill.ranges.items()) == list(ranges.items())
            task = get_task(f"h1_{skill.name}")
            assert skill.observation == tuple(task.observations["policy"])
            assert skill.task == task.for_evaluation()

    def test_changed_ranges_are_those_of_the_experiment(self, skills_file, bundle):
        commands = {"velocity": {"ranges": {"lin_vel_y": [-0.3, 0.3]}}}
        folder = bundle("narrow", id="h1_walk", commands=commands)
        [skill] = load_skills(skills_file({"walk": {"policy": str(folder)}})).skills
        assert skill.ranges["lin_vel_y"] == (-0.3, 0.3)
        assert skill.ranges["lin_vel_x"] == (-1.0, 1.0)  # whole: no curriculum

    def test_a_path_is_relative_to_the_file(self, skills_file, bundles, monkeypatch):
        path = skills_file({"walk": {"policy": "../walk"}, "crouch": {"policy": "policies/squat"}})
        shutil.copytree(bundles / "h1_walk", path.parent.parent / "walk")
        shutil.copytree(bundles / "h1_squat", path.parent / "policies" / "squat")
        monkeypatch.chdir("/")
        skills = load_skills(path).skills
        assert [(skill.name, skill.command) for skill in skills] == [
            ("walk", "velocity"),
            ("crouch", "height"),
        ]


class TestTask:
    def test_each_skill_finds_its_observation_and_command(self, skill_set):
        task = skill_set.task(turn=2.0, episode_length_s=5.0)
        env = make_env(task, num_envs=2, seed=0, num_threads=1)
        assert list(env.state.commands) == list(COMMANDS.values())
        assert env.observation_sizes.keys() == WIDTHS.keys()
        for skill in skill_set.skills:
            skill.check_fits(env)
            own = make_env(skill.task, num_envs=2, seed=0, num_threads=1)
            assert env.layouts[skill.name] == own.layouts["policy"]
        assert env.max_episode_steps == 250
        step = env.step(torch.zeros(2, 19))
        assert step.reward.tolist() == [0.0, 0.0]

    def test_commands_are_drawn_all_at_once(self, skill_set):
        env = make_env(skill_set.task(turn=0.1, episode_length_s=5.0), num_envs=2, seed=0)
        for count in range(1, 13):
            before = {name: c.value.clone() for name, c in env.state.commands.items()}
            env.step(torch.zeros(2, 19))
            for name, command in env.state.commands.items():
                drawn = (command.value != before[name]).any(dim=1).tolist()
                assert drawn == [count % 5 == 0] * 2, (name, count)

    def test_robot_rates_and_randomisation_are_the_tasks_own(self, skills_file, bundle):
        folder = bundle("calm", id="h1_walk", randomization={"push": None})
        skill_set = load_skills(skills_file({"walk": {"policy": str(folder)}}))
        task, own = skill_set.task(turn=2.0, episode_length_s=5.0), get_task("h1_walk")
        for name in ("robot", "timestep", "decimation", "randomization", "terminations"):
            assert getattr(task, name) == getattr(own, name), name


def test_a_skill_acts_on_its_own_group_alone(skill_set):
    env = make_env(skill_set.task(turn=2.0, episode_length_s=5.0), num_envs=2, seed=0)
    obs = env.reset()
    for skill in skill_set.skills:
        own = make_env(skill.task, num_envs=2, seed=0, num_threads=1)
        action = skill.policy.act({"policy": obs[skill.name]})
        assert action.shape == (2, 19)
        # With the critic's group at hand it does the same.
        whole = own.reset() | {"policy": obs[skill.name]}
        assert torch.equal(action, skill.policy.act(whole))


@pytest.mark.parametrize(
    ("settings", "difference"),
    [
        ({"action_scale": 0.25}, r"action_scale is \[0\.4, .* trained with \[0\.25, "),
        ({"decimation": 2}, r"control_dt is 0\.02, but it was trained with 0\.01$"),
    ],
)
def test_a_policy_that_does_not_fit(skills_file, bundle, bundles, settings, difference):
    odd = bundle("odd", id="h1_squat", **settings)
    entries = {"walk": {"policy": str(bundles / "h1_walk")}, "squat": {"policy": str(odd)}}
    skill_set = load_skills(skills_file(entries))
    env = make_env(skill_set.task(turn=2.0, episode_length_s=5.0), num_envs=1, seed=0)
    walk, squat = skill_set.skills
    walk.check_fits(env)
    with pytest.raises(UserError, match=f"^the policy does not fit task skills: {difference}"):
        squat.check_fits(env)


class TestRefusals:
    def refusal(self, path):
        with pytest.raises(UserError) as caught:
            load_skills(path)
        text = str(caught.value)
        assert text.isprintable(), text
        return text

    def test_no_file(self, tmp_path):
        path = tmp_path / "skills.yaml"
        assert self.refusal(path) == f"{path}: there is no such file"

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("", ": is empty; it needs at least skills"),
            ("[walk]", ":1: must be a mapping (key: value), got a list"),
            ("skills: {}", ":1: skills: must hold at least one entry"),
            ("skills: walk", ':1: skills: must be a mapping, got "walk"'),
            (
                "skill:\n  walk: {policy: a}",
                ':1: skill: unknown key "skill"; did you mean "skills"?',
            ),
            ("skills:\n  walk: {spare: 1}", ":2: skills.walk.policy: is required"),
            (
                "skills:\n  walk:\n    polcy: a",
                ':3: skills.walk.polcy: unknown key "polcy"; did you mean "policy"?',
            ),
            (
                "skills:\n  walk: {policy: a}\n  squat: {policy: b, spare: -1}",
                ":3: skills.squat.spare: must be at least 0, got -1",
            ),
            ("skills:\n  walk: {policy: 7}", ":2: skills.walk.policy: must be text, got 7"),
        ],
    )
    def test_a_file_with_a_mistake(self, skills_file, text, expected):
        path = skills_file(text=text)
        assert self.refusal(path).startswith(f"{path}{expected}")

    def test_a_missing_bundle(self, skills_file, tmp_path):
        path = skills_file({"walk": {"policy": "nowhere"}})
        assert self.refusal(path) == (
            f"{tmp_path}/nowhere: no policy bundle here "
            "(policy.json and policy.safetensors are needed)"
        )

    def test_two_skills_of_one_command(self, skills_file, bundles):
        walk = {"policy": str(bundles / "h1_walk")}
        path = skills_file({"walk": walk, "stroll": walk})
        assert self.refusal(path) == f'{path}: two skills follow a command called "velocity"'

    def test_a_policy_without_a_command(self, skills_file, bundle):
        folder = bundle("biped", id="biped_walk")
        path = skills_file({"walk": {"policy": str(folder)}})
        assert self.refusal(path) == f"{folder}: a skill follows one command, this policy 0"

    def test_a_command_that_keeps_its_own_times(self, skills_file, bundle):
        folder = bundle("x1", id="x1_walk")
        text = self.refusal(skills_file({"walk": {"policy": str(folder)}}))
        assert text.startswith(f"{folder}: a skill follows a command of ranges and resampling_time")

    def test_skills_of_two_robots(self, skills_file, bundle, bundles):
        folder = bundle("other", id="h1_walk")
        description = json.loads((folder / "policy.json").read_text())
        description["env"]["robot"] = "h2"
        (folder / "policy.json").write_text(json.dumps(description))
        reach = {"policy": str(bundles / "h1_reach")}
        path = skills_file({"reach": reach, "walk": {"policy": str(folder)}})
        assert self.refusal(path) == f"{path}: skills of different robots: reach h1, walk h2"
