"""Pages in GitHub's Markdown, with tables whose source is readable too."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from perdure.report.blocks import Block, Heading, Paragraph, Picture, Table


def markdown_page(blocks: Sequence[Block]) -> str:
    """Return a page, without its pictures."""
    return "\n\n".join(_markdown(block) for block in blocks if not isinstance(block, Picture)) + "\n"


def aligned_markdown(headers: Sequence[str], rows: Sequence[Sequence[str]], text_columns: Collection[int]) -> str:
    """Return a GitHub table whose columns line up in its source.

    Args:
        headers: one a column.
        rows: cells of each row, as many as there are headers.
        text_columns: numbers of the columns that stand on the left; the others, numbers, stand on the right.
    """
    columns = list(zip(headers, *rows, strict=True))
    widths = [max(2, *map(len, column)) for column in columns]

    def line(cells: Sequence[str]) -> str:
        placed = [
            cell.strip().ljust(width) if number in text_columns else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return "| " + " | ".join(placed) + " |"

    rule = ["-" * width if n in text_columns else "-" * (width - 1) + ":" for n, width in enumerate(widths)]
    return "\n".join([line(headers), line(rule), *map(line, rows)])


def _markdown(block: Heading | Paragraph | Table) -> str:
    if isinstance(block, Heading):
        return f"{'#' * block.level} {block.text}"
    if isinstance(block, Paragraph):
        return _text(block.text) if block.is_literal else block.text
    rows = [
        [f"**{_text(it)}**" if (place, column) in block.bold else _text(it) for column, it in enumerate(cells)]
        for place, cells in enumerate(block.rows)
    ]
    return aligned_markdown([_text(it) for it in block.headers], rows, block.text_columns)


def _text(text: str) -> str:
    """Return text as Markdown that shows it as it is, on one line."""
    return re.sub(r"[\\`*\[\]<>|~$&]|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", " ".join(text.split()))
