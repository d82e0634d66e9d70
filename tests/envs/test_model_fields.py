"""Model fields of each simulation: masses and friction that differ, and are saved."""

import mujoco
import numpy as np
import pytest
import torch

from stridelab_envs.physics import Simulation

DT, DECIMATION = 0.01, 4
# Two carts in a row on a rail without gravity: the first is pushed, the second hangs on a spring.
CARTS = f"""
<mujoco>
  <option timestep="{DT}" gravity="0 0 0" integrator="Euler"/>
  <worldbody>
    <body name="front">
      <joint name="rail" type="slide" axis="1 0 0"/>
      <geom name="box" type="box" size="0.1 0.1 0.1" mass="2" contype="0" conaffinity="0"/>
      <body name="rear">
        <joint name="hook" type="slide" axis="1 0 0" stiffness="50"/>
        <geom type="box" size="0.1 0.1 0.1" mass="0.5" contype="0" conaffinity="0"/>
      </body>
    </body>
  </worldbody>
  <actuator><motor joint="rail"/></actuator>
</mujoco>
"""


def build(num_envs=3):
    model = mujoco.MjModel.from_xml_string(CARTS)
    return Simulation(model, num_envs, decimation=DECIMATION, num_threads=1)


def push(sim, steps=1, force=6.0):
    for _ in range(steps):
        sim.step(torch.full((sim.num_envs, 1), force))
    return torch.cat([sim.qpos, sim.qvel], dim=1).clone()


def heavier(sim, masses):
    """Give the front carts other masses."""
    sim.model_field("body_mass")[:, 1] = torch.tensor(masses, dtype=torch.float64)
    sim.set_const(torch.arange(sim.num_envs))


def test_a_field_starts_as_the_models_and_is_the_same_tensor_ever_after():
    sim = build()
    mass = sim.model_field("body_mass")
    assert mass[:, 1:].tolist() == [[2.0, 0.5]] * 3
    assert sim.model_field("body_mass") is mass


def test_each_simulation_has_its_own_mass():
    sim = build()
    heavier(sim, [2.0, 4.0, 8.0])
    for index, mass in enumerate((2.0, 4.0, 8.0)):
        model = mujoco.MjModel.from_xml_string(CARTS)
        model.body_mass[1] = mass
        data = mujoco.MjData(model)
        mujoco.mj_setConst(model, data)
        data.ctrl[0] = 6.0
        mujoco.mj_step(model, data, nstep=DECIMATION * 5)
        if index == 0:
            moved = push(sim, 5)
        np.testing.assert_allclose(moved[index], [*data.qpos, *data.qvel], rtol=1e-12)
    assert moved[0, 0] > moved[1, 0] > moved[2, 0]
    assert sim.model.body_mass[1] == 2.0  # the shared model stays as it is


def test_derived_constants_follow_where_asked():
    sim = build()
    sim.model_field("body_mass")[:, 1] = 4.0
    sim.set_const(torch.tensor([0, 2]))
    sim.forward(torch.arange(3))
    whole = sim.batch.expanded("body_subtreemass")[:, 1]
    assert whole.tolist() == pytest.approx([4.5, 2.5, 4.5])


def test_constants_are_derived_before_the_next_step_and_once(monkeypatch):
    sim, calls = build(), []
    derive = sim.batch.set_const

    def counted(ids=None):
        calls.append(list(ids))
        derive(ids=ids)

    monkeypatch.setattr(sim.batch, "set_const", counted)
    sim.set_const(torch.tensor([0]))
    sim.set_const(torch.tensor([0, 2]))
    assert calls == []
    push(sim, 2)
    assert calls == [[0, 2]]


def test_reset_keeps_the_fields():
    sim = build()
    heavier(sim, [2.0, 4.0, 8.0])
    first = push(sim, 3)
    sim.reset(torch.arange(3))
    sim.forward(torch.arange(3))
    assert sim.model_field("body_mass")[:, 1].tolist() == [2.0, 4.0, 8.0]
    torch.testing.assert_close(push(sim, 3), first)


def test_a_failed_simulation_keeps_its_field():
    sim = build()
    heavier(sim, [2.0, 4.0, 8.0])
    first = push(build_like(sim), 3)
    sim.qvel[1, 0] = float("nan")
    assert push_once(sim).tolist() == [1]
    sim.reset(torch.arange(3))
    sim.forward(torch.arange(3))
    torch.testing.assert_close(push(sim, 3), first)


def build_like(sim):
    """Another batch with the masses of ``sim``."""
    other = build(sim.num_envs)
    heavier(other, sim.model_field("body_mass")[:, 1].tolist())
    return other


def push_once(sim):
    return sim.step(torch.full((sim.num_envs, 1), 6.0))


@pytest.mark.parametrize("expanded", [False, True])
def test_a_saved_state_holds_the_fields(expanded):
    """Also where the simulations that take it over have not looked at the field yet."""
    source, target = build(), build()
    heavier(source, [2.0, 4.0, 8.0])
    push(source, 2)
    saved = source.get_state()
    expected = push(source, 4)
    if expanded:
        heavier(target, [3.0, 3.0, 3.0])
        push(target, 7)
    target.set_state(saved)
    assert target.model_field("body_mass")[:, 1].tolist() == [2.0, 4.0, 8.0]
    assert torch.equal(push(target, 4), expected)
    # What was saved is a copy: it can be taken over again.
    target.set_state(saved)
    assert torch.equal(push(target, 4), expected)


def test_without_fields_nothing_of_the_model_is_saved():
    assert not any(name.startswith("model.") for name in build().get_state())
