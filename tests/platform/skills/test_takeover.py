"""Skills that learn to take over: what counts as calm, who teaches what, what is left behind."""

from __future__ import annotations

import json

import pytest
import torch
import yaml

from stridelab.cli.main import main
from stridelab.export.bundle import load_bundle
from stridelab.skills import load_skills
from stridelab.skills.takeover import Takeover, load_settings
from stridelab_envs.errors import UserError
from stridelab_envs.registry import get_task, make_env

STUDENTS = {"reach": {"least_height": 0.9}, "squat": {}}
TINY = {"num_envs": 8, "env_steps": 800, "minibatches": 4, "minibatch_size": 64}


@pytest.fixture
def lesson_file(tmp_path, skills_file):
    """Write a file of ``stridelab takeover`` beside a skills file."""
    skills_file()

    def write(**changes):
        tree = {"skills": "skills.yaml", "teacher": "walk", "students": STUDENTS, **TINY, **changes}
        path = tmp_path / "takeover.yaml"
        path.write_text(yaml.safe_dump(tree, sort_keys=False))
        return path

    return write


@pytest.fixture
def lesson(lesson_file):
    return Takeover(*load_settings(lesson_file()), seed=3)


def test_a_student_begins_as_the_skill_it_was(lesson):
    for learner in lesson.learners.values():
        before = learner.skill.policy.act({"policy": lesson.obs[learner.group]})
        torch.testing.assert_close(learner.act(lesson.obs), before, atol=1e-5, rtol=1e-5)


def test_a_robot_is_calm_that_is_slow_and_high_enough(lesson, monkeypatch):
    state = lesson.env.state
    squat, reach = lesson.names.index("squat"), lesson.names.index("reach")
    lesson.active = torch.tensor([reach, reach, reach, reach, squat, squat, reach, reach])
    height = torch.tensor([0.95, 0.95, 0.95, 0.89, 0.89, 0.5, 0.95, 0.91])
    speed = torch.tensor([0.1, 0.2, 0.1, 0.1, 0.1, 0.1, 0.1, 0.0])
    turning = torch.tensor([0.4, 0.4, 0.6, 0.4, 0.4, 0.4, 0.3, 0.0])
    zeros = torch.zeros(8)
    for name, value in {
        "base_pos": torch.stack([zeros, zeros, height], 1),
        "base_lin_vel": torch.stack([0.6 * speed, 0.8 * speed, 9.0 + zeros], 1),
        "base_ang_vel": torch.stack([zeros, turning, zeros], 1),
    }.items():
        monkeypatch.setattr(type(state), name, property(lambda _, value=value: value))
    expected = [True, False, False, False, True, True, True, True]
    assert lesson._calm().tolist() == expected


def test_the_teacher_is_told_to_stand_still(lesson):
    [walk] = [skill for skill in lesson.skills if skill.name == "walk"]
    seen = lesson.obs["walk"].clone()
    columns = lesson.env.layouts["walk"]["velocity_command"]
    assert seen[:, columns].abs().max() > 0.1
    seen[:, columns] = 0.0
    torch.testing.assert_close(lesson._recovery(), walk.policy.act({"policy": seen}))


def test_students_are_shown_the_recovery_while_it_lasts(lesson, monkeypatch):
    reach = lesson.names.index("reach")
    lesson.active = torch.full((8,), reach)
    lesson.recovering = torch.tensor([True, False] * 4)
    lesson.since = torch.tensor([0.1] * 4 + [1.6] * 4)  # beyond the longest recovery
    monkeypatch.setattr(lesson, "_calm", lambda: torch.tensor([False] * 3 + [True] + [False] * 4))
    own = lesson.skills[reach].policy.act({"policy": lesson.obs["reach"]})
    recovery = lesson._recovery()
    lesson._step(led=1.0)
    [(obs, label)] = lesson.learners["reach"].fresh
    assert obs.shape == (8, lesson.learners["reach"].module.observation_space["policy"].shape[0])
    shown = (label - recovery).abs().amax(1) < 1e-6
    assert shown.tolist() == [True, False, True, False, False, False, False, False]
    torch.testing.assert_close(label[~shown], own[~shown])
    assert [len(obs) for obs, _ in lesson.learners["squat"].fresh] == [0]


def test_robots_change_hands_together_but_not_the_fallen(lesson):
    before = lesson.active.clone()
    over = torch.tensor([True] + [False] * 7)
    handing = torch.tensor([False, True, True] + [False] * 5)
    lesson._hand_over(handing, over, led=0.0)
    assert (lesson.active != before).tolist() == handing.tolist()
    assert lesson.recovering.tolist() == handing.tolist()
    assert lesson.since[1:4].tolist() == pytest.approx([0.0, 0.0, lesson.env.control_dt])
    assert lesson.led.tolist() == [False, False, False] + [True] * 5


def test_what_is_learnt_is_what_was_shown(lesson_file, tmp_path):
    lesson = Takeover(
        *load_settings(lesson_file(env_steps=8 * 400, minibatches=40, turn_s=0.1)), seed=3
    )
    teacher = {n: t.clone() for n, t in lesson.skills[0].policy.module.state_dict().items()}
    rounds = []
    lesson.run(lambda steps, errors: rounds.append(steps))
    assert rounds == [200 * i for i in range(1, 17)]
    learner = lesson.learners["reach"]
    before = learner.skill.policy.act({"policy": learner.obs}) - learner.actions
    after = learner.module.mean_action(learner.obs) - learner.actions
    assert after.square().mean() < 0.7 * before.square().mean()
    for name, value in lesson.skills[0].policy.module.state_dict().items():
        assert torch.equal(value, teacher[name])
    for folder in lesson.save(tmp_path / "out"):
        policy = load_bundle(folder)
        env = make_env(get_task(f"h1_{folder.name}"), num_envs=2, seed=0)
        policy.check_fits(env)
        obs = env.reset()
        expected = lesson.learners[folder.name].module.mean_action(obs["policy"])
        torch.testing.assert_close(policy.act(obs), expected)
        assert policy.description["env_steps"] == 3200


def test_a_bundle_of_a_task_that_showed_less_learns_to_see_more(tmp_path, bundle, lesson_file):
    path = lesson_file()
    old = bundle("old", id="h1_reach", observations={"policy": {"gait_clock": None}})
    # As written by a version whose task did not have the term at all.
    text = (old / "policy.json").read_text()
    description = json.loads(text)
    del description["experiment"]["task"]["observations"]
    (old / "policy.json").write_text(json.dumps(description))
    tree = yaml.safe_load((tmp_path / "skills.yaml").read_text())
    tree["skills"]["reach"]["policy"] = str(old)
    (tmp_path / "skills.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))
    [skill] = [s for s in load_skills(tmp_path / "skills.yaml").skills if s.name == "reach"]
    assert "gait_clock" not in skill.observation
    lesson = Takeover(*load_settings(path))
    learner = lesson.learners["reach"]
    seen, clock = lesson.obs[learner.group], lesson.env.layouts[learner.group]["gait_clock"]
    narrow = torch.cat([seen[:, : clock.start], seen[:, clock.stop :]], dim=1)
    assert narrow.shape[1] == seen.shape[1] - 2 == lesson.obs["reach"].shape[1]
    expected = skill.policy.act({"policy": narrow})
    torch.testing.assert_close(learner.act(lesson.obs), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"teacher": "wolk"}, 'unknown skill "wolk"; did you mean "walk"?'),
        ({"students": {"kick": {}}}, 'unknown skill "kick"'),
        ({"students": {"walk": {}}}, "students.walk: is the teacher"),
        ({"students": {}}, "students"),
        ({"longest": 1.0}, 'unknown key "longest"; did you mean "longest_s"?'),
    ],
)
def test_mistakes(lesson_file, changes, message):
    with pytest.raises(UserError) as caught:
        load_settings(lesson_file(**changes))
    assert message in str(caught.value)
    assert "takeover.yaml" in str(caught.value)


def test_the_command_names_what_it_wrote(lesson_file, tmp_path, capsys, monkeypatch):
    out = tmp_path / "students"
    monkeypatch.setattr(
        "sys.argv", ["stridelab", "takeover", str(lesson_file()), "--out", str(out)]
    )
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert capsys.readouterr().out.splitlines() == [str(out / "reach"), str(out / "squat")]
