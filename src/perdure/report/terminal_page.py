"""Pages for the terminal: what they say and their tables, without the pictures."""

from __future__ import annotations

from collections.abc import Sequence

from rich import table as rich_table
from rich.console import Group
from rich.text import Text

from perdure.report.blocks import Block, Heading, Picture, Table

_FEW_COLUMNS = 9
"""Columns that have room in 100 characters; of more, words would be broken: words of headers then stand below each
other, and intervals below their means."""


def terminal_page(blocks: Sequence[Block]) -> Group:
    """Return a page as what Rich can print."""
    return Group(*(_printed(block) for block in blocks if not isinstance(block, Picture)))


def _printed(block: Block) -> Text | rich_table.Table:
    if isinstance(block, Heading):
        return Text(f"\n{block.text}\n", style="bold" if block.level > 1 else "bold underline")
    if isinstance(block, Table):
        return _table(block)
    assert not isinstance(block, Picture)
    return Text(block.text if block.is_literal else block.text.replace("`", ""))


def _table(block: Table) -> rich_table.Table:
    are_few = len(block.headers) <= _FEW_COLUMNS
    table = rich_table.Table(box=None, padding=(0, 2 if are_few else 1, 0, 0), pad_edge=False, header_style="bold")
    for place, header in enumerate(block.headers):
        header = header if are_few else header.replace(" ", "\n")
        table.add_column(Text(header), justify="left" if place in block.text_columns else "right", overflow="fold")
    for place, row in enumerate(block.rows):
        row = row if are_few else [it.replace(" ± ", "\n± ") for it in row]
        table.add_row(*(Text(it, style="bold" if (place, n) in block.bold else "") for n, it in enumerate(row)))
    return table
