"""Rows of Parquet files, few at a time where they are wide, so that they take little memory whatever repeats."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from perdure.storage.reading import ContentError, shortened
from perdure.streams.raw.delimited import as_floats
from perdure.streams.raw.piece import PIECE

BATCH_BYTES = 2**26
"""Bytes that the rows read at a time take, if they fit."""
_NUMBER_BYTES = 8
"""Of a number at most."""
_UNNAMED_INDEX = re.compile(r"__index_level_\d+__")
"""What pandas calls the column of an index that has no name."""


@contextmanager
def open_parquet(file: Any, name: str) -> Iterator[Any]:
    """Open a Parquet file while a block runs, and say of what is damaged in it which file it is.

    Texts come as dictionaries: a file may repeat a long one without taking room for it.

    Args:
        file: binary, open.
        name: of the file, for messages.

    Raises:
        ContentError: if it is damaged, or no Parquet file.
    """
    from pyarrow import ArrowException, parquet, types

    try:
        # No other threads, neither here nor to decode: they may close the file after the interpreter has ended, which
        # aborts the process.
        with parquet.ParquetFile(file, pre_buffer=False) as table:
            texts = [it.name for it in table.schema_arrow if types.is_string(it.type) or types.is_binary(it.type)]
            with parquet.ParquetFile(file, metadata=table.metadata, read_dictionary=texts, pre_buffer=False) as found:
                yield found
    except (ArrowException, OSError, UnicodeDecodeError, OverflowError) as cause:
        raise ContentError(
            f"{name} cannot be read: {shortened(str(cause), 200)}; expected a whole file in the Parquet format, so "
            "write or copy it again"
        ) from cause


def read_batches(table: Any, columns: Sequence[str], n_rows: int = PIECE) -> Iterator[Any]:
    """Yield the rows of some columns, at most `n_rows` at a time, fewer where they are wide."""
    fitting = max(1, int(BATCH_BYTES // max(_bytes_a_row(table, columns), 1)))
    yield from table.iter_batches(batch_size=min(n_rows, fitting), columns=list(columns), use_threads=False)


def index_columns(table: Any) -> list[str]:
    """Return the columns that were the index of a table of pandas, such as the numbers of its rows."""
    try:
        told = list(json.loads((table.schema_arrow.metadata or {})[b"pandas"])["index_columns"])
    except (KeyError, TypeError, ValueError, RecursionError):  # not by pandas, or damaged, which hurts no values
        told = []
    return [it for it in table.schema_arrow.names if it in told or _UNNAMED_INDEX.fullmatch(it)]


def count_numbers(table: Any, column: str) -> int:
    """Return how many numbers a column of lists has by what the file tells, without reading it."""
    size = _list_size(_kind_of(table, column))
    return max(sum(n for _, n, _ in _chunks(table, [column])), size * table.metadata.num_rows)


def column_values(column: Any, where: str, *, is_text: bool, is_class: bool) -> Sequence[Any] | np.ndarray:
    """Return the values of a column of PyArrow; whole numbers exactly.

    Args:
        column: of a batch.
        where: file and column, for messages.
        is_text: come values as the text in the file, whatever they seem to be?
        is_class: come moments and truths as they are written?

    Raises:
        ContentError: if they are neither numbers nor texts.
    """
    import pyarrow as pa

    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_decimal(kind) and not is_text:
        column = column.cast(pa.decimal256(76, 0) if kind.scale == 0 else pa.float64())
        kind = column.type
    is_moment = pa.types.is_date(kind) or pa.types.is_timestamp(kind)
    if is_text or not (_is_number(kind) or pa.types.is_boolean(kind) or is_moment) or (is_class and is_moment):
        return _texts(column, where)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if is_moment:
        return as_floats(column if pa.types.is_timestamp(kind) else column.cast(pa.timestamp("ms")))
    if pa.types.is_boolean(kind) and is_class:
        return column.to_pylist()
    if pa.types.is_decimal(kind) or (pa.types.is_integer(kind) and column.null_count):
        return [math.nan if it is None else int(it) for it in column.to_pylist()]
    return column.to_numpy() if pa.types.is_integer(kind) else as_floats(column)


def check_flat(table: Any, columns: Sequence[str], name: str) -> None:
    """Check that columns hold no lists or other nested values, before any is read.

    Raises:
        ContentError: naming one that does.
    """
    import pyarrow as pa

    for column in columns:
        kind = _kind_of(table, column)
        if pa.types.is_nested(kind):
            raise ContentError(
                f"{name}, column {column!r} is of type {shortened(str(kind))}, expected numbers or texts; write its "
                "parts as columns"
            )


def _texts(column: Any, where: str) -> list[str | None]:
    """Return texts, of which equal ones take room once."""
    import pyarrow as pa

    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    try:
        column = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
        used = column.indices.unique()
        found = column.dictionary.take(used).cast(pa.string()).to_pylist()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError) as cause:
        raise ContentError(
            f"{where} is of type {kind} and cannot be read as text ({shortened(str(cause), 200)}), expected numbers or "
            "texts in UTF-8; convert it"
        ) from cause
    by_index = dict(zip(used.to_pylist(), found, strict=True))
    return [by_index[it] for it in column.indices.to_pylist()]


def _is_number(kind: Any) -> bool:
    import pyarrow as pa

    return any(it(kind) for it in (pa.types.is_integer, pa.types.is_floating, pa.types.is_null, pa.types.is_decimal))


def _kind_of(table: Any, column: str) -> Any:
    return table.schema_arrow.field(column).type


def _list_size(kind: Any) -> int:
    """Return how many values each list has, missing ones too; 0 if they may have different lengths."""
    import pyarrow as pa

    return kind.list_size if pa.types.is_fixed_size_list(kind) else 0


def _bytes_a_row(table: Any, columns: Sequence[str]) -> float:
    """Return the bytes that a row of some columns takes in the row group of the widest."""
    import pyarrow as pa

    widest: dict[int, float] = {}
    for group, n_values, n_bytes in _chunks(table, columns):
        n_rows = max(table.metadata.row_group(group).num_rows, 1)
        widest[group] = widest.get(group, 0.0) + max(_NUMBER_BYTES * n_values, n_bytes) / n_rows
    kinds = [_kind_of(table, it) for it in columns]
    fixed = sum(_NUMBER_BYTES * _list_size(it) for it in kinds)
    fixed += sum(it.byte_width for it in kinds if pa.types.is_fixed_size_binary(it))
    return max(widest.values(), default=0.0) + fixed


def _chunks(table: Any, columns: Sequence[str]) -> Iterator[tuple[int, int, int]]:
    """Yield of each part of some columns its row group, its values, and the bytes of its uncompressed pages."""
    metadata = table.metadata
    places = [
        place
        for place in range(metadata.num_columns)
        if any(f"{metadata.schema.column(place).path}.".startswith(f"{it}.") for it in columns)
    ]
    for group in range(metadata.num_row_groups):
        for place in places:
            chunk = metadata.row_group(group).column(place)
            yield group, chunk.num_values, chunk.total_uncompressed_size
