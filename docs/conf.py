"""Sphinx builds these pages: `make docs`. Nothing is loaded from the network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stridelab import __version__
from stridelab.reference.pages import reference_pages

project = "Stridelab"
author = "The Stridelab authors"
project_copyright = author
version = release = __version__
extensions = ["myst_parser"]
myst_heading_anchors = 3
suppress_warnings = ["toc.not_included"]  # a page without a place in the index is still found
html_theme = "furo"
html_title = "Stridelab"
html_copy_source = False
html_show_sourcelink = False


def _write_reference(app: Any) -> None:
    """Write the pages that come from code to ``reference/``, and remove those of before."""
    folder = Path(app.srcdir) / "reference"
    pages = {folder / path: text for path, text in reference_pages().items()}
    for path in folder.rglob("*.md"):
        if path not in pages:
            path.unlink()
    for path, text in pages.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def setup(app: Any) -> None:
    """Write the reference before Sphinx looks for pages."""
    app.connect("config-inited", lambda app, config: _write_reference(app))
