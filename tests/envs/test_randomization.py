"""Random changes: what each one writes, within which bounds, and what it leaves alone."""

import math

import numpy as np
import pytest
import torch

from stridelab_envs.errors import ConfigError
from stridelab_envs.mdp import observations, randomization
from stridelab_envs.mdp.gait import clock_sine


@pytest.fixture
def still(make_biped):
    """Four robots standing still, and a copy of their state to compare with."""
    env = make_biped(num_envs=4, quiet=True)
    return env, env.sim.qpos.clone(), env.sim.qvel.clone()


IDS = torch.tensor([2, 0])


def draws(seed, *widths):
    """Uniform numbers in [-1, 1) as the generator of ``seed`` gives them, two rows each."""
    generator = torch.Generator().manual_seed(seed)
    return [2 * torch.rand(2, w, generator=generator, dtype=torch.float64) - 1 for w in widths]


def test_joint_pos_offset(still):
    env, qpos, qvel = still
    env.seed(7)
    randomization.joint_pos_offset(env.state, IDS, half_width=0.1)
    qpos[IDS, 7:] += 0.1 * draws(7, 17)[0]
    torch.testing.assert_close(env.sim.qpos, qpos)
    assert torch.equal(env.sim.qvel, qvel)
    assert (env.sim.qpos[0, 7:] - env.state.default_pose).abs().max() <= 0.1


def test_joint_vel_offset(still):
    env, qpos, qvel = still
    env.seed(7)
    randomization.joint_vel_offset(env.state, IDS, half_width=2.0)
    qvel[IDS, 6:] += 2.0 * draws(7, 17)[0]
    torch.testing.assert_close(env.sim.qvel, qvel)
    assert torch.equal(env.sim.qpos, qpos)


def test_base_velocity(still):
    env, qpos, qvel = still
    env.seed(7)
    randomization.base_velocity(env.state, IDS, linear=0.5, angular=3.0)
    linear, angular = draws(7, 3, 3)
    qvel[IDS, :3] += 0.5 * linear
    qvel[IDS, 3:6] += 3.0 * angular
    torch.testing.assert_close(env.sim.qvel, qvel)
    assert torch.equal(env.sim.qpos, qpos)


def test_offsets_fill_their_range(make_biped):
    env = make_biped({"randomization": {"joint_pos": {"half_width": 0.3}}}, num_envs=16)
    offset = (env.sim.qpos[:, 7:] - env.state.default_pose).abs()
    assert 0.27 < offset.max() <= 0.3  # 272 draws: all below 0.27 has a chance of 4e-13


def test_push(still):
    env, qpos, qvel = still
    env.sim.qvel[IDS, :6] = qvel[IDS, :6] = 0.5  # it adds to what there is
    env.seed(7)
    randomization.push(env.state, IDS, linear=0.2, angular=0.4)
    linear, angular = draws(7, 2, 3)
    qvel[IDS, :2] += 0.2 * linear  # not upwards
    qvel[IDS, 3:6] += 0.4 * angular
    torch.testing.assert_close(env.sim.qvel, qvel)
    assert torch.equal(env.sim.qpos, qpos)


def test_friction(still):
    env, _, _ = still
    before = torch.from_numpy(env.sim.model.geom_friction).clone()
    env.seed(7)
    randomization.friction(env.state, IDS, low=0.6, high=1.25)
    drawn = 0.6 + 0.65 * (draws(7, 1)[0][:, 0] + 1.0) / 2.0
    values = env.sim.model_field("geom_friction")
    for row, sliding in zip(IDS.tolist(), drawn.tolist(), strict=True):
        # Floor and robot alike, for the greater of the two counts; the rest stays.
        assert values[row, :, 0].unique().tolist() == pytest.approx([sliding])
        assert torch.equal(values[row, :, 1:], before[:, 1:])
        assert observations.friction(env.state)[row].tolist() == pytest.approx([sliding])
    for row in (1, 3):
        assert torch.equal(values[row], before)
    assert np.array_equal(env.sim.model.geom_friction, before.numpy())


def test_friction_is_felt(make_h1):
    """A robot that is pushed along slides farther where the ground is smoother."""
    env = make_h1("h1_squat", num_envs=3)
    for row, value in enumerate((0.05, 0.4, 1.0)):
        ids = torch.tensor([row])
        randomization.friction(env.state, ids, low=value, high=value)
    for _ in range(10):  # come to stand
        env.step(torch.zeros(3, 19))
    before = env.state.foot_pos[:, :, 0].clone()
    env.sim.qvel[:, 0] += 1.0
    for _ in range(10):
        env.step(torch.zeros(3, 19))
    slid = (env.state.foot_pos[:, :, 0] - before).amin(dim=1)
    assert slid[0] > slid[1] + 0.01
    assert slid[1] >= slid[2] - 1e-3


def test_payload(make_h1):
    env, ids = make_h1("h1_reach", num_envs=4), torch.tensor([0, 2])
    torso = env.sim.model.body("torso").id
    own = float(env.sim.model.body_mass[torso])
    assert own == pytest.approx(17.789)
    for _ in range(2):  # the second draw takes the place of the first
        env.seed(7)
        randomization.payload(env.state, ids, body="torso", low=-3.0, high=5.0)
    drawn = own - 3.0 + 8.0 * (draws(7, 1)[0][:, 0] + 1.0) / 2.0
    mass = observations.body_mass(env.state, "torso")
    assert mass.shape == (4, 1)
    assert mass[ids, 0].tolist() == pytest.approx(drawn.tolist())
    assert mass[[1, 3], 0].tolist() == pytest.approx([own] * 2)
    # What MuJoCo derives from masses follows: that of the whole robot hangs at the pelvis.
    env.sim.forward(torch.arange(4))
    subtree = torch.from_numpy(np.array(env.sim.batch.expanded("body_subtreemass")))
    whole = subtree[:, env.sim.model.body("pelvis").id]
    torch.testing.assert_close(whole[ids], 51.65 - own + drawn, atol=0.005, rtol=0)
    torch.testing.assert_close(whole[[1, 3]], torch.full((2,), 51.65).double(), atol=0.005, rtol=0)


def test_payload_weighs_on_the_feet(make_h1):
    env = make_h1("h1_squat", num_envs=2)
    randomization.payload(env.state, torch.tensor([1]), body="torso", low=5.0, high=5.0)
    pressed = torch.zeros(2)
    for step in range(30):
        env.step(torch.zeros(2, 19))
        pressed += env.state.foot_force.sum(dim=1) * (step >= 10)
    # Impulse over the same fall towards standing: 5 kg of 51.65 kg more.
    assert (pressed[1] / pressed[0]).item() == pytest.approx(56.65 / 51.65, abs=0.03)


@pytest.fixture
def recording(tmp_path):
    """Three states of the H1, told apart by x and by the first velocity."""
    qpos, qvel = np.zeros((3, 26), np.float32), np.zeros((3, 25), np.float32)
    qpos[:, 0], qvel[:, 0] = [10.0, 11.0, 12.0], [1.0, 2.0, 3.0]
    qpos[:, 2], qpos[:, 3] = 0.98, 1.0
    action = np.repeat(np.float32([[0.1], [0.2], [0.3]]), 19, axis=1)
    path = tmp_path / "states.npz"
    gait_time = np.float32([0.0, 0.175, 10.675])  # a quarter of a gait, and 15 and a quarter
    np.savez(path, qpos=qpos, qvel=qvel, action=action, gait_time=gait_time)
    return path


@pytest.fixture
def many(make_h1):
    env = make_h1("h1_walk", num_envs=400)
    return env, env.sim.qpos.clone(), env.sim.qvel.clone()


def test_recorded_state(many, recording):
    env, qpos, qvel = many
    ids = torch.arange(0, 400, 2)
    randomization.recorded_state(env.state, ids, file=str(recording), share=0.3)
    row = env.sim.qpos[:, 0]
    replaced = row >= 10.0
    assert not replaced[1::2].any()
    # 200 draws of 0.3: six deviations are 39.
    assert int(replaced.sum()) == pytest.approx(60, abs=39)
    assert row[replaced].unique().tolist() == [10.0, 11.0, 12.0]
    assert torch.equal(env.sim.qvel[replaced, 0], row[replaced] - 9.0)
    assert (env.sim.qpos[replaced, 7:] == 0.0).all()
    held = env.state.action[replaced]
    torch.testing.assert_close(held, ((row[replaced] - 9.0) / 10).float()[:, None].expand(-1, 19))
    assert (env.state.action[~replaced] == 0.0).all()
    assert torch.equal(env.sim.qpos[~replaced], qpos[~replaced])
    assert torch.equal(env.sim.qvel[~replaced], qvel[~replaced])


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (1.0, 400)])
def test_recorded_state_none_or_all(many, recording, share, count):
    env, _, _ = many
    randomization.recorded_state(env.state, torch.arange(400), file=str(recording), share=share)
    assert int((env.sim.qpos[:, 0] >= 10.0).sum()) == count


def test_a_recorded_action_goes_on(make_h1, recording):
    """Delayed actions mix with it, observations show it, and it costs no jerk."""
    start = {"recorded_state": {"file": str(recording), "share": 1.0}}
    env = make_h1("h1_walk", {"randomization": start}, num_envs=8, quiet=False)
    obs = env.reset()
    held = ((env.sim.qpos[:, 0] - 9.0) / 10).float()[:, None].expand(-1, 19)
    torch.testing.assert_close(obs["critic"][:, env.layouts["critic"]["last_action"]], held)
    for past in (env.state.last_action, env.state.last_last_action):
        torch.testing.assert_close(past, held)
    env.step(torch.ones(8, 19))
    assert torch.equal(env.state.last_action, env.state.last_last_action)


def test_the_gait_clock_goes_on(make_h1, recording):
    start = {"recorded_state": {"file": str(recording), "share": 0.5}}
    env = make_h1("h1_walk", {"randomization": start}, num_envs=40, quiet=False)
    columns = env.layouts["critic"]["gait_clock"]
    clock = env.reset()["critic"][:, columns]
    quarter = env.sim.qpos[:, 0] >= 11.0
    assert quarter.any()
    expected = torch.where(quarter[:, None], torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(clock, expected, atol=1e-4, rtol=0.0)
    env.step(torch.zeros(40, 19))
    turned = torch.tensor(2.0 * math.pi * 0.02 / 0.7)
    after = torch.where(quarter, turned.cos(), turned.sin())
    torch.testing.assert_close(clock_sine(env.state, 0.7), after, atol=1e-4, rtol=0.0)
    env.state.forget(torch.arange(40))
    assert (env.state.gait_offset == 0.0).all()


def refusal(env, path):
    with pytest.raises(ConfigError) as error:
        randomization.recorded_state(env.state, torch.arange(1), file=str(path), share=1.0)
    assert error.value.path == "randomization.recorded_state.file"
    assert str(path) in error.value.message
    assert "\n" not in str(error.value)
    return error.value.message


def test_states_of_another_robot(make_biped, recording):
    assert "another robot" in refusal(make_biped(num_envs=1), recording)


def save(path, qpos, qvel, action):
    np.savez(path, qpos=qpos, qvel=qvel, action=action, gait_time=np.zeros(len(action)))


DAMAGE = {
    "missing": lambda path, _: path.unlink(),
    "empty": lambda path, _: path.write_bytes(b""),
    "text": lambda path, _: path.write_text("walk"),
    "cut short": lambda path, whole: path.write_bytes(whole[: len(whole) // 2]),
    "other arrays": lambda path, _: np.savez(path, qpos=np.zeros((1, 26))),
    "one array": lambda path, _: np.save(path.open("wb"), np.zeros((1, 26))),
    "no action": lambda path, _: np.savez(path, qpos=np.zeros((2, 26)), qvel=np.zeros((2, 25))),
    "no clock": lambda path, _: np.savez(
        path, qpos=np.zeros((2, 26)), qvel=np.zeros((2, 25)), action=np.zeros((2, 19))
    ),
    "words": lambda path, _: save(path, np.array(["a"]), np.array(["b"]), np.array(["c"])),
    "no rows": lambda path, _: save(path, *(np.zeros((0, size)) for size in (26, 25, 19))),
    "a row": lambda path, _: save(path, *(np.zeros(size) for size in (26, 25, 19))),
    "unequal": lambda path, _: save(path, np.zeros((2, 26)), np.zeros((3, 25)), np.zeros((2, 19))),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_file_that_is_no_recording(make_h1, recording, damage):
    env = make_h1("h1_walk", num_envs=1)
    damage(recording, recording.read_bytes())
    assert "is not an .npz with qpos" in refusal(env, recording)


def test_the_changes_of_a_task_fill_their_ranges(make_h1):
    env = make_h1("h1_walk", num_envs=256, quiet=False)
    friction = observations.friction(env.state)[:, 0]
    assert 0.6 <= friction.min() < 0.62
    assert 1.23 < friction.max() <= 1.25
    mass = observations.body_mass(env.state, "torso")[:, 0] - 17.789
    assert -3.0 - 1e-4 <= mass.min() < -2.75
    assert 4.75 < mass.max() <= 5.0 + 1e-4
    assert math.isclose(mass.mean().item(), 1.0, abs_tol=6 * 8 / math.sqrt(12 * 256))
