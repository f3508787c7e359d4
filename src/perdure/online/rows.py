"""Rows to learn or to answer, from arrays, data frames and dictionaries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from perdure.online.columns import Table
from perdure.online.errors import RowError
from perdure.online.values import seconds_of
from perdure.storage.reading import shortened

_TEXT = frozenset({str})
_EMPTY = "0 rows were given, expected at least one"


class Rows(NamedTuple):
    """Rows to learn or to answer."""

    inputs: Table | np.ndarray
    """A table, or inputs of another shape, such as images: floats, or `uint8` pixels, (rows, ...)."""
    numbers: np.ndarray | None = None
    """Number in messages of every row that is no table's, if they do not follow on each other."""

    @property
    def n(self) -> int:
        """Number of rows."""
        return self.inputs.n_rows if isinstance(self.inputs, Table) else len(self.inputs)

    def number(self, row: int) -> int:
        """Return the number of a row in messages."""
        if isinstance(self.inputs, Table):
            return self.inputs.number(row)
        return row if self.numbers is None else int(self.numbers[row])

    def take(self, places: np.ndarray) -> Rows:
        """Return some of the rows, in the given order, some more than once; they keep their numbers."""
        numbers = np.asarray([self.number(place) for place in places.tolist()], int)
        if not isinstance(self.inputs, Table):
            return Rows(self.inputs[places], numbers)
        columns = {
            name: values[places] if isinstance(values, np.ndarray) else [values[place] for place in places]
            for name, values in self.inputs.columns.items()
        }
        return Rows(Table(columns, len(places), numbers=numbers))


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
    if isinstance(x, Sequence) and any(isinstance(row, Mapping) for row in x):
        return of_dictionaries(x)
    array = _as_array(x)
    if array.dtype.kind == "c":
        raise ValueError("Complex data not supported: the columns must be real numbers or categories")
    if array.dtype.names is not None:
        raise TypeError("an array of named fields was given, expected a plain one; convert it: pandas.DataFrame(X)")
    if not array.ndim:
        raise ValueError(
            f"Expected 2D array, got {shortened(repr(x))} of type {type(x).__name__} instead: give an array (rows, "
            "columns), a data frame, or a list of lists or of dictionaries, one for each row"
        )
    if not len(array):
        raise ValueError(
            f"Found array with 0 sample(s) (shape={array.shape}) while a minimum of 1 is required: {_EMPTY}"
        )
    if array.ndim < 2:
        raise ValueError(
            f"Expected 2D array, got {array.ndim}D array instead: Reshape your data: np.reshape(X, (-1, 1)) if it has "
            "a single column, np.reshape(X, (1, -1)) if it is a single row"
        )
    if 0 in array.shape[1:]:
        raise ValueError(f"Found array with 0 feature(s) (shape={array.shape}) while a minimum of 1 is required.")
    if array.ndim > 2:
        return Rows(array)
    return Rows(Table({f"x{place}": array[:, place] for place in range(array.shape[1])}, len(array)))


def of_dictionaries(rows: Sequence[Any], numbers: np.ndarray | None = None) -> Rows:
    """Return rows given as dictionaries from column to value; what one has and another has not is missing.

    Args:
        rows: the dictionaries.
        numbers: of the rows in messages, if they do not count from 0.

    Raises:
        TypeError: if one is no dictionary.
        ValueError: if there are none.
        RowError: if two columns of a row have one name as texts.
    """
    if not rows:
        raise ValueError(_EMPTY)
    for place, row in enumerate(rows):
        if type(row) is not dict and not isinstance(row, Mapping):
            raise TypeError(
                f"row {place if numbers is None else numbers[place]} is {shortened(repr(row))} of type "
                f"{type(row).__name__}, expected a dictionary from column to value"
            )
    names = dict.fromkeys(str(name) for row in rows for name in row)
    columns = {name: [None] * len(rows) for name in names}
    table = Table(columns, len(rows), numbers=numbers)
    for place, row in enumerate(rows):
        for name, value in row.items():
            columns[str(name)][place] = value
        if not _TEXT.issuperset(map(type, row)) and len(set(map(str, row))) < len(row):
            raise RowError(
                f"row {table.number(place)} has two columns of one name among {list(row)}; names count as texts: "
                "rename one"
            )
    return Rows(table)


def dictionaries(rows: Rows) -> list[dict[str, Any]]:
    """Return rows as the journal keeps them.

    Raises:
        RowError: if they are images or the like.
    """
    if isinstance(rows.inputs, np.ndarray):
        raise RowError("inputs of more than two dimensions cannot be kept; give rows of columns: X.reshape(len(X), -1)")
    names = list(rows.inputs.columns)
    if not names:
        return [{} for _ in range(rows.n)]
    values = [it.tolist() if isinstance(it, np.ndarray) else it for it in rows.inputs.columns.values()]
    return [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]


def _as_array(x: Any) -> np.ndarray:
    """Return rows as an array; texts among numbers leave the numbers what they are, points in time are seconds."""
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError("a masked array was given, expected a plain one; give NaN for what is masked: X.filled(np.nan)")
    if isinstance(x, Sequence) and any(isinstance(it, Sequence) and any(isinstance(v, str) for v in it) for it in x):
        return np.asarray(x, object)
    if isinstance(x, Sequence) and not isinstance(x, str | bytes):
        _check_lengths(x)
    array = np.asarray(x)
    return seconds_of(array) if array.dtype.kind in "mM" else array


def _check_lengths(rows: Sequence[Any]) -> None:
    lengths = [len(it) if hasattr(it, "__len__") else None for it in rows]
    for row, length in enumerate(lengths):
        if length != lengths[0]:
            raise RowError(
                f"row {row} is {shortened(repr(rows[row]))}, expected as many values as row 0 has, "
                f"{shortened(repr(rows[0]))}; give None for what is missing, or dictionaries from column to value",
                row=row,
            )


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
        plain = values.to_numpy() if isinstance(values.dtype, np.dtype) else None
        if plain is not None and plain.dtype.kind in "mM":
            columns[str(name)] = seconds_of(plain)
        else:
            columns[str(name)] = plain if plain is not None and plain.dtype.kind in "fiub" else _objects(values)
    if len(columns) != len(frame.columns):
        raise RowError(f"the data frame has two columns of one name among {list(frame.columns)}; rename one")
    return Rows(Table(columns, len(frame)))


def _objects(values: Iterable[Any]) -> list[Any]:
    """Return what a column of a data frame holds; categories as texts, so that numbers among them are none."""
    is_category = str(getattr(values, "dtype", "")) == "category"
    return [str(it) if is_category and it == it else it for it in values]
