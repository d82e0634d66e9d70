"""A generated corpus of 100 malformed experiment files: one line each, exit code 2, no traces."""

import copy
import gzip
import os
import random
import subprocess
import sys

import pytest
import yaml

from stridelab.cli.main import main
from stridelab.experiment import load_experiment

pytestmark = pytest.mark.faults

BASE = {
    "name": "malformed",
    "task": {"id": "biped_walk", "num_envs": 16, "rewards": {"upright": 1.0}},
    "model": {"actor_hidden": [16], "std": {"initial": 0.5}},
    "algorithm": {"num_steps_per_env": 8, "gamma": 0.99, "learning_rate": 0.001},
    "train": {"env_steps": 256, "checkpoint_every": 1},
    "resources": {"env_runners": 0, "cpus_per_runner": 1.0},
    "seeds": [0, 1],
    "sweep": {"parameters": {"algorithm.gamma": {"uniform": [0.9, 0.99]}}, "samples": 2},
}
SPACES = {
    "uniform": [0.9, 0.99],
    "loguniform": [0.9, 0.99],
    "reverseloguniform": [0.9, 0.99],
    "quniform": [0.9, 0.99, 0.01],
    "randint": [3, 9],
    "power_of_two": [8, 64],
}
WHOLE = {"randint": "algorithm.num_epochs", "power_of_two": "task.num_envs"}
"""Kinds of spaces for whole numbers, and what they are drawn for here."""


def paths(tree, *above):
    """Return the path of each key of a tree, and what is there."""
    for key, value in tree.items():
        yield (*above, key), value
        if isinstance(value, dict) and key != "parameters":
            yield from paths(value, *above, key)


def changed(path, value):
    """Return the base's text with another value at a path."""
    tree = copy.deepcopy(BASE)
    place = tree
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return yaml.safe_dump(tree)


def searched(kind, bounds):
    key = WHOLE.get(kind, "algorithm.gamma")
    return changed(("sweep", "parameters"), {key: {kind: bounds}})


NUMBERS = [path for path, value in paths(BASE) if isinstance(value, int | float)]
TEXT = yaml.safe_dump(BASE)


def wrong_types(rng):
    for path, value in paths(BASE):
        yield changed(path, rng.choice(["many", {"a": 1}]) if path in NUMBERS else 5)
        if not isinstance(value, list | dict):
            yield changed(path, [value])


def unknown_keys(rng):
    for path, _ in paths(BASE):
        key = path[-1]
        at = rng.randrange(len(key))
        yield changed((*path[:-1], key[:at] + key[at + 1 :] + "x"), 1)


def empty_ranges(rng):
    for kind, (low, *_) in SPACES.items():
        yield searched(kind, [])
        if kind != "power_of_two":  # 8 to 8 is one value
            yield searched(kind, [low, low])
    for kind in ("choice", "grid"):
        yield searched(kind, [])


def inverted_bounds(rng):
    for kind, (low, high, *step) in SPACES.items():
        yield searched(kind, [high, low, *step])
        yield searched(kind, [high * 2, -low, *step])


def duplicate_keys(rng):
    lines = TEXT.splitlines(keepends=True)
    keys = [number for number, line in enumerate(lines) if line.split("#")[0].strip().endswith(":")]
    values = [number for number, line in enumerate(lines) if ": " in line and "- " not in line]
    for number in [*values, *keys]:
        again = lines[number] if number in values else lines[number].rstrip() + " {}\n"
        yield "".join([*lines[:number], again, *lines[number:]])


def anchors(rng):
    yield TEXT + "tracking: *nowhere\n"
    yield TEXT + "tracking: &a {uri: *a}\n"
    yield TEXT + "tracking: &a [*a]\n"
    yield TEXT + "tracking:\n  <<: [1, 2]\n"
    yield TEXT + "tracking:\n  <<: text\n"
    yield TEXT + "tracking: &t {system_metrics: 3}\n"
    yield TEXT + "tracking: &\n"
    yield TEXT + "tracking: !!python/object/apply:os.getcwd []\n"
    laughs = ["tracking:\n  a0: &a0 [x, x]\n"]
    laughs += [f"  a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30)]
    yield TEXT + "".join(laughs)
    yield TEXT + "tracking: {<<: *t}\nt: &t {uri: x}\n"


def huge_numbers(rng):
    for path in NUMBERS:
        text = changed(path, "HUGE")
        yield text.replace("HUGE", rng.choice(["1" + "0" * 400, "1.0e+400", "-" + "9" * 5000]))


def not_numbers(rng):
    for path in NUMBERS:
        yield changed(path, float(rng.choice(["nan", "inf", "-inf"])))


def binary_junk(rng):
    yield rng.randbytes(200)
    yield b"\x00" * 100
    yield gzip.compress(TEXT.encode())
    yield TEXT.encode("utf-16")
    yield TEXT.encode() + b"\xff\xfe"
    yield TEXT.encode()[:40] + b"\x00" + TEXT.encode()[40:]
    yield TEXT.encode() + "ä".encode()[:1]
    yield b"\x89PNG\r\n\x1a\n" + rng.randbytes(50)
    yield TEXT.encode() + b"\x1b[31m: red\n"
    yield b"name: \xed\xa0\x80\n"
    yield b""
    yield b"\xf0\x9f" * 20


KINDS = (
    *(wrong_types, unknown_keys, empty_ranges, inverted_bounds, duplicate_keys),
    *(anchors, huge_numbers, not_numbers, binary_junk),
)


def corpus():
    """Return 100 files by name, taken from the kinds in turn."""
    found = [
        [(f"{kind.__name__}{number}", content) for number, content in enumerate(kind(rng))]
        for kind, rng in ((kind, random.Random(kind.__name__)) for kind in KINDS)
    ]
    random.Random(0).shuffle(found[0])
    rows = [files[number] for number in range(40) for files in found if number < len(files)]
    return dict(rows[:100])


CORPUS = corpus()


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder to work in, and another for files, and a Ray that must not be started."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def started(*args, **kwargs):
        raise AssertionError("a cluster was started")

    monkeypatch.setattr("ray.init", started)
    return folder


def test_the_corpus_has_100_files_of_all_kinds(tmp_path):
    assert len(CORPUS) == len(set(map(str, CORPUS.values()))) == 100
    assert all(sum(name.startswith(kind.__name__) for name in CORPUS) >= 9 for kind in KINDS)
    (tmp_path / "base.yaml").write_text(TEXT)
    load_experiment(tmp_path / "base.yaml")  # what was changed is what is wrong


def check_line(err, path):
    assert err.startswith(f"error: {path}")
    assert err.endswith("\n")
    assert len(err.splitlines()) == 1, err  # also by signs that some terminals break lines at
    assert err.strip().isprintable(), err
    assert len(err) < 1000


@pytest.mark.parametrize("name", CORPUS)
def test_one_line_and_nothing_started(here, tmp_path, monkeypatch, capsys, name):
    content = CORPUS[name]
    path = tmp_path / "file.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    monkeypatch.setattr("sys.argv", ["stridelab", "sweep", str(path)])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (2, "")
    check_line(err, path)
    assert list(here.iterdir()) == []


@pytest.mark.cluster  # seconds each
@pytest.mark.parametrize("name", list(CORPUS)[::10])
def test_in_a_process_of_its_own(tmp_path, name):
    content = CORPUS[name]
    path = tmp_path / "file.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    folder = tmp_path / "here"
    folder.mkdir()
    command = list(CORPUS).index(name) // 10 % 2
    arguments = [["sweep"], ["submit", "--address", "http://127.0.0.1:9"]][command]
    ended = subprocess.run(
        [sys.executable, "-m", "stridelab.cli.main", *arguments, str(path)],
        cwd=folder,
        env={**os.environ, "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    check_line(ended.stderr, path)
    assert list(folder.iterdir()) == []
