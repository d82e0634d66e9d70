import subprocess
import sys

import pytest

from stridelab.tracking import provenance
from stridelab.tracking.provenance import (
    command_line,
    git_commit,
    git_diff,
    provenance_tags,
    versions,
    without_password,
)


def git(folder, *arguments):
    who = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path):
    git(tmp_path, "init")
    (tmp_path / "a.txt").write_text("one\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    return tmp_path


def test_a_clean_checkout(checkout):
    commit = git_commit(checkout)
    assert len(commit) == 40
    assert git_diff(checkout) == ""
    tags = provenance_tags(checkout)
    assert tags["stridelab.git_commit"] == tags["mlflow.source.git.commit"] == commit
    assert tags["stridelab.git_dirty"] == "false"


def test_the_diff_can_be_applied_and_names_untracked_files(checkout):
    (checkout / "a.txt").write_text("two\n")
    (checkout / "new.txt").write_text("new\n")
    diff = git_diff(checkout)
    assert diff.startswith("# untracked: new.txt\n")
    assert "-one\n+two\n" in diff
    assert provenance_tags(checkout)["stridelab.git_dirty"] == "true"
    git(checkout, "checkout", "a.txt")
    (checkout / "changes.diff").write_text(diff)
    git(checkout, "apply", "changes.diff")
    assert (checkout / "a.txt").read_text() == "two\n"


def test_outside_a_checkout_and_without_a_commit(tmp_path):
    assert git_commit(tmp_path) is None
    assert git_diff(tmp_path) == ""
    git(tmp_path, "init")
    assert git_commit(tmp_path) is None
    assert "stridelab.git_commit" not in provenance_tags(tmp_path)


def test_without_git(checkout, monkeypatch):
    monkeypatch.setenv("PATH", str(checkout))
    assert git_commit(checkout) is None
    assert git_diff(checkout) == ""


def test_versions_name_what_is_installed(monkeypatch):
    monkeypatch.setattr(provenance, "PACKAGES", ("mlflow", "surely-not-installed"))
    found = versions()
    assert set(found) == {"python", "mlflow"}
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["mlflow"].startswith("3.")


def test_passwords_in_urls_are_left_out(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["stridelab", "--uri", "http://me:pw@host:5000/x", "a b"])
    assert command_line() == "stridelab --uri http://***@host:5000/x 'a b'"
    assert without_password("http://host/a@b") == "http://host/a@b"
