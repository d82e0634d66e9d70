"""The world around a robot: floor, sky, light and camera settings, the same for every task.

The robot's own file keeps its physics options (time step, integrator, solver); nothing here
changes how the robot moves except the floor that it stands on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import mujoco

from stridelab_envs.errors import UserError
from stridelab_envs.terrain import BORDER, Terrain

FLOOR = "floor"
"""Name of the floor geom."""
OFFSCREEN_WIDTH, OFFSCREEN_HEIGHT = 1920, 1080
"""Largest image [pixel] that can be rendered without a window."""

_ZENITH = (0.38, 0.55, 0.78)
_NADIR = (1.0, 1.0, 1.0)
_HORIZON = (0.69, 0.775, 0.89)
"""Middle of the sky's gradient; fog and haze have it too, so that the floor fades into the sky."""
_TILE_LIGHT = (0.50, 0.55, 0.61)
_TILE_DARK = (0.42, 0.47, 0.53)
_TILE_EDGE = (0.62, 0.67, 0.73)
_TILE_SIZE = 1.0
"""Side of one floor tile [m]; whole metres let a viewer read distances."""
_SLAB = 0.5
"""Thickness of the ground under a field of heights [m]."""
_GROUND: dict[str, Any] = {
    "contype": 1,
    "conaffinity": 1,
    "condim": 3,
    "friction": (1.0, 0.005, 0.0001),
    "priority": 0,
    "solmix": 1.0,
    "solref": (0.02, 1.0),
    "solimp": (0.9, 0.95, 0.001, 0.5, 2.0),
    "margin": 0.0,
    "gap": 0.0,
    "group": 0,
    "material": "floor_tiles",
    "rgba": (1.0, 1.0, 1.0, 1.0),
}
"""Every contact property is written out: the robot's own default class would apply otherwise."""
_EXTENT = 6.0
"""Scale of the scene [m]: MuJoCo derives clipping planes, haze and shadow range from it."""


Addition = Callable[[mujoco.MjSpec], None]
"""Adds something to a scene before it is compiled."""


def build_scene(
    robot_mjcf: Path, *, terrain: Terrain | None = None, additions: Iterable[Addition] = ()
) -> mujoco.MjModel:
    """Compile a robot standing in a lit scene with a floor.

    The floor is a geom named ``"floor"`` with friction 1.0 that collides by ``contype =
    conaffinity = 1``: an infinite plane at z = 0 (world), or a field of heights with flat ground at
    z = 0 around it. The sun follows the robot, so its shadow is sharp wherever it
    walks.

    Args:
        robot_mjcf: MJCF of the robot alone, without floor or lights.
        terrain: Heights of the ground; None for a plane.
        additions: What else belongs into the scene.

    Returns:
        The compiled model, with the physics options of the robot's file.

    Raises:
        UserError: The file cannot be read or compiled, or has a floor already.
    """
    try:
        spec = mujoco.MjSpec.from_file(str(robot_mjcf))
    except ValueError as error:
        raise UserError(f"robot model {robot_mjcf}: {_one_line(error)}") from error
    if spec.geom(FLOOR) is not None:
        raise UserError(
            f'robot model {robot_mjcf}: has a geom named "{FLOOR}" already; give the robot alone'
        )
    _add_floor_material(spec)
    if terrain is None:
        _add_plane(spec)
    else:
        _add_field(spec, terrain)
    _add_lights(spec)
    _set_view(spec)
    for add in additions:
        add(spec)
    try:
        return spec.compile()
    except ValueError as error:
        raise UserError(f"robot model {robot_mjcf}: {_one_line(error)}") from error


def _add_floor_material(spec: mujoco.MjSpec) -> None:
    spec.add_texture(
        name="floor_tiles",
        type=mujoco.mjtTexture.mjTEXTURE_2D,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_CHECKER,
        mark=mujoco.mjtMark.mjMARK_EDGE,
        rgb1=_TILE_LIGHT,
        rgb2=_TILE_DARK,
        markrgb=_TILE_EDGE,
        width=512,
        height=512,
    )
    # The texture shows 2 x 2 tiles, and MuJoCo lays texrepeat of them on 2 m of a plane.
    repeat = 1.0 / _TILE_SIZE
    material = spec.add_material(
        name="floor_tiles",
        texrepeat=(repeat, repeat),
        texuniform=True,
        reflectance=0.06,
        specular=0.2,
        shininess=0.2,
    )
    textures = list(material.textures)
    textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = "floor_tiles"
    material.textures = textures


def _add_plane(spec: mujoco.MjSpec) -> None:
    spec.worldbody.add_geom(
        name=FLOOR, type=mujoco.mjtGeom.mjGEOM_PLANE, size=(0.0, 0.0, 0.05), **_GROUND
    )


def _add_field(spec: mujoco.MjSpec, terrain: Terrain) -> None:
    """Add the heights, and four slabs around them whose tops are at z = 0."""
    lowest, highest = float(terrain.heights.min()), float(terrain.heights.max())
    rows, columns = terrain.heights.shape
    spec.add_hfield(
        name=FLOOR,
        nrow=rows,
        ncol=columns,
        # MuJoCo brings the heights to 0-1, so that the third size is their range.
        size=(terrain.half, terrain.half, max(highest - lowest, 1e-3), _SLAB),
        userdata=terrain.heights.ravel(),
    )
    spec.worldbody.add_geom(
        name=FLOOR,
        type=mujoco.mjtGeom.mjGEOM_HFIELD,
        hfieldname=FLOOR,
        pos=(0.0, 0.0, lowest),
        **_GROUND,
    )
    middle, across, along = terrain.half + 0.5 * BORDER, 0.5 * BORDER, terrain.half + BORDER
    for name, pos, size in (
        ("front", (middle, 0.0), (across, along)),
        ("back", (-middle, 0.0), (across, along)),
        ("left", (0.0, middle), (terrain.half, across)),
        ("right", (0.0, -middle), (terrain.half, across)),
    ):
        spec.worldbody.add_geom(
            name=f"{FLOOR}_{name}",
            type=mujoco.mjtGeom.mjGEOM_BOX,
            pos=(*pos, -0.5 * _SLAB),
            size=(*size, 0.5 * _SLAB),
            **_GROUND,
        )


def _add_lights(spec: mujoco.MjSpec) -> None:
    """Add the sun, which casts shadows and follows the robot, and a soft fill from the side."""
    base = spec.worldbody.first_body() or spec.worldbody
    # A directional light casts shadows only within a window around its own position. A sun near
    # the floor and a far clipping plane (_set_view) keep the floor from speckling itself with
    # shadow, which MuJoCo's depth offset alone does not.
    base.add_light(
        name="sun",
        mode=mujoco.mjtCamLight.mjCAMLIGHT_TRACK,
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
        pos=(0.7, -0.6, 1.8),
        dir=(-0.35, 0.3, -0.9),
        castshadow=True,
        ambient=(0.0, 0.0, 0.0),
        diffuse=(0.70, 0.68, 0.64),
        specular=(0.25, 0.25, 0.25),
    )
    spec.worldbody.add_light(
        name="fill",
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
        dir=(0.6, 0.4, -0.7),
        castshadow=False,
        ambient=(0.0, 0.0, 0.0),
        diffuse=(0.14, 0.15, 0.18),
        specular=(0.0, 0.0, 0.0),
    )


def _set_view(spec: mujoco.MjSpec) -> None:
    """Set sky, haze, headlight, shadow quality and the size of the offscreen buffer."""
    spec.add_texture(
        name="sky",
        type=mujoco.mjtTexture.mjTEXTURE_SKYBOX,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
        rgb1=_ZENITH,
        rgb2=_NADIR,
        width=512,
        height=3072,
    )
    visual = spec.visual
    visual.global_.offwidth = OFFSCREEN_WIDTH
    visual.global_.offheight = OFFSCREEN_HEIGHT
    visual.headlight.ambient = (0.32, 0.33, 0.36)
    visual.headlight.diffuse = (0.28, 0.28, 0.28)
    visual.headlight.specular = (0.0, 0.0, 0.0)
    visual.rgba.haze = (*_HORIZON, 1.0)
    visual.rgba.fog = (*_HORIZON, 1.0)
    visual.map.fogstart = 1.5
    visual.map.fogend = 9.0
    visual.map.znear = 0.005
    visual.map.zfar = 300.0
    visual.map.shadowclip = 0.5
    visual.quality.shadowsize = 4096
    visual.quality.offsamples = 4
    spec.stat.extent = _EXTENT
    spec.stat.center = (0.0, 0.0, 0.8)


def _one_line(error: ValueError) -> str:
    """Return MuJoCo's message, which may span lines, as one line."""
    return " ".join(str(error).split())
