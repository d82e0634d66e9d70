"""The biped's reward versions, by hand: physics is held still and the feet's forces are given."""

import math
from pathlib import Path

import pytest
import torch
import yaml

from stridelab_envs.mdp.state import State
from stridelab_envs.registry import get_task
from stridelab_envs.tasks import biped_walk

DT = 0.02
PRESETS = yaml.safe_load(Path(biped_walk.__file__).with_suffix(".yaml").read_text())
BOTH, LEFT, RIGHT, AIR = [9.0, 9.0], [9.0, 0.0], [0.0, 9.0], [0.0, 0.0]
A_STEP = [LEFT] * 9 + [BOTH] + [RIGHT] * 4
"""A foot is in stance after 0.06 s alone, 3 steps: the switch comes in step 9 + 1 + 3 - 1."""


@pytest.fixture
def freeze(monkeypatch):
    """Keep the state that was written by hand: physics does not move on."""

    def hold(env):
        env.sim.forward(torch.arange(env.num_envs))
        monkeypatch.setattr(env.sim, "step", lambda targets: torch.zeros(0, dtype=torch.long))

    return hold


@pytest.fixture
def rewards_of(make_biped, freeze, monkeypatch):
    """Return the rewards of hand-written steps: what the feet carry, and the base's state."""

    def play(version, frames, *, velocity=0.0, height=0.42, quat=(1.0, 0.0, 0.0, 0.0), **settings):
        settings |= {"rewards": version, "terminations": {"tilted": None}}
        env = make_biped(settings, quiet=True)
        env.sim.qpos[:, 2] = height
        env.sim.qpos[:, 3:7] = torch.tensor(quat, dtype=torch.float64)
        env.sim.qvel[:, 0] = velocity
        freeze(env)
        rewards = []
        for frame in frames:
            force = torch.tensor([frame, BOTH])
            monkeypatch.setattr(State, "foot_force", property(lambda self, f=force: f))
            rewards.append(env.step(torch.zeros(2, 17)).reward[0].item())
        return rewards

    return play


def test_dt_is_that_of_the_hand_computed_numbers():
    assert get_task("biped_walk").control_dt == pytest.approx(DT)
    assert get_task("biped_walk").max_episode_steps == 1000


def test_weights_of_the_versions_given_in_full():
    assert PRESETS["v6"] == {
        "upright": 2.0,
        "forward_velocity": 1.0,
        "height": 0.5,
        "foot_switch": 5.0,
    }
    assert PRESETS["v7"] == {
        "upright": 2.0,
        "forward_velocity": 0.5,
        "height": 0.5,
        "foot_switch": 8.0,
        "ground_contact": 0.3,
    }


def test_v6_standing(rewards_of):
    assert rewards_of("v6", [BOTH] * 3) == pytest.approx([(2.0 + 0.5) * DT] * 3)


def test_v7_standing(rewards_of):
    # Contact counts once, for one foot as for both, and not in the air.
    assert rewards_of("v7", [BOTH, LEFT, RIGHT]) == pytest.approx([(2.0 + 0.5 + 0.3) * DT] * 3)
    assert rewards_of("v7", [AIR]) == pytest.approx([(2.0 + 0.5) * DT])


def test_default_is_v7(rewards_of):
    weights = get_task("biped_walk").reward_weights()
    assert {name: w for name, w in weights.items() if w} == PRESETS["v7"]


def test_v6_walking(rewards_of):
    always = 2.0 + 1.0 * 0.4 + 0.5
    expected = [always] * 12 + [always + 5.0] + [always]
    rewards = rewards_of("v6", A_STEP, velocity=0.4)
    assert rewards == pytest.approx([value * DT for value in expected])


def test_v7_walking(rewards_of):
    always = 2.0 + 0.5 * 0.4 + 0.5 + 0.3
    expected = [always] * 12 + [always + 8.0] + [always]
    rewards = rewards_of("v7", A_STEP, velocity=0.4)
    assert rewards == pytest.approx([value * DT for value in expected])


def test_most_per_step_without_switches(rewards_of):
    assert rewards_of("v6", [BOTH], velocity=3.0) == pytest.approx([3.5 * DT])
    assert rewards_of("v7", [BOTH], velocity=3.0) == pytest.approx([3.3 * DT])


def test_v6_on_its_side(rewards_of):
    # w^2 = 0.5 and 0.1 m high: 2 * 0.5 + 0.5 * (1 - 0.32). Falling must end the episode.
    half = math.sqrt(0.5)
    rewards = rewards_of("v6", [AIR], height=0.1, quat=(half, half, 0.0, 0.0))
    assert rewards == pytest.approx([1.34 * DT])


def test_steps_shorter_than_the_stance_time_earn_nothing(rewards_of):
    frames = ([LEFT] * 2 + [RIGHT] * 2) * 5
    assert rewards_of("v6", frames) == pytest.approx([2.5 * DT] * 20)
    frames = ([LEFT] * 5 + [RIGHT] * 5) * 2
    assert switches_paid(rewards_of("v6", frames, min_stance_time=0.12)) == []
    settings = {"min_stance_time": 0.1, "min_switch_interval": 0.0}
    assert switches_paid(rewards_of("v6", frames, **settings)) == [9, 14, 19]


def test_pattering_earns_a_switch_in_a_fifth_of_a_second_at_most(rewards_of):
    # Each foot stands 4 steps and is settled in its third; 10 steps must pass between switches.
    rewards = rewards_of("v6", ([LEFT] * 4 + [RIGHT] * 4) * 5)
    assert switches_paid(rewards) == [14, 26, 38]


def switches_paid(rewards):
    return [step for step, reward in enumerate(rewards) if reward > 3.0 * DT]


def test_hopping_earns_no_switch(rewards_of):
    frames = ([BOTH] * 3 + [AIR] * 3) * 3
    assert rewards_of("v6", frames) == pytest.approx([2.5 * DT] * 18)


def test_v4_standing_on_both_feet(rewards_of):
    # upright 2 + height 1 - both_feet_down 1; same_leg starts 0.5 s after the last switch.
    rewards = rewards_of("v4", [BOTH] * 40)
    assert rewards[:25] == pytest.approx([2.0 * DT] * 25, abs=1e-6)
    assert rewards[39] == pytest.approx((2.0 - 2.0 * (0.8 - 0.5)) * DT, abs=1e-6)


def test_v1_pays_for_long_flights_only(rewards_of):
    # upright 1 + height 0.5; the left foot is off the ground for 0.5 s: 10 * (0.5 - 0.4).
    rewards = rewards_of("v1", [BOTH] * 2 + [RIGHT] * 24 + [BOTH] * 2)
    assert rewards[26] == pytest.approx((1.5 + 1.0) * DT, abs=1e-5)
    assert [*rewards[:26], rewards[27]] == pytest.approx([1.5 * DT] * 27)


def pitched(degrees):
    half = math.radians(degrees) / 2
    return torch.tensor([math.cos(half), 0.0, math.sin(half), 0.0], dtype=torch.float64)


def test_falls_end_the_episode(make_biped, freeze):
    env = make_biped(num_envs=6, quiet=True)
    env.sim.qpos[1, 2] = 0.251  # the limit is 0.6 * 0.42 = 0.252 m, and 60 degrees
    env.sim.qpos[2, 2] = 0.253
    env.sim.qpos[3, 3:7] = pitched(61)
    env.sim.qpos[4, 3:7] = pitched(-61)
    env.sim.qpos[5, 3:7] = pitched(59)
    freeze(env)
    step = env.step(torch.zeros(6, 17))
    assert step.terminated.tolist() == [False, True, False, True, True, False]
    assert not step.truncated.any()


def test_standing_pose_holds(make_biped):
    env = make_biped(num_envs=8)
    for _ in range(150):
        step = env.step(torch.zeros(8, 17))
        assert not step.terminated.any()
    assert env.state.feet.contact.all()
    assert (env.state.base_pos[:, 2] - 0.42).abs().max() < 0.02
