"""A small robot, a small layout, and policies of a few numbers."""

import copy
from pathlib import Path

import mujoco
import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parents[3]

ROBOT = """
<mujoco model="two_legs">
  <compiler angle="radian"/>
  <option gravity="0 0 0"/>
  <worldbody>
    <body name="base" pos="0 0 1">
      <freejoint/>
      <geom type="box" size="0.2 0.1 0.1" mass="10"/>
      <body name="left_foot" pos="0 0.2 0">
        <joint name="left_hip" axis="0 1 0" armature="0.1"/>
        <geom type="capsule" fromto="0 0 0 0 0 -0.4" size="0.04" mass="1"/>
      </body>
      <body name="right_foot" pos="0 -0.2 0">
        <joint name="right_hip" axis="0 1 0" armature="0.1"/>
        <geom type="capsule" fromto="0 0 0 0 0 -0.4" size="0.04" mass="1"/>
      </body>
      <body name="head" pos="0 0 0.2">
        <joint name="neck" axis="0 0 1"/>
        <geom type="sphere" size="0.08" mass="1"/>
      </body>
    </body>
  </worldbody>
  <actuator>
    <motor name="right" joint="right_hip" gear="2" ctrlrange="-3 3" ctrllimited="true"/>
    <position name="left" joint="left_hip" kp="40" kv="2" forcerange="-5 5"/>
  </actuator>
</mujoco>
"""
"""Weightless robot in the air; a motor drives one hip, a position actuator the other."""

LAYOUT = {
    "timestep": 0.002,
    "decimation": 5,
    "joints": ["left_hip", "right_hip"],
    "default_pose": [0.1, -0.2],
    "action": {"scale": 0.5, "clip": 2.0},
    "drive": {"kind": "torque", "kp": [20.0, 10.0], "kd": 1.0},
    "observation": {
        "terms": {
            "command": {"scale": [2.0, 2.0, 0.25]},
            "joint_pos": {"signal": "joint_pos_rel"},
            "joint_vel": {"scale": 0.1},
            "last_action": None,
        }
    },
}
"""9 values a frame."""


@pytest.fixture
def robot(tmp_path):
    """The MJCF file of the small robot."""
    path = tmp_path / "robot.xml"
    path.write_text(ROBOT)
    return path


@pytest.fixture
def tree():
    """The small layout as nested mappings, to change at will."""
    return copy.deepcopy(LAYOUT)


@pytest.fixture
def plant(tree):
    """Build the small robot with the small layout, changed."""
    from stridelab.sim2sim.layout import validate
    from stridelab.sim2sim.plant import Plant

    def build(xml=ROBOT, **changes):
        return Plant(mujoco.MjModel.from_xml_string(xml), validate(tree | changes))

    return build


@pytest.fixture
def reading():
    """Build a reading of a robot with two joints that stands still."""
    from stridelab.sim2sim.signals import Reading

    def build(**changes):
        still = {
            "quat": np.array([1.0, 0.0, 0.0, 0.0]),
            "lin_vel_world": np.zeros(3),
            "ang_vel": np.zeros(3),
            "joint_pos": np.zeros(2),
            "joint_vel": np.zeros(2),
            "default_pose": np.zeros(2),
            "last_action": np.zeros(2),
            "foot_contact": np.zeros(2),
            "command": np.zeros(3),
            "clock": 0.0,
            "phase": 0.0,
        }
        changed = {
            name: value if name in ("clock", "phase") else np.array(value, dtype=float)
            for name, value in changes.items()
        }
        return Reading(**(still | changed))

    return build


class Constant(torch.nn.Module):
    """Gives the same actions for every observation of the right width."""

    def __init__(self, size: int, action: list[float]):
        super().__init__()
        self.linear = torch.nn.Linear(size, len(action))
        torch.nn.init.zeros_(self.linear.weight)
        self.linear.bias.data[:] = torch.tensor(action)

    def forward(self, observation):
        return self.linear(observation)


class Counter(torch.nn.Module):
    """Counts its calls in a hidden state, as recurrent policies of robots keep theirs."""

    def __init__(self, actions: int):
        super().__init__()
        self.actions = actions
        self.register_buffer("memory", torch.zeros(1))

    def forward(self, observation):
        self.memory.add_(1.0)
        return self.memory.expand(1, self.actions).clone()

    @torch.jit.export
    def reset_memory(self):
        self.memory.fill_(0.0)


@pytest.fixture
def constant(tmp_path):
    """Write a TorchScript policy that always gives ``action``."""

    def write(size, action):
        path = tmp_path / "constant.pt"
        torch.jit.save(torch.jit.script(Constant(size, list(action))), path)
        return path

    return write


@pytest.fixture
def counter(tmp_path):
    """Write a stateful TorchScript policy."""

    def write(actions):
        path = tmp_path / "counter.pt"
        torch.jit.save(torch.jit.script(Counter(actions)), path)
        return path

    return write


@pytest.fixture(scope="session")
def shipped_layouts():
    """Folder of the layouts that ship."""
    return ROOT / "experiments" / "sim2sim"


@pytest.fixture(scope="session")
def walker(tmp_path_factory):
    """The shipped policy of the biped as TorchScript."""
    from stridelab.export.bundle import load_bundle
    from stridelab.export.writer import export_policy

    path = tmp_path_factory.mktemp("walker") / "biped_walk.pt"
    bundle = load_bundle(ROOT / "experiments" / "policies" / "biped_walk")
    export_policy(bundle, path, format="torchscript", batch="fixed")
    return path
