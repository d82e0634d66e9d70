"""The module ``estimator`` at the size of X1, against the networks written out."""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from ray.rllib.core.columns import Columns
from torch import nn

from stridelab.modules.estimator import ESTIMATE, Estimator, HistoryEncoder
from stridelab.modules.transfer import transfer_weights
from stridelab_envs.errors import UserError

FRAME, FRAMES, SHORT, PRIVILEGED, CRITIC_FRAMES, ACTIONS = 47, 66, 5, 73, 3, 12


def build(*, inference_only=False, **changes):
    torch.manual_seed(0)
    sizes = {"policy": FRAME * FRAMES, "critic": PRIVILEGED * CRITIC_FRAMES}
    return Estimator(
        observation_space=spaces.Dict(
            {g: spaces.Box(-np.inf, np.inf, (size,), np.float32) for g, size in sizes.items()}
        ),
        action_space=spaces.Box(-1.0, 1.0, (ACTIONS,), np.float32),
        inference_only=inference_only,
        model_config={
            "actor_hidden": [512, 256, 128],
            "critic_hidden": [768, 256, 128],
            "estimator_hidden": [256, 128, 64],
            "short_history": SHORT,
            "detach_estimate": False,
            "estimator_loss_coef": 1.0,
            "std_initial": [1.0] * ACTIONS,
            "std_min": 1e-3,
            "std_max": 10.0,
            "scale_mean": False,
            "history": {"policy": FRAMES, "critic": CRITIC_FRAMES},
            "target": [53, 56],
            "target_scale": 2.0,
        }
        | changes,
    )


def mlp(*widths):
    layers = [
        part
        for i in range(len(widths) - 1)
        for part in (nn.Linear(widths[i], widths[i + 1]), nn.ELU())
    ]
    return nn.Sequential(*layers[:-1])


class Original(nn.Module):
    """The networks as their trained weights name them, with plain numbers for slices."""

    def __init__(self):
        super().__init__()
        self.std = nn.Parameter(torch.rand(12) + 0.5)
        self.actor = mlp(302, 512, 256, 128, 12)
        self.critic = mlp(219, 768, 256, 128, 1)
        self.long_history = nn.Sequential(
            nn.Conv1d(66, 32, kernel_size=6, stride=3),
            nn.ReLU(),
            nn.Conv1d(32, 16, kernel_size=4, stride=2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(96, 128),
            nn.ELU(),
            nn.Linear(128, 64),
        )
        self.state_estimator = mlp(235, 256, 128, 64, 3)

    def forward(self, obs, privileged):
        short = obs[:, 2867:3102]
        velocity = self.state_estimator(short)
        code = self.long_history(obs.view(-1, 66, 47))
        mean = self.actor(torch.cat([short, velocity, code], dim=1))
        return mean, velocity, self.critic(privileged).squeeze(1)


def some_obs(*lead):
    generator = torch.Generator().manual_seed(1)
    sizes = {"policy": 3102, "critic": 219}
    return {g: torch.randn(*lead, size, generator=generator) for g, size in sizes.items()}


def test_number_of_parameters():
    module = build()

    def count(part):
        return sum(p.numel() for p in part.parameters())

    assert count(module.state_estimator) == 101_763
    assert count(module.long_history) == 35_440
    assert count(module.actor) == 320_908
    assert count(module.critic) == 398_849
    assert count(module) == 856_972
    assert torch.equal(module.std, torch.ones(12))


def test_original_weights_load_one_to_one_and_compute_the_same():
    torch.manual_seed(3)
    original, module = Original(), build()
    module.load_state_dict(original.state_dict(), strict=True)
    obs = some_obs(6)
    with torch.no_grad():
        mean, velocity, value = original(obs["policy"], obs["critic"])
        out = module.evaluate(module.normalize(obs))
        inputs = module.forward_inference({Columns.OBS: obs})[Columns.ACTION_DIST_INPUTS]
    expected = torch.cat([mean, original.std.log().expand(6, 12)], dim=1)
    torch.testing.assert_close(out[Columns.ACTION_DIST_INPUTS], expected)
    torch.testing.assert_close(out[Columns.VF_PREDS], value)
    torch.testing.assert_close(out[ESTIMATE], velocity)
    torch.testing.assert_close(inputs, expected)
    assert module.state_dict().keys() == original.state_dict().keys()


def test_weights_of_another_width_are_refused():
    with pytest.raises(RuntimeError, match=r"size mismatch for actor\.0\.weight"):
        build(actor_hidden=[64]).load_state_dict(Original().state_dict(), strict=True)


def test_target_is_the_velocity_in_the_newest_privileged_frame():
    obs = {"critic": torch.arange(219.0).expand(2, 219)}
    assert build().target(obs).tolist() == [[199.0, 200.0, 201.0]] * 2


def test_loss_is_the_mean_square_and_rmse_the_length_of_the_error():
    """Errors 3, 4 and 0 in units of the target, of which there are two in 1 m/s."""
    module = build(estimator_loss_coef=0.5)
    obs = some_obs(4)
    error = torch.tensor([3.0, 4.0, 0.0])
    out = {ESTIMATE: module.target(obs) + error}
    losses, metrics = module.auxiliary(obs, out)
    assert losses.keys() == {"estimator"}
    assert losses["estimator"].item() == pytest.approx(0.5 * 25.0 / 3.0, rel=1e-5)
    assert metrics == {"estimator/rmse": pytest.approx(2.5, rel=1e-5)}


def test_squared_errors_are_in_metres_per_second():
    module = build()
    obs = some_obs(4)
    with torch.no_grad():
        error = (module.state_estimator(obs["policy"][:, -235:]) - obs["critic"][:, 199:202]) / 2.0
        squared = module.squared_errors(obs)
    torch.testing.assert_close(squared["estimator"], (error**2).sum(1))


@pytest.mark.parametrize("detach", [False, True])
def test_detaching_keeps_the_policys_gradient_out_of_the_estimator(detach):
    module = build(detach_estimate=detach)
    obs = some_obs(3)
    out = module.evaluate(obs)
    out[Columns.ACTION_DIST_INPUTS].square().sum().backward(retain_graph=True)
    gradient = module.state_estimator[0].weight.grad
    assert (gradient is None or not gradient.any()) == detach
    assert module.long_history[0].weight.grad.any()
    assert module.std.grad.shape == (12,)
    module.zero_grad()
    module.auxiliary(obs, out).losses["estimator"].backward()
    assert module.state_estimator[0].weight.grad.any()
    touched = {name.split(".")[0] for name, p in module.named_parameters() if p.grad is not None}
    assert touched <= {"state_estimator", "actor", "long_history", "std"}
    assert not any(p.grad.any() for p in module.actor.parameters() if p.grad is not None)


def test_every_frame_counts_and_none_outside_the_short_history_reaches_the_estimator():
    module = build()
    obs = some_obs(1)
    frames = obs["policy"].view(66, 47).clone().requires_grad_()
    out = module.evaluate(obs | {"policy": frames.view(1, -1)})
    (reach,) = torch.autograd.grad(out[ESTIMATE].sum(), frames, retain_graph=True)
    assert reach.abs().sum(1).ne(0).tolist() == [False] * 61 + [True] * 5
    (reach,) = torch.autograd.grad(out[Columns.ACTION_DIST_INPUTS].sum(), frames)
    assert reach.abs().sum(1).ne(0).all()


def test_time_major_input_equals_flat_input():
    module = build()
    obs = some_obs(2, 3)
    flat = module.evaluate({g: value.flatten(0, 1) for g, value in obs.items()})
    for name, value in module.evaluate(obs).items():
        torch.testing.assert_close(value.flatten(0, 1), flat[name])


def test_means_in_units_of_the_initial_std():
    plain, scaled = build(), build(scale_mean=True, std_initial=[0.5] * 6 + [2.0] * 6)
    scaled.load_state_dict(plain.state_dict())
    obs = some_obs(2)
    mean, _ = plain.act(obs["policy"]).chunk(2, dim=-1)
    factor = torch.tensor([0.5] * 6 + [2.0] * 6)
    torch.testing.assert_close(scaled.act(obs["policy"])[:, :12], factor * mean)
    torch.testing.assert_close(scaled.mean_action(obs["policy"]), factor * mean)
    torch.testing.assert_close(
        scaled.evaluate(obs)[Columns.ACTION_DIST_INPUTS][:, :12], factor * mean
    )


LAYOUTS = {"policy": {"joint_pos": [0, 47]}, "critic": {"base_lin_vel": [0, 73]}}


@pytest.mark.parametrize("keep_std", [True, False])
def test_a_policy_goes_on_in_a_task_with_the_same_observations(keep_std):
    source, target = build(std_initial=[0.3] * 12), build(scale_mean=True, std_initial=[0.5] * 12)
    obs = some_obs(3)
    with torch.no_grad():
        for parameter in source.parameters():
            parameter.mul_(1.1)
    transfer_weights(source, target, LAYOUTS, LAYOUTS, obs, keep_std=keep_std)
    torch.testing.assert_close(target.mean_action(obs["policy"]), source.mean_action(obs["policy"]))
    assert torch.equal(target.value(obs), source.value(obs))
    assert target.std.tolist() == pytest.approx([0.33 if keep_std else 0.5] * 12)


def test_a_history_of_other_observations_is_not_carried_over():
    other = {**LAYOUTS, "policy": {"joint_pos": [0, 40], "joint_vel": [40, 47]}}
    with pytest.raises(UserError, match="a history of other observations"):
        transfer_weights(build(), build(), other, LAYOUTS, some_obs(2), keep_std=True)


def test_std_stays_within_its_bounds():
    module = build(std_initial=[-1.0, 99.0] + [0.5] * 10, std_min=0.1, std_max=2.0)
    std = module.act(some_obs(2)["policy"])[:, 12:].exp()
    assert std[0].tolist() == pytest.approx([0.1, 2.0] + [0.5] * 10, rel=1e-5)


def test_autocast_keeps_outputs_in_float32():
    module = build()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = module.evaluate(some_obs(5))
    assert {value.dtype for value in out.values()} == {torch.float32}
    exact = module.evaluate(some_obs(5))
    assert not torch.equal(out[ESTIMATE], exact[ESTIMATE])
    torch.testing.assert_close(out[ESTIMATE], exact[ESTIMATE], rtol=0.1, atol=0.02)


def test_inference_only_module_lacks_the_critic_and_acts_alike():
    full, acting = build(), build(inference_only=True, std_initial=[0.3] * 12)
    state = full.get_state(inference_only=True)
    assert state.keys() == acting.state_dict().keys()
    assert {name.split(".")[0] for name in full.state_dict().keys() - state.keys()} == {"critic"}
    acting.set_state(state)
    batch, key = {Columns.OBS: some_obs(4)}, Columns.ACTION_DIST_INPUTS
    assert torch.equal(acting.forward_exploration(batch)[key], full.forward_exploration(batch)[key])


@pytest.mark.parametrize("size", [5, 14])
def test_a_frame_too_small_for_the_kernels_is_refused(size):
    with pytest.raises(UserError, match=f"larger frames: {size} values"):
        HistoryEncoder(4, size)
    assert HistoryEncoder(4, 15)(torch.zeros(2, 60)).shape == (2, 64)
