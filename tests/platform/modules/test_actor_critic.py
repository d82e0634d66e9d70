"""The plain policy as an RLModule and as a part of learning."""

import math

import numpy as np
import pytest
import torch
from gymnasium import spaces
from ray.rllib.core.columns import Columns
from torch.nn import functional

from stridelab.algorithms.ppo.config import module_config
from stridelab.modules.actor_critic import ActorCritic
from stridelab.modules.networks import Perceptron
from stridelab_envs.robots import get_robot

OBS, ACTIONS, CRITIC_OBS = 6, 3, 9


def build(groups=("policy",), *, inference_only=False, **changes):
    sizes = {"policy": OBS, "critic": CRITIC_OBS}
    torch.manual_seed(0)
    return ActorCritic(
        observation_space=spaces.Dict(
            {g: spaces.Box(-np.inf, np.inf, (sizes[g],), np.float32) for g in groups}
        ),
        action_space=spaces.Box(-1.0, 1.0, (ACTIONS,), np.float32),
        inference_only=inference_only,
        model_config={
            "actor_hidden": [8, 8],
            "critic_hidden": [16],
            "activation": "elu",
            "normalize_observations": True,
            "std_kind": "free",
            "std_initial": [0.2, 0.5, 1.0],
            "std_min": 0.01,
            "std_max": 2.0,
        }
        | changes,
    )


def some_obs(module, *lead, scale=1.0):
    generator = torch.Generator().manual_seed(1)
    return {
        group: torch.randn(*lead, space.shape[0], generator=generator) * scale
        for group, space in module.observation_space.items()
    }


def evaluated(module, normalized):
    out = module.evaluate(normalized)
    assert out.keys() == {Columns.ACTION_DIST_INPUTS, Columns.VF_PREDS}
    assert module.auxiliary(normalized, out) == ({}, {})
    return out[Columns.ACTION_DIST_INPUTS], out[Columns.VF_PREDS]


both_stds = pytest.mark.parametrize("std_kind", ["free", "state_dependent"])
both_groups = pytest.mark.parametrize("groups", [("policy",), ("critic", "policy")])


@both_stds
@both_groups
def test_forward_shapes(groups, std_kind):
    module = build(groups, std_kind=std_kind)
    batch = {Columns.OBS: some_obs(module, 5)}
    for forward in (module.forward_inference, module.forward_exploration, module.forward_train):
        out = forward(batch)
        assert out.keys() == {Columns.ACTION_DIST_INPUTS}
        assert out[Columns.ACTION_DIST_INPUTS].shape == (5, 2 * ACTIONS)
    assert module.compute_values(batch).shape == (5,)


def test_output_fits_the_distribution():
    module = build()
    out = module.forward_inference({Columns.OBS: some_obs(module, 2)})
    width = out[Columns.ACTION_DIST_INPUTS].shape[-1]
    assert module.get_exploration_action_dist_cls().required_input_dim(module.action_space) == width


@both_stds
def test_initial_std_of_each_joint_and_mean_near_zero(std_kind):
    module = build(std_kind=std_kind)
    mean, log_std = module.act(some_obs(module, 50)["policy"]).chunk(2, dim=-1)
    expected = torch.tensor([0.2, 0.5, 1.0]).expand(50, 3)
    # The state's own part of the std starts as small as the mean.
    torch.testing.assert_close(log_std.exp(), expected, rtol=0.05, atol=0.0)
    assert 0.0 < mean.abs().max() < 0.05


def test_free_std_is_the_same_in_every_state_and_the_other_is_not():
    spread = {}
    for kind in ("free", "state_dependent"):
        module = build(std_kind=kind)
        log_std = module.act(some_obs(module, 50)["policy"]).chunk(2, dim=-1)[1]
        spread[kind] = log_std.std(dim=0).max().item()
    assert spread["free"] == 0.0
    assert spread["state_dependent"] > 1e-4


@both_stds
def test_mean_action_is_the_mean_in_units_of_the_initial_std(std_kind):
    module, plain = build(std_kind=std_kind, scale_mean=True), build(std_kind=std_kind)
    plain.load_state_dict(module.state_dict())
    module.update_normalizers(some_obs(module, 30, scale=3.0))
    obs = some_obs(module, 4, scale=3.0)["policy"]
    mean = module.act(module.normalize({"policy": obs})["policy"])[:, :ACTIONS]
    assert torch.equal(module.mean_action(obs), mean)
    plain.update_normalizers(some_obs(module, 30, scale=3.0))
    factor = torch.tensor([0.2, 0.5, 1.0])
    torch.testing.assert_close(module.mean_action(obs), factor * plain.mean_action(obs))


@both_stds
def test_std_stays_within_its_bounds(std_kind):
    module = build(std_kind=std_kind)
    for bias, bound in ((-50.0, 0.01), (50.0, 2.0)):
        parameter = module.log_std if std_kind == "free" else module.actor[-1].bias
        with torch.no_grad():
            parameter.fill_(bias)
        log_std = module.act(some_obs(module, 4)["policy"])[:, ACTIONS:]
        torch.testing.assert_close(log_std, torch.full((4, 3), math.log(bound)))


def test_only_a_free_std_is_a_parameter():
    assert "log_std" in dict(build(std_kind="free").named_parameters())
    assert "log_std" not in dict(build(std_kind="state_dependent").named_parameters())


@both_stds
@both_groups
def test_evaluate_is_forward_and_compute_values(groups, std_kind):
    """The learner's way in two steps gives what RLlib's way in one step gives."""
    module = build(groups, std_kind=std_kind)
    module.update_normalizers(some_obs(module, 40, scale=5.0))
    obs = some_obs(module, 7, scale=3.0)
    inputs, values = evaluated(module, module.normalize(obs))
    batch = {Columns.OBS: obs}
    assert torch.equal(inputs, module.forward_train(batch)[Columns.ACTION_DIST_INPUTS])
    assert torch.equal(values, module.compute_values(batch))


def test_time_major_input_equals_flat_input():
    module = build()
    obs = some_obs(module, 4, 5)
    flat = {"policy": obs["policy"].flatten(0, 1)}
    torch.testing.assert_close(module.value(obs).flatten(), module.value(flat))


def test_critic_sees_its_own_group():
    module = build(("critic", "policy"))
    assert module.critic[0].in_features == CRITIC_OBS
    assert module.actor[0].in_features == OBS
    obs = some_obs(module, 3)
    moved = {**obs, "critic": obs["critic"] + 1.0}
    (inputs, values), (same, others) = evaluated(module, obs), evaluated(module, moved)
    assert torch.equal(inputs, same)
    assert (values != others).all()


def test_normalizers_scale_the_input_of_both_networks():
    module = build(("critic", "policy"))
    obs = {"policy": torch.full((2, OBS), 3.0), "critic": torch.full((2, CRITIC_OBS), -3.0)}
    before = evaluated(module, module.normalize(obs))
    spread = torch.tensor([[-1.0], [1.0]])
    module.update_normalizers({"policy": 3.0 + spread.expand(2, OBS), "critic": obs["critic"]})
    normalized = module.normalize(obs)
    assert normalized["policy"].abs().max() == 0.0  # exactly the mean
    assert normalized["critic"].abs().max() == 0.0
    after = evaluated(module, normalized)
    assert not torch.equal(before[0], after[0])
    assert not torch.equal(before[1], after[1])


def test_without_normalisation_observations_pass():
    module = build(normalize_observations=False)
    obs = some_obs(module, 3)
    assert torch.equal(module.normalize(obs)["policy"], obs["policy"])
    module.update_normalizers(obs)
    assert not any("normalizers" in name for name in module.state_dict())


@both_groups
def test_inference_only_module_lacks_the_critic(groups):
    full, acting = build(groups), build(groups, inference_only=True)
    full.update_normalizers(some_obs(full, 30, scale=4.0))
    lacking = full.state_dict().keys() - acting.state_dict().keys()
    assert {name.split(".")[0] for name in lacking} >= {"critic"}
    assert all("critic" in name for name in lacking)
    # What RLlib sends to runners is exactly what they hold, and they then act alike.
    state = full.get_state(inference_only=True)
    assert state.keys() == acting.state_dict().keys()
    acting.set_state(state)
    obs = {Columns.OBS: some_obs(full, 4, scale=4.0)}
    key = Columns.ACTION_DIST_INPUTS
    assert torch.equal(acting.forward_exploration(obs)[key], full.forward_exploration(obs)[key])


@both_stds
def test_state_dict_is_strict(std_kind):
    source, target = build(std_kind=std_kind), build(std_kind=std_kind)
    source.update_normalizers(some_obs(source, 9))
    with torch.no_grad():
        for parameter in source.parameters():
            parameter.add_(0.1)
    target.load_state_dict(source.state_dict(), strict=True)
    obs = some_obs(source, 3)
    first, second = (evaluated(m, m.normalize(obs)) for m in (source, target))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    wider = build(std_kind=std_kind, actor_hidden=[8, 9])
    with pytest.raises(RuntimeError, match="size mismatch"):
        wider.load_state_dict(source.state_dict(), strict=True)


def test_autocast_keeps_the_last_layer_in_float32():
    network = Perceptron(OBS, [8], 2)
    x = torch.randn(16, OBS, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        hidden = network[1](network[0](x))
        out = network(x)
    assert hidden.dtype == torch.bfloat16
    assert out.dtype == torch.float32
    last = network[-1]
    assert torch.equal(out, functional.linear(hidden.float(), last.weight, last.bias))
    assert not torch.equal(out, out.bfloat16().float())


def test_autocast_gives_float32_means_stds_and_values():
    module = build()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inputs, values = evaluated(module, some_obs(module, 5))
    assert inputs.dtype == values.dtype == torch.float32
    plain = evaluated(module, some_obs(module, 5))
    torch.testing.assert_close(inputs, plain[0], rtol=0.1, atol=0.01)
    assert not torch.equal(values, plain[1])


def test_std_by_joint_group_becomes_std_by_joint(tiny_experiment):
    experiment = tiny_experiment(model__std__initial={"head": 0.1, "arms": 0.2, "legs": 0.3})
    task = experiment.task_config()
    initial = module_config(experiment.model, task)["std_initial"]
    robot = get_robot(task.robot)
    of_group = {"head": 0.1, "arms": 0.2, "legs": 0.3}
    assert len(initial) == robot.num_joints == 17
    for joint, std in zip(robot.joints, initial, strict=True):
        [group] = [name for name, joints in robot.joint_groups.items() if joint in joints]
        assert std == of_group[group], joint
    assert module_config(tiny_experiment().model, task)["std_initial"] == [1.0] * 17


def test_frames_of_a_history_share_their_statistics():
    """Normalising frames and then stacking them is normalising the stack."""
    module = build(("critic", "policy"), history={"policy": 3})
    assert module.normalizers["policy"].mean.shape == (OBS // 3,)
    assert module.normalizers["critic"].mean.shape == (CRITIC_OBS,)
    frames = torch.randn(3, 5, OBS // 3) * 4.0 + 1.0
    module.update_normalizers({"policy": frames.flatten(0, 1), "critic": torch.randn(9, 9)})
    stack = torch.cat(list(frames), dim=-1)
    assert stack.shape == (5, OBS)
    normalized = torch.cat(list(module.normalize({"policy": frames})["policy"]), dim=-1)
    assert torch.equal(module.normalize({"policy": stack})["policy"], normalized)
    assert normalized.mean().abs() < 0.1
