"""The documentation is true: commands exist, files are valid, links lead somewhere."""

import ast
import functools
import importlib
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer

from stridelab.cli.main import app, main
from stridelab.experiment import load_experiment
from stridelab.reference.pages import reference_pages
from stridelab.tuning.watchdog import NAMES
from stridelab_envs.mdp import term_registry
from stridelab_envs.plugins import Registry

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "reference" not in path.parts)
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(DOCS)))


@functools.cache
def written():
    """Return the pages that come from code."""
    return reference_pages()


def blocks(page, *kinds):
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    return [text for kind, text in found if kind in kinds]


def commands(page, *kinds):
    lines = "\n".join(blocks(page, *kinds)).replace("\\\n", " ").splitlines()
    words = [shlex.split(line.removeprefix("$ "), comments=True) for line in lines]
    return [word[1:] for word in words if word and word[0] == "stridelab"]


def test_there_are_pages():
    assert {"quickstart.md", "troubleshooting.md", "metrics.md"} <= {page.name for page in PAGES}


@each_page
def test_commands_exist(page):
    for words in commands(page, "sh", "console"):
        command, rest = typer.main.get_command(app), words
        while hasattr(command, "commands"):
            assert rest[0] in command.commands, words
            command, rest = command.commands[rest[0]], rest[1:]
        command.make_context(words[0], list(rest))  # refuses unknown options


@each_page
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith("http"):
            continue
        path = (page.parent / target.partition("#")[0]).resolve()
        within = path.relative_to(DOCS).as_posix() if path.is_relative_to(DOCS) else ""
        assert path.exists() or within.removeprefix("reference/") in written(), target


@each_page
def test_python_can_be_imported(page):
    for text in blocks(page, "python"):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("stridelab"):
                if ".adapters." in node.module:
                    pytest.importorskip(
                        node.module.rpartition(".")[2].replace("sb3", "stable_baselines3")
                    )
                module = importlib.import_module(node.module)
                assert all(hasattr(module, name.name) for name in node.names), node.module


@pytest.fixture
def arm_swing(monkeypatch):
    """Register the reward that a page adds, from the page itself."""
    page = DOCS / "howto" / "add-a-reward.md"
    [code], [project] = blocks(page, "python"), blocks(page, "toml")
    [(name, value)] = tomllib.loads(project)["project"]["entry-points"]["stridelab.rewards"].items()
    module = {}
    exec(code, module)
    table = term_registry._TABLES["reward"]
    fresh = Registry("reward", "stridelab.rewards")
    fresh.register(name, module[value.partition(":")[2]])
    monkeypatch.setitem(
        term_registry._TABLES, "reward", type(table)(fresh, table.term, table.given)
    )
    return module["arm_swing"]


@each_page
def test_experiment_files_are_valid(page, arm_swing, tmp_path):
    for number, text in enumerate(blocks(page, "yaml")):
        if text.startswith("# "):  # a whole file, with its name
            file = tmp_path / f"{number}.yaml"
            file.write_text(text)
            load_experiment(file)


def test_the_reward_of_the_page(arm_swing):
    import torch

    from stridelab_envs.registry import get_task, make_env

    task = get_task("biped_walk").with_overrides({"rewards": {"arm_swing": 0.3}})
    env = make_env(task, num_envs=1, seed=0, num_threads=1)
    left, right = env.state.joint_ids(("left_shoulder_pitch", "right_shoulder_pitch"))
    env.sim.qvel[0, 6 + left], env.sim.qvel[0, 6 + right] = 0.5, -0.25
    env.sim.forward(torch.arange(1))
    torch.testing.assert_close(arm_swing(env.state), torch.tensor([0.375]))


def test_all_advice_is_explained():
    text = (DOCS / "howto" / "watch-a-training.md").read_text(encoding="utf-8")
    assert all(f"`watch/{name}`" in text for name in NAMES)


@pytest.mark.slow
def test_the_site_is_built_and_needs_no_network(tmp_path):
    pytest.importorskip("sphinx")
    for needed in ("furo", "myst_parser"):
        pytest.importorskip(needed)
    source = tmp_path / "docs"
    subprocess.run(["cp", "-r", str(DOCS), str(source)], check=True)
    command = ["-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", "docs", "site"]
    done = subprocess.run(
        [sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    html = list((tmp_path / "site").rglob("*.html"))
    names = {path.relative_to(tmp_path / "site").with_suffix("").as_posix() for path in html}
    # Other tests may have added tasks to this process; the site is built by another one.
    pages = {path.relative_to(source).with_suffix("").as_posix() for path in source.rglob("*.md")}
    assert {"reference/tasks/biped_walk", "reference/tasks/h1_multitask"} <= pages <= names
    loaded = re.compile(r'<(?:script|link|img|iframe)[^>]*(?:src|href)="(?:https?:)?//')
    assert not [path for path in html if loaded.search(path.read_text(encoding="utf-8"))]


SMALL = (
    "task.num_envs=16", "task.episode_length_s=0.3", "algorithm.num_steps_per_env=8",
    "algorithm.precision=fp32", "model.actor_hidden=[8]", "model.critic_hidden=[8]",
    "train.env_steps=256", "train.evaluate_episodes=2", "tracking.system_metrics=false",
)  # fmt: skip
"""What the quickstart's trainings are made smaller by; their commands are run as they stand."""


@pytest.mark.slow
@pytest.mark.ray
def test_quickstart(tmp_path, monkeypatch, capsys, local_ray):
    page = DOCS / "quickstart.md"
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")
    monkeypatch.chdir(tmp_path)
    for text in blocks(page, "yaml"):
        (tmp_path / text.split("\n", 1)[0].removeprefix("# ")).write_text(text)
    ran = []
    for words in commands(page, "sh"):
        if words[0] == "play":  # has tests of its own, with OpenGL
            continue
        small = SMALL if words[0] in ("train", "sweep") else ()
        monkeypatch.setattr("sys.argv", ["stridelab", *words, *small])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        assert ended.value.code in (0, None), err
        assert out
        ran.append(words[0])
    assert ran == ["evaluate", "tasks", "check", "train", "sweep", "compare"]
    assert "foot_slip" in (tmp_path / "slip.html").read_text(encoding="utf-8")
