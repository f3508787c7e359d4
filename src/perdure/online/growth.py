"""When a model needs more room for columns and classes, and a wider state that answers as the one before."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from perdure.online.state import ModelState

_FIRST_OUTPUTS = 16
_FIRST_COLUMNS = 16
_GROWTH = 4
"""Factor of a capacity that is full: it is compiled anew log₄ times."""


class Segment(NamedTuple):
    """Rows that one width of the state serves."""

    start: int
    stop: int
    n_columns: int
    n_outputs: int


def segments(n_rows: int, needs: list[tuple[int, int, int]], n_columns: int, n_outputs: int) -> Iterator[Segment]:
    """Yield the rows between growths of the capacity.

    Args:
        n_rows: number of rows.
        needs: rows from which on more is needed, with the slots and the outputs in use from there on.
        n_columns: capacity for slots, 0 before the first row.
        n_outputs: capacity for outputs, 0 before the first row.
    """
    n_outputs = n_outputs or _FIRST_OUTPUTS
    if not n_columns:
        n_columns = first_columns(max((slots for row, slots, _ in needs if not row), default=0))
    start = 0
    for row, slots, outputs in sorted(needs):
        grown = _grown(n_columns, slots, _GROWTH), _grown(n_outputs, outputs, _GROWTH)
        if grown != (n_columns, n_outputs):
            if row > start:
                yield Segment(start, row, n_columns, n_outputs)
            start, (n_columns, n_outputs) = row, grown
    if n_rows > start:
        yield Segment(start, n_rows, n_columns, n_outputs)


def first_columns(needed: int) -> int:
    """Return the capacity for columns of a model whose first row takes `needed` slots.

    The first row tells how many there are likely to be; later, growth leaves more room.
    """
    return _grown(_FIRST_COLUMNS, needed, 2)


def first_outputs(needed: int) -> int:
    """Return the capacity for outputs of a model whose first rows have `needed` classes."""
    return _grown(_FIRST_OUTPUTS, needed, _GROWTH)


def _grown(capacity: int, needed: int, factor: int) -> int:
    while capacity < needed:
        capacity *= factor
    return capacity


def widened(state: ModelState, wider: ModelState) -> ModelState:
    """Return a state of greater capacity with all that another holds.

    Each array of the old state becomes the leading corner of the wider one's: weights, averages, the optimizer's
    numbers, memories, sums. New columns are 0 in every row so far, and outputs of classes that have not appeared are
    silent, so that what was known is answered as before, to rounding.

    Args:
        state: what has been learned.
        wider: a state before the first row, of greater capacity.
    """

    def corner(old: Any, new: Any) -> Any:
        if old.shape == new.shape:
            return old
        grown = np.array(new)
        grown[tuple(slice(size) for size in old.shape)] = old
        return grown

    # In NumPy: JAX would compile a program for every shape of the state.
    leaves, structure = jax.tree.flatten(wider)  # networks hold their sizes beside arrays
    return jax.tree.unflatten(structure, map(corner, jax.tree.leaves(state), leaves))
