"""Teachers and guides brought together in one policy by regression."""

from pathlib import Path

import pytest
import torch
import yaml

from stridelab.algorithms.ppo.config import module_spec
from stridelab.cli.main import main
from stridelab.export.bundle import describe_env, load_bundle, save_bundle
from stridelab.skills import distill
from stridelab.skills.distill import Distillation
from stridelab_envs.errors import ConfigError, UserError
from stridelab_envs.gym import action_space, observation_space
from stridelab_envs.registry import make_env

ROOT = Path(__file__).resolve().parents[3]
BALL = 3
"""Column of the one-hot task."""


@pytest.fixture
def lesson(tmp_path, tiny_experiment, monkeypatch):
    """Build a small student on the eight tasks that a guide teaches one of."""
    monkeypatch.setattr(distill, "_MINIBATCHES", 10)
    monkeypatch.setattr(distill, "_MINIBATCH_SIZE", 256)
    small = {
        "task__id": "h1_multitask",
        "task__num_envs": 32,
        "model": {
            "kind": "hierarchical",
            "skills": str(ROOT / "experiments" / "skills" / "h1.yaml"),
            "actor_hidden": [64],
            "critic_hidden": [16],
        },
        "algorithm__schedule": "fixed",
        "algorithm__learning_rate": 3e-3,
    }

    def build(seed=0, **values):
        start = tmp_path / "start"
        if not start.exists():
            experiment = tiny_experiment(**small)
            task = experiment.task_config()
            env = make_env(task, num_envs=1, seed=0, num_threads=1)
            spec = module_spec(experiment.model, task)
            spec.observation_space, spec.action_space = observation_space(env), action_space(env)
            torch.manual_seed(0)
            known = describe_env(env)
            save_bundle(start, spec.build(), experiment, known, env_steps=7, git_commit=None)
        taught = {
            "algorithm__imitation": {"guides": ["h1_ball"]},
            "algorithm__normalize_advantages_by": "task",
            "train__start_from": str(start),
            "train__env_steps": 32 * 20 * 12,
        }
        return Distillation(tiny_experiment(**{**small, **taught, **values}), seed=seed)

    return build


def test_the_student_becomes_like_the_guide_and_stays_itself_elsewhere(lesson):
    one = lesson()
    before = load_bundle(Path(one.experiment.train.start_from)).module
    losses = []
    one.run(lambda _, means: losses.append(means["loss"]))
    assert losses[-1] < 0.5 * losses[0]
    frames = one.memory.draw(2000, torch.Generator().manual_seed(0))["policy"]
    task = frames[:, one.env.layouts["policy"]["task"]].argmax(dim=1)
    ball = task == BALL
    assert ball.any() and not ball.all()

    def choices(module, rows):
        inputs = module.act(module.normalize({"policy": frames[rows]})["policy"])
        return module.action_shape.split_inputs(inputs).logits.softmax(dim=-1)

    walking = choices(one.module, ball)[:, 0].mean()
    assert walking > choices(before, ball)[:, 0].mean() + 0.2
    moved = (choices(one.module, ~ball) - choices(before, ~ball)).abs().mean()
    assert moved < 0.05


def test_the_result_is_a_bundle_that_counts_its_steps(lesson, tmp_path):
    one = lesson(train__env_steps=640)
    one.run()
    one.save(tmp_path / "student")
    policy = load_bundle(tmp_path / "student")
    assert policy.description["env_steps"] == 7 + 640
    policy.check_fits(one.env)


def test_the_same_seed_gives_the_same_student(lesson):
    students = [lesson(seed=seed, train__env_steps=1280) for seed in (3, 3, 4)]
    for one in students:
        one.run()
    first, again, other = (
        torch.cat([p.flatten() for p in s.module.parameters()]) for s in students
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ({"algorithm__imitation": None}, "algorithm.imitation"),
        ({"algorithm__normalize_advantages_by": None}, "algorithm.normalize_advantages_by"),
    ],
)
def test_what_is_missing_is_told(lesson, values, where):
    with pytest.raises(ConfigError) as caught:
        lesson(**values)
    assert caught.value.path == where


def test_a_missing_student_is_told(lesson):
    with pytest.raises(UserError, match="nowhere: no policy bundle here"):
        lesson(train__start_from="nowhere")


@pytest.fixture
def history_lesson(tmp_path, tiny_experiment, tiny_estimator, tiny_env, tiny_module, monkeypatch):
    """Build a student with a history, taught by a policy that sees one clean frame."""
    monkeypatch.setattr(distill, "_MINIBATCHES", 10)
    monkeypatch.setattr(distill, "_MINIBATCH_SIZE", 256)
    teacher = tmp_path / "teacher"
    known = describe_env(tiny_env)
    save_bundle(teacher, tiny_module, tiny_experiment(), known, env_steps=0, git_commit=None)

    def build(**values):
        experiment = tiny_experiment().with_values(
            {
                **tiny_estimator,
                # Nothing but its own loss teaches the estimator then.
                "model": {**tiny_estimator["model"], "detach_estimate": True},
                "task.num_envs": 32,
                "task.episode_length_s": 2.0,
                "algorithm.imitation": {"teacher": str(teacher)},
                "algorithm.learning_rate": 3e-3,
                "train.env_steps": 32 * 20 * 12,
                **values,
            }
        )
        return Distillation(experiment)

    return build


def test_a_student_with_a_history_learns_from_nothing_and_learns_to_estimate(history_lesson):
    one = history_lesson()
    rounds = []
    one.run(lambda _, means: rounds.append(means))
    assert rounds[-1]["loss"] < 0.5 * rounds[0]["loss"]
    assert rounds[-1]["estimator/rmse"] < 0.8 * rounds[0]["estimator/rmse"]
    batch = one.memory.draw(1000, torch.Generator().manual_seed(0))
    with torch.no_grad():
        after, before = (m.squared_errors(batch)["estimator"] for m in (one.module, one._before))
    assert after.mean() < 0.5 * before.mean()


def test_what_is_remembered_is_what_was_seen_and_what_the_teacher_said(history_lesson):
    one = history_lesson(**{"train.env_steps": 32 * 20})
    seen = []
    original = one.env.step

    def watching(action):
        step = original(action)
        seen.append(step.obs)
        return step

    one.env.step = watching
    one.run()
    batch = one.memory.draw(500, torch.Generator().manual_seed(0))
    shown = {
        tuple(row.tolist()): obs["teacher"][i]
        for obs in seen
        for i, row in enumerate(obs["policy"])
    }
    found = [shown.get(tuple(row.tolist())) for row in batch["policy"]]
    known = [i for i, frame in enumerate(found) if frame is not None]
    assert len(known) > 400  # but for the first step, which came from reset()
    teacher = one._teachers.module
    expected = teacher.mean_action(torch.stack([found[i] for i in known]))
    torch.testing.assert_close(batch["labels"][known], expected)


def test_the_bundle_of_a_student_with_a_history_knows_nothing_of_its_teacher(
    history_lesson, tmp_path
):
    one = history_lesson(**{"train.env_steps": 640})
    one.run()
    one.save(tmp_path / "student")
    policy = load_bundle(tmp_path / "student")
    assert policy.description["env_steps"] == 640
    assert "teacher" not in policy.description["env"]["layouts"]
    again = history_lesson(**{"train.start_from": str(tmp_path / "student")})
    for name, value in policy.module.state_dict().items():
        assert torch.equal(value, again.module.state_dict()[name])


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Run ``stridelab distill``; gives its exit code, output, errors and the bundle's place."""

    def run(tree):
        (tmp_path / "lesson.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
        out = tmp_path / "student"
        arguments = ["distill", str(tmp_path / "lesson.yaml"), "--out", str(out)]
        monkeypatch.setattr("sys.argv", ["stridelab", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, *capsys.readouterr(), out

    return run


def test_the_command_writes_a_bundle_and_says_how_far_it_is(history_lesson, command):
    tree = history_lesson(**{"train.env_steps": 1280}).experiment.to_dict()
    code, printed, err, out = command(tree)
    assert code == 0, err
    assert printed.split() == [str(out)]
    assert "640 of 1,280 env steps  loss" in err
    assert "estimator/rmse" in err
    assert load_bundle(out).description["env_steps"] == 1280


def test_the_command_refuses_an_experiment_without_teachers(history_lesson, command):
    tree = history_lesson().experiment.to_dict()
    tree["algorithm"]["imitation"] = None
    code, _, err, out = command(tree)
    assert code == 2
    assert "algorithm.imitation: is missing" in err
    assert not out.exists()
