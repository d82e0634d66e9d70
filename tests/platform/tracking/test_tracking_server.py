"""The whole way over HTTP, with a tracking server that goes away and comes back."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
from mlflow import MlflowClient

from stridelab.tracking.runs import download_artifacts, find_runs, metric_history
from stridelab.tracking.store import open_store


class Server:
    """A local MLflow server in a process of its own."""

    def __init__(self, folder):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self.folder = folder
        self.process = None

    def start(self):
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"]
        command += ["--port", str(self.port), "--workers", "1"]
        command += ["--backend-store-uri", f"sqlite:///{self.folder}/server.db"]
        command += ["--artifacts-destination", str(self.folder / "server-artifacts")]
        with (self.folder / "server.log").open("a") as log:
            self.process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
                start_new_session=True,  # the web server is a child of this process
            )
        deadline = time.monotonic() + 120
        while True:
            try:
                with urllib.request.urlopen(f"{self.uri}/health", timeout=1):
                    return
            except OSError:
                log = (self.folder / "server.log").read_text()[-2000:]
                assert self.process.poll() is None and time.monotonic() < deadline, log
                time.sleep(0.2)

    def stop(self):
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(timeout=30)
            self.process = None


@pytest.fixture
def server(tmp_path):
    server = Server(tmp_path)
    yield server
    server.stop()


@pytest.mark.slow
def test_training_goes_on_while_the_server_is_away(server, tmp_path, capfd):
    server.start()
    store = open_store(server.uri, "walk", tmp_path)
    first = store.create_run("first")
    store.log_metrics(first, {"episode/return": 1.0}, 1)

    server.stop()
    start = time.monotonic()
    second = store.create_run("second", parent_run_id=first)
    store.log_params(second, {"x": 1})
    for step in range(2, 22):
        store.log_metrics(first, {"episode/return": float(step)}, step)
    store.log_metrics(second, {"episode/return": 7.0}, 1)
    (tmp_path / "policy.json").write_text("{}")
    store.log_artifact(second, tmp_path / "policy.json", "policy")
    store.finish(second, "FINISHED")
    assert time.monotonic() - start < 20.0  # MLflow alone would try the first for minutes
    assert store.pending == 25
    assert store.run_status(first) is None

    server.start()
    store.close()
    assert store.pending == 0
    store.finish(first, "FINISHED")

    history = metric_history(server.uri, first, "episode/return")
    assert history.steps.tolist() == list(range(1, 22))
    assert history.values.tolist() == [float(step) for step in range(1, 22)]
    runs = {run.name: run for run in find_runs(server.uri, "walk")}
    assert set(runs) == {"first", "second"}
    assert {run.status for run in runs.values()} == {"FINISHED"}
    assert runs["second"].run_id == store.resolve(second)
    assert runs["second"].parent_run_id == first
    assert runs["second"].params == {"x": "1"}
    file = download_artifacts(
        server.uri, runs["second"].run_id, "policy/policy.json", tmp_path / "d"
    )
    assert file.read_text() == "{}"
    assert MlflowClient(server.uri).get_run(first).info.status == "FINISHED"
    assert capfd.readouterr().out == ""  # MLflow would print links between the tables of the CLI
