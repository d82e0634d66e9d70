"""What a robot's model tells by itself: where its parts touch the ground, and its mirror image."""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import numpy as np
from numpy.typing import NDArray

_TOLERANCE = 0.05
"""How far an axis, or an anchor in units of the robot's size, may be from its mirror image."""


def lowest_points(robot: mujoco.MjSpec, qpos: NDArray[np.float64]) -> dict[str, float]:
    """Return the height of each body's lowest point above the ground [m].

    Only geoms that collide with a floor count; bodies without any are left out.

    Args:
        robot: Model without a floor; it is left as it is.
        qpos: Generalised positions, ``(nq,)``.
    """
    scene = robot.copy()
    scene.worldbody.add_geom(  # so wide a margin makes a contact of every geom
        type=mujoco.mjtGeom.mjGEOM_PLANE, size=(0.0, 0.0, 1.0), margin=100.0
    )
    model = scene.compile()
    data = mujoco.MjData(model)
    data.qpos[:] = qpos
    mujoco.mj_forward(model, data)
    lowest: dict[str, float] = {}
    for contact in data.contact:
        bodies = [int(model.geom_bodyid[geom]) for geom in contact.geom]
        if 0 in bodies:
            name = model.body(max(bodies)).name
            lowest[name] = min(float(contact.dist), lowest.get(name, np.inf))
    return lowest


def mirror_joints(
    model: mujoco.MjModel, joints: Sequence[str]
) -> tuple[list[tuple[str, float]], list[str]]:
    """Find each hinge's mirror image across the base's x-z plane.

    A reflection turns the axis of a rotation into ``(-x, y, -z)`` of itself; the sign says whether
    the partner's own axis points that way or against it.

    Args:
        model: Model whose first body is the base; joint angles are zero in ``qpos0``.
        joints: Names of the hinges.

    Returns:
        Partner and sign of each hinge, as in :attr:`RobotSpec.mirror`, and the hinges for which
        none was found; those are their own partner.
    """
    anchors, axes = _in_base_frame(model, joints)
    size = max(float(np.ptp(anchors, axis=0).max()), 1e-6)
    mirrored_anchors = anchors * [1.0, -1.0, 1.0]
    mirrored_axes = axes * [-1.0, 1.0, -1.0]
    distance = np.linalg.norm(mirrored_anchors[:, None] - anchors[None], axis=-1) / size
    alignment = mirrored_axes @ axes.T
    cost = distance + 1.0 - np.abs(alignment)
    partner = cost.argmin(axis=1)
    pairs, unpaired = [], []
    for i, name in enumerate(joints):
        j = int(partner[i])
        if partner[j] != i or cost[i, j] > _TOLERANCE:
            unpaired.append(name)
            j = i
        pairs.append((joints[j], 1.0 if alignment[i, j] >= 0.0 else -1.0))
    return pairs, unpaired


def _in_base_frame(
    model: mujoco.MjModel, joints: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return anchors [m] and unit axes of the hinges at zero angles, each ``(n, 3)``."""
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    ids = [model.joint(name).id for name in joints]
    rotation = data.xmat[1].reshape(3, 3)
    return (data.xanchor[ids] - data.xpos[1]) @ rotation, data.xaxis[ids] @ rotation
