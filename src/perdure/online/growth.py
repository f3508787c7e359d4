"""A wider state that answers as the one before: more columns, more classes."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from perdure.online.state import ModelState


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
