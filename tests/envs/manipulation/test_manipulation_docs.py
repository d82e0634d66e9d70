"""The page on the tasks shows the layouts as they are."""

from __future__ import annotations

from pathlib import Path

PAGE = Path(__file__).parents[3] / "docs" / "h1_tasks.md"


def layout_table(env):
    rows = ["| group | columns | term |", "|---|---|---|"]
    for group, layout in env.layouts.items():
        rows += [
            f"| `{group}` | {columns.start}-{columns.stop - 1} | `{name}` |"
            for name, columns in layout.items()
        ]
    return "\n".join(rows)


def test_layouts_in_the_docs_are_those_of_the_task(make_task):
    table = layout_table(make_task("h1_multitask"))
    text = PAGE.read_text(encoding="utf-8")
    shown = text.partition("<!-- layout -->")[2].partition("<!-- end -->")[0].strip()
    assert shown == table, f"put this table into {PAGE.name}:\n{table}"
