"""What a page is made of, whatever it is written in."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple


class Heading(NamedTuple):
    """A title."""

    level: int
    """1 for the page's, 2 for a section's, 3 for a part's of a section."""
    text: str


class Paragraph(NamedTuple):
    """Text; what stands between backticks is code."""

    text: str
    is_literal: bool = False
    """The text holds names that a user chose: backticks, and whatever else has a meaning in a language, are text."""


class Table(NamedTuple):
    """A table of text."""

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    """As many cells each as there are headers."""
    text_columns: Collection[int]
    """Numbers of the columns that stand on the left; the others, numbers, stand on the right."""
    bold: Collection[tuple[int, int]] = ()
    """Row and column of cells that stand out."""
    commands: Sequence[str | None] = ()
    """What repeats the run of each row, where a page can show it beside the row; empty for a table without."""


class Picture(NamedTuple):
    """A figure."""

    svg: bytes
    caption: str


Block = Heading | Paragraph | Table | Picture
