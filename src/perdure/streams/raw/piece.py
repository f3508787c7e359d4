"""Some rows of a file, and what its reading needs, whatever the format."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from perdure.storage.reading import ContentError, shortened

PIECE = 1_024
"""Rows of a piece at most."""
_SHOWN = 12


class Piece(NamedTuple):
    """Some rows of a file."""

    columns: Mapping[str, Sequence[Any] | np.ndarray]
    """By name, all of one length: numbers, NaN where missing; other values as they are, None where missing."""
    first_row: int
    """Number of the first row, counted from 1 for the first row of data."""
    n_rows: int
    share: float | None
    """Part of the file that has been read, 0..1; None if its length is not known."""
    index_columns: Sequence[str] = ()
    """Columns that were the index of a table of pandas; `columns` has them too."""


def share_read(file: Any) -> float | None:
    """Return the part of a file that has been read; None if it is a stream."""
    if not file.seekable():
        return None
    return file.tell() / max(os.fstat(file.fileno()).st_size, 1)


def check_different(names: Iterable[str], where: str) -> None:
    """Check that the names of columns are different.

    Raises:
        ContentError: naming one that is there twice.
    """
    name, times = max(Counter(names).items(), key=lambda it: it[1], default=("", 0))
    if times > 1:
        raise ContentError(
            f"{where} has {times} columns named {name!r}, expected different names; rename or remove all but one"
        )


def listed_names(names: Iterable[str]) -> str:
    """Return the names of columns as a message lists them, the first of many."""
    found = list(names)
    more = f" and {len(found) - _SHOWN:,} more" if len(found) > _SHOWN else ""
    return f"{', '.join(shortened(repr(it)) for it in found[:_SHOWN]) or 'none'}{more}"
