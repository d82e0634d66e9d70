"""An MLflow tracking server on PostgreSQL, as in compose.yaml, on this machine."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

START_S = 300.0
"""Longest time to wait for a server on a busy machine [s]."""


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def wait_until(is_up, process, log):
    deadline = time.monotonic() + START_S
    while not is_up():
        text = log.read_text(errors="replace")[-3000:]
        assert process.poll() is None and time.monotonic() < deadline, text
        time.sleep(0.2)


def postgres_program(name):
    """Return the path of one of PostgreSQL's programs, the newest where there are several."""
    found = shutil.which(name)
    if found is None:
        installed = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=_version)
        assert installed, "PostgreSQL is not installed: sh cluster/install-postgres.sh"
        found = str(installed[-1])
    return found


def _version(path):
    return float(path.parts[-3])


class Postgres:
    """A PostgreSQL server with an empty database ``mlflow``, gone with its files when stopped."""

    def __init__(self):
        # Not in pytest's folder, which is closed to the user the server runs as.
        self.folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        self.port = free_port()
        self.password = secrets.token_hex(16)
        self.process = None
        # PostgreSQL refuses to run as root; its packages bring a user for it.
        self.user = {"user": "postgres", "group": "postgres"} if os.getuid() == 0 else {}

    @property
    def uri(self):
        """Without the password, which MLflow finds in ``environment``."""
        return f"postgresql+psycopg2://stridelab@127.0.0.1:{self.port}/mlflow"

    @property
    def environment(self):
        return {"PGPASSWORD": self.password}

    def start(self):
        password = self.folder / "password"
        password.write_text(self.password)
        if self.user:
            for path in (self.folder, password):
                shutil.chown(path, **self.user)
        data = self.folder / "data"
        self._run("initdb", f"--pgdata={data}", f"--pwfile={password}", "--auth=scram-sha-256")
        log = self.folder / "log"
        options = ["-c", "unix_socket_directories=", "-c", "listen_addresses=127.0.0.1"]
        command = [postgres_program("postgres"), "-D", data, "-p", str(self.port), *options]
        with log.open("w") as file:
            self.process = subprocess.Popen(
                command, stdout=file, stderr=file, cwd=self.folder, **self.user
            )
        address = ["--host=127.0.0.1", f"--port={self.port}", "--username=stridelab"]
        ready = [postgres_program("pg_isready"), "--quiet", *address]
        wait_until(lambda: subprocess.run(ready).returncode == 0, self.process, log)
        self._run("createdb", *address, "--no-password", "mlflow")

    def _run(self, name, *arguments):
        names = ["--username=stridelab"] if name == "initdb" else []
        subprocess.run(
            [postgres_program(name), *names, *arguments],
            env={**os.environ, **self.environment},
            cwd=self.folder,
            check=True,
            stdout=subprocess.DEVNULL,
            **self.user,
        )

    def stop(self):
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)  # "fast": clients are disconnected
            self.process.wait(timeout=START_S)
        shutil.rmtree(self.folder)


class TrackingServer:
    """``mlflow server`` that can be killed and started again at the same address."""

    def __init__(self, postgres, folder):
        self.postgres = postgres
        self.folder = folder
        self.port = free_port()
        self.process = None

    @property
    def uri(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        command = [sys.executable, "-m", "mlflow", "server", "--host=127.0.0.1", "--workers=2"]
        command += [f"--port={self.port}", f"--backend-store-uri={self.postgres.uri}"]
        command += [f"--artifacts-destination={self.folder / 'artifacts'}"]
        # On a busy machine a worker that answers late is not one to be replaced.
        command += ["--uvicorn-opts=--timeout-worker-healthcheck 300"]
        settings = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **self.postgres.environment}
        log = self.folder / "mlflow.log"
        with log.open("a") as file:
            self.process = subprocess.Popen(
                command,
                stdout=file,
                stderr=file,
                env={**os.environ, **settings},
                start_new_session=True,  # its workers are children, and go with it
            )
        wait_until(self._answers, self.process, log)

    def kill(self):
        """Stop it as a power cut does: requests are cut off half-way."""
        if self.process is not None:
            with suppress(ProcessLookupError):  # it could not start
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(timeout=START_S)
            self.process = None

    def _answers(self):
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=2):
                return True
        except OSError:
            return False
