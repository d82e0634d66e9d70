"""Writing a policy as ONNX or TorchScript, checked against the module before it gets its name."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import torch

from stridelab.evaluation.files import replacing
from stridelab.export.bundle import Policy
from stridelab.export.inference import METADATA_FILE, Array, ExportedPolicy, Format, load_exported
from stridelab.export.metadata import describe_export
from stridelab.export.network import MeanAction
from stridelab.modules.actor_critic import POLICY
from stridelab_envs.errors import UserError

Batch = Literal["fixed", "free"]

TOLERANCE = 1e-5
"""Largest difference between exported graph and module, in units of an observation's largest action
where that is above 1."""
INPUT, OUTPUT = "observation", "action"
"""Names of the graph's input and output."""
SUFFIXES: dict[Format, str] = {"onnx": ".onnx", "torchscript": ".pt"}

_OPSET = 18  # the oldest that the exporter writes: robots' runtimes are older than ours
_ROWS = 32  # random observations of each spread


def export_policy(policy: Policy, path: Path, *, format: Format, batch: Batch) -> float:
    """Write a policy's graph: normaliser and network, raw observation to clipped mean action.

    Args:
        policy: The policy.
        path: File to write.
        format: ``onnx`` or ``torchscript``.
        batch: ``fixed``: input ``[1, size]``; ``free``: ``[n, size]``.

    Returns:
        The largest difference between the written graph and the module, see :func:`parity`.

    Raises:
        UserError: If the policy remembers something from step to step, or the difference is above
            :data:`TOLERANCE`; nothing is written then.
    """
    if policy.module.is_stateful():
        kind = policy.description["module"]
        raise UserError(
            f"{path}: not written: a {kind} policy remembers from step to step, which an exported"
            " graph cannot; run it from its bundle"
        )
    clip = policy.description["env"]["action_clip"]
    size = policy.observation_size
    network = MeanAction(policy.module, size=size, action_clip=clip, batch=batch)
    metadata = describe_export(policy, batch)
    write = _write_onnx if format == "onnx" else _write_torchscript
    with replacing(path) as scratch:
        with _quiet():
            write(network, metadata, scratch)
        difference = parity(load_exported(scratch), policy, batch)
        if not difference <= TOLERANCE:
            raise UserError(
                f"{path}: not written: the exported graph differs from the policy by"
                f" {difference:.1e} (allowed: {TOLERANCE:.0e})"
            )
    return difference


def parity(exported: ExportedPolicy, policy: Policy, batch: Batch) -> float:
    """Return the largest difference of actions on random and edge observations.

    Differences are absolute where all of the policy's own actions are within plus or minus 1, else
    relative to the largest of them: a small action among large ones is as uncertain as these, by
    the rounding of the sums they come from. Random observations spread by 0.1, 1, 10 and 100; edges
    are zeros and all or every second signal at plus or minus 1 and 100.
    """
    clip = policy.description["env"]["action_clip"]
    observations = probes(policy.observation_size)
    expected = policy.act({POLICY: torch.from_numpy(observations)}).clamp(-clip, clip).numpy()
    rows = [exported(row[None]) for row in observations]
    actions = np.concatenate(rows)
    if actions.shape != expected.shape:
        return float("inf")
    difference = float(_differences(actions, expected).max())
    if batch == "free":
        together = exported(observations)
        difference = max(difference, float(_differences(together, expected).max()))
    return difference


def probes(size: int) -> Array:
    """Return the observations of the parity check, ``(n, size)``; the same every time."""
    draw = np.random.default_rng(0)
    random = [draw.normal(0.0, spread, (_ROWS, size)) for spread in (0.1, 1.0, 10.0, 100.0)]
    signs = np.stack([np.ones(size), -np.ones(size), np.where(np.arange(size) % 2, 1.0, -1.0)])
    edges = [np.zeros((1, size)), signs, 100.0 * signs]
    return np.concatenate([*random, *edges]).astype(np.float32)


def _differences(actions: Array, expected: Array) -> Array:
    largest = np.abs(expected).max(axis=1, keepdims=True)
    return np.abs(actions - expected) / np.maximum(1.0, largest)


def _write_onnx(network: MeanAction, metadata: dict[str, Any], path: Path) -> None:
    dynamic = None if network.fixed else {INPUT: {0: torch.export.Dim("batch")}}
    program = torch.onnx.export(
        network,
        (torch.zeros(1 if network.fixed else 2, network.size),),
        dynamo=True,
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_shapes=dynamic,
        opset_version=_OPSET,
        verbose=False,
    )
    assert program is not None
    model = program.model_proto
    _strip(model.graph)
    del model.functions[:], model.metadata_props[:]
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=json.dumps(value))
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def _strip(graph: onnx.GraphProto) -> None:
    """Take out the exporter's notes: stack traces with paths of the machine that exported."""
    for part in (graph, *graph.node, *graph.value_info, *graph.input, *graph.output):
        part.doc_string = ""
        del part.metadata_props[:]


def _write_torchscript(network: MeanAction, metadata: dict[str, Any], path: Path) -> None:
    example = torch.zeros(1 if network.fixed else 2, network.size)
    traced = torch.jit.trace(network, (example,), check_trace=False)
    # Freezing drops what the graph does not use: the critic and its normaliser.
    frozen = torch.jit.freeze(traced)
    # Through a buffer: torch would name the archive's inner folder after a scratch file.
    buffer = io.BytesIO()
    torch.jit.save(frozen, buffer, _extra_files={METADATA_FILE: json.dumps(metadata, indent=2)})
    path.write_bytes(buffer.getvalue())


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence torch's notes on its own deprecations and on packages that are not needed."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
