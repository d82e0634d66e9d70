"""Pieces of the page: sortable tables, figures, sections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from stridelab.compare.scales import number


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a table."""

    title: str
    is_text: bool = False
    first: str = "descending"
    """Order that the first click sorts in."""


@dataclass(frozen=True)
class Cell:
    """A cell: what is shown, and what it is sorted by (``""`` stands last in every order)."""

    markup: str
    value: str


def text_cell(text: str) -> Cell:
    """Return a cell of plain text."""
    return Cell(escape(text), text)


def number_cell(value: float | None, *, text: str = "", digits: int = 4) -> Cell:
    """Return a cell that is sorted by a number; a dash where there is none."""
    if value is None:
        return Cell("-", "")
    return Cell(escape(text) or number(value, digits), repr(float(value)))


def table(
    caption: str, columns: Sequence[Column], rows: Sequence[Sequence[Cell]], *, sorted_by: int = 0
) -> str:
    """Return a table whose columns can be sorted by keyboard.

    Args:
        caption: What the table holds.
        columns: Its columns; the second one heads the rows.
        rows: Cells of each row.
        sorted_by: Column that the rows are sorted by, ascending, as they come.
    """
    head = []
    for index, column in enumerate(columns):
        style = ' class="text"' if column.is_text else ""
        now = ' aria-sort="ascending"' if index == sorted_by else ""
        head.append(
            f'<th scope="col" data-first="{column.first}"{style}{now}>'
            f'<button type="button">{escape(column.title)}</button></th>'
        )
    body = ["<tr>" + "".join(_cells(columns, row)) + "</tr>" for row in rows]
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table>'
        f"<caption><span>{escape(caption)}</span></caption><thead><tr>{''.join(head)}</tr></thead>"
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def _cells(columns: Sequence[Column], row: Sequence[Cell]) -> list[str]:
    cells = []
    for index, (column, cell) in enumerate(zip(columns, row, strict=True)):
        value = f'data-value="{escape(cell.value)}"'
        if index == 1:
            cells.append(f'<th scope="row" {value}>{cell.markup}</th>')
        else:
            style = "text" if column.is_text else "number"
            cells.append(f'<td class="{style}" {value}>{cell.markup}</td>')
    return cells


def figure(chart: str, caption: str) -> str:
    """Return a chart under its caption."""
    return f"<figure><figcaption>{escape(caption)}</figcaption>{chart}</figure>"


def section(ident: str, heading: str, *parts: str) -> str:
    """Return a section of the page with its heading."""
    content = "\n".join(part for part in parts if part)
    return (
        f'<section id="{ident}" aria-labelledby="{ident}-heading">'
        f'<h2 id="{ident}-heading">{escape(heading)}</h2>\n{content}\n</section>'
    )


def hint(text: str) -> str:
    """Return a small remark."""
    return f'<p class="hint">{escape(text)}</p>'


def folded(summary: str, content: str) -> str:
    """Return content that opens on request."""
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


def count(amount: int, noun: str) -> str:
    """Return ``1 run``, ``2 runs``."""
    return f"{amount} {noun}{'' if amount == 1 else 's'}"
