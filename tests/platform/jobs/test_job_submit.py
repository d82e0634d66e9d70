"""Submitting and following, against a cluster that exists only here."""

import json
import os
import subprocess
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import aiohttp
import pytest
from ray.exceptions import AuthenticationError

from stridelab.experiment import parse_experiment
from stridelab.jobs import submit as module
from stridelab.jobs.package import pack
from stridelab.jobs.submit import Job, check_submission_id, connect, follow, submit
from stridelab_envs.errors import UserError

ENDED = ["SUCCEEDED", "FAILED", "STOPPED"]
START = "python -m stridelab.cli.main train experiment.yaml"


@pytest.fixture
def package(tiny, tmp_path):
    return pack(parse_experiment(tiny), tmp_path)


class TestSubmit:
    def test_a_new_job(self, client, package):
        job = submit(client, package)
        assert job == Job("raysubmit_1", "started")
        [sent] = client.submitted
        assert sent["entrypoint"] == START
        assert sent["submission_id"] is None
        assert sent["runtime_env"]["working_dir"] == str(package.folder)
        assert "pip" not in sent["runtime_env"]
        assert sent["metadata"]["stridelab.experiment"] == package.digest

    def test_environment(self, client, package):
        package.env_vars["STRIDELAB_GIT_COMMIT"] = "c0ffee"
        submit(client, package, pip=True)
        [sent] = client.submitted
        assert sent["runtime_env"]["env_vars"]["STRIDELAB_GIT_COMMIT"] == "c0ffee"
        assert any(line.startswith("mujoco==") for line in sent["runtime_env"]["pip"])

    def test_resume_by_request(self, client, package):
        """Without a study to resume this fails: a person wants to know that."""
        assert submit(client, package, resume=True).state == "resumed"
        assert client.submitted[0]["entrypoint"] == f"{START} --resume"

    @pytest.mark.parametrize("status", ["PENDING", "RUNNING"])
    def test_a_running_job_is_left_alone(self, client, package, status):
        client.add("walk", status, package.digest)
        assert submit(client, package, submission_id="walk") == Job("walk", "running")
        assert not client.submitted
        assert not client.deleted

    @pytest.mark.parametrize("status", ENDED)
    def test_an_ended_job_is_replaced(self, client, package, status):
        client.add("walk", status, package.digest)
        client.logs = "12345"
        job = submit(client, package, submission_id="walk")
        assert job == Job("walk", "resumed", skip=5)
        assert client.deleted == ["walk"]
        [sent] = client.submitted
        assert sent["submission_id"] == "walk"
        assert sent["entrypoint"].startswith(f"{START} --resume")

    @pytest.mark.parametrize("status", ["RUNNING", *ENDED])
    @pytest.mark.parametrize(
        ("digest", "expected"),
        [("other", "another version of the experiment"), (None, "not submitted by stridelab")],
    )
    def test_the_job_of_another_is_not_touched(self, client, package, status, digest, expected):
        client.add("walk", status, digest)
        with pytest.raises(UserError, match=expected):
            submit(client, package, submission_id="walk")
        assert not client.submitted
        assert not client.deleted

    def test_refused(self, client, package, monkeypatch):
        def submit_job(**options):
            raise RuntimeError(
                "Request failed with status code 400: Traceback:\n  File\nValueError: no"
            )

        monkeypatch.setattr(client, "submit_job", submit_job)
        with pytest.raises(UserError, match=r"^the cluster refuses the job: ValueError: no$"):
            submit(client, package)

    def test_unreadable_job(self, client, package):
        client.statuses = [RuntimeError("Request failed with status code 500: oh")]
        with pytest.raises(UserError, match="status code 500"):
            submit(client, package, submission_id="walk")

    @pytest.mark.parametrize(
        ("resuming", "starting", "calls", "code"),
        [
            (0, 9, ["--resume"], 0),
            (1, 9, ["--resume"], 1),
            # Nothing to resume: the first job ended before it had begun a study.
            (2, 0, ["--resume", ""], 0),
            (2, 1, ["--resume", ""], 1),
        ],
    )
    def test_entrypoint_of_a_replaced_job(
        self, client, package, tmp_path_factory, resuming, starting, calls, code
    ):
        client.add("walk", "FAILED", package.digest)
        submit(client, package, submission_id="walk")
        folder = tmp_path_factory.mktemp("bin")
        python = folder / "python"
        python.write_text(
            f'#!/bin/sh\necho "call $5"\n[ "$5" = --resume ] && exit {resuming}\nexit {starting}\n'
        )
        python.chmod(0o755)
        done = subprocess.run(
            client.submitted[0]["entrypoint"],
            shell=True,
            env={"PATH": f"{folder}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
        )
        assert done.stdout.splitlines() == [f"call {call}" for call in calls]
        assert done.returncode == code


@pytest.mark.parametrize("submission_id", ["walk", "Walk-2.b_c", "0", "w" * 200])
def test_usable_submission_id(submission_id):
    check_submission_id(submission_id)


@pytest.mark.parametrize("submission_id", ["", "a/b", "..", "-a", "a b", "w" * 201, "a\n"])
def test_unusable_submission_id(submission_id):
    with pytest.raises(UserError, match="--submission-id"):
        check_submission_id(submission_id)


class TestFollow:
    @pytest.fixture(autouse=True)
    def _quick(self, monkeypatch):
        monkeypatch.setattr(module, "_PAUSE_S", 0.0)

    @pytest.fixture
    def watch(self, client):
        """Follow job ``walk``, whose driver ends with ``code``; return the end and the text."""

        def run(skip=0, code=0, message=None):
            client.add("walk", "RUNNING", driver_exit_code=code, message=message)
            written = []
            ending = follow(client, Job("walk", "started", skip), written.append)
            return ending, "".join(written)

        return run

    def test_to_the_end(self, client, watch):
        client.connections = [["one\n", "two\n"]]
        client.logs = "one\ntwo\n"
        client.statuses = ["SUCCEEDED"]
        ending, text = watch()
        assert text == "one\ntwo\n"
        assert (ending.status, ending.exit_code) == ("SUCCEEDED", 0)
        assert client.tails == 1

    def test_across_lost_connections(self, client, watch):
        """Each connection begins at the beginning of the log; nothing is shown twice."""
        client.connections = [
            ["one\n", "tw", RuntimeError("closed unexpectedly")],
            [aiohttp.ClientConnectionError("refused")],
            ["o", "ne\nt", "wo\nthree", OSError("gone")],
            ["one\ntwo\nthree\n", "four\n"],
        ]
        client.logs = ConnectionError("away")
        client.statuses = ["RUNNING", "SUCCEEDED"]
        ending, text = watch()
        assert text == "one\ntwo\nthree\nfour\n"
        assert ending.exit_code == 0
        assert client.tails == 5

    def test_lines_that_the_stream_left_out(self, client, watch):
        client.connections = [["one\n"]]
        client.logs = "one\nlast words\n"
        client.statuses = ["SUCCEEDED"]
        assert watch()[1] == "one\nlast words\n"

    def test_without_a_stream(self, client, watch, monkeypatch):
        client.connections = [[aiohttp.ClientError("no web sockets here")]]
        client.logs = "one\n"
        client.statuses = ["RUNNING", "RUNNING", "SUCCEEDED"]
        assert watch()[1] == "one\n"

    def test_the_log_of_an_earlier_job_is_not_shown(self, client, watch):
        client.connections = [["earlier\nn", "ow\n"]]
        client.logs = "earlier\nnow\n"
        client.statuses = ["SUCCEEDED"]
        assert watch(skip=len("earlier\n"))[1] == "now\n"

    def test_a_stream_that_falls_silent_is_made_again(self, client, watch, monkeypatch):
        monkeypatch.setattr(module, "_SILENCE_S", 0.02)
        client.connections = [["one\n", client.silence], ["one\ntwo\n", client.silence]]
        client.statuses = ["RUNNING", "SUCCEEDED"]
        client.logs = "one\ntwo\n"
        assert watch()[1] == "one\ntwo\n"
        assert client.tails == 2

    @pytest.mark.parametrize("status", ["FAILED", "STOPPED"])
    def test_a_job_that_failed(self, client, watch, status):
        client.statuses = [status]
        ending, _ = watch(code=2, message="Job entrypoint command failed, last logs:\n...")
        assert (ending.status, ending.exit_code) == (status, 1)
        assert ending.message == "exit code 2"

    def test_a_job_that_never_ran(self, client, watch):
        client.statuses = ["FAILED"]
        client.logs = RuntimeError("Request failed with status code 500: no log")
        ending, text = watch(code=None, message="runtime_env setup failed: no such package")
        assert text == ""
        assert ending.exit_code == 1
        assert ending.message == "runtime_env setup failed: no such package"

    def test_a_cluster_that_stays_away(self, client, watch, monkeypatch):
        monkeypatch.setattr(module, "_PATIENCE_S", 0.05)
        client.statuses = [ConnectionError("refused\nin many lines")]
        with pytest.raises(UserError, match=r"away for .* \(refused\); job walk may go on$"):
            watch()
        assert client.tails > 1

    def test_a_cluster_that_was_started_anew(self, client):
        with pytest.raises(UserError, match="no longer knows job walk"):
            follow(client, Job("walk", "started"), lambda text: None)

    def test_a_token_that_is_refused_on_the_way(self, client, watch):
        client.statuses = [AuthenticationError("Authentication failed: Forbidden")]
        with pytest.raises(UserError, match=r"^the cluster at http://cluster:8265 ref"):
            watch()


@contextmanager
def web_server(status, body):
    """Answer every request with one status and body; yields the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


VERSION = json.dumps({"version": "4", "ray_version": "2.60.0", "ray_commit": "x"}).encode()


class TestConnect:
    @pytest.mark.parametrize("address", ["", "127.0.0.1:8265", "ray://host:10001", "http://"])
    def test_not_a_url(self, address):
        with pytest.raises(UserError, match="must be the URL of the Ray dashboard"):
            connect(address)

    def test_nothing_there(self):
        with web_server(200, b"") as address:
            pass
        with pytest.raises(UserError, match=rf"^no Ray cluster at {address}: .*refused"):
            connect(address)

    def test_unknown_host(self):
        with pytest.raises(UserError, match=r"^no Ray cluster at http://nowhere.invalid:8265: "):
            connect("http://nowhere.invalid:8265")

    @pytest.mark.parametrize(("status", "body"), [(404, b"x"), (500, b"x"), (200, b"<html>")])
    def test_something_else_there(self, status, body):
        with (
            web_server(status, body) as address,
            pytest.raises(UserError, match=f"^no Ray cluster at {address}: ") as caught,
        ):
            connect(address)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        ("status", "expected"), [(401, "wants a token: set RAY_AUTH"), (403, "refuses the token;")]
    )
    def test_token(self, status, expected):
        with web_server(status, b"no") as address, pytest.raises(UserError, match=expected):
            connect(address)

    def test_the_address_given_counts(self, monkeypatch):
        """Ray's client alone would go where the environment says."""
        environment = {"RAY_ADDRESS": "10.0.0.1:6379", "RAY_API_SERVER_ADDRESS": "http://a:1"}
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        with web_server(200, VERSION) as address:
            assert connect(f"{address}/").get_address() == address
        for name, value in environment.items():
            assert os.environ[name] == value
