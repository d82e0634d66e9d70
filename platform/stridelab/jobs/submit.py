"""Submit an experiment as a Ray job and follow it to its end."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time
from collections.abc import Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import aiohttp
from ray.exceptions import AuthenticationError
from ray.job_submission import JobStatus, JobSubmissionClient

from stridelab.jobs.package import EXPERIMENT_FILE, Package, requirements
from stridelab_envs.errors import UserError

_CONNECT_S = 10.0
_PAUSE_S = 2.0
"""Time between two attempts to follow the log [s]."""
_SILENCE_S = 60.0
"""Time without a line after which the connection is made again: it may be half open [s]."""
_PATIENCE_S = 600.0
"""Time for which the cluster may be away while a job is followed [s]."""
_DIGEST = "stridelab.experiment"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
# Both overrule the address given to Ray's client.
_ADDRESS_VARIABLES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
# The client raises RuntimeError for every answer that is no success.
_LOST = (OSError, RuntimeError, aiohttp.ClientError)


@dataclass(frozen=True)
class Job:
    """A job on the cluster."""

    submission_id: str
    state: str
    """``started``, ``resumed`` (a finished job of this id was replaced) or ``running`` already."""
    skip: int = 0
    """Characters at the beginning of its log that an earlier job of this id wrote."""


@dataclass(frozen=True)
class Ending:
    """How a job ended."""

    status: str
    """SUCCEEDED, FAILED or STOPPED."""
    message: str
    """What Ray says about it, for a job that never came to run; else the exit code."""

    @property
    def exit_code(self) -> int:
        """0 for a job that succeeded, 1 for any other."""
        return 0 if self.status == JobStatus.SUCCEEDED else 1


def check_submission_id(submission_id: str) -> None:
    """Refuse an id that cannot be part of a URL and of a file name.

    Raises:
        UserError: If it can not.
    """
    if not _ID.fullmatch(submission_id):
        raise UserError(
            f'--submission-id "{submission_id}": must hold only letters, digits, . _ and -, begin '
            "with a letter or digit, and have at most 200 characters"
        )


def connect(address: str) -> JobSubmissionClient:
    """Return a client of the cluster whose dashboard is at ``address``.

    The token, where RAY_AUTH_MODE is ``token``, is the one Ray itself finds.

    Args:
        address: ``http://HOST:PORT``, also where RAY_ADDRESS names another cluster.

    Raises:
        UserError: If nothing answers there, it is no Ray cluster, or it refuses the token.
    """
    if not re.match(r"https?://[^/]", address):
        raise UserError(
            f'--address "{address}": must be the URL of the Ray dashboard, for example '
            "http://127.0.0.1:8265"
        )
    _knock(address)
    logging.getLogger("ray").setLevel(logging.ERROR)  # or every step of an upload is reported
    hidden = {name: os.environ.pop(name) for name in _ADDRESS_VARIABLES if name in os.environ}
    try:
        return JobSubmissionClient(address)
    except AuthenticationError as error:
        raise _refused(address, error) from error
    except (*_LOST, ValueError, KeyError) as error:
        raise UserError(f"no Ray cluster at {address}: {_first_line(error)}") from error
    finally:
        os.environ.update(hidden)


def submit(
    client: JobSubmissionClient,
    package: Package,
    *,
    submission_id: str | None = None,
    resume: bool = False,
    pip: bool = False,
) -> Job:
    """Upload a package and start its job, unless a job with this id is running already.

    A finished job with this id is replaced by one that resumes its study.

    Args:
        client: From :func:`connect`.
        package: What to run.
        submission_id: Name of the job; None lets the cluster choose a new one.
        resume: Continue the newest study of the experiment's name, whichever job began it.
        pip: Install the requirements on the cluster first.

    Raises:
        UserError: If the id belongs to another experiment, or the cluster refuses the job.
    """
    earlier = _find(client, submission_id) if submission_id else None
    state, skip = "resumed" if resume else "started", 0
    command = f"python -m stridelab.cli.main {package.command} {EXPERIMENT_FILE}"
    entrypoint = f"{command} --resume" if resume else command
    if earlier is not None:
        assert submission_id is not None
        _require_same(submission_id, earlier, package)
        if not earlier.status.is_terminal():
            return Job(submission_id, "running")
        state = "resumed"
        if not resume:
            # Exit code 2 is a refusal: that job ended before it had begun a study.
            entrypoint = f"{command} --resume || {{ [ $? -eq 2 ] && {command}; }}"
        # Ray appends to the log of the deleted job.
        skip = len(client.get_job_logs(submission_id))
        client.delete_job(submission_id)
    runtime_env: dict[str, Any] = {"working_dir": str(package.folder)}
    if package.env_vars:
        runtime_env["env_vars"] = package.env_vars
    if pip:
        runtime_env["pip"] = requirements()
    try:
        started = client.submit_job(
            entrypoint=entrypoint,
            submission_id=submission_id,
            runtime_env=runtime_env,
            metadata={_DIGEST: package.digest, "name": package.experiment.name},
        )
    except _LOST as error:
        raise UserError(f"the cluster refuses the job: {_last_line(error)}") from error
    return Job(started, state, skip)


def follow(client: JobSubmissionClient, job: Job, write: Callable[[str], object]) -> Ending:
    """Write a job's log as it grows, until the job has ended.

    Lost connections are made again; what the stream left out is written at the end.

    Args:
        client: From :func:`connect`.
        job: From :func:`submit`.
        write: Takes each new part of the log.

    Raises:
        UserError: If the cluster stays away, no longer knows the job, or refuses the token.
    """
    log = _Log(job.skip, write)
    heard = time.monotonic()
    while True:
        try:
            details = _follow_once(client, job.submission_id, log)
            heard = time.monotonic()
            if details.status.is_terminal():
                return _ending(details)
        except AuthenticationError as error:
            raise _refused(client.get_address(), error) from error
        except _LOST as error:
            if _is_unknown(error):
                raise UserError(
                    f"the cluster no longer knows job {job.submission_id}: was it started anew? "
                    "`--resume` continues the study where its storage path has survived"
                ) from error
            if time.monotonic() - heard > _PATIENCE_S:
                raise UserError(
                    f"the cluster has been away for {_PATIENCE_S / 60:.0f} minutes "
                    f"({_first_line(error)}); job {job.submission_id} may go on"
                ) from error
        time.sleep(_PAUSE_S)


class _Log:
    """Writes each character of a log once, however often the log is read from its beginning."""

    def __init__(self, skip: int, write: Callable[[str], object]) -> None:
        self._shown = skip
        self._write = write

    def add(self, text: str, position: int) -> None:
        """Take the part of the log that begins at character ``position``."""
        new = text[max(0, self._shown - position) :]
        if new:
            self._write(new)
            self._shown += len(new)


def _follow_once(client: JobSubmissionClient, submission_id: str, log: _Log) -> Any:
    """Follow one connection to its end and return the job's details."""
    try:
        asyncio.run(_tail(client, submission_id, log))
    except _LOST:
        # Not every proxy lets the stream pass.
        log.add(client.get_job_logs(submission_id), 0)
    details = client.get_job_info(submission_id)
    if details.status.is_terminal():
        with suppress(*_LOST):
            log.add(client.get_job_logs(submission_id), 0)
    return details


async def _tail(client: JobSubmissionClient, submission_id: str, log: _Log) -> None:
    position = 0
    async with aclosing(client.tail_job_logs(submission_id)) as parts:
        while True:
            try:
                async with asyncio.timeout(_SILENCE_S):
                    text = await anext(parts, None)
            except TimeoutError:
                return
            if text is None:
                return
            log.add(text, position)
            position += len(text)


def _ending(details: Any) -> Ending:
    if details.driver_exit_code is not None:
        return Ending(details.status, f"exit code {details.driver_exit_code}")
    return Ending(details.status, details.message or "")


def _find(client: JobSubmissionClient, submission_id: str) -> Any | None:
    """Return the details of a job, None if there is none of this id."""
    try:
        return client.get_job_info(submission_id)
    except _LOST as error:
        if _is_unknown(error):
            return None
        raise UserError(f"job {submission_id}: {_last_line(error)}") from error


def _require_same(submission_id: str, earlier: Any, package: Package) -> None:
    """Refuse to resume, or to delete, a job that is not this experiment's."""
    digest = (earlier.metadata or {}).get(_DIGEST)
    if digest is None:
        raise UserError(
            f"job {submission_id} was not submitted by stridelab; choose another --submission-id"
        )
    if digest != package.digest:
        raise UserError(
            f"job {submission_id} belongs to another version of the experiment, and a study is "
            "resumed as it was begun; undo the changes or choose another --submission-id"
        )


def _knock(address: str) -> None:
    """See that something answers: Ray's client would wait for minutes.

    Raises:
        UserError: If nothing does.
    """
    try:
        urlopen(f"{address.rstrip('/')}/api/version", timeout=_CONNECT_S).close()
    except HTTPError as error:
        error.close()  # an answer; what it means is the client's business
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise UserError(f"no Ray cluster at {address}: {_first_line(reason)}") from error


def _refused(address: str, error: AuthenticationError) -> UserError:
    """Return the error for a cluster that wants a token, or another one."""
    if str(error).startswith("Authentication required"):
        return UserError(
            f"the cluster at {address} wants a token: set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN "
            "or RAY_AUTH_TOKEN_PATH (default: ~/.ray/auth_token)"
        )
    return UserError(
        f"the cluster at {address} refuses the token; it must be the cluster's own, in "
        "RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token"
    )


def _is_unknown(error: BaseException) -> bool:
    return "status code 404" in str(error)


def _first_line(error: object) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


def _last_line(error: object) -> str:
    """Return the end of an error's text: the server sends whole tracebacks."""
    lines = str(error).strip().splitlines()
    return lines[-1][:300] if lines else type(error).__name__
