"""Skills that take turns: who has control when, whose falls they are, what is recorded."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from stridelab.cli.main import main
from stridelab.skills import chain as chains
from stridelab.skills import load_skills
from stridelab.skills.skill import SkillSet
from stridelab_envs.batch_env import BatchEnv
from stridelab_envs.mdp.terms import StateTerm

NAMES = ("walk", "reach", "squat", "step")
FALLS = {5: [0], 18: [0], 20: [0], 40: [0], 33: [1]}
"""Control step, from 1, to the environments that fall in it."""


@dataclass(frozen=True)
class Marked:
    """A policy whose action says which skill it is."""

    number: int
    policy: object

    def act(self, obs):
        return torch.full((len(obs["policy"]), 19), self.number / 100)

    def check_fits(self, env, groups):
        self.policy.check_fits(env, groups)

    @property
    def experiment(self):
        return self.policy.experiment


class Scripted(SkillSet):
    """Skills of robots that fall when the script says, and never else."""

    def task(self, **settings):
        steps = iter(range(1, 10_000))

        def falls(state):
            fell = torch.zeros(state.num_envs, dtype=torch.bool)
            fell[FALLS.get(next(steps), [])] = True
            return fell

        task = super().task(**settings)
        terminations = {"scripted": StateTerm(func=falls)}
        return replace(task, randomization={}, terminations=terminations)


@pytest.fixture
def taken(monkeypatch):
    """The skills in control, one row for each control step, as chains are run."""
    rows, step = [], BatchEnv.step

    def noted(env, actions):
        rows.append((actions.mean(dim=1) * 100).round().long().tolist())
        return step(env, torch.zeros_like(actions))

    monkeypatch.setattr(BatchEnv, "step", noted)
    return rows


@pytest.fixture
def scripted(skills_file):
    skills = load_skills(skills_file()).skills
    return Scripted(
        skills=tuple(replace(s, policy=Marked(i, s.policy)) for i, s in enumerate(skills))
    )


def test_turns_and_falls(scripted, taken, monkeypatch):
    monkeypatch.setattr(chains, "TURN", 0.2)  # ten steps
    result, env = chains.chain(scripted, episodes=3, seconds=1.0, seed=1)
    assert len(taken) == 50
    first = taken[0]
    turns = np.array(taken).T

    def expected(env_id, *lengths):
        return [(first[env_id] + k) % 4 for k, length in enumerate(lengths) for _ in range(length)]

    # Robot 0 falls in steps 5, 18, 20 and 40 and stands up again with the skill it fell with; the
    # last of these is the last of a turn, which the same skill then gets again.
    assert turns[0].tolist() == expected(0, 5 + 10, 3 + 2 + 10, 10 + 10)
    # Robot 1 falls in step 33, robot 2 never.
    assert turns[1].tolist() == expected(1, 10, 10, 10, 3 + 10, 7)
    assert turns[2].tolist() == expected(2, 10, 10, 10, 10, 10)
    name = {(i, k): NAMES[(first[i] + k) % 4] for i in range(3) for k in range(4)}
    falls = [
        (name[0, 0], "standing"),
        (name[0, 1], name[0, 0]),
        (name[0, 1], "standing"),
        (name[0, 2], name[0, 1]),
        (name[1, 3], name[1, 2]),
    ]
    counted = {(skill, other): n for skill, o in result.handovers.items() for other, n in o.items()}
    assert counted == {pair: falls.count(pair) for pair in falls}
    assert result.falls == 5
    assert result.minutes == pytest.approx(3 / 60)
    assert result.falls_per_minute == pytest.approx(100.0)
    assert env.num_envs == 3


def test_a_turn_lasts_two_seconds(scripted, taken, monkeypatch):
    for step in FALLS:
        monkeypatch.setitem(FALLS, step, [])
    chains.chain(scripted, episodes=1, seconds=4.4, seed=1)
    skills = [row[0] for row in taken]
    first = skills[0]
    assert skills == [(first + k // 100) % 4 for k in range(220)]


def test_environments_begin_with_random_skills(scripted, taken):
    chains.chain(scripted, episodes=64, seconds=0.02, seed=1)
    counts = np.bincount(taken[0], minlength=4)
    assert counts.min() >= 6  # a quarter of 64 each; three deviations of 3.5 are 10


def test_equal_seeds_give_equal_chains(skills_file):
    skills = load_skills(skills_file())
    runs = [chains.chain(skills, episodes=4, seconds=0.5, seed=s) for s in (1, 1, 2)]
    states = [env.sim.qpos.clone() for _, env in runs]
    assert runs[0][0] == runs[1][0]
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


class FakeEnv:
    """Three robots whose states are told apart by step and robot; the base starts at column 1."""

    def __init__(self):
        self.sim = SimpleNamespace(qpos=torch.zeros(3, 5).double(), qvel=torch.zeros(3, 2).double())
        self.state = SimpleNamespace(base_slices=(slice(1, 8), slice(0, 6)))

    def at(self, step):
        self.sim.qpos[:] = torch.tensor([[step, 7.0, 8.0, 9.0, robot] for robot in range(3)])
        self.sim.qvel[:] = torch.tensor([[-step, 0.5]])
        self.state.action = torch.full((3, 1), step / 10)
        self.state.gait_time = torch.full((3,), step / 50)


def record(recorder, handing_over, skills, steps, fell=None):
    """Show ``steps`` steps; a step maps to the robots whose turn ends with it, or that fall."""
    env = FakeEnv()
    for step in range(steps):
        env.at(step)
        over, down = (
            torch.tensor([robot in robots.get(step, []) for robot in range(3)])
            for robots in (handing_over, fell or {})
        )
        recorder.take(env, torch.tensor(skills), over, down)
    return env


def rows(path):
    """Recorded (step, robot, skill), sorted."""
    with np.load(path) as arrays:
        loaded = dict(arrays)
    return loaded, sorted(
        zip(loaded["qpos"][:, 0], loaded["qpos"][:, 4], loaded["skill"].tolist(), strict=True)
    )


ALWAYS = {key: [0, 1, 2] for key in range(100)}


class TestRecorder:
    def test_states_handed_over(self, tmp_path):
        recorder = chains.Recorder(2, survive=3)
        turns = {2: [1], 4: [0], 7: [0, 2], 9: [1], 11: [0], 12: [0]}
        # Robot 0 falls three steps after it handed over, robot 1 while it did.
        env = record(recorder, turns, [0, 1, 1], 15, fell={7: [0], 9: [1]})
        recorder.write(tmp_path / "states.npz", env, count=10, seed=0)
        loaded, kept = rows(tmp_path / "states.npz")
        # What has not stood its test when time is over is left out.
        assert kept == [(2, 1, 1), (7, 2, 1), (11, 0, 0)]
        assert loaded.keys() == {"qpos", "qvel", "action", "gait_time", "skill"}
        for name in ("qpos", "qvel", "action", "gait_time"):
            assert loaded[name].dtype == np.float32
        assert loaded["skill"].dtype == np.int8
        # At the origin, and else as they were.
        assert (loaded["qpos"][:, 1:3] == 0.0).all()
        assert (loaded["qpos"][:, 3] == 9.0).all()
        assert (loaded["qvel"][:, 0] == -loaded["qpos"][:, 0]).all()
        assert (loaded["qvel"][:, 1] == 0.5).all()
        np.testing.assert_allclose(loaded["action"][:, 0], loaded["qpos"][:, 0] / 10)
        np.testing.assert_allclose(loaded["gait_time"], loaded["qpos"][:, 0] / 50)
        assert [path.name for path in tmp_path.iterdir()] == ["states.npz"]

    def test_a_number_of_each_skill_drawn_by_seed(self, tmp_path):
        drawn = []
        for seed in (0, 0, 1):
            recorder = chains.Recorder(2, survive=1)
            env = record(recorder, ALWAYS, [0, 1, 1], 40)
            recorder.write(tmp_path / "states.npz", env, count=6, seed=seed)
            drawn.append(rows(tmp_path / "states.npz")[1])
        skills = [skill for _, _, skill in drawn[0]]
        assert (skills.count(0), skills.count(1)) == (6, 6)
        assert len({step for step, _, _ in drawn[0]}) > 6  # not the first ones
        assert drawn[0] == drawn[1] != drawn[2]

    def test_a_skill_of_which_too_little_is_known(self, tmp_path):
        recorder = chains.Recorder(2, survive=1)
        env = record(recorder, ALWAYS, [0, 0, 0], 3)
        recorder.write(tmp_path / "states.npz", env, count=100, seed=0)
        _, kept = rows(tmp_path / "states.npz")
        assert len(kept) == 6
        assert {skill for _, _, skill in kept} == {0}

    def test_the_chain_shows_the_last_step_of_each_turn(self, scripted, monkeypatch):
        monkeypatch.setattr(chains, "TURN", 0.2)  # ten steps
        seen = []

        class Noting(chains.Recorder):
            def take(self, env, active, handing_over, fell):
                seen.append((active.tolist(), handing_over.tolist()))

        chains.chain(scripted, episodes=3, seconds=1.0, seed=1, recorder=Noting(4))
        # As in test_turns_and_falls: robot 0 falls in steps 5, 18, 20 and 40, robot 1 in 33.
        steps = [
            [step for step, (_, over) in enumerate(seen, start=1) if over[i]] for i in range(3)
        ]
        assert steps == [[15, 30, 50], [10, 20, 30, 43], [10, 20, 30, 40, 50]]
        first = seen[0][0]
        assert [seen[9][0][i] for i in (1, 2)] == first[1:]


class TestCommand:
    @pytest.fixture
    def stridelab(self, tmp_path, monkeypatch, capsys):
        """Run the command line in an empty folder."""
        (tmp_path / "here").mkdir()
        monkeypatch.chdir(tmp_path / "here")

        def run(*arguments):
            monkeypatch.setattr("sys.argv", ["stridelab", *map(str, arguments)])
            with pytest.raises(SystemExit) as ended:
                main()
            out, err = capsys.readouterr()
            return ended.value.code, out, err

        return run

    def test_json_and_recording(self, stridelab, skills_file, tmp_path, monkeypatch):
        monkeypatch.setattr(chains, "TURN", 0.2)  # before anybody has fallen
        target = tmp_path / "states.npz"
        settings = ("--episodes", 4, "--seconds", 4, "--record", target, "--count", 5)
        code, out, err = stridelab("chain", skills_file(), *settings, "--json")
        assert (code, err) == (0, "")
        result = json.loads(out)
        assert result["minutes"] == pytest.approx(16 / 60)
        assert result["falls"] > 0  # nobody has learnt anything
        assert result["falls_per_minute"] == pytest.approx(result["falls"] * 60 / 16)
        falls_after = [n for others in result["falls_after"].values() for n in others.values()]
        assert sum(falls_after) == result["falls"]
        with np.load(target) as arrays:
            assert arrays["qpos"].shape[1] == 26
            assert 0 < len(arrays["qpos"]) <= 20

    def test_table(self, stridelab, skills_file):
        code, out, err = stridelab("chain", skills_file(), "--episodes", 2, "--seconds", 2)
        assert (code, err) == (0, "")
        assert "taken over from" in out
        assert "robot minutes" in out

    def test_a_mistake_is_one_line(self, stridelab, skills_file, tmp_path):
        path = skills_file({"walk": {"policy": "nowhere"}})
        code, out, err = stridelab("chain", path, "--record", tmp_path / "states.npz")
        assert (code, out) == (2, "")
        assert err.startswith(f"error: {tmp_path}/nowhere: no policy bundle here")
        assert err.count("\n") == 1
        assert not (tmp_path / "states.npz").exists()

    def test_a_policy_that_does_not_fit(self, stridelab, skills_file, bundle, bundles):
        odd = bundle("odd", id="h1_squat", action_scale=0.25)
        entries = {"walk": {"policy": str(bundles / "h1_walk")}, "squat": {"policy": str(odd)}}
        code, out, err = stridelab("chain", skills_file(entries), "--seconds", 1)
        assert (code, out) == (2, "")
        assert err.startswith("error: the policy does not fit task skills: action_scale is ")
        assert err.count("\n") == 1
