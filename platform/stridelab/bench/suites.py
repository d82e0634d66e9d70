"""The three benchmarks: who competes, and which ratios are reported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stridelab.bench.contender import Entry

QUICK_TIME_LIMIT = 38.0
"""Quick runs start no round that would probably end later [s]; leaving takes some seconds more."""
SB3_PROCESSES = 16
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


def train_suite(size: Size, *, quick: bool = False, sb3_steps: int = 128) -> Suite:
    """Whole training iterations against other trainers; ``quick`` leaves out float32.

    Args:
        size: How much is run.
        quick: Only the contenders that the main ratios need.
        sb3_steps: Steps of each Stable-Baselines3 environment in an iteration.
    """
    options = {"num_envs": size.num_envs, "num_threads": size.num_threads}
    bf16, fp32 = {**options, "precision": "bf16"}, {**options, "precision": "fp32"}
    platform, hand = f"{_TRAINING}:PlatformTraining", f"{_TRAINING}:HandLoopTraining"
    rsl_rl = f"{_PEERS}:RslRlTraining"
    entries = [
        Entry("stridelab_bf16", platform, bf16),
        Entry("hand_loop_bf16", hand, bf16),
        Entry("rsl_rl_bf16", rsl_rl, bf16, _RSL_RL_NEEDS),
        Entry("stridelab_fp32", platform, fp32),
        Entry("hand_loop_fp32", hand, fp32),
        Entry("rsl_rl_fp32", rsl_rl, fp32, _RSL_RL_NEEDS),
        Entry("rllib_stock", f"{_PEERS}:RllibTraining", {**options, "runners": size.num_threads}),
        Entry(
            "sb3",
            f"{_PEERS}:StableBaselinesTraining",
            {"num_envs": SB3_PROCESSES, "steps": sb3_steps},
            ("stable_baselines3",),
        ),
    ]
    ratios = {
        "hand_loop": Ratio("stridelab_bf16", ("hand_loop_bf16",)),
        "hand_loop_fp32": Ratio("stridelab_fp32", ("hand_loop_fp32",)),
        "rsl_rl": Ratio("stridelab_bf16", ("rsl_rl_bf16", "rsl_rl_fp32")),
        "rllib_stock": Ratio("stridelab_bf16", ("rllib_stock",)),
        "sb3": Ratio("stridelab_bf16", ("sb3",)),
    }
    if quick:
        entries = [entry for entry in entries if not entry.name.endswith("_fp32")]
        del ratios["hand_loop_fp32"]
    return Suite("train", tuple(entries), ratios)
