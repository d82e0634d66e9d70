"""Joining what several runners bring back."""

import pytest
import torch

from stridelab.sampling.rollout import Rollout, concatenate

STEPS = 3


def code(time, env):
    """A number that tells step and (global) environment."""
    return 100.0 * time + env


def rollout(envs, truncations=(), **changes):
    """A record of ``STEPS`` steps whose every entry tells where it belongs.

    Args:
        envs: Global numbers of the environments, the columns of this record.
        truncations: (time, column) pairs.
        changes: Fields to replace.
    """
    grid = torch.tensor([[code(t, env) for env in envs] for t in range(STEPS + 1)])
    truncated = torch.zeros(STEPS, len(envs), dtype=torch.bool)
    for time, column in truncations:
        truncated[time, column] = True
    ends = torch.tensor([[code(t, envs[i]) + 0.5] for t, i in truncated.nonzero().tolist()])
    ends = ends.reshape(-1, 1)
    steps = grid[:STEPS]
    fields = {
        "obs": {"policy": grid[..., None], "critic": grid[..., None].repeat(1, 1, 2)},
        "actions": torch.stack([steps, -steps], dim=-1),
        "dist_inputs": steps[..., None] + 1.0,
        "logp": steps + 2.0,
        "rewards": steps + 3.0,
        "terminated": steps == code(0, envs[-1]),
        "truncated": truncated,
        "final_obs": {"policy": ends, "critic": ends.repeat(1, 2)},
    }
    return Rollout(**(fields | changes))


def test_sizes():
    joined = concatenate([rollout([0, 1]), rollout([2, 3, 4])])
    assert (joined.num_steps, joined.env_steps) == (3, 15)
    assert joined.obs["policy"].shape == (4, 5, 1)
    assert joined.obs["critic"].shape == (4, 5, 2)
    assert joined.actions.shape == (3, 5, 2)


def test_columns_are_the_environments_in_the_order_of_the_runners():
    joined, whole = concatenate([rollout([0, 1]), rollout([2]), rollout([3, 4])]), rollout(range(5))
    for name in ("actions", "dist_inputs", "logp", "rewards"):
        assert torch.equal(getattr(joined, name), getattr(whole, name)), name
    for group in ("policy", "critic"):
        assert torch.equal(joined.obs[group], whole.obs[group])
    assert joined.terminated[0].tolist() == [False, True, True, False, True]


def test_final_observations_follow_the_joined_time_major_order():
    first = rollout([0, 1], truncations=[(0, 1), (2, 0), (2, 1)])
    second = rollout([2, 3, 4], truncations=[(0, 0), (1, 2), (2, 1)])
    joined = concatenate([first, second])
    places = joined.truncated.nonzero().tolist()
    assert places == [[0, 1], [0, 2], [1, 4], [2, 0], [2, 1], [2, 3]]
    expected = [code(t, env) + 0.5 for t, env in places]
    assert joined.final_obs["policy"].flatten().tolist() == expected
    assert joined.final_obs["critic"][:, 1].tolist() == expected


@pytest.mark.parametrize("which", [0, 1, None])
def test_runners_without_a_truncation(which):
    parts = [rollout([i], truncations=[(1, 0)] if i == which else []) for i in range(2)]
    joined = concatenate(parts)
    expected = [] if which is None else [[code(1, which) + 0.5]]
    assert joined.final_obs["policy"].tolist() == expected
    assert joined.final_obs["policy"].shape[1] == 1


def test_episodes_failures_and_time():
    joined = concatenate(
        [
            rollout([0], episodes={"episode/return": torch.tensor([1.0, 2.0])}, sim_failures=2),
            rollout([1], sim_failures=1, seconds=0.5),
            rollout([2], episodes={"episode/return": torch.tensor([3.0])}, seconds=0.25),
        ]
    )
    assert joined.episodes["episode/return"].tolist() == [1.0, 2.0, 3.0]
    assert joined.sim_failures == 3
    assert joined.seconds == 0.5  # they sample at the same time


def test_a_single_rollout_is_returned_as_it_is():
    alone = rollout([0, 1], truncations=[(1, 0)])
    assert concatenate([alone]) is alone
