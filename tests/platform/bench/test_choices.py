"""Other settings of the physics: what is replayed, and what errors come out."""

import json

import pytest
import torch
from typer.testing import CliRunner

from stridelab.bench import choices
from stridelab.bench.choices import REFERENCE, SHIPPED, Replay, compare_choices, record
from stridelab.cli.bench import app
from stridelab_envs.registry import get_task


def still(env):
    """A controller that asks for the default pose."""
    return lambda obs: torch.zeros(env.num_envs, env.action_dim)


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(choices, "PIECES", 2)
    monkeypatch.setattr(choices, "SETTLE_S", 0.1)


def test_a_replay_with_the_task_s_own_settings_repeats_what_was_played(short):
    task = get_task("biped_walk")
    pieces = record(still, task, num_envs=3)
    assert [len(piece.targets) for piece in pieces] == [round(0.2 / task.control_dt)] * 2
    replay = Replay(task, lambda model: None, 3, 1)
    [first, second], _ = replay.run(pieces)
    [again], _ = replay.run(pieces[:1])
    assert torch.equal(first, again)
    # 0.1 s of standing lie between the two pieces.
    torch.testing.assert_close(
        first[:, 7:].float(), pieces[1].qpos[:, 7:].float(), atol=0.05, rtol=0
    )
    assert not torch.equal(first, second)


def test_errors_are_those_to_the_reference(short):
    task = get_task("biped_walk")
    scores = compare_choices(still, task, num_envs=2, num_threads=1, rounds=1)
    assert scores[REFERENCE].joint_error == 0.0
    assert scores[SHIPPED].speed == 1.0
    assert scores["10 ms"].joint_error > scores["2.5 ms"].joint_error > 0.0
    # Five times as many steps: slower, whatever else goes on.
    assert scores["0.5 ms, euler"].speed < 1.0


def test_error_by_hand():
    end, reference = torch.zeros(2, 9), torch.zeros(2, 9)
    end[:, 7:] = torch.tensor([[3.0, 0.0], [0.0, 4.0]])
    end[:, :3] = torch.tensor([[3.0, 4.0, 0.0], [3.0, 4.0, 0.0]])
    end[:, 3] = 9.0  # the orientation counts for neither
    joints, base = choices._errors([end], [reference])
    assert joints == pytest.approx(2.5)  # sqrt((9 + 16) / 4)
    assert base == pytest.approx(5.0)


def test_only_soles_touch():
    task = get_task("h1_walk")
    sim = Replay(task, choices.choices()["only soles touch"], 1, 1).sim
    touching = (sim.model.geom_contype | sim.model.geom_conaffinity).nonzero()[0]
    assert len(touching) == 9  # four corners of each sole, and the floor
    assert (sim.model.pair_margin < 0).all()


def test_the_command_prints_each_choice(short):
    policy = "experiments/policies/biped_walk"
    size = ["--num-envs", "2", "--threads", "1", "--rounds", "1", "--json"]
    result = CliRunner().invoke(app, ["choices", policy, *size])
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    assert list(printed["choices"]) == list(choices.choices())
    assert printed["policy"] == policy
