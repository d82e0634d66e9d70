"""The batched simulation: closed-form motion, live fields, and simulations that fail."""

import logging

import mujoco
import numpy as np
import pytest
import torch
from mujoco.batch import SimulationError

from stridelab_envs.physics import Simulation

DT, DECIMATION, MASS = 0.01, 4, 2.0
NAN, INF = float("nan"), float("inf")
# A cart on a rail without gravity: the force is the control, so a step has a closed form.
CART = f"""
<mujoco>
  <option timestep="{DT}" gravity="0 0 0" integrator="Euler"/>
  <worldbody>
    <body name="cart">
      <joint name="rail" type="slide" axis="1 0 0"/>
      <geom type="box" size="0.1 0.1 0.1" mass="{MASS}" contype="0" conaffinity="0"/>
    </body>
  </worldbody>
  <actuator><motor joint="rail"/></actuator>
</mujoco>
"""


@pytest.fixture
def make_carts(tmp_path):
    def build(num_envs=3, **kwargs):
        model = mujoco.MjModel.from_xml_string(CART)
        return Simulation(
            model, num_envs, decimation=DECIMATION, num_threads=1, dump_dir=tmp_path, **kwargs
        )

    return build


@pytest.fixture
def carts(make_carts):
    return make_carts()


def column(*values):
    return torch.tensor(values, dtype=torch.float64)[:, None]


def test_step_follows_semi_implicit_euler(carts):
    force = column(0.0, 1.0, -3.0)
    failed = carts.step(force)
    # After n substeps: v = a n dt, x = a dt^2 (1 + 2 + ... + n).
    acceleration = force / MASS
    torch.testing.assert_close(carts.qvel, acceleration * DECIMATION * DT)
    torch.testing.assert_close(carts.qpos, acceleration * DT**2 * 10)
    assert failed.tolist() == []
    assert carts.failures == 0
    assert carts.control_dt == pytest.approx(0.04)


def test_state_fields_are_live_and_written_in_place(carts):
    carts.qpos[1] = 5.0
    carts.qvel[1] = 2.0
    carts.step(column(0.0, 0.0, 0.0))
    torch.testing.assert_close(carts.qpos, column(0.0, 5.0 + 2.0 * 4 * DT, 0.0))
    torch.testing.assert_close(carts.qvel, column(0.0, 2.0, 0.0))


def test_read_gives_float32_of_the_new_state(carts):
    carts.qvel[:] = column(1.0, 2.0, 3.0)
    carts.step(column(0.0, 0.0, 0.0))
    moved = torch.tensor([0.04, 0.08, 0.12])
    for name, values in (("qpos", carts.read("qpos")[:, 0]), ("xpos", carts.read("xpos")[:, 1, 0])):
        assert values.dtype == torch.float32, name
        torch.testing.assert_close(values, moved)  # positions are not one substep behind


def test_read_is_refilled_after_each_step(carts):
    carts.qvel[:] = 1.0
    positions = carts.read("xpos")
    for step in (1, 2, 3):
        carts.step(column(0.0, 0.0, 0.0))
        assert carts.read("xpos") is positions
        torch.testing.assert_close(positions[:, 1, 0], torch.full((3,), 0.04 * step))


def test_reset_touches_only_the_simulations_named(carts):
    carts.step(column(1.0, 1.0, 1.0))
    before = carts.qpos.clone(), carts.qvel.clone()
    carts.reset(torch.tensor([1]))
    carts.forward(torch.tensor([1]))
    assert carts.qpos[1].item() == carts.qvel[1].item() == 0.0
    others = [0, 2]
    torch.testing.assert_close(carts.qpos[others], before[0][others], rtol=0, atol=0)
    torch.testing.assert_close(carts.qvel[others], before[1][others], rtol=0, atol=0)


def test_forward_brings_derived_fields_up_to_a_written_state(carts):
    carts.read("xpos")
    carts.reset(torch.tensor([2]))
    carts.qpos[2] = 7.0
    carts.forward(torch.tensor([2]))
    torch.testing.assert_close(carts.read("xpos")[:, 1, 0], torch.tensor([0.0, 0.0, 7.0]))


def test_only_the_simulations_written_are_copied_again(carts):
    positions = carts.read("xpos")
    carts.reset(torch.tensor([2]))
    positions[:] = -1.0  # what is copied again is seen
    carts.qpos[:] = column(5.0, 6.0, 7.0)
    carts.forward(torch.tensor([0, 2]))
    assert carts.read("xpos")[:, 1, 0].tolist() == [5.0, -1.0, 7.0]
    carts.forward(torch.tensor([1]))
    assert carts.read("xpos")[:, 1, 0].tolist() == [5.0, 6.0, 7.0]
    positions[:] = -1.0
    carts.step(column(0.0, 0.0, 0.0))
    assert carts.read("xpos")[:, 1, 0].tolist() == [5.0, 6.0, 7.0]


def test_picked_rows_are_those_that_are_read(carts):
    carts.step(column(1.0, 2.0, 3.0))
    picked = carts.pick("xpos", [1])
    assert picked.dtype == torch.float32
    assert torch.equal(picked, carts.read("xpos")[:, [1]])
    kept = picked.clone()
    carts.step(column(1.0, 2.0, 3.0))
    assert torch.equal(picked, kept)


def test_data_is_one_simulation_with_its_kinematics(carts):
    carts.qpos[:] = column(1.0, 2.0, 3.0)
    assert carts.data(1).xpos[1, 0] == pytest.approx(2.0)
    assert carts.data(2).qpos[0] == pytest.approx(3.0)


def test_forces_are_those_of_the_own_last_substep(carts):
    carts.read("actuator_force")
    carts.step(column(1.0, 2.0, 3.0))
    torch.testing.assert_close(carts.read("actuator_force"), column(1.0, 2.0, 3.0).float())


def test_a_field_read_late_leaves_the_forces_alone(carts):
    carts.read("actuator_force")
    carts.step(column(1.0, 2.0, 3.0))
    carts.read("cvel")  # read for the first time, before the forces of this step
    torch.testing.assert_close(carts.read("actuator_force"), column(1.0, 2.0, 3.0).float())


def test_reading_does_not_change_the_motion(make_carts):
    plain, watched = make_carts(), make_carts()
    for step in range(5):
        force = column(0.5, -1.0, 2.0) * step
        plain.step(force)
        watched.step(force)
        for name in ("xpos", "cvel", "subtree_com")[: step + 1]:
            watched.read(name)
    assert torch.equal(plain.qpos, watched.qpos)
    assert torch.equal(plain.qvel, watched.qvel)


@pytest.mark.parametrize(
    ("field", "value"),
    [("qvel", v) for v in (NAN, INF, -INF, 1e5, -1e5)] + [("qpos", v) for v in (NAN, INF, -INF)],
)
def test_a_broken_state_restarts_alone(carts, field, value):
    getattr(carts, field)[1] = value
    failed = carts.step(column(1.0, 1.0, 1.0))
    assert failed.tolist() == [1]
    assert carts.failures == 1
    speed = DECIMATION * DT / MASS
    torch.testing.assert_close(carts.qvel, column(speed, 0.0, speed))
    assert carts.qpos[1].item() == 0.0
    assert torch.isfinite(carts.read("xpos")).all()


def test_a_restarted_simulation_moves_like_a_new_one(make_carts):
    broken, fresh = make_carts(), make_carts()
    broken.qvel[0] = NAN
    broken.step(column(1.0, 1.0, 1.0))
    force = column(3.0, 0.0, 0.0)
    broken.step(force)
    fresh.step(force)
    assert torch.equal(broken.qpos[0], fresh.qpos[0])


def test_fast_is_not_broken(carts):
    carts.qvel[1] = 9.0e3
    assert carts.step(column(0.0, 0.0, 0.0)).tolist() == []


def test_an_error_of_mujoco_restarts_the_simulations_it_names(carts, monkeypatch):
    real_step = carts.batch.step

    def raising(*args, **kwargs):
        real_step(*args, **kwargs)
        raise SimulationError(np.array([0, 2], dtype=np.int32), "stack overflow")

    monkeypatch.setattr(carts.batch, "step", raising)
    assert carts.step(column(1.0, 1.0, 1.0)).tolist() == [0, 2]
    assert carts.failures == 2
    torch.testing.assert_close(carts.qvel, column(0.0, DECIMATION * DT / MASS, 0.0))
    assert "stack overflow" in str(np.load(carts.dump_path)["message"])


def test_the_first_failure_is_dumped_and_no_other(carts, tmp_path, caplog):
    carts.step(column(1.0, 2.0, 3.0))
    before = carts.qpos[2].item()
    carts.qvel[2] = 2e4
    with caplog.at_level(logging.WARNING):
        carts.step(column(4.0, 5.0, 6.0))
        carts.qvel[0] = NAN
        carts.step(column(7.0, 8.0, 9.0))
    assert carts.failures == 2
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".npz"] == [
        carts.dump_path.name
    ]
    dump = np.load(carts.dump_path)
    assert dump["env_id"] == 2
    assert dump["qpos"].tolist() == [before]  # before the step that failed
    assert dump["qvel"].tolist() == [2e4]
    assert dump["ctrl"].tolist() == [6.0]
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert str(carts.dump_path) in warnings[0].getMessage()


def test_no_failure_writes_no_file(carts, tmp_path):
    carts.step(column(1.0, 1.0, 1.0))
    assert carts.dump_path is None
    assert list(tmp_path.iterdir()) == []
