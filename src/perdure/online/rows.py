"""Rows to learn or to answer, from arrays, data frames and dictionaries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from perdure.online.columns import Table
from perdure.online.errors import RowError

_EMPTY = "0 rows were given, expected at least one"


class Rows(NamedTuple):
    """Rows to learn or to answer."""

    inputs: Table | np.ndarray
    """A table, or inputs of another shape, such as images: floats, or `uint8` pixels, (rows, ...)."""

    @property
    def n(self) -> int:
        """Number of rows."""
        return self.inputs.n_rows if isinstance(self.inputs, Table) else len(self.inputs)

    @property
    def first_row(self) -> int:
        """Number of the first row, for messages."""
        return self.inputs.first_row if isinstance(self.inputs, Table) else 0

    def take(self, places: np.ndarray) -> Rows:
        """Return some of the rows, in the given order, some more than once."""
        if not isinstance(self.inputs, Table):
            return Rows(self.inputs[places])
        columns = {
            name: values[places] if isinstance(values, np.ndarray) else [values[place] for place in places]
            for name, values in self.inputs.columns.items()
        }
        return Rows(Table(columns, len(places)))


def is_data_frame(x: Any) -> bool:
    """Tell a data frame of pandas, or what behaves like one."""
    return hasattr(x, "columns") and hasattr(x, "iloc")


def names_of(x: Any) -> list[str] | None:
    """Return the column names of a data frame if all are texts, else None."""
    if not is_data_frame(x):
        return None
    names = list(x.columns)
    return names if all(isinstance(it, str) for it in names) else None


def as_rows(x: Any) -> Rows:
    """Return rows of an array, a data frame, or a list of lists or of dictionaries.

    Args:
        x: (rows, columns); columns of an array are called "x0", "x1", …; inputs of more dimensions, such as images,
            are kept in their shape.

    Raises:
        TypeError: if it is sparse, or no table at all.
        ValueError: if it has no rows, no columns, or one dimension.
    """
    if isinstance(x, Rows):
        return x
    if is_data_frame(x):
        return _of_frame(x)
    if hasattr(x, "tocsr"):
        raise TypeError("a sparse matrix was given, expected a dense table; convert it: X.toarray()")
    if isinstance(x, Sequence) and len(x) and all(isinstance(row, Mapping) for row in x):
        return of_dictionaries(x)
    array = np.asarray(x)
    if array.dtype.kind == "c":
        raise ValueError("Complex data not supported: the columns must be real numbers or categories")
    if array.ndim < 2:
        raise ValueError(
            f"Expected 2D array, got {array.ndim}D array instead: Reshape your data: X.reshape(-1, 1) if it has a "
            "single column, X.reshape(1, -1) if it is a single row"
        )
    if not len(array):
        raise ValueError(
            f"Found array with 0 sample(s) (shape={array.shape}) while a minimum of 1 is required: {_EMPTY}"
        )
    if array.shape[1] == 0:
        raise ValueError(f"Found array with 0 feature(s) (shape={array.shape}) while a minimum of 1 is required.")
    if array.ndim > 2:
        return Rows(array)
    return Rows(Table({f"x{place}": array[:, place] for place in range(array.shape[1])}, len(array)))


def of_dictionaries(rows: Sequence[Mapping[Any, Any]]) -> Rows:
    """Return rows given as dictionaries from column to value; what one has and another has not is missing.

    Raises:
        ValueError: if there are none.
    """
    if not rows:
        raise ValueError(_EMPTY)
    names = dict.fromkeys(str(name) for row in rows for name in row)
    columns = {name: [None] * len(rows) for name in names}
    for place, row in enumerate(rows):
        for name, value in row.items():
            columns[str(name)][place] = value
    return Rows(Table(columns, len(rows)))


def _of_frame(frame: Any) -> Rows:
    if not len(frame):
        raise ValueError(
            f"Found array with 0 sample(s) (shape={frame.shape}) while a minimum of 1 is required: {_EMPTY}"
        )
    if not len(frame.columns):
        raise ValueError(f"Found array with 0 feature(s) (shape={frame.shape}) while a minimum of 1 is required.")
    columns = {}
    for place, name in enumerate(frame.columns):
        values = frame.iloc[:, place]
        is_number = getattr(values.dtype, "kind", "O") in "fiub"
        columns[str(name)] = values.to_numpy() if is_number else _objects(values)
    if len(columns) != len(frame.columns):
        raise RowError(f"the data frame has two columns of one name among {list(frame.columns)}; rename one")
    return Rows(Table(columns, len(frame)))


def _objects(values: Iterable[Any]) -> list[Any]:
    """Return what a column of a data frame holds; categories as texts, so that numbers among them are none."""
    is_category = str(getattr(values, "dtype", "")) == "category"
    return [str(it) if is_category and it == it else it for it in values]
