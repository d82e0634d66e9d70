"""The environments stand alone, and the folder ``platform`` does not hide Python's module."""

import os
import subprocess
import sys
from pathlib import Path

import stridelab_envs

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCE_ROOT = Path(stridelab_envs.__file__).resolve().parents[1]

WITHOUT_THE_PLATFORM = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("ray", "mlflow", "stridelab"):
            raise ImportError(f"{name} is not here")

sys.meta_path.insert(0, Refuse())
try:
    import ray
except ImportError:
    pass
else:
    raise SystemExit("the hook does not work")

import pkgutil, importlib
import stridelab_envs
for module in pkgutil.walk_packages(stridelab_envs.__path__, "stridelab_envs."):
    if not module.name.startswith("stridelab_envs.adapters."):  # need the other library
        importlib.import_module(module.name)

import torch
from stridelab_envs.registry import get_task, make_env
env = make_env(get_task("biped_walk"), num_envs=2, seed=0, num_threads=1)
env.reset()
step = env.step(torch.zeros(2, env.action_dim))
assert step.obs["policy"].shape == (2, 48)
print("stepped")
"""

STDLIB_PLATFORM = """
import sys
assert sys.path[0] == "", sys.path
import platform
print(platform.__file__)
print(platform.system())
"""


def run(code, cwd, **environment):
    # A safe path would leave out the working directory, which is what is tested.
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONSAFEPATH", "PYTHONPATH")}
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        env=env | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


def test_the_environments_need_no_ray_mlflow_or_stridelab(tmp_path):
    assert run(WITHOUT_THE_PLATFORM, tmp_path, PYTHONPATH=str(SOURCE_ROOT)) == ["stepped"]


def test_pythons_platform_module_is_found_in_the_repository():
    assert (REPOSITORY / "platform" / "stridelab").is_dir()
    file, system = run(STDLIB_PLATFORM, REPOSITORY)
    assert Path(file) == Path(os.__file__).with_name("platform.py")
    assert system


def test_source_roots_are_no_packages():
    for root in ("platform", "envs"):
        assert not (REPOSITORY / root / "__init__.py").exists()
