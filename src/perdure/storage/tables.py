"""Tables of numbers as Parquet files, with checksums: columns by name, each one NumPy array.

PyArrow is loaded when the first table is read or written, and is handed memory instead of arrays: given arrays, it
loads pandas as well where it is installed, which takes longer than everything else that a small run does at its end.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from perdure.storage.files import write_atomically
from perdure.storage.reading import ContentError, open_file, shortened

if TYPE_CHECKING:
    from pyarrow import ChunkedArray, DataType

MAX_TABLE_BYTES = 128_000_000
"""Largest table that is read into memory; what is done with it takes up to three times as much."""
MAX_FILE_BYTES = 150_000_000
"""Largest file of a table, which is smaller than its table unless it is damaged."""

Table = Mapping[str, np.ndarray]
"""Columns by name, (rows,) each."""

_COLUMNS_SHOWN = 10
_MAX_CAUSE = 200  # characters
_KINDS = {"i": "int64", "u": "int64", "f": "float64"}


def write_table(path: Path, table: Table) -> None:
    """Write a table, whole numbers as int64 and the others as float64.

    Raises:
        StorageError: if it cannot be written.
    """
    import pyarrow as pa
    from pyarrow import parquet

    def arrow(column: np.ndarray) -> pa.Array:
        kind = _KINDS[column.dtype.kind]
        values = pa.py_buffer(np.ascontiguousarray(column, kind))
        return pa.Array.from_buffers(pa.type_for_alias(kind), len(column), [None, values])

    content = pa.Table.from_arrays([arrow(column) for column in table.values()], names=list(table))
    write_atomically(path, lambda file: parquet.write_table(content, file, write_page_checksum=True))


def read_table(path: Path, columns: Mapping[str, str]) -> dict[str, np.ndarray]:
    """Return a table that must have these columns, by name and dtype ("int64" or "float64").

    A missing value is NaN in a column of floats; in one of integers there must be none.

    Raises:
        ContentError: if it cannot be read, is larger than `MAX_TABLE_BYTES`, or has other columns.
    """
    from pyarrow import ArrowException, parquet

    try:
        # Opened by Python, which knows every name that a folder may have.
        with open_file(path) as opened:
            _check_size(path, os.fstat(opened.fileno()).st_size, "bytes", MAX_FILE_BYTES)
            # No other threads, neither here nor to decode: they may close the file after the interpreter has ended,
            # which aborts the process.
            with parquet.ParquetFile(opened, pre_buffer=False, page_checksum_verification=True) as file:
                # Before anything is read, since a column of another type may take any amount of memory.
                schema = file.schema_arrow
                _check_columns(path, list(zip(schema.names, map(_dtype, schema.types), strict=True)), columns)
                _check_size(path, file.metadata.num_rows, "rows", MAX_TABLE_BYTES // (8 * len(columns)))
                n_rows = file.metadata.num_rows
                table = {name: _values(file.read(columns=[name], use_threads=False)[name]) for name in columns}
    except ContentError:
        raise
    except (OSError, ValueError, ArrowException) as cause:
        raise ContentError(f"{path} cannot be read as Parquet ({shortened(str(cause), _MAX_CAUSE)})") from cause
    _check_columns(path, [(name, str(column.dtype)) for name, column in table.items()], columns)
    for name, column in table.items():  # a damaged file may have fewer rows in one column than in the others
        if len(column) != n_rows:
            raise ContentError(f"{path} has {len(column):,} rows in column {name!r}, expected {n_rows:,}")
    return table


def _check_size(path: Path, size: int, unit: str, limit: int) -> None:
    if size > limit:
        raise ContentError(f"{path} has {size:,} {unit}, expected at most {limit:,}")


def _check_columns(path: Path, found: Sequence[tuple[str, str]], columns: Mapping[str, str]) -> None:
    """Check names and dtypes of the columns, of which a damaged file may have several of one name."""
    if sorted(found) != sorted(columns.items()):
        raise ContentError(f"{path} has columns {_in_words(found)}, expected {_in_words(list(columns.items()))}")


def _in_words(columns: Sequence[tuple[str, str]]) -> str:
    shown = [f"{shortened(repr(name))}: {shortened(repr(kind))}" for name, kind in columns[:_COLUMNS_SHOWN]]
    more = f" and {len(columns) - _COLUMNS_SHOWN:,} more" if len(columns) > _COLUMNS_SHOWN else ""
    return f"{', '.join(shown) or 'none'}{more}"


def _values(column: ChunkedArray | Any) -> np.ndarray:
    return column.to_numpy() if column.null_count else np.from_dlpack(column.combine_chunks())


def _dtype(kind: DataType | Any) -> str:
    from pyarrow import types

    return "float64" if types.is_float64(kind) else str(kind)
