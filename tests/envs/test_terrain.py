"""Uneven ground: heights by hand and against MuJoCo's rays, starts, and terms that follow it."""

import mujoco
import numpy as np
import pytest
import torch

from stridelab_envs.batch_env import BatchEnv
from stridelab_envs.errors import ConfigError
from stridelab_envs.mdp import observations, terminations
from stridelab_envs.registry import get_task
from stridelab_envs.robots import get_robot
from stridelab_envs.robots.scene import build_scene
from stridelab_envs.terrain import BORDER, CELL, KINDS, TILE, TILES, Terrain, TerrainConfig

UNEVEN = [kind for kind in KINDS if kind != "flat"]


def terrain(kind="rough", difficulty=1.0, seed=0):
    return Terrain(TerrainConfig(kind=kind, difficulty=difficulty, seed=seed))


def ground_by_ray(model, points):
    """Heights of the ground under points, as MuJoCo's rays from above find them."""
    data = mujoco.MjData(model)
    data.qpos[:3] = [0.0, 0.0, 500.0]  # the robot is out of the way
    mujoco.mj_forward(model, data)
    geom, heights = np.zeros(1, np.int32), []
    for x, y in points:
        start, down = np.array([x, y, 100.0]), np.array([0.0, 0.0, -1.0])
        heights.append(100.0 - mujoco.mj_ray(model, data, start, down, None, 1, -1, geom))
    return np.array(heights)


@pytest.mark.parametrize("kind", UNEVEN)
def test_heights_are_those_of_the_model(kind):
    field = terrain(kind, difficulty=3.0)
    model = build_scene(get_robot("x1").mjcf, terrain=field)
    points = np.random.default_rng(1).uniform(-field.half - 5.0, field.half + 5.0, (200, 2))
    points[0] = field.half + BORDER - 0.1  # the farthest corner of the border
    found = field.height(torch.tensor(points)).numpy()
    np.testing.assert_allclose(found, ground_by_ray(model, points), atol=1e-5)
    assert np.abs(found).max() > 0.01
    inside = np.abs(points).max(axis=1) < field.half
    assert inside.sum() > 100
    assert (found[~inside] == 0.0).all()


def test_height_within_a_cell():
    field = terrain()
    row, column = 10, 20
    corners = {"h00": (0, 0), "h01": (0, 1), "h10": (1, 0), "h11": (1, 1)}
    h = {name: field.heights[row + i, column + j] for name, (i, j) in corners.items()}
    x, y = -field.half + CELL * column, -field.half + CELL * row
    points = torch.tensor(
        [
            [x, y],
            [x + CELL, y],
            [x + 0.5 * CELL, y + 0.5 * CELL],
            [x + 0.75 * CELL, y + 0.25 * CELL],
        ],
        dtype=torch.float64,
    )
    expected = [
        h["h00"],
        h["h01"],
        0.5 * (h["h00"] + h["h11"]),
        0.25 * h["h00"] + 0.5 * h["h01"] + 0.25 * h["h11"],
    ]
    assert field.height(points).tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("difficulty", "size"), [(0.0, 0.005), (0.5, 0.0075), (3.0, 0.02)])
def test_bumps_of_rough_ground(difficulty, size):
    heights = terrain("rough", difficulty).heights
    assert 0.99 * size < np.abs(heights).max() <= size
    # Every second height is drawn, the ones between are their means.
    inner = heights[2:78, 2:78]
    np.testing.assert_allclose(inner[::2, 1:-1:2], (inner[::2, :-2:2] + inner[::2, 2::2]) / 2)


def test_slopes_rise_and_fall_to_a_platform():
    heights = terrain("slopes", difficulty=10.0).heights
    count = round(TILE / CELL)
    centres = heights[count // 2 :: count, count // 2 :: count]
    # Grade 1, 4 m, and 0.625 of the way to the middle along both axes.
    assert np.abs(np.abs(centres) - 4.0 * 0.625**2).max() <= 0.155
    assert {-1.0, 1.0} == set(np.sign(centres).ravel())
    tile = np.abs(heights[: count + 1, : count + 1])
    assert np.abs(tile[25:56, 25:56] - 1.5625).max() <= 0.155  # 3 m of platform
    assert np.abs(tile[40, 20] - 0.5 * 4.0 * 1.0).max() <= 0.6
    assert np.abs(heights[::count, ::count]).max() <= 0.155  # tiles meet near 0


def test_discrete_rectangles():
    field = terrain("discrete", difficulty=2.0)
    assert set(np.unique(field.heights)) <= {-0.02, -0.01, 0.0, 0.01, 0.02}
    count = round(TILE / CELL)
    middles = [
        field.heights[y + 26 : y + 55, x + 26 : x + 55]
        for y in range(0, TILES * count, count)
        for x in range(0, TILES * count, count)
    ]
    assert not np.any(middles)
    assert 0.2 < np.mean(field.heights != 0.0) < 0.8


def test_mixed_ground_has_all_kinds():
    field, count = terrain("mixed"), round(TILE / CELL)
    sizes = [
        np.abs(field.heights[y + 1 : y + count, x + 1 : x + count]).max()
        for y in range(0, TILES * count, count)
        for x in range(0, TILES * count, count)
    ]
    assert min(sizes) == 0.0
    assert max(sizes) > 0.1
    assert any(0.005 < size <= 0.01 for size in sizes)


def test_ground_is_that_of_its_seed():
    assert np.array_equal(terrain(seed=4).heights, terrain(seed=4).heights)
    assert not np.array_equal(terrain(seed=4).heights, terrain(seed=5).heights)


def test_starts_spread_over_the_field():
    field = terrain()
    points = field.draw(2000, torch.Generator().manual_seed(0))
    assert points.abs().max() <= field.half
    for column in range(2):
        counts = torch.histc(points[:, column].float(), TILES, -field.half, field.half)
        assert counts.min() > 250  # of 333


def test_highest_ground_around_a_place():
    field = terrain("slopes", difficulty=5.0)
    points = field.draw(50, torch.Generator().manual_seed(0))
    offsets = torch.cartesian_prod(*[torch.linspace(-0.14, 0.14, 15, dtype=torch.float64)] * 2)
    around = field.height(points[:, None] + offsets).amax(dim=1)
    highest = field.highest(points)
    assert (highest >= around - 1e-6).all()
    assert (highest - field.height(points)).max() < 0.3


def make(kind, *, count=8, seed=0, **overrides):
    off = dict.fromkeys(get_task("x1_walk").randomization)
    ground = {"kind": kind, "difficulty": 3.0}
    task = get_task("x1_walk").with_overrides(
        {"terrain": ground, "randomization": off, **overrides}
    )
    return BatchEnv(task, num_envs=count, seed=seed, num_threads=1, stack_history=False)


@pytest.mark.parametrize("kind", UNEVEN)
def test_robots_start_on_the_ground_and_stay_on_it(kind):
    env = make(kind)
    env.reset()
    places = env.state.base_pos[:, :2].clone()
    assert (places.amax(dim=0) - places.amin(dim=0)).min() > 10.0
    soles = env.state.foot_pos[..., 2] - env.state.ground_height(env.state.foot_pos)
    assert soles.min() > 0.03
    for _ in range(60):
        env.step(torch.zeros(8, 12))
    assert env.state.feet.contact.float().mean() > 0.8
    height = env.state.foot_pos[..., 2] - env.state.ground_height(env.state.foot_pos)
    assert (height - 0.0408).abs().max() < 0.035
    assert env.state.base_height.min() > 0.5
    before = env.sim.qpos[:, :2].clone()
    env.reset()
    assert ((env.sim.qpos[:, :2] - before).abs().amax(dim=1) > 0.5).float().mean() > 0.8


def test_heights_are_counted_from_the_ground():
    env = make("slopes", count=2)
    ground = torch.tensor([3.0, 3.0])
    env.sim.qpos[:, :2] = ground
    height = env.state.terrain.height(ground)
    env.sim.qpos[0, 2], env.sim.qpos[1, 2] = height + 0.36, height + 0.34
    env.sim.forward(torch.arange(2))
    env.state._cache.clear()
    assert abs(height) > 0.05
    assert env.state.base_height.tolist() == pytest.approx([0.36, 0.34], abs=1e-5)
    assert terminations.base_too_low(env.state, height=0.35).tolist() == [False, True]
    assert observations.base_height(env.state).flatten().tolist() == pytest.approx([0.36, 0.34])
    # In the heading frame a point on the ground under the base is at height 0.
    under = torch.tensor([[[3.0, 3.0, height]]] * 2)
    assert env.state.in_base_heading(under).abs().max() < 1e-5


def test_equal_seeds_start_alike():
    places = [
        make("rough", seed=seed).reset() and make("rough", seed=seed).sim.qpos for seed in (1, 1, 2)
    ]
    assert torch.equal(places[0], places[1])
    assert not torch.equal(places[0], places[2])


@pytest.mark.parametrize("task_id", ["biped_walk", "h1_walk"])
def test_every_robot_can_stand_on_it(task_id):
    task = get_task(task_id).with_overrides({"terrain": "mixed"})
    env = BatchEnv(task, num_envs=4, seed=0, num_threads=1)
    env.reset()
    for _ in range(10):
        step = env.step(torch.zeros(4, env.action_dim))
        assert not step.terminated.any()
    assert env.state.feet.contact.any()


def test_flat_ground_is_a_plane():
    task = get_task("x1_walk")
    assert task.terrain == TerrainConfig()
    assert task.with_overrides({"terrain": None}) == task
    env = BatchEnv(task, num_envs=1, seed=0, num_threads=1, stack_history=False)
    assert env.sim.model.geom("floor").type[0] == mujoco.mjtGeom.mjGEOM_PLANE
    assert env.state.terrain is None
    assert (env.sim.qpos[:, :2] == 0.0).all()


class TestOverrides:
    def test_by_name_or_mapping(self):
        task = get_task("x1_walk")
        assert task.with_overrides({"terrain": "rough"}).terrain == TerrainConfig(kind="rough")
        changed = task.with_overrides({"terrain": {"kind": "slopes", "difficulty": 0.5}})
        assert changed.terrain == TerrainConfig(kind="slopes", difficulty=0.5)

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            ("ruogh", r'^terrain\.kind: unknown terrain "ruogh"; did you mean "rough"'),
            ({"kind": 3}, r'^terrain\.kind: unknown terrain "3"'),
            ({"kind": ["rough"]}, r"^terrain\.kind: unknown terrain"),
            ({"kind": "rough", "dificulty": 1}, r'^terrain\.dificulty: .*mean "difficulty"'),
            (
                {"kind": "rough", "difficulty": 11},
                r"^terrain\.difficulty: must be between 0 and 10",
            ),
            (
                {"kind": "rough", "difficulty": -1},
                r"^terrain\.difficulty: must be between 0 and 10",
            ),
            (
                {"kind": "rough", "difficulty": float("nan")},
                r"^terrain\.difficulty: must be between",
            ),
            ({"kind": "rough", "difficulty": True}, r"^terrain\.difficulty: must be a number"),
            ({"kind": "rough", "seed": 1.5}, r"^terrain\.seed: must be a whole number"),
            (["rough"], r"^terrain: must be a kind's name or a mapping"),
        ],
    )
    def test_wrong_values_are_refused(self, value, message):
        with pytest.raises(ConfigError, match=message):
            get_task("x1_walk").with_overrides({"terrain": value})
