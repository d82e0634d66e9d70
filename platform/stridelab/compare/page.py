"""The comparison as one HTML page that needs nothing else: no network, no fonts, no library."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from string import Template

from stridelab.compare.analysis import Comparison
from stridelab.compare.markup import count, section
from stridelab.compare.sections import curves, measures, parameters, scores
from stridelab.evaluation.files import replacing


def write_page(comparison: Comparison, path: Path) -> None:
    """Write the page to ``path`` in one step."""
    with replacing(path) as scratch:
        scratch.write_text(render(comparison), encoding="utf-8")


def render(comparison: Comparison) -> str:
    """Return the page."""
    parts = {
        "scores": ("Scores", scores.scores(comparison)),
        "curves": ("Learning curves", curves.learning_curves(comparison)),
        "evaluation": ("Success and evaluation", measures.evaluation(comparison)),
        "rewards": ("Reward terms", measures.rewards(comparison)),
        "importance": ("What matters", parameters.importance(comparison.importances)),
        "settings": ("Settings that differ", parameters.settings(comparison.rows)),
        "runs": ("Runs", parameters.runs(comparison)),
        "reading": ("How to read this", _asset("glossary.html")),
    }
    filled = {ident: part for ident, part in parts.items() if part[1]}
    contents = "".join(
        f'<li><a href="#{ident}">{escape(heading)}</a></li>'
        for ident, (heading, _) in filled.items()
    )
    written = [section(ident, heading, text) for ident, (heading, text) in filled.items()]
    return Template(_asset("page.html")).substitute(
        title=escape(f"{comparison.title}: {comparison.metric} compared"),
        heading=escape(comparison.title),
        facts=escape(_facts(comparison)),
        contents=contents,
        sections="\n".join([_notes(comparison.notes), *written]),
        style=_asset("page.css"),
        script=_asset("page.js"),
        version=escape(version("stridelab")),
        date=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    )


def _asset(name: str) -> str:
    return (files("stridelab.compare") / "assets" / name).read_text(encoding="utf-8")


def _facts(comparison: Comparison) -> str:
    better = "higher" if comparison.mode == "max" else "lower"
    return (
        f"{count(len(comparison.rows), 'configuration')}, {count(comparison.runs, 'run')}. "
        f"Score: last {comparison.metric} of each run, {better} is better."
    )


def _notes(notes: Sequence[str]) -> str:
    if not notes:
        return ""
    listed = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return (
        '<section class="notes" aria-labelledby="notes-heading">'
        f'<h2 id="notes-heading">Before you trust this</h2><ul>{listed}</ul></section>'
    )
