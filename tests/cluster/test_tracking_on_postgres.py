"""Many writers and one MLflow server on PostgreSQL that is killed half-way and comes back."""

import gc
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from mlflow import MlflowClient
from mlflow_on_postgres import Postgres, TrackingServer

from stridelab.tracking.runs import find_runs
from stridelab.tracking.store import open_store

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

WRITERS = 64
ITERATIONS = 100
AWAY_S = 60.0
"""Time for which the server is away [s]."""
CATCH_UP_S = 1800.0
"""Longest time that what writers left in their spools may take to be sent [s]."""
STEPS = 4096
"""Environment steps of an iteration."""
METRICS = tuple(f"reward/term_{number}" for number in range(10))
AWAY_AT, BACK_AT = 30, 70
"""Iterations that the slowest writer has behind it when the server is killed, and that all log
before it is back."""


@pytest.fixture
def server(tmp_path):
    postgres = Postgres()
    server = TrackingServer(postgres, tmp_path)
    try:
        postgres.start()
        server.start()
        yield server
    finally:
        server.kill()
        postgres.stop()


class Writer:
    """One driver with one trial: logs its iterations, and waits for the server half-way."""

    def __init__(self, number, uri, folder, killed, back):
        self.number, self.uri, self.folder = number, uri, folder
        self.killed, self.back = killed, back
        self.done = 0
        self.spooled = 0

    def run(self):
        store = open_store(self.uri, "many", self.folder)
        run_id = store.create_run(
            f"trial {self.number}", identity={"stridelab.trial_id": str(self.number)}
        )
        for iteration in range(ITERATIONS):
            if iteration == AWAY_AT + 10:  # some requests are on their way at the kill
                self.killed.wait()
            if iteration == BACK_AT:
                self.back.wait()
            step = (iteration + 1) * STEPS
            store.log_metrics(run_id, self.values(iteration), step)
            self.done += 1
            self.spooled = max(self.spooled, store.pending)
        store.finish(run_id, "FINISHED")
        store.close()

    def values(self, iteration):
        start = 100.0 * self.number + 0.5 * iteration
        values = {name: start - index for index, name in enumerate(METRICS)}
        return {**values, "env_steps": (iteration + 1) * STEPS}


def test_every_point_of_64_writers_is_there(server, tmp_path):
    killed, back = threading.Event(), threading.Event()
    writers = [
        Writer(number, server.uri, tmp_path / "storage", killed, back) for number in range(WRITERS)
    ]
    with ThreadPoolExecutor(WRITERS) as pool:
        running = [pool.submit(writer.run) for writer in writers]
        while min(writer.done for writer in writers) < AWAY_AT:
            assert not any(task.done() for task in running), [task.exception() for task in running]
            time.sleep(0.1)
        server.kill()
        killed.set()
        time.sleep(AWAY_S)
        server.start()
        back.set()
        for task in running:
            task.result()
    assert min(writer.spooled for writer in writers) > 0
    send_the_rest(server.uri, tmp_path / "storage")
    check(server.uri, writers)


def send_the_rest(uri, folder):
    """Open the experiment again, as the next study does: a writer may have given up on the server.

    On a busy machine it takes longer over a request than a client waits.
    """
    deadline = time.monotonic() + CATCH_UP_S
    gc.collect()  # a writer's store keeps the lock of its spool for as long as it lives
    while files := list(folder.glob("spool/*.jsonl")):
        assert "rejected.jsonl" not in {file.name for file in files}
        assert time.monotonic() < deadline, files
        open_store(uri, "many", folder).close()


def check(uri, writers):
    client = MlflowClient(uri)
    found = find_runs(uri, "many")
    runs = {run.name: run for run in found}
    assert len(found) == len(runs) == len(writers)
    assert {run.status for run in found} == {"FINISHED"}
    for writer in writers:
        run = runs[f"trial {writer.number}"]
        for name in ("env_steps", *METRICS):
            points = sorted(
                client.get_metric_history(run.run_id, name), key=lambda p: (p.timestamp, p.step)
            )
            assert [(point.step, point.value) for point in points] == [
                ((iteration + 1) * STEPS, writer.values(iteration)[name])
                for iteration in range(ITERATIONS)
            ]
