"""Ray clusters of several nodes on this machine, beside any other cluster that runs here."""

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

import psutil

_BIN = Path(sys.executable).parent
_START_S = 180.0
"""Time a node may take to start on a busy machine [s]."""


def free_ports(count):
    """Return ports that nothing listens on; held together, so that they differ."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [held.getsockname()[1] for held in sockets]
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
        "RAY_worker_niceness": "0",  # 15 by default: on a busy machine tests would not move
        "OMP_NUM_THREADS": "1",
        **values,
    }


class Node:
    """One ``ray start --block``: a raylet and what belongs to it."""

    def __init__(self, arguments, output, **variables):
        self.output = output
        path = f"{_BIN}:{os.environ['PATH']}"
        with output.open("w") as stream:
            self._process = subprocess.Popen(
                [_BIN / "ray", "start", "--block", "--disable-usage-stats", *arguments],
                env=environment(PATH=path, **variables),
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def is_running(self):
        return self._process.poll() is None

    @property
    def raylet(self):
        """The node's raylet, None before it is started."""
        below = psutil.Process(self._process.pid).children(recursive=True)
        return next((process for process in below if process.name() == "raylet"), None)

    def workers(self, title=""):
        """Processes of this node whose title has a text in it."""
        below = self.raylet.children(recursive=True) if self.raylet else []
        return [process for process in below if title in _title(process)]

    def end(self):
        """End this node: its own processes by their ids, none of any other cluster."""
        running = self.is_running
        own = psutil.Process(self._process.pid).children(recursive=True) if running else []
        self._process.terminate()  # `ray start --block` takes everything it started with it
        _, alive = psutil.wait_procs(own, timeout=20)
        for left in alive:
            left.kill()
        psutil.wait_procs(alive, timeout=5)
        self._process.wait(timeout=10)


def _title(process):
    try:
        return " ".join(process.cmdline())
    except psutil.Error:  # it has just ended
        return ""


class Cluster:
    """A head node and workers, with token authentication, in a folder of their own.

    Args:
        head_cpus: CPUs of the head node.
        workers: Number of nodes beside it, with one CPU each.
        variables: Of the environment of all nodes, and so of what runs there.
    """

    def __init__(self, *, head_cpus, workers=0, **variables):
        self._variables = variables
        # The path of a Unix socket has at most 107 characters: pytest's folders are too deep.
        self.folder = Path(tempfile.mkdtemp(prefix="sl", dir="/tmp"))
        (self.folder / "home").mkdir()
        self.token = secrets.token_hex(32)
        self.nodes = []
        self.port, dashboard, client = free_ports(3)
        self.url = f"http://127.0.0.1:{dashboard}"
        try:
            self._start(
                *("--head", f"--port={self.port}", f"--num-cpus={head_cpus}"),
                *("--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}"),
                f"--ray-client-server-port={client}",
            )
            self._wait_for(self._answers)
            for _ in range(workers):
                self._start(f"--address=127.0.0.1:{self.port}", "--num-cpus=1")
            # A node says so when it has joined.
            self._wait_for(lambda: all("Ray runtime started" in self._said(n) for n in self.nodes))
        except BaseException:
            self.end()
            raise

    @property
    def workers(self):
        """The nodes beside the head."""
        return self.nodes[1:]

    def end(self):
        """End all nodes, workers first."""
        for node in reversed(self.nodes):
            node.end()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self, *arguments):
        agent, metrics = free_ports(2)
        number = len(self.nodes)
        self.nodes.append(
            Node(
                [
                    *arguments,
                    *("--node-ip-address=127.0.0.1", f"--temp-dir={self.folder}/{number}"),
                    *(f"--dashboard-agent-listen-port={agent}", f"--metrics-export-port={metrics}"),
                    *("--min-worker-port=0", "--max-worker-port=0"),
                ],
                self.folder / f"node{number}.txt",
                HOME=f"{self.folder}/home",
                RAY_AUTH_TOKEN=self.token,
                **self._variables,
            )
        )

    def _said(self, node):
        return node.output.read_text()

    def _wait_for(self, condition):
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline and all(node.is_running for node in self.nodes):
            if condition():
                return
            time.sleep(0.2)
        raise AssertionError("\n".join(self._said(node) for node in self.nodes))

    def _answers(self):
        """Whether the dashboard answers; it must want a token."""
        try:
            urllib.request.urlopen(f"{self.url}/api/version", timeout=5).close()
        except urllib.error.HTTPError as error:
            assert error.code == 401
            return True
        except OSError:
            return False
        raise AssertionError("the cluster takes requests without a token")
