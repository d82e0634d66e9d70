"""Jobs on a real cluster of one node, with token authentication."""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import yaml
from mlflow import MlflowClient

pytestmark = [pytest.mark.ray, pytest.mark.slow]

CLIENT = """
from stridelab.cli import main, submit
main.app.command("submit")(submit.command)
main.main()
"""
"""The command line, with ``submit`` whether it is registered or not."""


def free_ports(count):
    """Return ports that nothing listens on; held together, so that they differ."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [str(held.getsockname()[1]) for held in sockets]
    for held in sockets:
        held.close()
    return ports


def environment(**values):
    """Return this process's environment without any other cluster's address or token."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return {
        **inherited,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "token",
        "OMP_NUM_THREADS": "1",
        **values,
    }


def end(process):
    """End a cluster: its own processes by their ids, none of any other cluster."""
    own = [process, *process.children(recursive=True)] if process.is_running() else []
    if own:
        process.terminate()  # `ray start --block` takes everything it started down with it
    _, alive = psutil.wait_procs(own, timeout=15)
    for left in alive:
        left.kill()
    psutil.wait_procs(alive, timeout=5)


@pytest.fixture(scope="module")
def cluster():
    """A head node in a folder, session and process group of its own."""
    # The path of a Unix socket has at most 107 characters: pytest's folders are too deep.
    folder = Path(tempfile.mkdtemp(prefix="sl", dir="/tmp"))
    (folder / "home").mkdir()
    token = secrets.token_hex(32)
    address, dashboard, agent, client, metrics = free_ports(5)
    bin_folder = Path(sys.executable).parent
    output = (folder / "output.txt").open("w")
    process = subprocess.Popen(
        [
            *(bin_folder / "ray", "start", "--head", "--block", "--num-cpus=2"),
            *("--disable-usage-stats", f"--temp-dir={folder}/r"),
            *("--node-ip-address=127.0.0.1", f"--port={address}"),
            *("--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}"),
            *(f"--dashboard-agent-listen-port={agent}", f"--ray-client-server-port={client}"),
            *(f"--metrics-export-port={metrics}", "--min-worker-port=0", "--max-worker-port=0"),
        ],
        env=environment(
            PATH=f"{bin_folder}:{os.environ['PATH']}", HOME=f"{folder}/home", RAY_AUTH_TOKEN=token
        ),
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    url = f"http://127.0.0.1:{dashboard}"
    try:
        wait_for(url, process, folder / "output.txt")
        yield SimpleNamespace(url=url, token=token, folder=folder, port=address)
    finally:
        end(psutil.Process(process.pid))
        process.wait(timeout=10)
        output.close()
        shutil.rmtree(folder, ignore_errors=True)


def wait_for(url, process, output):
    """Wait until the dashboard answers that it wants a token."""
    deadline = time.monotonic() + 120.0
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(f"{url}/api/version", timeout=5).close()
            raise AssertionError("the cluster takes requests without a token")
        except urllib.error.HTTPError as error:
            assert error.code == 401
            return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(output.read_text())


@pytest.fixture
def submit(cluster, tiny, tmp_path):
    """Run ``stridelab submit`` with the tiny experiment as a program."""
    tiny["train"]["evaluate_episodes"] = 0
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tiny))

    program = (sys.executable, "-c", CLIENT, "submit", "tiny.yaml", "--address", cluster.url)

    def run(*arguments, token=cluster.token):
        return subprocess.run(
            [*program, *arguments],
            cwd=tmp_path,
            # The address given counts, not this one.
            env=environment(RAY_AUTH_TOKEN=token, RAY_ADDRESS="127.0.0.1:1"),
            capture_output=True,
            text=True,
            timeout=240,
        )

    return run


def runs(cluster):
    client = MlflowClient(f"sqlite:///{cluster.folder}/home/stridelab/runs/mlflow.db")
    found = client.get_experiment_by_name("tiny")
    return client.search_runs([found.experiment_id])


def test_submitted_and_submitted_again(submit, cluster):
    done = submit("--submission-id", "tiny-1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "finished 1/1  seed=0" in done.stdout
    assert done.stdout.count("study: ") == 1
    assert done.stderr.splitlines()[-1] == "job tiny-1: SUCCEEDED  exit code 0"
    [run] = runs(cluster)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["env_steps"] == 256
    first_output = done.stdout

    again = submit("--submission-id", "tiny-1")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "job:     tiny-1 (resumed)" in again.stderr
    # The study was found finished: no second one, and the first job's log is not shown again.
    assert "finished 1/1" not in again.stdout
    assert again.stdout.count("study: ") == 1
    assert again.stdout.splitlines()[-2:] == first_output.splitlines()[-2:]
    assert [found.info.run_id for found in runs(cluster)] == [run.info.run_id]


def test_a_job_that_fails(submit):
    done = submit("resources.storage_path=/proc/nowhere")
    assert done.returncode == 1
    assert "/proc/nowhere" in done.stdout
    assert ": FAILED  exit code " in done.stderr.splitlines()[-1]


def test_the_token_of_another_cluster(submit):
    done = submit(token=secrets.token_hex(32))
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "refuses the token" in done.stderr


def test_other_clusters_on_this_machine_are_left_alone(cluster):
    """``ray.init("auto")`` of others does not find this cluster."""
    found = Path(tempfile.gettempdir()) / "ray" / "ray_current_cluster"
    assert not found.exists() or not found.read_text().endswith(f":{cluster.port}")
