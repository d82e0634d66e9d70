"""The command: what is said, what is refused, and how it ends."""

from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner

from stridelab.cli.submit import command
from stridelab.jobs import submit as jobs
from stridelab.jobs.submit import Ending
from stridelab_envs.errors import UserError

URL = "http://cluster:8265"


@pytest.fixture
def run(tmp_path, monkeypatch, tiny, client):
    """Submit the tiny experiment to the fake cluster."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)
    monkeypatch.setattr(jobs, "connect", lambda address: client)
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tiny))
    app = typer.Typer()
    app.command()(command)

    def run(*arguments, address=URL):
        options = ["--address", address] if address else []
        result = CliRunner().invoke(app, ["tiny.yaml", *options, *arguments])
        if isinstance(result.exception, UserError):
            raise result.exception
        return result

    return run


@pytest.fixture
def ends(monkeypatch):
    """Let every job end in one way after a line."""

    def set_ending(status):
        def follow(client, job, write):
            write("a line\n")
            return Ending(status, "exit code 7")

        monkeypatch.setattr(jobs, "follow", follow)

    return set_ending


@pytest.mark.parametrize(("status", "code"), [("SUCCEEDED", 0), ("FAILED", 1), ("STOPPED", 1)])
def test_exit_code_is_the_jobs(run, ends, status, code):
    ends(status)
    result = run("--submission-id", "walk")
    assert result.exit_code == code
    assert result.stdout == "a line\n"
    assert f"job walk: {status}" in result.stderr


def test_what_is_said(run, ends, client):
    ends("SUCCEEDED")
    said = run("--submission-id", "walk").stderr.splitlines()
    assert said[0].startswith("upload:  ")
    assert said[0].endswith(" MB")
    assert said[1].startswith("results: ~/stridelab/runs on the head node, since")
    assert said[2] == "job:     walk (started)"


def test_a_shared_storage_path(run, ends):
    ends("SUCCEEDED")
    said = run("resources.storage_path=/mnt/shared").stderr
    assert "results: /mnt/shared on the cluster" in said


def test_no_wait(run, client):
    result = run("--no-wait")
    assert result.exit_code == 0
    assert len(client.submitted) == 1
    assert client.tails == 0


def test_overrides_are_part_of_what_is_sent(run, client, monkeypatch):
    sent = {}

    def submit_job(**options):
        folder = Path(options["runtime_env"]["working_dir"])
        sent.update(yaml.safe_load((folder / "experiment.yaml").read_text()))

    monkeypatch.setattr(client, "submit_job", submit_job)
    run("algorithm.gamma=0.5", "--no-wait")
    assert sent["algorithm"]["gamma"] == 0.5
    assert sent["resources"]["storage_path"] == "~/stridelab/runs"


def test_ctrl_c_leaves_the_job_alone(run, client, monkeypatch):
    def follow(client, job, write):
        raise KeyboardInterrupt

    monkeypatch.setattr(jobs, "follow", follow)
    result = run("--submission-id", "walk")
    assert result.exit_code == 130
    assert "job walk goes on" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["algorithm.gama=0.9"], 'unknown key "gama"; did you mean "gamma"'),
        (["tracking.uri=sqlite:///mlflow.db"], "tracking.uri: "),
        (["--submission-id", "a/b"], "--submission-id"),
    ],
)
def test_refused_before_the_cluster_is_asked(run, monkeypatch, arguments, expected):
    def connect(address):
        raise AssertionError("the cluster was asked")

    monkeypatch.setattr(jobs, "connect", connect)
    with pytest.raises(UserError, match=expected):
        run(*arguments)


def test_address_from_the_environment(run, monkeypatch):
    assert run("--no-wait", address=None).exit_code == 2
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", URL)
    assert run("--no-wait", address=None).exit_code == 0
