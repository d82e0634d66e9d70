"""Things robots handle and things that stand in the way, added to a scene by name.

What never moves by itself (wall, tables, cabinet, marks) hangs on mocap bodies, so that where it
stands is part of each simulation's state; what moves has a free joint, doors have hinges. Objects
are compiled where they are parked, far above the robot and apart from each other; a task puts those
it needs in their places when an episode starts. Free bodies are weightless while parked.

Sizes are full sizes in [m], x forward, y left, z up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import mujoco

from stridelab_envs.errors import UserError, unknown_name

_NET_FORCE = 3
"""MuJoCo's code for contact sensors that sum up all contacts."""
PARKING_HEIGHT = 60.0
"""Height of what is not in use [m]: out of every camera's sight and every contact's reach."""
PARKING_SPACE = 10.0
"""Distance between two parked objects [m]."""

WALL = (0.05, 2.0, 3.0)
BUTTON_RADIUS, BUTTON_DEPTH = 0.04, 0.02
TABLE = (0.9, 1.5, 0.05)
CUBE = 0.1
CUBE_MASS = 1.0
PANEL = (0.5, 0.1, 1.0)
PANEL_MASS = 1.0
PANEL_FRICTION = 5.0
BALL_RADIUS = 0.1
BALL_MASS = 0.4
BALL_ROLLING = 0.02
"""Rolling friction [m]. From a ramp of 1 m, at 3.7 m/s, a ball rolls 6 m; FIFA's quality programme
for turf asks for 4-8 m."""
GOAL_WIDTH, GOAL_DEPTH, GOAL_HEIGHT = 4.0, 1.0, 2.0
GOAL_THICKNESS = 0.05

CABINET_FRONT, CABINET_BACK = -0.207, 0.230
"""x of the cabinet's open front and of its back, from its origin [m]."""
CABINET_SIDES = (-0.323, 0.332)
CABINET_HEIGHTS = (-0.320, 0.308)
_BOARD = 0.015
DOOR = (0.013, 0.32, 0.538)
DOOR_CENTRE_Z = 0.035
DOOR_MASS = 1.57
"""Of wood, 700 kg/m^3 [kg]."""
DOOR_DAMPING = 5.0
"""[N m s/rad]"""
DOORS = ("left_door", "right_door")
"""Hinges of the cabinet; zero is closed, positive angles open towards the robot [rad]."""
HINGES = {"left_door": (-0.215, 0.323), "right_door": (-0.213, -0.315)}
"""x and y of the hinges from the cabinet's origin [m]."""
DOOR_RANGE = 1.5708
_HANDLE = (0.025, 0.26, 0.012)
_HANDLE_Z = 0.288
_PUSH_Y = 0.24
"""Distance from a hinge to where a hand pushes its door [m]."""

_CLEAR, _MOVED = (0.70, 0.78, 0.86, 0.45), (0.85, 0.47, 0.20, 1.0)
"""Of what would hide the robot from a camera in front of it, and of what it handles."""
_WOOD, _METAL = (0.66, 0.52, 0.38, 1.0), (0.62, 0.66, 0.70, 1.0)
_RED, _MARK = (0.80, 0.15, 0.12, 1.0), (0.10, 0.75, 0.35, 1.0)
_BOX, _SPHERE = mujoco.mjtGeom.mjGEOM_BOX, mujoco.mjtGeom.mjGEOM_SPHERE
_CYLINDER = mujoco.mjtGeom.mjGEOM_CYLINDER

# Every contact property is written out: defaults of the robot's file would apply otherwise. Bit 1
# of contype meets floor and robot, bit 2 also the boxes of the robot's feet.
_CONTACT = {
    "contype": 3,
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
}
_SEEN_ONLY = {**_CONTACT, "contype": 0, "conaffinity": 0, "mass": 0.0}


def add_objects(spec: mujoco.MjSpec, names: Sequence[str]) -> None:
    """Add the objects called ``names`` to a scene, parked.

    Raises:
        UserError: If there is no such object.
    """
    for place, name in enumerate(names):
        if name not in _OBJECTS:
            raise UserError(unknown_name("object", name, _OBJECTS))
        body = spec.worldbody.add_body(name=name, pos=(0.0, PARKING_SPACE * place, PARKING_HEIGHT))
        _OBJECTS[name](body)


def add_contact_sensors(spec: mujoco.MjSpec, bodies: Sequence[str]) -> None:
    """Give ``bodies`` of the robot the sensor that its feet have: ``<body>_contact``."""
    fields = (mujoco.mjtConDataField.mjCONDATA_FOUND, mujoco.mjtConDataField.mjCONDATA_FORCE)
    for body in bodies:
        spec.add_sensor(
            name=f"{body}_contact",
            type=mujoco.mjtSensor.mjSENS_CONTACT,
            objtype=mujoco.mjtObj.mjOBJ_BODY,
            objname=body,
            intprm=(sum(1 << int(field) for field in fields), _NET_FORCE, 1),
        )


def _box(
    body: mujoco.MjsBody,
    name: str,
    size: Sequence[float],
    pos: Sequence[float] = (0.0, 0.0, 0.0),
    **settings: object,
) -> None:
    half = [0.5 * side for side in size]
    body.add_geom(name=name, type=_BOX, size=half, pos=pos, **{**_CONTACT, **settings})


def _wall(body: mujoco.MjsBody) -> None:
    """Origin: its centre."""
    body.mocap = True
    _box(body, "wall", WALL, rgba=_CLEAR)


def _button(body: mujoco.MjsBody) -> None:
    """Origin: on the wall's face; site ``button`` in the middle of what is pressed."""
    body.mocap = True
    half = 0.5 * BUTTON_DEPTH
    body.add_geom(
        name="button",
        type=_CYLINDER,
        size=(BUTTON_RADIUS, half, 0.0),
        pos=(-half, 0.0, 0.0),
        zaxis=(1.0, 0.0, 0.0),
        **{**_CONTACT, "rgba": _RED},
    )
    _site(body, "button", (-BUTTON_DEPTH, 0.0, 0.0))


def _table(body: mujoco.MjsBody) -> None:
    """Origin: the centre of the top, which is all of the table that can be touched."""
    body.mocap = True
    _box(body, body.name, TABLE, rgba=_WOOD)
    for x in (-0.4, 0.4):
        for y in (-0.7, 0.7):
            leg = (x, y, -0.5)
            _box(body, "", (0.05, 0.05, 0.95), leg, **{**_SEEN_ONLY, "rgba": _WOOD})


def _goal_frame(body: mujoco.MjsBody) -> None:
    """Origin: on the ground, in the middle of the back board."""
    body.mocap = True
    middle = 0.5 * GOAL_HEIGHT
    back = (GOAL_THICKNESS, GOAL_WIDTH, GOAL_HEIGHT)
    _box(body, "goal_back", back, (0.0, 0.0, middle), rgba=_CLEAR)
    for side, y in (("left", 0.5 * GOAL_WIDTH), ("right", -0.5 * GOAL_WIDTH)):
        size = (GOAL_DEPTH, GOAL_THICKNESS, GOAL_HEIGHT)
        _box(body, f"goal_{side}", size, (-0.5 * GOAL_DEPTH, y, middle), rgba=_CLEAR)


def _cabinet(body: mujoco.MjsBody) -> None:
    """Origin: as in the published scene, near the middle; the open front faces -x."""
    body.mocap = True
    _site(body, "cabinet", (0.0, 0.0, 0.0))
    (right, left), (low, high) = CABINET_SIDES, CABINET_HEIGHTS
    depth, width, height = CABINET_BACK - CABINET_FRONT, left - right, high - low
    x, y, z = 0.5 * (CABINET_BACK + CABINET_FRONT), 0.5 * (left + right), 0.5 * (low + high)
    inset = 0.5 * _BOARD
    boards = {
        "back": ((_BOARD, width, height), (CABINET_BACK - inset, y, z)),
        "left": ((depth, _BOARD, height), (x, left - inset, z)),
        "right": ((depth, _BOARD, height), (x, right + inset, z)),
        "bottom": ((depth, width, _BOARD), (x, y, low + inset)),
        "top": ((depth, width, _BOARD), (x, y, high - inset)),
    }
    for name, (size, pos) in boards.items():
        _box(body, f"cabinet_{name}", size, pos, conaffinity=0, rgba=_WOOD)
    for name, (hinge_x, hinge_y) in HINGES.items():
        _door(body, name, (hinge_x, hinge_y, DOOR_CENTRE_Z))


def _door(cabinet: mujoco.MjsBody, name: str, hinge: Sequence[float]) -> None:
    """Hang a door; site ``<name>_push`` lies on its outside, near the free edge."""
    inward = -1.0 if hinge[1] > 0.0 else 1.0  # from the hinge to the other door
    body = cabinet.add_body(name=name, pos=hinge)
    body.add_joint(
        name=name,
        type=mujoco.mjtJoint.mjJNT_HINGE,
        axis=(0.0, 0.0, inward),
        limited=True,
        range=(0.0, DOOR_RANGE),
        damping=[DOOR_DAMPING, 0.0, 0.0],
        armature=0.0,
        frictionloss=0.0,
        stiffness=[0.0, 0.0, 0.0],
    )
    centre = 0.5 * inward * DOOR[1]
    # Closed doors overlap the boards' front: with conaffinity 0 on both they meet hands alone.
    door = {"conaffinity": 0, "rgba": _MOVED}
    _box(body, name, DOOR, (0.0, centre, 0.0), mass=DOOR_MASS, **door)
    face = -0.5 * DOOR[0]
    handle = (face - 0.5 * _HANDLE[0], centre, _HANDLE_Z - DOOR_CENTRE_Z)
    _box(body, f"{name}_handle", _HANDLE, handle, mass=0.05, **{**door, "rgba": _METAL})
    _site(body, f"{name}_push", (face, inward * _PUSH_Y, 0.0))


def _ball(body: mujoco.MjsBody) -> None:
    """Rolls as on a football pitch."""
    _free(body)
    rolling = {"condim": 6, "friction": (1.0, 0.005, BALL_ROLLING)}
    body.add_geom(
        name="ball",
        type=_SPHERE,
        size=(BALL_RADIUS, 0.0, 0.0),
        mass=BALL_MASS,
        **{**_CONTACT, **rolling, "rgba": _MOVED},
    )
    _site(body, "ball", (0.0, 0.0, 0.0))


def _cube(body: mujoco.MjsBody) -> None:
    """Sites ``cube`` in its centre, ``cube_left`` and ``cube_right`` on its sides."""
    _free(body)
    _box(body, "cube", (CUBE, CUBE, CUBE), mass=CUBE_MASS, condim=4, rgba=_MOVED)
    _sides(body, 0.5 * CUBE)


def _panel(body: mujoco.MjsBody) -> None:
    """Sites ``panel`` in its centre, ``panel_left`` and ``panel_right`` on its sides."""
    _free(body)
    # A pyramidal friction cone softens contacts by the square of the friction: 1 cm of sag on the
    # floor but for the stiffer impedance, which counts alone by its priority.
    grip: dict[str, Any] = {
        "condim": 4,
        "friction": (PANEL_FRICTION, 0.02, 0.0001),
        "priority": 1,
        "solimp": (0.98, 0.99, 0.001, 0.5, 2.0),
    }
    _box(body, "panel", PANEL, mass=PANEL_MASS, rgba=_MOVED, **grip)
    _sides(body, 0.5 * PANEL[1])


def _mark(body: mujoco.MjsBody) -> None:
    """Mark a place; nothing touches it."""
    body.mocap = True
    body.add_geom(
        name=body.name,
        type=_SPHERE,
        size=(0.03, 0.0, 0.0),
        **{**_SEEN_ONLY, "rgba": _MARK},
    )
    _site(body, body.name, (0.0, 0.0, 0.0))


def _free(body: mujoco.MjsBody) -> None:
    body.gravcomp = 1.0
    body.add_freejoint(name=body.name)


def _sides(body: mujoco.MjsBody, half: float) -> None:
    for name, y in ((body.name, 0.0), (f"{body.name}_left", half), (f"{body.name}_right", -half)):
        _site(body, name, (0.0, y, 0.0))


def _site(body: mujoco.MjsBody, name: str, pos: Sequence[float]) -> None:
    body.add_site(name=name, pos=pos, size=(0.01, 0.01, 0.01), group=3)


_OBJECTS: dict[str, Callable[[mujoco.MjsBody], None]] = {
    "wall": _wall,
    "button": _button,
    "cabinet": _cabinet,
    "goal_frame": _goal_frame,
    "ball": _ball,
    "front_table": _table,
    "back_table": _table,
    "cube": _cube,
    "panel": _panel,
    "target": _mark,
    "left_target": _mark,
    "right_target": _mark,
}
