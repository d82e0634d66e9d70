"""A sweep of reward weights as a person sees it in the MLflow UI, looked at in a browser.

``STRIDELAB_SCREENSHOTS`` names a folder for pictures of the pages.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient
from ray_nodes import environment, free_ports

from stridelab.tracking.runs import find_runs

pytestmark = [pytest.mark.cluster, pytest.mark.browser, pytest.mark.slow]

NAME = "foot_rewards"
QUESTION = "Which weights keep the biped up?"
START_S, PAGE_S = 600.0, 300.0
"""Longest time to wait for the server and for a page on a busy machine [s]."""


@pytest.fixture(scope="module")
def browser():
    """A browser without a window; the tests are skipped without one."""
    playwright = pytest.importorskip("playwright.sync_api", reason="no Playwright")
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    with playwright.sync_playwright() as driver:
        if path is None and not Path(driver.chromium.executable_path).exists():
            pytest.skip("no Chromium")
        browser = driver.chromium.launch(executable_path=path)
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    """A page of a person who has never been there."""
    page = browser.new_page(viewport={"width": 1600, "height": 1000})
    page.set_default_timeout(PAGE_S * 1000)
    yield page
    page.close()


@pytest.fixture(scope="module")
def folder(browser, tmp_path_factory):
    """Where ``stridelab sweep`` has run three configurations with one seed."""
    folder = tmp_path_factory.mktemp("sweep")
    tree = {
        "name": NAME,
        "description": QUESTION,
        "task": {"id": "biped_walk", "num_envs": 16, "episode_length_s": 0.4},
        "model": {"actor_hidden": [16], "critic_hidden": [16]},
        "algorithm": {"num_steps_per_env": 8, "num_epochs": 2, "num_minibatches": 2},
        "train": {"env_steps": 512, "video": False, "evaluate_episodes": 4},
        "sweep": {
            "metric": "eval/survival_rate",
            "parameters": {
                "task.rewards.upright": {"uniform": [0.5, 2.0]},
                "task.rewards.foot_slip": {"uniform": [-1.0, -0.1]},
            },
            "samples": 2,
        },
    }
    (folder / f"{NAME}.yaml").write_text(yaml.safe_dump(tree))
    command = [sys.executable, "-m", "stridelab.cli.main", "sweep", f"{NAME}.yaml"]
    subprocess.run(command, cwd=folder, env=environment(RAY_AUTH_MODE="disabled"), check=True)
    return folder


@pytest.fixture(scope="module")
def uri(folder):
    return f"sqlite:///{folder}/runs/mlflow.db"


@pytest.fixture(scope="module")
def runs(uri):
    return find_runs(uri, NAME)


@pytest.fixture(scope="module")
def trials(runs):
    return [run for run in runs if run.parent_run_id is not None]


@pytest.fixture(scope="module")
def address(folder):
    """``stridelab ui`` in the folder of the sweep."""
    [port] = free_ports(1)
    with (folder / "ui.txt").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "stridelab.cli.main", "ui", "--port", str(port)],
            cwd=folder,
            env=environment(MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false"),
            stdout=log,
            stderr=log,
            start_new_session=True,  # its workers are children, and go with it
        )
    address = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + START_S
    while True:
        try:
            urllib.request.urlopen(f"{address}/health", timeout=5).close()
            break
        except OSError:
            text = (folder / "ui.txt").read_text()
            assert process.poll() is None and time.monotonic() < deadline, text
            time.sleep(0.5)
    yield address
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.fixture(scope="module")
def pages(address, uri):
    """Address of the experiment's pages."""
    experiment = MlflowClient(uri).get_experiment_by_name(NAME)
    return f"{address}/#/experiments/{experiment.experiment_id}"


@pytest.fixture
def keep_screenshot(page):
    """Save a picture of the page for a person, where somebody wants one."""

    def keep(name):
        if folder := os.environ.get("STRIDELAB_SCREENSHOTS"):
            page.wait_for_timeout(2000)  # charts move into their place
            page.screenshot(path=Path(folder, f"{name}.png"))

    return keep


@pytest.fixture
def open_runs(page, address):
    """Open the page that ``stridelab ui`` names, and from there the table of runs."""

    def open_runs():
        page.goto(f"{address}/#/experiments")
        page.get_by_text("Model training", exact=True).click()  # links lead elsewhere without
        page.get_by_role("link", name=NAME, exact=True).first.click()
        page.get_by_text("matching runs").wait_for()

    return open_runs


@pytest.fixture
def open_parent(page, open_runs):
    def open_parent():
        open_runs()
        page.locator(".ag-row").get_by_role("link", name=NAME, exact=True).click()
        page.get_by_text("About this run").wait_for()

    return open_parent


def test_the_table_shows_the_parent_and_its_trials(open_runs, page, trials, keep_screenshot):
    open_runs()
    rows = page.locator(".ag-row")
    rows.get_by_role("link", name=NAME, exact=True).wait_for()
    rows.locator("[col-id*='Run Name'] button").click()  # opens what is below the parent
    for run in trials:
        rows.get_by_role("link", name=run.name, exact=True).wait_for()
    keep_screenshot("table")
    names = {run.name for run in trials}
    assert "baseline seed=0" in names
    assert all("upright=" in name for name in names - {"baseline seed=0"})


def test_the_parent_tells_what_came_out(open_parent, page, trials, keep_screenshot):
    open_parent()
    page.get_by_text(QUESTION).first.wait_for()
    keep_screenshot("parent")
    ranking = page.locator("table", has_text="configuration").first.inner_text()
    for run in trials:
        assert run.name.removesuffix(" seed=0") in ranking
        page.get_by_role("link", name=run.name).first.wait_for()


def test_the_note_leads_to_the_comparison(open_parent, address, page, trials, keep_screenshot):
    open_parent()
    link = page.get_by_role("link", name="compare the trials").get_attribute("href")
    page.goto(f"{address}/{link[link.index('#') :]}")
    page.get_by_text(f"Comparing {len(trials)} Runs from 1 Experiment").wait_for()
    page.get_by_text("Parallel Coordinates Plot").wait_for()
    for axis in ("task.rewards.foot_slip", "task.rewards.upright"):
        page.locator("svg text", has_text=axis).first.wait_for()
    for run in trials:
        page.get_by_text(run.name, exact=True).first.wait_for()
    keep_screenshot("comparison")


def test_artifacts_are_there_to_be_seen(page, pages, runs, keep_screenshot):
    [parent] = [run for run in runs if run.parent_run_id is None]
    page.goto(f"{pages}/runs/{parent.run_id}/artifacts/plots/parallel_coordinates.png")
    for name in ("plots", "comparison.png", "parallel_coordinates.png", "experiment.yaml"):
        page.get_by_text(name, exact=True).first.wait_for()
    image = page.locator("img[src^='blob:'], img[src*='artifact']").first
    image.wait_for()
    assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") > 300
    keep_screenshot("artifacts")


def test_metrics_stand_in_groups(page, pages, trials, keep_screenshot):
    page.goto(f"{pages}/runs/{trials[0].run_id}/model-metrics")
    for group in ("episode", "eval", "loss", "reward"):
        page.wait_for_function(
            "text => document.body.innerText.includes(text)", arg=f"\n{group}\n("
        )
    keep_screenshot("metrics")
