"""One policy learns several tasks from policies that learned one each."""

from pathlib import Path

import pytest
import torch

from stridelab.algorithms.ppo.config import taught
from stridelab.algorithms.ppo.task_teachers import load_teachers
from stridelab.export.bundle import describe_env, load_bundle, save_bundle
from stridelab.skills.guides import dribble
from stridelab.tuning.study import run_study
from stridelab_envs.errors import ConfigError, UserError
from stridelab_envs.registry import make_env

ROOT = Path(__file__).resolve().parents[3]
REACH, BUTTON, BALL = 0, 1, 3
"""Columns of the one-hot task."""
VELOCITY = ("lin_vel_x", "lin_vel_y", "ang_vel_z")


@pytest.fixture
def many() -> dict:
    """Dotted keys of a small policy for the eight tasks."""
    return {
        "task__id": "h1_multitask",
        "task__num_envs": 24,
        "model": {
            "kind": "hierarchical",
            "skills": str(ROOT / "experiments" / "skills" / "h1.yaml"),
            "actor_hidden": [32],
            "critic_hidden": [16],
        },
        "algorithm__normalize_advantages_by": "task",
        "algorithm__num_steps_per_env": 4,
        "algorithm__schedule": "fixed",
    }


@pytest.fixture
def teacher_of(tmp_path, many, tiny_experiment, build_pair):
    """Write the bundle of an untrained policy, one like no other, of a single task."""

    def build(task, seed=1):
        experiment = tiny_experiment(**{**many, "task__id": task})
        torch.manual_seed(seed)
        runner, learner = build_pair(**{**many, "task__id": task})
        module = learner._policy
        with torch.no_grad():
            module.gating.bias.normal_(std=2.0)
            module.command_mean.bias.normal_()
        folder = tmp_path / f"{task}_{seed}"
        save_bundle(
            folder, module, experiment, describe_env(runner.env), env_steps=0, git_commit=None
        )
        return str(folder)

    return build


def test_each_teacher_labels_the_robots_of_its_task(build_pair, many, teacher_of):
    folders = [teacher_of("h1_button"), teacher_of("h1_reach_task", seed=2)]
    runner, learner = build_pair(**many, algorithm__imitation={"task_teachers": folders})
    frames = runner.sample().obs["policy"][0]
    columns = learner.config.advantage_columns
    number = frames[:, columns].argmax(dim=1)
    labels = learner._imitation.labels(frames)
    assert (labels[:, -1] > 0).tolist() == [int(n) in (REACH, BUTTON) for n in number]
    for column, folder in ((BUTTON, folders[0]), (REACH, folders[1])):
        module, rows = load_bundle(Path(folder)).module, number == column
        assert rows.any()
        expected = module.act(module.normalize({"policy": frames[rows]})["policy"])
        torch.testing.assert_close(labels[rows, :-1], expected)


def test_the_loss_is_the_divergence_from_ones_own_teacher(build_pair, many, teacher_of):
    folder = teacher_of("h1_reach_task")
    settings = {"task_teachers": [folder], "coef": 0.5}
    runner, learner = build_pair(**many, algorithm__imitation=settings)
    rollout = runner.sample()
    batch = learner._prepare(rollout)
    _, statistics = learner._loss(*vars(batch.rows(torch.arange(96))).values())
    own, teacher = learner._policy, load_bundle(Path(folder)).module
    taught_rows = batch.labels[:, -1] > 0
    frames = rollout.obs["policy"][:-1].flatten(0, 1)[taught_rows]
    student = own.action_shape.split_inputs(own.act(own.normalize({"policy": frames})["policy"]))
    theirs = own.action_shape.split_inputs(batch.labels[taught_rows, :-1])
    p = theirs.logits.softmax(-1)
    gating = (p * (theirs.logits.log_softmax(-1) - student.logits.log_softmax(-1))).sum(-1)
    gaussian = torch.distributions.Normal
    command = torch.distributions.kl_divergence(
        gaussian(theirs.command_mean, theirs.command_log_std.exp()),
        gaussian(student.command_mean, student.command_log_std.exp()),
    )
    used = torch.tensor(teacher.action_shape.used, dtype=torch.float32)
    expected = (gating + (command * (p @ used)).sum(-1)).mean()
    assert statistics["loss/imitation"].item() == pytest.approx(0.5 * expected.item(), rel=1e-3)


def test_the_student_becomes_like_its_teachers(build_pair, many, teacher_of):
    folders = [teacher_of("h1_reach_task"), teacher_of("h1_button", seed=2)]
    runner, learner = build_pair(
        **many,
        algorithm__imitation={"task_teachers": folders},
        algorithm__learning_rate=3e-3,
        algorithm__max_grad_norm=100.0,
    )
    rollout = runner.sample()
    losses = [learner.update_rollout(rollout)["loss/imitation"] for _ in range(30)]
    assert losses[-1] < 0.3 * losses[0]


@pytest.mark.parametrize(
    ("which", "values", "told"),
    [
        (["h1_reach_task", "h1_reach_task"], {}, r"task_teachers\[1\].*teaches h1_reach_task, as"),
        (["h1_reach_task"], {"algorithm__normalize_advantages_by": None}, "one-hot term"),
        (["h1_reach_task"], {"task__id": "h1_walk"}, "one-hot|observation term"),
    ],
)
def test_teachers_that_do_not_fit_are_refused(
    tiny_experiment, many, teacher_of, which, values, told
):
    folders = [teacher_of(task, seed) for seed, task in enumerate(which)]
    experiment = tiny_experiment(
        **{**many, **values}, algorithm__imitation={"task_teachers": folders}
    )
    with pytest.raises(ConfigError, match=told):
        taught(experiment.task_config(), experiment.algorithm)


@pytest.mark.parametrize(
    ("imitation", "told"),
    [
        ({"guides": ["h1_bal"]}, r"guides\[0\].*h1_bal.*h1_ball"),
        ({"guides": ["h1_ball", "h1_ball"]}, r"guides\[1\].*another teacher"),
    ],
)
def test_guides_that_do_not_fit_are_refused(tiny_experiment, many, imitation, told):
    experiment = tiny_experiment(**many, algorithm__imitation=imitation)
    with pytest.raises(ConfigError, match=told):
        taught(experiment.task_config(), experiment.algorithm)


def test_a_guide_and_a_policy_cannot_teach_the_same_task(tiny_experiment, many, teacher_of):
    imitation = {"task_teachers": [teacher_of("h1_ball")], "guides": ["h1_ball"]}
    experiment = tiny_experiment(**many, algorithm__imitation=imitation)
    with pytest.raises(ConfigError, match="another teacher"):
        taught(experiment.task_config(), experiment.algorithm)


@pytest.mark.parametrize("key", ["guides", "task_teachers"])
def test_a_policy_without_skills_cannot_be_taught_by_tasks(tiny_experiment, key):
    with pytest.raises(ConfigError, match=f"imitation.{key}.*hierarchical"):
        tiny_experiment(algorithm__imitation={key: ["h1_ball"]})


def test_a_guide_labels_the_robots_of_its_task(build_pair, many):
    runner, learner = build_pair(**many, algorithm__imitation={"guides": ["h1_ball"]})
    frames = runner.sample().obs["policy"][0]
    layout = runner.env.layouts["policy"]
    labels = learner._imitation.labels(frames)
    taught_rows = labels[:, -1] > 0
    assert torch.equal(taught_rows, frames[:, layout["task"]].argmax(dim=1) == BALL)
    assert taught_rows.any()
    heads = learner._policy.action_shape.split_inputs(labels[taught_rows, :-1])
    assert (heads.logits.argmax(dim=1) == 0).all()  # walk
    goal = {part: frames[taught_rows][:, layout[f"goal_{part}"]] for part in ("object", "target")}
    velocity = dribble(goal).command
    advised = torch.stack([velocity[f"walk.{name}"] for name in VELOCITY], dim=1)
    own = learner._policy.clamped_command(heads.command_mean)[:, :3]
    torch.testing.assert_close(own, advised)
    assert not heads.residual_mean.any()
    assert not heads.residual_on.any()  # the student's is off, too


def test_what_a_guide_says_can_count_more(build_pair, many):
    losses = []
    for weight in (1.0, 3.0):
        imitation = {"guides": ["h1_ball"], "guide_weight": weight}
        runner, learner = build_pair(
            **{**many, "task__id": "h1_ball"}, algorithm__imitation=imitation
        )
        batch = learner._prepare(runner.sample())
        assert (batch.labels[:, -1] == weight).all()
        _, statistics = learner._loss(*vars(batch.rows(torch.arange(96))).values())
        losses.append(statistics["loss/imitation"].item())
    assert losses[1] == pytest.approx(3.0 * losses[0], rel=1e-4)


def test_the_student_becomes_like_a_guide(build_pair, many):
    runner, learner = build_pair(
        **{**many, "task__id": "h1_ball"},
        algorithm__imitation={"guides": ["h1_ball"]},
        algorithm__learning_rate=3e-3,
        algorithm__max_grad_norm=100.0,
    )
    rollout = runner.sample()
    losses = [learner.update_rollout(rollout)["loss/imitation"] for _ in range(30)]
    assert losses[-1] < 0.3 * losses[0]


def test_a_teacher_without_skills_is_refused(tmp_path, tiny_experiment, tiny_env, tiny_module):
    env = describe_env(tiny_env)
    folder = tmp_path / "plain"
    save_bundle(folder, tiny_module, tiny_experiment(), env, env_steps=0, git_commit=None)
    with pytest.raises(ConfigError, match="must be a hierarchical policy"):
        load_teachers([str(folder)], slice(0, 2))


@pytest.mark.parametrize(
    "values",
    [
        {"train.start_from": "nowhere"},
        {"algorithm.imitation": {"teacher": "nowhere"}},
    ],
)
def test_policies_that_are_missing_are_refused_before_anything_is_written(
    tmp_path, tiny_experiment, values
):
    experiment = tiny_experiment().with_values(
        {**values, "resources.storage_path": str(tmp_path / "runs")}
    )
    with pytest.raises(UserError, match="nowhere: no policy bundle here"):
        run_study(experiment)
    assert not (tmp_path / "runs").exists()


def test_the_column_of_a_teacher_is_that_of_its_own_task(teacher_of, many, tiny_experiment):
    task = tiny_experiment(**many).task_config()
    columns = make_env(task, num_envs=1, seed=0).layouts["policy"]["task"]
    found = load_teachers([teacher_of("h1_button"), teacher_of("h1_reach_task")], columns)
    assert [(n, t.experiment.task.id) for n, t in found.items()] == [
        (BUTTON, "h1_button"),
        (REACH, "h1_reach_task"),
    ]
