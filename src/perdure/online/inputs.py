"""Inputs that are no table, such as images, and blocks of rows."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32

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


def padded(values: np.ndarray) -> np.ndarray:
    """Return at most `BLOCK` rows with as many more of zeros as make a block."""
    block = np.zeros((BLOCK, *values.shape[1:]), values.dtype)
    block[: len(values)] = values
    return block
