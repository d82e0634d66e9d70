"""A policy for ten leg joints, with a frame, a pose and a memory of its own, on the H1's model."""

from pathlib import Path

import pytest
import torch
from torch import nn

from stridelab.export.bundle import load_bundle
from stridelab.export.inference import load_exported
from stridelab.export.network import MeanAction
from stridelab.sim2sim.plant import load_plant
from stridelab.sim2sim.playback import Playback
from stridelab_envs.robots import get_robot
from stridelab_envs.tasks.h1 import GAIT_PERIOD

EXPERIMENTS = Path(__file__).resolve().parents[3] / "experiments"
LEGS = 10
POSE = torch.tensor([0.0, 0.0, -0.1, 0.3, -0.2] * 2)
"""Default pose of the layout [rad]."""
SCALE = 0.25
"""Joint offset per unit of action in the layout [rad]."""
GAINS = ["drive.kp=[200, 200, 200, 300, 40, 200, 200, 200, 300, 40]"]
GAINS += ["drive.kd=[5, 5, 5, 6, 2, 5, 5, 5, 6, 2]"]


class OnlyLegs(nn.Module):
    """The walking skill in the dress of a foreign policy.

    It sees the legs alone, takes waist and arms for still, and keeps its own clock.
    """

    time: torch.Tensor

    def __init__(self, policy):
        super().__init__()
        env = policy.description["env"]
        sample = torch.zeros(1, env["layouts"]["policy"]["projected_gravity"][1])
        walk = MeanAction(policy.module, size=sample.shape[1], action_clip=1.0, batch="free")
        self.walk = torch.jit.trace(walk, sample)
        self.register_buffer("pose", torch.tensor(env["default_pose"][:LEGS]))
        self.register_buffer("scale", torch.tensor(env["action_scale"][:LEGS]))
        self.register_buffer("others", torch.zeros(1, len(env["joints"]) - LEGS))
        self.register_buffer("their_pose", POSE)
        self.register_buffer("time", torch.zeros(1, 1))

    def forward(self, frame):
        """Map frames ``(1, 41)`` to actions ``(1, 10)``."""
        ang_vel, gravity, command, pos, vel, last, _ = frame.split([3, 3, 3, 10, 10, 10, 2], dim=1)
        phase = 2.0 * 3.141592653589793 * self.time / 0.7
        command = command / torch.tensor([[2.0, 2.0, 0.25]])
        last = ((self.their_pose + 0.25 * last) - self.pose) / self.scale
        seen = torch.cat(
            [
                command,
                torch.sin(phase),
                torch.cos(phase),
                torch.cat([pos + self.their_pose - self.pose, self.others], dim=1),
                torch.cat([vel, self.others], dim=1),
                torch.cat([last, self.others], dim=1),
                ang_vel,
                gravity,
            ],
            dim=1,
        )
        self.time += 0.02
        target = self.pose + self.scale * self.walk(seen)[:, :10]
        return (target - self.their_pose) / 0.25

    @torch.jit.export
    def reset_memory(self):
        """Begin again."""
        self.time[:] = 0.0


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    path = tmp_path_factory.mktemp("foreign") / "legs.pt"
    torch.jit.script(OnlyLegs(load_bundle(EXPERIMENTS / "policies" / "h1_walk"))).save(path)
    return path


@pytest.fixture(scope="module")
def plant():
    layout = EXPERIMENTS / "sim2sim" / "h1_legs.yaml"
    return lambda *overrides: load_plant(get_robot("h1").mjcf, layout, [*GAINS, *overrides])


def test_clock_is_that_of_the_walking_skill():
    assert GAIT_PERIOD == 0.7


def test_waist_and_arms_hold_their_places(foreign, plant):
    robot = plant()
    assert len(robot.joints) == LEGS
    playback = Playback(load_exported(foreign), robot, [0.0, 0.0, 0.0])
    playback.run(1.0)
    arm = robot.data.joint("left_elbow").qpos[0]
    assert abs(arm) < 0.2


@pytest.mark.parametrize("velocity", [0.0, 0.5])
def test_walks(foreign, plant, velocity):
    result = Playback(load_exported(foreign), plant(), [velocity, 0.0, 0.0]).run(10.0)
    assert result.falls == 0
    assert abs(result.forward_velocity - velocity) < 0.2


def test_begins_again(foreign, plant):
    """What the policy remembers, its clock, does not outlive a run."""
    exported = load_exported(foreign)
    first, second = (Playback(exported, plant(), [0.5, 0.0, 0.0]).run(1.0) for _ in range(2))
    assert first == second
