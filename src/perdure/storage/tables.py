"""Tables of numbers as Parquet files, with checksums: columns by name, each one NumPy array.

PyArrow is loaded when the first table is read or written, and is handed memory instead of arrays: given arrays, it
loads pandas as well where it is installed, which takes longer than everything else that a small run does at its end.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from perdure.storage.files import write_atomically
from perdure.storage.reading import ContentError

if TYPE_CHECKING:
    from pyarrow import ChunkedArray, DataType

MAX_TABLE_BYTES = 500_000_000
"""Largest table that is read into memory."""

Table = Mapping[str, np.ndarray]
"""Columns by name, (rows,) each."""

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
        with parquet.ParquetFile(path, page_checksum_verification=True) as file:
            # Before anything is read, since a column of another type may take any amount of memory.
            schema = file.schema_arrow
            _check_columns(path, dict(zip(schema.names, map(_dtype, schema.types), strict=True)), columns)
            rows, limit = file.metadata.num_rows, MAX_TABLE_BYTES // (8 * len(columns))
            if rows > limit:
                raise ContentError(f"{path} has {rows:,} rows, expected at most {limit:,}")
            content = file.read()
    except (OSError, ValueError, ArrowException) as cause:
        raise ContentError(f"{path} cannot be read as Parquet ({cause})") from cause
    table = {name: _values(content[name]) for name in columns}
    _check_columns(path, {name: str(column.dtype) for name, column in table.items()}, columns)
    return table


def _check_columns(path: Path, found: Mapping[str, str], columns: Mapping[str, str]) -> None:
    if found != columns:
        raise ContentError(f"{path} has columns {dict(found)}, expected {dict(columns)}")


def _values(column: ChunkedArray | Any) -> np.ndarray:
    return column.to_numpy() if column.null_count else np.from_dlpack(column.combine_chunks())


def _dtype(kind: DataType | Any) -> str:
    from pyarrow import types

    return "float64" if types.is_float64(kind) else str(kind)
