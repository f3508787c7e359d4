"""Inputs that are no table, such as images, and blocks of rows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float32

from perdure.online.columns import Columns, Table
from perdure.online.errors import RowError
from perdure.online.rows import Rows
from perdure.online.state import BLOCK
from perdure.online.targets import LARGEST


def pixels(rows: Rows) -> Float32[np.ndarray, "rows ..."]:
    """Return inputs that are no table as float32, bytes as parts of 255.

    Raises:
        RowError: naming row and place of what is no finite number that fits float32.
    """
    x = np.asarray(rows.inputs)
    if x.dtype == np.uint8:
        return x / np.float32(255)
    if x.dtype.kind not in "fiub":
        raise RowError(f"inputs are of type {x.dtype}, expected numbers; convert them: x.astype(np.float32)")
    bad = ~(np.abs(x) <= LARGEST)
    if bad.any():
        row, *place = map(int, np.argwhere(bad)[0])
        raise RowError(
            f"row {rows.number(row)}, place {tuple(place)} is {x[(row, *place)]}, expected a finite number that fits "
            "float32; correct or drop the row"
        )
    return x.astype(np.float32)


def check_kind(rows: Rows, shape: tuple[int, ...] | None, *, has_learned: bool) -> None:
    """Check that rows are of a table if those before were, or inputs of their shape.

    Args:
        rows: to be learned or answered.
        shape: of the inputs before; None if they were rows of a table, or there were none.
        has_learned: were there any?

    Raises:
        RowError: if they are not.
    """
    if isinstance(rows.inputs, Table):
        if shape is not None:
            raise RowError(f"rows of a table were given, expected inputs of shape {shape}, as those before")
    elif shape is None and has_learned:
        raise RowError(f"inputs of shape {rows.inputs.shape[1:]} were given, expected rows of a table, as those before")
    elif shape is not None and rows.inputs.shape[1:] != shape:
        raise RowError(f"inputs have shape {rows.inputs.shape[1:]}, expected {shape}, as those before")


def vectors_of(rows: Rows, columns: Columns, width: int, began: Mapping[str, int] | None = None) -> np.ndarray:
    """Return rows as raw vectors; the arguments after `rows` are those of `Columns.encode`."""
    if isinstance(rows.inputs, Table):
        return columns.encode(rows.inputs, width, began)
    return pixels(rows)


def padded(values: np.ndarray) -> np.ndarray:
    """Return at most `BLOCK` rows with as many more of zeros as make a block."""
    block = np.zeros((BLOCK, *values.shape[1:]), values.dtype)
    block[: len(values)] = values
    return block
