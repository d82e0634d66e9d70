"""``stridelab submit``."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from stridelab.cli.console import stderr, stdout
from stridelab.cli.study import OverridesArgument, ResumeOption
from stridelab.experiment import load_experiment


def command(
    experiment: Annotated[Path, typer.Argument(help="Experiment file (YAML).")],
    address: Annotated[
        str,
        typer.Option(
            envvar="RAY_API_SERVER_ADDRESS",
            help="URL of the Ray dashboard, for example http://127.0.0.1:8265.",
        ),
    ],
    overrides: OverridesArgument = None,
    submission_id: Annotated[
        str | None,
        typer.Option(
            help="Name of the job. Under it, a job that runs is followed, one that ended "
            "is resumed."
        ),
    ] = None,
    resume: ResumeOption = False,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Follow the job to its end.")
    ] = True,
    pip: Annotated[
        bool,
        typer.Option("--pip", help="Install the requirements on the cluster first (minutes)."),
    ] = False,
) -> None:
    """Run an experiment as a Ray job; exit code 0 if the job succeeds, 1 if not."""
    loaded = load_experiment(experiment, overrides or ())
    # Ray takes seconds to import: a wrong file is refused before.
    from stridelab.jobs import package, submit

    if submission_id is not None:
        submit.check_submission_id(submission_id)
    placed = package.for_cluster(loaded)
    client = submit.connect(address)
    with tempfile.TemporaryDirectory(prefix="stridelab-job-") as folder:
        packed = package.pack(placed, Path(folder))
        _say(f"upload:  {packed.num_files} files, {package.megabytes(packed.num_bytes)}")
        job = submit.submit(client, packed, submission_id=submission_id, resume=resume, pip=pip)
    _say(f"results: {_place(loaded.resources.storage_path, placed.resources.storage_path)}")
    _say(f"job:     {job.submission_id} ({job.state})")
    if not wait:
        return
    try:
        ending = submit.follow(client, job, _write)
    except KeyboardInterrupt:
        _say(f"job {job.submission_id} goes on; end it with `ray job stop {job.submission_id}`")
        raise typer.Exit(130) from None
    _say(f"job {job.submission_id}: {ending.status}  {ending.message}")
    raise typer.Exit(ending.exit_code)


def _place(asked: str, used: str) -> str:
    if asked == used:
        return f"{used} on the cluster"
    return (
        f'{used} on the head node, since resources.storage_path "{asked}" is relative; with more '
        "than one node, name a folder that all nodes share"
    )


def _say(text: str) -> None:
    stderr.print(text, highlight=False, markup=False, soft_wrap=True)


def _write(text: str) -> None:
    stdout.file.write(text)
    stdout.file.flush()
