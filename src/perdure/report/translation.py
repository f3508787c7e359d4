"""Tables made for the terminal as tables of a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich import table as rich_table
from rich.console import Group
from rich.text import Text

from perdure.report.blocks import Block, Heading, Paragraph, Table


def translated(printed: Sequence[Any]) -> list[Block]:
    """Return what Rich can print (texts, tables and groups of them) as blocks of a page."""
    blocks: list[Block] = []
    for it in printed:
        if isinstance(it, Group):
            blocks += translated(it.renderables)
        elif isinstance(it, rich_table.Table):
            blocks += _table(it)
        else:
            blocks.append(Paragraph(" ".join(_plain(it).split()), is_literal=True))
    return blocks


def headed(blocks: Sequence[Block], title: str) -> list[Block]:
    """Return blocks with a heading at their beginning, this one if they have none."""
    has_title = bool(blocks) and isinstance(blocks[0], Heading)
    return [*blocks] if has_title else [Heading(1, title), *blocks]


def _table(table: rich_table.Table) -> list[Block]:
    columns = [[_plain(cell) for cell in column.cells] for column in table.columns]
    rows = [list(row) for row in zip(*columns, strict=True)]
    bold = {
        (row, place) for row, it in enumerate(table.rows) if "bold" in str(it.style) for place in range(len(columns))
    }
    text_columns = [place for place, column in enumerate(table.columns) if column.justify == "left"]
    translated = Table([_plain(it.header) for it in table.columns], rows, text_columns, bold)
    return [translated] if table.caption is None else [Paragraph(_plain(table.caption), is_literal=True), translated]


def _plain(it: Any) -> str:
    return it.plain if isinstance(it, Text) else str(it)
