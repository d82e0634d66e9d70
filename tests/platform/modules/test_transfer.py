"""Networks carried over to another task: the same robot does the same on the same terms."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from stridelab.modules.actor_critic import ActorCritic
from stridelab.modules.transfer import transfer_weights
from stridelab_envs.errors import UserError

SOURCE = {
    "policy": {"asked": [0, 2], "joints": [2, 5], "tilt": [5, 6]},
    "critic": {"asked": [0, 2], "joints": [2, 5], "height": [5, 6]},
}
TARGET = {
    "policy": {"target": [0, 1], "joints": [1, 4], "tilt": [4, 5]},
    "critic": {"joints": [0, 3], "mass": [3, 5], "height": [5, 6]},
}
COUNT = 40


def width(layout):
    return max(stop for _, stop in layout.values())


def build(layouts, seed=0, *, actions=3, **changes):
    torch.manual_seed(seed)
    module = ActorCritic(
        observation_space=spaces.Dict(
            {g: spaces.Box(-np.inf, np.inf, (width(o),), np.float32) for g, o in layouts.items()}
        ),
        action_space=spaces.Box(-1.0, 1.0, (actions,), np.float32),
        model_config={
            "actor_hidden": [8, 8],
            "critic_hidden": [8, 8],
            "activation": "elu",
            "normalize_observations": True,
            "std_kind": "free",
            "std_initial": [0.2, 0.5, 1.0][:actions],
            "std_min": 0.01,
            "std_max": 2.0,
        }
        | changes,
    )
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return module


def some_obs(layouts, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return {
        group: torch.randn(COUNT, width(layout), generator=generator) * 3.0 + 1.0
        for group, layout in layouts.items()
    }


@pytest.fixture
def source():
    module = build(SOURCE)
    module.update_normalizers(some_obs(SOURCE))
    return module


def transfer(source, target, target_layouts=TARGET, **settings):
    transfer_weights(
        source, target, SOURCE, target_layouts, some_obs(target_layouts, seed=5), **settings
    )


def seen_by_both(source):
    """Observations of both tasks: equal terms where they share some."""
    theirs, ours = some_obs(SOURCE, seed=7), some_obs(TARGET, seed=8)
    for group in SOURCE:
        for term, (start, stop) in SOURCE[group].items():
            if term in TARGET[group]:
                place = slice(*TARGET[group][term])
                ours[group][:, place] = theirs[group][:, start:stop]
            else:  # what is left out counts as if it were as usual
                theirs[group][:, start:stop] = source.normalizers[group].mean[start:stop]
    return theirs, ours


def test_it_does_the_same_on_the_terms_both_know(source):
    target = build(TARGET, seed=3)
    transfer(source, target)
    theirs, ours = seen_by_both(source)
    one, other = source.normalize(theirs), target.normalize(ours)
    torch.testing.assert_close(target.act(other["policy"]), source.act(one["policy"]))
    torch.testing.assert_close(target.value(other), source.value(one))
    assert source.act(one["policy"])[:, :3].std(dim=0).min() > 0.01
    assert source.value(one).std() > 0.1


def test_new_terms_can_be_learnt(source):
    """They begin without influence, but their gradient is not zero."""
    target = build(TARGET, seed=3)
    transfer(source, target)
    assert (target.actor[0].weight[:, 0] == 0.0).all()
    target.act(target.normalize(some_obs(TARGET))["policy"]).sum().backward()
    assert (target.actor[0].weight.grad[:, 0] != 0.0).any()


def test_the_normaliser_knows_new_terms_from_the_first_observations(source):
    target = build(TARGET, seed=3)
    transfer(source, target)
    first = some_obs(TARGET, seed=5)["policy"]
    mean, var = target.normalizers["policy"].mean, target.normalizers["policy"].var
    torch.testing.assert_close(mean[:1], first[:, :1].mean(dim=0))
    torch.testing.assert_close(var[:1], first[:, :1].var(dim=0, correction=0))
    torch.testing.assert_close(mean[1:4], source.normalizers["policy"].mean[2:5])
    assert target.normalizers["policy"].count == source.normalizers["policy"].count


def test_the_same_task_takes_everything_over(source):
    target = build(SOURCE, seed=3)
    transfer(source, target, SOURCE)
    for name, value in source.state_dict().items():
        assert torch.equal(target.state_dict()[name], value), name


@pytest.mark.parametrize("std_kind", ["free", "state_dependent"])
@pytest.mark.parametrize(("theirs", "ours"), [(True, False), (False, True), (True, True)])
def test_means_stay_in_other_units(std_kind, theirs, ours):
    source = build(SOURCE, std_kind=std_kind, scale_mean=theirs)
    target = build(SOURCE, 3, std_kind=std_kind, scale_mean=ours, std_initial=[1.0, 0.1, 0.3])
    transfer(source, target, SOURCE)
    obs = some_obs(SOURCE)["policy"]
    # The inputs are not normalised here, for both sides alike.
    torch.testing.assert_close(target.act(obs), source.act(obs))


def test_deviations_are_taken_over_or_fresh(source):
    kept, fresh = build(TARGET, seed=3), build(TARGET, seed=3)
    own = fresh.log_std.clone()
    transfer(source, kept)
    transfer(source, fresh, keep_std=False)
    assert torch.equal(kept.log_std, source.log_std)
    assert torch.equal(fresh.log_std, own)
    assert torch.equal(fresh.actor[2].weight, source.actor[2].weight)


def test_the_source_stays_as_it_is(source):
    before = {name: value.clone() for name, value in source.state_dict().items()}
    target = build(TARGET, seed=3, scale_mean=True)
    transfer(source, target)
    with torch.no_grad():
        for parameter in target.parameters():
            parameter.add_(1.0)
    for name, value in source.state_dict().items():
        assert torch.equal(value, before[name]), name


DIFFERENT = {
    "first layer": (
        {"actor_hidden": [16, 8]},
        r"actor\.0\.weight is \[8, 6\] in the policy, \[16, 5\] here",
    ),
    "second layer": (
        {"actor_hidden": [8, 16]},
        r"actor\.2\.weight is \[8, 8\] in the policy, \[16, 8\] here",
    ),
    "critic": (
        {"critic_hidden": [4, 8]},
        r"critic\.0\.weight is \[8, 6\] in the policy, \[4, 6\] here",
    ),
    "more layers": ({"actor_hidden": [8, 8, 8]}, r"actor\.4\.weight is \[3, 8\] .*, \[8, 8\] here"),
    "fewer layers": ({"actor_hidden": [8]}, r"actor\.2\.weight is \[8, 8\] .*, \[3, 8\] here"),
    "actions": ({"actions": 2}, r"log_std is \[3\] in the policy, \[2\] here"),
    "no normaliser": (
        {"normalize_observations": False},
        r"normalizers\.critic\.mean is \[6\] in the policy, absent here",
    ),
    "kind of deviation": ({"std_kind": "state_dependent"}, "log_std is .*, absent here"),
    "activation": ({"activation": "tanh"}, "model.activation is elu in the policy, tanh here"),
}


@pytest.mark.parametrize(("changes", "message"), DIFFERENT.values(), ids=DIFFERENT)
def test_other_networks_are_refused(source, changes, message):
    with pytest.raises(UserError, match=rf"^train\.start_from: {message}$") as caught:
        transfer(source, build(TARGET, seed=3, **changes))
    assert str(caught.value).isprintable()


def test_a_policy_without_a_normaliser_is_refused():
    source = build(SOURCE, normalize_observations=False)
    with pytest.raises(UserError, match=r"normalizers\.critic\.mean is absent in the policy"):
        transfer(source, build(TARGET, seed=3))


def test_a_policy_without_a_critics_group_is_refused():
    alone = {"policy": SOURCE["policy"]}
    source = build(alone)
    with pytest.raises(UserError, match=r"normalizers\.critic\.mean is absent in the policy"):
        transfer_weights(source, build(TARGET, seed=3), alone, TARGET, some_obs(TARGET))
