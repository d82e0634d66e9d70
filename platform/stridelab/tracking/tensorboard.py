"""Runs of the tracking store as TensorBoard event files."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tensorboardX import SummaryWriter

from stridelab.tracking.runs import RunRecord, find_runs, get_run, metric_history

_RUN_ID = re.compile("[0-9a-f]{32}")
_UNSAFE = re.compile(r"[^\w.=,-]+")


def export_runs(
    uri: str,
    targets: Sequence[str],
    logdir: Path,
    on_run: Callable[[str], None] = lambda name: None,
) -> list[Path]:
    """Write every metric of runs for TensorBoard; steps are environment steps.

    Args:
        uri: MLflow tracking URI.
        targets: Run ids, or names of MLflow experiments of which all trials are taken.
        logdir: Where each run gets a folder, named after it; one of before is replaced.
        on_run: Called with the name of each run before it is read.

    Returns:
        The folders.

    Raises:
        UserError: If there is no such run or experiment, or the server does not answer.
    """
    records: list[RunRecord] = []
    for target in targets:
        if _RUN_ID.fullmatch(target):
            records.append(get_run(uri, target))
        else:
            records += find_runs(uri, target, kind="trial")
    logdir.mkdir(parents=True, exist_ok=True)
    folders = []
    for record in records:
        on_run(record.name)
        name = _UNSAFE.sub("_", record.name).strip("_")
        folder = logdir / f"{name or 'run'}-{record.run_id[:8]}"
        with tempfile.TemporaryDirectory(dir=logdir, prefix=".new-") as scratch:
            _write(uri, record, Path(scratch) / "run")
            if folder.exists():
                shutil.rmtree(folder)
            (Path(scratch) / "run").rename(folder)
        folders.append(folder)
    return folders


def _write(uri: str, record: RunRecord, folder: Path) -> None:
    with SummaryWriter(str(folder)) as writer:
        writer.add_text("parameters", _table(record.params))
        for name in sorted(record.metrics):
            history = metric_history(uri, record.run_id, name)
            points = zip(history.steps, history.values, history.times, strict=True)
            for step, value, time in points:
                writer.add_scalar(name, float(value), int(step), walltime=float(time))


def _table(params: dict[str, str]) -> str:
    """Return parameters as the Markdown that TensorBoard shows."""
    rows = [f"| {name} | {params[name]} |" for name in sorted(params)]
    return "\n".join(["| key | value |", "|---|---|", *rows])
