"""Learning from a trained policy beside PPO's own loss."""

import math

import pytest
import torch
from ray.rllib.core import DEFAULT_MODULE_ID

from stridelab.algorithms.ppo.config import module_spec
from stridelab.algorithms.ppo.imitation import TEACHER, imitation_loss, load_teacher, shown_to
from stridelab.experiment.imitation_section import ImitationSection
from stridelab.export.bundle import describe_env, load_bundle, save_bundle
from stridelab_envs.errors import ConfigError, UserError
from stridelab_envs.gym import action_space, observation_space
from stridelab_envs.mdp.observations import joint_pos_rel, joint_vel
from stridelab_envs.registry import get_task, make_env


@pytest.fixture
def teacher(tmp_path, tiny_experiment, tiny_env, tiny_module):
    """Bundle of a policy that differs from an untrained one."""
    folder = tmp_path / "teacher"
    env = describe_env(tiny_env)
    save_bundle(folder, tiny_module, tiny_experiment(), env, env_steps=0, git_commit=None)
    return folder


@pytest.fixture
def bundle_of(tmp_path, tiny_experiment):
    """Write and read a bundle of a plain policy of the X1."""

    def build(**task):
        experiment = tiny_experiment(task__id="x1_walk", task__episode_length_s=1.0).with_values(
            {f"task.{key}": value for key, value in task.items()}
        )
        env = make_env(experiment.task_config(), num_envs=1, seed=0)
        spec = module_spec(experiment.model, env.task)
        spec.observation_space, spec.action_space = observation_space(env), action_space(env)
        save_bundle(
            tmp_path / "x1",
            spec.build(),
            experiment,
            describe_env(env),
            env_steps=0,
            git_commit=None,
        )
        return load_bundle(tmp_path / "x1")

    return build


def policy_of(learner):
    return learner.module[DEFAULT_MODULE_ID].unwrapped()


def test_divergence_by_hand():
    """Means 0.3 and 0.4 apart at spreads 0.5 and 0.2: (0.36 + 4) / 2 nat; and none."""
    mean = torch.tensor([[0.3, 0.1], [1.0, 1.0]], requires_grad=True)
    log_std = torch.tensor([[0.5, 0.2]]).log().expand(2, 2).clone().requires_grad_()
    labels = torch.tensor([[0.0, 0.5], [1.0, 1.0]])
    loss = imitation_loss(mean, log_std, labels)
    assert loss.item() == pytest.approx((0.36 + 4.0) / 2 / 2)
    loss.backward()
    assert log_std.grad is None
    expected = [[0.3 / 0.25 / 2, -0.4 / 0.04 / 2], [0.0, 0.0]]
    torch.testing.assert_close(mean.grad, torch.tensor(expected))


def test_the_loss_is_added(build_pair, teacher, tiny_module):
    settings = {"teacher": str(teacher), "coef": 0.3}
    runner, learner = build_pair(algorithm__imitation=settings)
    _, alone = build_pair()
    rollout = runner.sample()
    assert rollout.obs[TEACHER].shape == rollout.obs["policy"].shape
    batch = learner._prepare(rollout)
    expected = tiny_module.mean_action(rollout.obs[TEACHER][:-1].flatten(0, 1))
    torch.testing.assert_close(batch.labels, expected)
    total, statistics = learner._loss(*vars(batch.rows(torch.arange(30))).values())
    plain, _ = alone._loss(*vars(alone._prepare(rollout).rows(torch.arange(30))).values())
    own = policy_of(learner)
    mean = own.mean_action(rollout.obs["policy"][:-1].flatten(0, 1)[:30])
    divergence = ((mean - expected[:30]) / own.log_std.exp()).square().sum(1).mean() / 2
    assert statistics["loss/imitation"].item() == pytest.approx(0.3 * divergence.item(), rel=1e-4)
    assert (total - plain).item() == pytest.approx(0.3 * divergence.item(), rel=1e-3)


def test_the_student_becomes_like_the_teacher_who_stays(build_pair, teacher, tiny_module):
    runner, learner = build_pair(
        algorithm__imitation={"teacher": str(teacher)},
        algorithm__schedule="fixed",
        algorithm__learning_rate=3e-3,
        algorithm__max_grad_norm=100.0,
    )
    rollout = runner.sample()
    losses = [learner.update_rollout(rollout)["loss/imitation"] for _ in range(30)]
    assert losses[-1] < 0.5 * losses[0]
    for name, value in learner._imitation.module.state_dict().items():
        assert torch.equal(value, tiny_module.state_dict()[name]), name


def test_the_weight_falls_and_ends(build_pair, teacher):
    runner, learner = build_pair(
        algorithm__imitation={"teacher": str(teacher), "coef": 2.0, "until": 0.5}
    )
    weights = []
    for fraction in (0.0, 0.125, 0.5, 0.9):
        learner.set_progress(fraction)
        weights.append(learner._imitation.coef)
    assert weights == [2.0, 1.5, 0.0, 0.0]
    assert "loss/imitation" not in learner.update_rollout(runner.sample())


def test_the_weight_is_restored(build_pair, teacher):
    settings = {"teacher": str(teacher), "coef": 2.0}
    _, learner = build_pair(algorithm__imitation=settings)
    learner.set_progress(0.25)
    _, resumed = build_pair(algorithm__imitation=settings)
    resumed.set_state(learner.get_state())
    assert resumed._imitation.coef == 1.5


def test_the_teacher_sees_without_noise(teacher):
    policy = load_teacher(ImitationSection(teacher=str(teacher)))
    shown = shown_to(policy, get_task("biped_walk"))
    assert shown.observations.keys() == {*get_task("biped_walk").observations, TEACHER}
    seen, own = shown.observations[TEACHER], shown.observations["policy"]
    assert list(seen) == list(own)
    assert not any(term.noise for term in seen.values())


def test_the_teacher_sees_in_time(bundle_of):
    """The X1's policy sees joints late; its critic sees them as they are, and so does a teacher."""
    shown = shown_to(bundle_of(history={"policy": 1, "critic": 1}), get_task("x1_walk"))
    seen = shown.observations[TEACHER]
    assert list(seen) == list(get_task("x1_walk").observations["policy"])
    assert seen["joint_pos"].func is joint_pos_rel
    assert seen["joint_vel"].func is joint_vel
    assert not any(term.noise for term in seen.values())


def test_a_teacher_with_a_history(bundle_of, tmp_path):
    bundle_of(history={"policy": 5, "critic": 1})
    with pytest.raises(ConfigError, match="looks at more than the newest frame"):
        load_teacher(ImitationSection(teacher=str(tmp_path / "x1")))


@pytest.mark.parametrize(
    ("task", "message"),
    [("h1_walk", "does not fit task h1_walk"), ("biped_walk", "action_scale is")],
)
def test_a_teacher_that_does_not_fit(teacher, task, message):
    policy = load_teacher(ImitationSection(teacher=str(teacher)))
    changed = get_task(task)
    if task == "biped_walk":
        changed = changed.with_overrides({"action_scale": 0.11})
    with pytest.raises(ConfigError) as caught:
        shown_to(policy, changed)
    assert caught.value.path == "algorithm.imitation.teacher"
    assert message in caught.value.message
    assert "\n" not in str(caught.value)


def test_a_teacher_that_is_not_there(build_pair, tmp_path):
    with pytest.raises(UserError, match="no policy bundle here"):
        build_pair(algorithm__imitation={"teacher": str(tmp_path / "nobody")})


def test_mirror_images_have_no_teacher(build_pair, teacher):
    """Labels are of the samples themselves; with both, their losses add up."""
    runner, learner = build_pair(
        algorithm__imitation={"teacher": str(teacher)},
        algorithm__symmetry={"augmentation": True, "mirror_loss_coef": 0.5},
    )
    metrics = learner.update_rollout(runner.sample())
    assert metrics["loss/imitation"] > 0.0
    assert metrics["loss/mirror"] > 0.0
    assert math.isfinite(metrics["loss/total"])
