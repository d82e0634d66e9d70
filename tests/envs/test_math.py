"""Rotations against hand-computed ones and MuJoCo's own."""

import math

import mujoco
import numpy as np
import pytest
import torch

from stridelab_envs.mdp.math import (
    from_heading,
    gravity_direction,
    heading,
    rotate,
    rotate_inverse,
    to_heading,
)

HALF = math.sqrt(0.5)
X, Y, Z = [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]
BY_HAND = {
    "identity": ([1.0, 0.0, 0.0, 0.0], [1.0, 2.0, 3.0], [1.0, 2.0, 3.0]),
    "quarter turn about x": ([HALF, HALF, 0.0, 0.0], Y, Z),
    "quarter turn about y": ([HALF, 0.0, HALF, 0.0], Z, X),
    "quarter turn about z": ([HALF, 0.0, 0.0, HALF], [1.0, 2.0, 3.0], [-2.0, 1.0, 3.0]),
    "quarter turn back about z": ([HALF, 0.0, 0.0, -HALF], X, [0.0, -1.0, 0.0]),
    "half turn about x": ([0.0, 1.0, 0.0, 0.0], [1.0, 2.0, 3.0], [1.0, -2.0, -3.0]),
    "third of a turn about the diagonal": ([0.5, 0.5, 0.5, 0.5], [1.0, 2.0, 3.0], [3.0, 1.0, 2.0]),
    "30 degrees about z": (
        [math.cos(math.pi / 12), 0.0, 0.0, math.sin(math.pi / 12)],
        X,
        [math.sqrt(3) / 2, 0.5, 0.0],
    ),
}
by_hand = pytest.mark.parametrize(("quat", "body", "world"), BY_HAND.values(), ids=BY_HAND)


@by_hand
def test_rotate_takes_body_to_world(quat, body, world):
    torch.testing.assert_close(rotate(torch.tensor([quat]), torch.tensor([body])), row(world))


@by_hand
def test_rotate_inverse_takes_world_to_body(quat, body, world):
    result = rotate_inverse(torch.tensor([quat]), torch.tensor([world]))
    torch.testing.assert_close(result, row(body))


def row(values):
    return torch.tensor([values])


@pytest.fixture
def random_quats():
    quat = torch.randn(20, 4, generator=torch.Generator().manual_seed(1))
    return quat / quat.norm(dim=1, keepdim=True)


def test_rotations_agree_with_mujoco(random_quats):
    vectors = torch.randn(20, 3, generator=torch.Generator().manual_seed(2))
    expected = np.zeros((20, 3))
    for out, quat, vector in zip(expected, random_quats, vectors, strict=True):
        mujoco.mju_rotVecQuat(out, vector.double().numpy(), quat.double().numpy())
    result = rotate(random_quats, vectors)
    np.testing.assert_allclose(result, expected, atol=2e-6)
    torch.testing.assert_close(rotate_inverse(random_quats, result), vectors, atol=1e-5, rtol=0)


GRAVITY_BY_HAND = {
    "upright": ([1.0, 0.0, 0.0, 0.0], [0.0, 0.0, -1.0]),
    "yaw does not matter": ([0.6, 0.0, 0.0, 0.8], [0.0, 0.0, -1.0]),
    "face down": ([HALF, 0.0, HALF, 0.0], [1.0, 0.0, 0.0]),
    "on its back": ([HALF, 0.0, -HALF, 0.0], [-1.0, 0.0, 0.0]),
    "on its right side": ([HALF, HALF, 0.0, 0.0], [0.0, -1.0, 0.0]),
    "head down": ([0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0]),
    "leans 30 degrees forward": (
        [math.cos(math.pi / 12), 0.0, math.sin(math.pi / 12), 0.0],
        [0.5, 0.0, -math.sqrt(3) / 2],
    ),
}


@pytest.mark.parametrize(("quat", "expected"), GRAVITY_BY_HAND.values(), ids=GRAVITY_BY_HAND)
def test_gravity_direction_by_hand(quat, expected):
    torch.testing.assert_close(gravity_direction(torch.tensor([quat])), row(expected))


def test_gravity_direction_is_the_rotated_vector(random_quats):
    down = torch.tensor([0.0, 0.0, -1.0]).expand(20, 3)
    expected = rotate_inverse(random_quats, down)
    torch.testing.assert_close(gravity_direction(random_quats), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("degrees", [-170.0, -90.0, 0.0, 40.0, 90.0, 179.0])
def test_heading_of_a_yaw(degrees):
    half = math.radians(degrees) / 2
    quat = row([math.cos(half), 0.0, 0.0, math.sin(half)])
    assert heading(quat).item() == pytest.approx(math.radians(degrees), abs=1e-6)


def test_heading_ignores_a_pitch_after_the_yaw():
    # Yaw of 40 degrees times pitch of 20: (a, 0, 0, b) (c, 0, d, 0) = (ac, -bd, ad, bc).
    a, b = math.cos(math.radians(20)), math.sin(math.radians(20))
    c, d = math.cos(math.radians(10)), math.sin(math.radians(10))
    quat = row([a * c, -b * d, a * d, b * c])
    assert heading(quat).item() == pytest.approx(math.radians(40), abs=1e-6)


def test_to_heading_by_hand():
    # Facing the world's y: what lies ahead (y) is x, what lies to the right (x) is -y.
    yaw = torch.tensor([math.pi / 2, 0.0, math.pi])
    vector = torch.tensor([[1.0, 2.0, 3.0]] * 3)
    expected = torch.tensor([[2.0, -1.0, 3.0], [1.0, 2.0, 3.0], [-1.0, -2.0, 3.0]])
    torch.testing.assert_close(to_heading(yaw, vector), expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(from_heading(yaw, expected), vector, atol=1e-6, rtol=0)


def test_to_heading_is_the_rotation_by_the_yaw_alone(random_quats):
    yaw = heading(random_quats)
    half = yaw / 2
    turned = torch.stack([half.cos(), 0 * half, 0 * half, half.sin()], dim=1)
    vector = torch.randn(20, 3, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(to_heading(yaw, vector), rotate_inverse(turned, vector))
    torch.testing.assert_close(from_heading(yaw, vector), rotate(turned, vector))


def test_one_yaw_turns_many_vectors():
    yaw = torch.tensor([0.3, -1.2])
    vector = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(4))
    together = to_heading(yaw[:, None], vector)
    assert together.shape == (2, 4, 3)
    for point in range(4):
        torch.testing.assert_close(together[:, point], to_heading(yaw, vector[:, point]))
