"""The three benchmarks: who competes, and which ratios are reported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from stridelab.bench.contender import Entry

QUICK_TIME_LIMIT = 38.0
"""Quick runs start no round that would probably end later [s]; leaving takes some seconds more."""
SB3_PROCESSES = 16
SB3_STEPS = 128
"""Steps of each Stable-Baselines3 environment in an iteration; quick runs take a quarter."""
_STEPPING = "stridelab.bench.stepping"
_TRAINING = "stridelab.bench.training"
_PEERS = "stridelab.bench.peers"
_RSL_RL_NEEDS = ("rsl_rl", "tensordict", "tensorboard", "git")


@dataclass(frozen=True)
class Size:
    """How much is run."""

    num_envs: int
    """Environments of every contender but Stable-Baselines3."""
    num_threads: int
    """Threads of physics and torch in each process."""
    rounds: int
    """Rounds of each contender."""
    time_limit: float | None = None
    """See :func:`stridelab.bench.arena.compete` [s]."""


@dataclass(frozen=True)
class Ratio:
    """One contender's rate over another's."""

    contender: str
    against: tuple[str, ...]
    """The other one; of several, the one with the greatest median rate."""


@dataclass(frozen=True)
class Suite:
    """A benchmark."""

    name: str
    entries: tuple[Entry, ...]
    """The contenders; the first one is ours."""
    ratios: Mapping[str, Ratio]
    """What is reported, by name; above 1, the first contender is faster."""


def physics_suite(size: Size, *, steps: int = 100) -> Suite:
    """``Simulation.step`` against a bare loop over MuJoCo's batch; ``steps`` in a round.

    ``batch`` does the same work. ``batch_lagging`` leaves derived fields one physics step behind
    the state, as MuJoCo does by default.
    """
    options = {"num_envs": size.num_envs, "num_threads": size.num_threads, "steps": steps}
    bare = f"{_STEPPING}:BareBatch"
    return Suite(
        "physics",
        (
            Entry("simulation", f"{_STEPPING}:SimulationSteps", options),
            Entry("batch", bare, {**options, "current": True}),
            Entry("batch_lagging", bare, {**options, "current": False}),
        ),
        {
            "batch": Ratio("simulation", ("batch",)),
            "batch_lagging": Ratio("simulation", ("batch_lagging",)),
        },
    )


def env_suite(size: Size, *, steps: int = 100) -> Suite:
    """``BatchEnv.step`` against its physics alone; ``steps`` in a round, from standing on."""
    options = {"num_envs": size.num_envs, "num_threads": size.num_threads, "steps": steps}
    return Suite(
        "env",
        (
            Entry("env", f"{_STEPPING}:EnvSteps", options),
            Entry("physics", f"{_STEPPING}:PhysicsReplay", options),
        ),
        {"physics": Ratio("env", ("physics",))},
    )


def train_suite(size: Size, *, quick: bool = False) -> Suite:
    """Whole training iterations against other trainers.

    Our default settings meet the others' best ones; ratios that end in ``_fp32`` or ``_compiled``
    are of like with like.

    Args:
        size: How much is run.
        quick: Leave out float32 and what is compiled, which takes long to start.
    """
    options = {"num_envs": size.num_envs, "num_threads": size.num_threads}
    bf16, fp32 = {**options, "precision": "bf16"}, {**options, "precision": "fp32"}
    compiled = {**bf16, "compiled": True}
    platform, hand = f"{_TRAINING}:PlatformTraining", f"{_TRAINING}:HandLoopTraining"
    rsl_rl = f"{_PEERS}:RslRlTraining"
    entries = [
        Entry("stridelab_bf16", platform, bf16),
        Entry("hand_loop_bf16", hand, bf16),
        Entry("rsl_rl_bf16", rsl_rl, bf16, _RSL_RL_NEEDS),
        Entry("stridelab_fp32", platform, fp32),
        Entry("hand_loop_fp32", hand, fp32),
        Entry("rsl_rl_fp32", rsl_rl, fp32, _RSL_RL_NEEDS),
        Entry("stridelab_compiled", platform, compiled),
        Entry("rsl_rl_compiled", rsl_rl, compiled, _RSL_RL_NEEDS),
        Entry("rllib_stock", f"{_PEERS}:RllibTraining", {**options, "runners": size.num_threads}),
        Entry(
            "sb3",
            f"{_PEERS}:StableBaselinesTraining",
            {"num_envs": SB3_PROCESSES, "steps": SB3_STEPS // 4 if quick else SB3_STEPS},
            ("stable_baselines3",),
        ),
    ]
    ratios = {
        "hand_loop": Ratio("stridelab_bf16", ("hand_loop_bf16",)),
        "hand_loop_fp32": Ratio("stridelab_fp32", ("hand_loop_fp32",)),
        "rsl_rl": Ratio("stridelab_bf16", ("rsl_rl_bf16", "rsl_rl_fp32", "rsl_rl_compiled")),
        "rsl_rl_compiled": Ratio("stridelab_compiled", ("rsl_rl_compiled",)),
        "rllib_stock": Ratio("stridelab_bf16", ("rllib_stock",)),
        "sb3": Ratio("stridelab_bf16", ("sb3",)),
    }
    entries = [replace(entry, warm_up=not quick) for entry in entries]
    if quick:
        slow = ("_fp32", "_compiled")
        entries = [entry for entry in entries if not entry.name.endswith(slow)]
        ratios = {name: ratio for name, ratio in ratios.items() if not name.endswith(slow)}
    return Suite("train", tuple(entries), ratios)
