"""In which range inputs lie, and what float32 and a learning rate can make of it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import jax
import numpy as np

from perdure.core import PerdureWarning

LARGEST_SCALED = 100.0
"""Inputs beyond ±100 are called unscaled: learning rates are chosen for inputs around −10 to 10, and ten times as much
lets plain SGD diverge."""
VALUES_COMPARED = 2_000_000
"""Values that are sorted to see whether float32 tells them apart: the first rows of a longer stream."""
_NOISE = 1e-12
"""Relative difference that is no more than rounding in float64."""
_MANY = 10
"""Different values that are many: fewer are codes, not measurements."""
_NAMED = 3
_SCALER = (
    "scale them by mean, std = train_x.mean(axis=0), train_x.std(axis=0) + 1e-8 and x = (x - mean) / std, in training "
    "and test alike, as sklearn.preprocessing.StandardScaler does"
)


def computed_dtype(dtype: np.dtype) -> np.dtype:
    """Return the precision that floats of a dtype are computed in: float32, unless JAX is set to float64."""
    return np.dtype(jax.dtypes.canonicalize_dtype(dtype))


def describe_range(x: np.ndarray) -> str:
    """Say in which range inputs lie, which columns are the widest, and which scaler to use if they are unscaled.

    Args:
        x: inputs, (n, ...), `uint8` or floats.
    """
    if x.dtype == np.uint8:
        return f"inputs are pixels from {x.min()} to {x.max()}, divided by 255 when used"
    low, high = x.min(), x.max()
    text = f"inputs lie between {low:g} and {high:g}"
    if max(-low, high) <= LARGEST_SCALED:
        return text
    return f"{text}{_wide_columns(x)}, far outside the −10 to 10 that learning rates are chosen for; {_SCALER}"


def warn_unscaled(where: str, x: np.ndarray) -> None:
    """Warn by a `PerdureWarning` if floats lie far outside −10 to 10, beyond ±`LARGEST_SCALED`."""
    if np.issubdtype(x.dtype, np.floating) and max(-x.min(), x.max()) > LARGEST_SCALED:
        warnings.warn(
            f"{where}: {describe_range(x)}",
            PerdureWarning,
            stacklevel=5,
        )


def warn_merged(where: str, values: np.ndarray, names: Sequence[str] = ()) -> None:
    """Warn by a `PerdureWarning` if the precision of computing merges many different values of a column.

    Time stamps of one hour, about 1.7e9 + n seconds, are 29 numbers in float32.

    Args:
        where: name of the values.
        values: floats or whole numbers, (n, ...), of which the first two millions are looked at.
        names: of the columns of a table; none if they are told by their index.
    """
    exact = np.dtype(np.float64) if values.dtype.kind in "iu" else values.dtype
    computed = computed_dtype(exact)
    if computed == values.dtype or values.dtype.itemsize < computed.itemsize:
        return
    columns = values.reshape(len(values), -1)
    ordered = np.sort(columns[: max(_MANY, VALUES_COMPARED // columns.shape[1])].astype(exact), axis=0)
    gaps = np.diff(ordered, axis=0) > _NOISE * np.maximum(np.abs(ordered[1:]), np.abs(ordered[:-1]))
    n_given = 1 + gaps.sum(axis=0)
    n_left = 1 + (gaps & (np.diff(ordered.astype(computed), axis=0) > 0)).sum(axis=0)
    merged = np.flatnonzero((n_given >= _MANY) & (2 * n_left <= n_given))
    if len(merged) == 0:
        return
    column = f", column {names[merged[0]]!r}" if names else f"[{_column(int(merged[0]), values.shape[1:])}]"
    others = f" (and {len(merged) - 1} more columns)" if len(merged) > 1 else ""
    warnings.warn(
        f"{where}{column} has {n_given[merged[0]]:,} different values, of which {computed} tells apart "
        f"{n_left[merged[0]]:,}{others}, and perdure computes in {computed}; do what needs {values.dtype} "
        f"before: {_SCALER}",
        PerdureWarning,
        stacklevel=5,
    )


def _wide_columns(x: np.ndarray) -> str:
    """Name the columns that are the widest, if inputs are rows of several numbers."""
    if x.ndim != 2 or x.shape[1] == 1:
        return ""
    low, high = x.min(axis=0), x.max(axis=0)
    largest = np.maximum(-low, high)
    wide = [int(it) for it in np.argsort(-largest, kind="stable") if largest[it] > LARGEST_SCALED]
    shown = ", ".join(f"column {it} between {low[it]:g} and {high[it]:g}" for it in wide[:_NAMED])
    more = f" and {len(wide) - _NAMED} more columns" if len(wide) > _NAMED else ""
    return f" ({shown}{more})"


def _column(number: int, shape: tuple[int, ...]) -> str:
    """Return the index of a column: `:, 3`."""
    return ", ".join([":", *(str(it) for it in np.unravel_index(number, shape))]) if shape else ":"
