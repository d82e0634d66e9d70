"""Read a robot's model from MJCF or URDF: the robot alone, free to move."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import mujoco

from stridelab_envs.errors import UserError

_MESH_KINDS = (".stl", ".obj", ".msh")
"""What MuJoCo reads."""


def read_model(path: Path) -> mujoco.MjSpec:
    """Read a model and take away what is not the robot: floor, lights, sky, other bodies.

    Args:
        path: MJCF (a scene that includes the robot will do) or URDF.

    Returns:
        The model with exactly one root body, which carries a free joint called ``root``.

    Raises:
        UserError: If the file cannot be read, or does not hold exactly one robot.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is not UTF-8 text"
        raise UserError(f"{path}: cannot be read: {reason}") from None
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise UserError(f"{path}: is no XML: {error}") from None
    try:
        if root.tag == "robot":
            _prepare_urdf(root, path)
            spec = mujoco.MjSpec.from_string(ElementTree.tostring(root, encoding="unicode"))
        else:
            spec = mujoco.MjSpec.from_file(str(path))
        spec.compile()
    except ValueError as error:
        raise UserError(f"{path}: {' '.join(str(error).split())}") from None
    _remove_scenery(spec)
    _free_root(spec, path)
    return spec


def _prepare_urdf(robot: ElementTree.Element, path: Path) -> None:
    """Let the root link float, keep welded links as bodies, and find the meshes."""
    children = {child.get("link") for child in robot.findall("joint/child")}
    roots = [link.get("name") for link in robot.findall("link")]
    roots = [name for name in roots if name not in children]
    if len(roots) != 1:
        raise UserError(f"{path}: must have one root link, got {len(roots)}")
    if roots[0] != "world":
        robot.append(ElementTree.Element("link", name="world"))
        joint = ElementTree.SubElement(robot, "joint", name="root", type="floating")
        ElementTree.SubElement(joint, "parent", link="world")
        ElementTree.SubElement(joint, "child", link=str(roots[0]))
    for extension in robot.findall("mujoco"):
        robot.remove(extension)
    settings = {"fusestatic": "false", "discardvisual": "false", "strippath": "false"}
    ElementTree.SubElement(ElementTree.SubElement(robot, "mujoco"), "compiler", settings)
    for link in robot.findall("link"):
        for element in [*link.findall("visual"), *link.findall("collision")]:
            mesh = element.find("geometry/mesh")
            if mesh is None:
                continue
            found = _find_mesh(str(mesh.get("filename")), path.parent)
            if found is not None and found.suffix.lower() in _MESH_KINDS:
                mesh.set("filename", str(found.resolve()))
            elif element.tag == "visual":
                link.remove(element)  # the robot moves the same without it
            else:
                kinds = ", ".join(_MESH_KINDS)
                why = "does not exist" if found is None else f"is none of {kinds}"
                raise UserError(f"{path}: collision mesh {mesh.get('filename')} {why}")


def _find_mesh(name: str, folder: Path) -> Path | None:
    """Find the file of a URDF's mesh; the ROS package of ``package://`` is a folder above."""
    if name.startswith("package://"):
        package, _, rest = name.removeprefix("package://").partition("/")
        above = [folder.resolve(), *folder.resolve().parents]
        candidates = [path / package / rest for path in above]
        candidates += [path / rest for path in above if path.name == package]
    else:
        candidates = [folder / name.removeprefix("file://")]
    return next((path for path in candidates if path.is_file()), None)


def _remove_scenery(spec: mujoco.MjSpec) -> None:
    world = spec.worldbody
    skies = [t for t in spec.textures if t.type == mujoco.mjtTexture.mjTEXTURE_SKYBOX]
    still = [body for body in world.bodies if body.parent == world and not _joints_below(body)]
    for element in [*world.geoms, *world.lights, *world.sites, *skies, *still]:
        spec.delete(element)


def _free_root(spec: mujoco.MjSpec, path: Path) -> None:
    roots = [body for body in spec.worldbody.bodies if body.parent == spec.worldbody]
    if len(roots) != 1:
        names = ", ".join(body.name or "unnamed" for body in roots)
        raise UserError(f"{path}: must hold one robot, got {len(roots)} root bodies ({names})")
    [base] = roots
    base.name = base.name or "base"
    joints = list(base.joints)
    if not joints:
        joints = [base.add_freejoint()]
    if len(joints) != 1 or joints[0].type != mujoco.mjtJoint.mjJNT_FREE:
        raise UserError(
            f"{path}: the root body {base.name} is hinged to the world; a legged robot moves freely"
        )
    joints[0].name = "root"


def _joints_below(body: mujoco.MjsBody) -> bool:
    return bool(list(body.joints)) or any(_joints_below(child) for child in body.bodies)
