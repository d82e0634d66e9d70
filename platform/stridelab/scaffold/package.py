"""Write a new package: a folder that installs, with its own tests."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from string import Template

from stridelab.scaffold.draft import RobotDraft, draft_robot
from stridelab.scaffold.source import read_model
from stridelab_envs.errors import UserError
from stridelab_envs.registry import task_ids
from stridelab_envs.robots import RobotSpec, get_robot, robot_names
from stridelab_envs.robots.check import Standing, robot_problems, stand

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_MUST_STAND = 0.5
"""Time [s] for which the package's test asks the default pose to carry the robot."""


@dataclass(frozen=True)
class NewRobot:
    """A package that was written."""

    folder: Path
    draft: RobotDraft
    spec: RobotSpec
    standing: Standing
    problems: list[str]
    """What is wrong with the robot, a sentence each; a test of the package fails for each."""


def new_robot(name: str, model: Path, parent: Path, feet: Sequence[str] = ()) -> NewRobot:
    """Write the package ``stridelab-<name>`` with a robot read from a model file.

    Args:
        name: Name of the robot.
        model: MJCF or URDF.
        parent: Folder to make the package's folder in.
        feet: Bodies of the feet, left before right; guessed when empty.

    Raises:
        UserError: If the name or folder is taken, or the model cannot be used; nothing is left.
    """
    _check_name(name, "robot", robot_names())
    folder = _new_folder(name, parent)
    draft = draft_robot(read_model(model), name, model, feet)
    package = f"stridelab_{name}"
    with tempfile.TemporaryDirectory(dir=parent, prefix=".new-") as scratch:
        root = Path(scratch) / "package"
        code = root / package
        code.mkdir(parents=True)
        _write_model(draft, code, model)
        spec = _spec(draft, code / f"{name}.xml")
        standing, problems = stand(spec), robot_problems(spec)
        if standing.fell_after is not None and standing.fell_after < _MUST_STAND:
            problems.append(
                f"holding its default pose the robot falls after {standing.fell_after:.2g} s: "
                "mend the pose, the gains or the torque limits"
            )
        fields = _robot_fields(draft, package, model, standing)
        _fill(root / "pyproject.toml", "robot_pyproject", fields)
        _fill(root / "README.md", "robot_readme", fields)
        _fill(code / "__init__.py", "robot_module", fields)
        _fill(root / "tests" / f"test_{name}.py", "robot_test", fields)
        root.rename(folder)
    return NewRobot(folder, draft, spec, standing, problems)


def new_task(name: str, robot: str, parent: Path) -> Path:
    """Write the package ``stridelab-<name>`` with a task and a reward term; return its folder.

    Raises:
        UserError: If the name or folder is taken, or there is no such robot; nothing is left.
    """
    _check_name(name, "task", task_ids())
    get_robot(robot)
    folder = _new_folder(name, parent)
    package = f"stridelab_{name}"
    fields = {"name": name, "dist": _dist(name), "package": package, "robot": robot}
    with tempfile.TemporaryDirectory(dir=parent, prefix=".new-") as scratch:
        root = Path(scratch) / "package"
        (root / package).mkdir(parents=True)
        (root / package / "__init__.py").write_text(f'"""The task {name}."""\n', encoding="utf-8")
        _fill(root / package / "task.py", "task_module", fields)
        _fill(root / package / "terms.py", "task_terms", fields)
        _fill(root / "tests" / f"test_{name}.py", "task_test", fields)
        _fill(root / "pyproject.toml", "task_pyproject", fields)
        _fill(root / "README.md", "task_readme", fields)
        _fill(root / f"{name}.yaml", "task_experiment", fields)
        root.rename(folder)
    return folder


def _check_name(name: str, kind: str, taken: Iterable[str]) -> None:
    if not _NAME.fullmatch(name):
        raise UserError(f'{kind} "{name}": must be lower-case letters, digits and _, like acme_one')
    if name in taken:
        raise UserError(f'a {kind} called "{name}" exists already')
    if find_spec(f"stridelab_{name}") is not None:
        raise UserError(f'a package called "stridelab_{name}" is installed already')


def _new_folder(name: str, parent: Path) -> Path:
    if not parent.is_dir():
        raise UserError(f"{parent}: there is no such folder")
    if not os.access(parent, os.W_OK):
        raise UserError(f"{parent}: cannot be written")
    folder = parent / f"stridelab-{_dist(name)}"
    if folder.exists():
        raise UserError(f"{folder}: exists already")
    return folder


def _dist(name: str) -> str:
    return name.replace("_", "-")


def _fill(path: Path, template: str, fields: Mapping[str, str]) -> None:
    source = resources.files("stridelab.scaffold") / "templates" / f"{template}.template"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = Template(source.read_text(encoding="utf-8")).substitute(fields)
    path.write_text(text, encoding="utf-8")


def _write_model(draft: RobotDraft, folder: Path, source: Path) -> None:
    """Write the MJCF, with copies of all files it refers to in ``assets``."""
    spec = draft.model
    spec.modelname = draft.name
    files = [(mesh, spec.meshdir) for mesh in spec.meshes if mesh.file]
    files += [(texture, spec.texturedir) for texture in spec.textures if texture.file]
    copies: dict[str, Path] = {}
    for element, where in files:
        element.file = _free_name(_find_asset(element.file, where, source), copies)
    if copies:
        (folder / "assets").mkdir()
    for name, path in copies.items():
        shutil.copyfile(path, folder / "assets" / name)
    spec.meshdir = spec.texturedir = "assets"
    spec.modelfiledir = str(folder)
    (folder / f"{draft.name}.xml").write_text(spec.to_xml(), encoding="utf-8")


def _free_name(path: Path, copies: dict[str, Path]) -> str:
    """Note the name under which ``path`` is copied; files of one name come from two folders."""
    name, number = path.name, 1
    while copies.setdefault(name, path) != path:
        number += 1
        name = f"{path.stem}_{number}{path.suffix}"
    return name


def _find_asset(file: str, where: str, source: Path) -> Path:
    folder = source.parent / where
    for candidate in (Path(file), folder / file, source.parent / file):
        if candidate.is_file():
            return candidate.resolve()
    raise UserError(f"{source}: its file {file} is not in {folder}")


def _spec(draft: RobotDraft, mjcf: Path) -> RobotSpec:
    return RobotSpec(
        name=draft.name,
        mjcf=mjcf,
        base_body=draft.base_body,
        joints=tuple(joint.name for joint in draft.joints),
        default_pose=tuple(draft.default_pose),
        home_height=draft.home_height,
        feet=tuple(draft.feet),
        joint_groups={name: tuple(members) for name, members in draft.joint_groups.items()},
        mirror=tuple(draft.mirror),
    )


def _robot_fields(
    draft: RobotDraft, package: str, model: Path, standing: Standing
) -> dict[str, str]:
    held = "2 s" if standing.fell_after is None else f"{standing.fell_after:.2g} s, then it fell"
    notes = [*draft.notes, f"Holding the default pose, the robot stood for {held}."]
    return {
        "name": draft.name,
        "dist": _dist(draft.name),
        "package": package,
        "source": model.name,
        "base_body": draft.base_body,
        "joints": _lines(f"{json.dumps(joint.name)}," for joint in draft.joints),
        "default_pose": _lines(
            f"{round(angle, 6)},  # {joint.name}"
            for joint, angle in zip(draft.joints, draft.default_pose, strict=True)
        ),
        "home_height": f"{draft.home_height:.4f}",
        "feet": _lines(f"{json.dumps(foot)}," for foot in draft.feet),
        "joint_groups": "\n".join(
            f"        {json.dumps(name)}: (\n{_lines((f'{json.dumps(m)},' for m in members), 12)}\n"
            "        ),"
            for name, members in draft.joint_groups.items()
        ),
        "mirror": _lines(f"({json.dumps(name)}, {sign})," for name, sign in draft.mirror),
        "mass": f"{draft.mass:.4g}",
        "num_joints": str(len(draft.joints)),
        "notes": "\n".join(f"- {note}" for note in notes),
        "table": "\n".join(_rows(draft)),
        "stand_seconds": f"{_MUST_STAND:g}",
    }


def _lines(lines: Iterable[str], indent: int = 8) -> str:
    return "\n".join(" " * indent + line for line in lines)


def _rows(draft: RobotDraft) -> Iterator[str]:
    for joint, angle in zip(draft.joints, draft.default_pose, strict=True):
        yield (
            f"| {joint.name} | {joint.low:.3g} to {joint.high:.3g} | {angle:.3g} "
            f"| {joint.torque:.3g} | {joint.kp:.3g} | {joint.kv:.3g} |"
        )
