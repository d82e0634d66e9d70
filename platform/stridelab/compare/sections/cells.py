"""Cells and tables that several sections share."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from stridelab.compare.analysis import Comparison, Row
from stridelab.compare.marks import sample
from stridelab.compare.markup import Cell, Column, number_cell, table
from stridelab.compare.scales import number

RANK = Column(title="#", first="ascending")
CONFIGURATION = Column(title="configuration", is_text=True, first="ascending")


def head(row: Row) -> list[Cell]:
    """Return the two cells that name a configuration."""
    rank = Cell(f"{row.rank} {sample(row.rank)}", str(row.rank))
    label = row.group.label
    # A narrow column breaks a label after a name rather than within a number.
    return [rank, Cell(escape(label).replace("=", "=<wbr>"), label)]


def means_table(comparison: Comparison, names: Sequence[str], caption: str) -> str:
    """Return a table with mean and standard deviation of metrics; nothing without metrics."""
    if not names:
        return ""
    columns = [Column(title=name.partition("/")[2].replace("_", " ")) for name in names]
    cells = [[*head(row), *(_mean_cell(row, name) for name in names)] for row in comparison.rows]
    return table(caption, [RANK, CONFIGURATION, *columns], cells)


def _mean_cell(row: Row, name: str) -> Cell:
    mean, spread = row.means.get(name), row.spreads.get(name)
    if mean is None or spread is None:
        return number_cell(mean, digits=3)
    text = f"{number(mean, 3, padded=True)} ± {number(spread, 2, padded=True)}"
    return number_cell(mean, text=text)
