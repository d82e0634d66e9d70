"""A headless browser, and something to show in it."""

import os
import shutil
from pathlib import Path

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
# Without a graphics card WebGL is drawn by the processor.
ARGUMENTS = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def browser():
    """Chromium without a window; the test is skipped where it or Playwright is missing."""
    reason = "no Playwright: make test-browser installs it"
    playwright = pytest.importorskip("playwright.sync_api", reason=reason)
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    with playwright.sync_playwright() as driver:
        if path is None and not Path(driver.chromium.executable_path).exists():
            pytest.skip("no Chromium: apt install chromium, or playwright install chromium")
        chromium = driver.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def keep_screenshot(request):
    """Save a picture of a page for a person, where STRIDELAB_SCREENSHOTS names a folder."""

    def keep(page, name, **options):
        if folder := os.environ.get("STRIDELAB_SCREENSHOTS"):
            page.screenshot(path=Path(folder, f"{name}.png"), **options)

    return keep
