"""The environment checker on sound and on broken tasks."""

import json
from dataclasses import replace

import mujoco
import pytest
import torch

from stridelab_envs import robots
from stridelab_envs.check import check_task
from stridelab_envs.check.probe import Columns
from stridelab_envs.mdp.terms import ObservationTerm, RewardTerm, StateTerm
from stridelab_envs.plugins import Registry
from stridelab_envs.registry import get_task
from stridelab_envs.robots import get_robot


@pytest.fixture
def biped():
    return get_task("biped_walk")


def check(task, seconds=0.3):
    return check_task(task, num_envs=4, seconds=seconds, num_threads=1)


def found(report, about):
    return [f"{f.severity}: {f.message}" for f in report.findings if f.about == about]


def test_columns_by_hand():
    columns = Columns()
    columns.add(torch.tensor([[1.0, 5.0, 0.0], [3.0, 5.0, torch.nan]]))
    columns.add(torch.tensor([[5.0, 5.0, 2.0]]))
    both = columns.statistics(slice(0, 2))
    assert both["mean"] == pytest.approx(4.0)
    # variances 8/3 and 0, over two columns
    assert both["std"] == pytest.approx((4.0 / 3.0) ** 0.5)
    assert (both["min"], both["max"], both["constant"], both["fired"]) == (1.0, 5.0, 1, 1.0)
    last = columns.statistics(slice(2, 3))
    assert (last["mean"], last["min"], last["max"]) == (1.0, 0.0, 2.0)
    assert (last["not_finite"], last["fired"]) == (1, 0.5)


def test_a_sound_task(biped):
    report = check(biped, seconds=1.2)
    assert report.errors == []
    layout = {term.name: term.size for term in report.observations}
    assert layout["joint_pos"] == 17
    assert sum(layout.values()) == 48
    upright = next(term for term in report.rewards if term.name == "upright")
    assert (upright.weight, upright.fired) == (2.0, 1.0)
    assert upright.max == pytest.approx(2.0, abs=1e-3)
    assert {term.name for term in report.rewards} == {
        name for name, weight in biped.reward_weights().items() if weight
    }
    zero, random = report.episodes
    assert (zero.actions, zero.length, zero.ended) == ("zero", pytest.approx(1.2), 0.0)
    assert random.ended == 1.0
    assert sum(random.causes.values()) >= 1.0
    assert 0.3 < random.shortest < random.length < 1.2
    elbow = next(joint for joint in report.joints if joint.name == "left_elbow")
    # scale 0.3, clip 3, default -0.4, range -2.2 to 0
    assert (elbow.reach_low, elbow.reach_high) == pytest.approx((-1.3, 0.0))
    assert elbow.asked == pytest.approx(elbow.moved, abs=1e-3)
    assert json.loads(json.dumps(report.record()))["task"] == "biped_walk"


class TestBrokenTerms:
    def test_randomness_of_its_own(self, biped):
        rewards = {"noise": RewardTerm(func=lambda state: torch.rand(state.num_envs))}
        report = check(replace(biped, rewards=rewards))
        assert found(report, "determinism") == [
            "error: equal seeds give different steps from step 1 on"
        ]

    def test_a_term_that_remembers(self, biped):
        def growing(state):
            # Counts by the object, so that a restored environment starts at zero.
            state.count = getattr(state, "count", 0) + 1
            return torch.full((state.num_envs,), float(state.count))

        report = check(replace(biped, rewards={"growing": RewardTerm(func=growing)}))
        assert found(report, "determinism") == []
        assert found(report, "saved state") == [
            "error: a restored environment differs from step 1 on"
        ]

    def test_rewards(self, biped):
        def broken(state):
            value = torch.ones(state.num_envs)
            value[0] = torch.nan
            return value

        terms = {
            "fine": RewardTerm(func=lambda state: state.base_pos[:, 2]),
            "broken": RewardTerm(func=broken),
            "never": RewardTerm(func=lambda state: torch.zeros(state.num_envs)),
            "huge": RewardTerm(func=lambda state: state.base_pos[:, 2] * 1e6, weight=-2.0),
            "cut": RewardTerm(func=lambda state: state.base_pos[:, 2] * 1e6, clip=(0.0, 1.0)),
            "off": RewardTerm(func=broken, weight=0.0),
        }
        report = check(replace(biped, rewards=terms))
        about = {f.about: f.severity for f in report.findings if f.about.startswith("reward ")}
        assert about == {
            "reward broken": "error",
            "reward never": "warning",
            "reward huge": "error",
        }

    def test_observations(self, biped):
        terms = {
            "joint_vel": ObservationTerm(
                func=biped.observations["policy"]["joint_vel"].func, scale=100.0
            ),
            "constant": ObservationTerm(func=lambda state: torch.ones(state.num_envs, 2)),
        }
        report = check(replace(biped, observations={"policy": terms}))
        assert "far from 1" in found(report, "observation policy.joint_vel")[0]
        assert found(report, "observations policy") == ["warning: never changed: constant"]

    def test_an_episode_that_ends_at_once(self, biped):
        always = StateTerm(func=lambda state: torch.ones(state.num_envs, dtype=torch.bool))
        report = check(replace(biped, terminations={"always": always}))
        assert found(report, "episodes with zero actions") == [
            "error: end in the first step (always)"
        ]

    def test_a_start_that_never_varies(self, biped):
        fixed = {name: {"half_width": 0.0} for name in ("joint_pos", "joint_vel")}
        fixed["base_velocity"] = {"linear": 0.0, "angular": 0.0}
        report = check(biped.with_overrides({"randomization": fixed}))
        assert found(report, "determinism") == [
            "warning: other seeds give the same first observations"
        ]


@pytest.fixture
def robot(monkeypatch, tmp_path):
    """Register a changed biped; ``change`` edits its model."""

    def build(change, **fields):
        spec = mujoco.MjSpec.from_file(str(get_robot("biped17").mjcf))
        change(spec)
        (tmp_path / "changed.xml").write_text(spec.to_xml())
        fresh = Registry("robot", "stridelab.robots")
        fresh.register(
            "changed",
            replace(get_robot("biped17"), name="changed", mjcf=tmp_path / "changed.xml", **fields),
        )
        monkeypatch.setattr(robots, "_robots", fresh)
        return replace(get_task("biped_walk"), robot="changed")

    return build


class TestBrokenRobots:
    def test_drives(self, robot):
        def change(spec):
            spec.actuator("head_pan").gainprm[0] = 0.0
            spec.actuator("head_pan").biasprm[1] = 0.0
            weak = spec.actuator("left_elbow")
            weak.forcerange = (-0.001, 0.001)

        report = check(robot(change))
        assert found(report, "joint head_pan")[0].startswith("error: does not move")
        assert found(report, "joint left_elbow")[0].startswith(("error", "warning: follows weakly"))
        assert found(report, "joint right_elbow") == []

    def test_the_spec_is_checked_too(self, robot):
        report = check(robot(lambda spec: None, home_height=0.5))
        assert found(report, "robot changed") == [
            "error: the soles are 0.080 m above the ground: home_height must be 0.4200"
        ]
