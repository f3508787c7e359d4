"""Rows of a CSV, Parquet or NDJSON file, or of standard input, piece by piece: a file may be larger than memory."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from perdure.storage.reading import ContentError

STANDARD_INPUT = "-"
PIECE = 1_024
"""Rows of a piece at most."""

_FIRST_BYTES = 1_000_000
"""Of a CSV file, from which the kinds of its columns are told."""
_LONGEST_LINE = 10_000_000
_MISSING = ["", "NA", "N/A", "NaN", "nan", "NULL", "null", "None", "?"]


class Piece(NamedTuple):
    """Some rows of a file."""

    columns: Mapping[str, Sequence[Any] | np.ndarray]
    """By name, all of one length: numbers as float64, NaN where missing; other values as they are, None for those."""
    first_row: int
    """Number of the first row, counted from 1 for the first row of data."""
    share: float | None
    """Part of the file that has been read, 0..1; None if its length is not known."""


def read_pieces(source: Path | str) -> Iterator[Piece]:
    """Yield the rows of a file in their order.

    Args:
        source: a file whose name ends in .csv, .tsv, .parquet, .ndjson or .jsonl; or "-" for standard input, which is
            NDJSON if it begins with a brace, and CSV otherwise.

    Raises:
        ContentError: if the file cannot be read, or a row of it is not like the others; the message names the row.
    """
    if str(source) == STANDARD_INPUT:
        yield from _of_stream(sys.stdin.buffer, "standard input")
        return
    path = Path(source)
    ending = path.suffix.lower()
    if ending not in (".csv", ".tsv", ".parquet", ".ndjson", ".jsonl"):
        raise ContentError(f"{path} ends in {ending or 'nothing'!r}, expected .csv, .tsv, .parquet, .ndjson or .jsonl")
    if ending == ".parquet":
        yield from _of_parquet(path)
        return
    try:
        file = path.open("rb")
    except OSError as cause:
        raise ContentError(f"{path} cannot be read: {cause.strerror or cause}") from cause
    with file:
        if ending in (".csv", ".tsv"):
            yield from _of_csv(file, str(path), "\t" if ending == ".tsv" else ",")
        else:
            yield from _of_json_lines(file, str(path))


def without(piece: Piece, names: Sequence[str], source: str) -> tuple[dict[str, Any], list[Any]]:
    """Return a piece's columns without some, and those.

    Args:
        piece: rows of a file.
        names: of the columns to take out.
        source: name of the file, for messages.

    Raises:
        ContentError: if it has no such column, or no others.
    """
    columns = dict(piece.columns)
    for name in names:
        if name not in columns:
            near = get_close_matches(name, columns, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(map(repr, columns))}"
            raise ContentError(f"{source} has no column {name!r}; {hint}")
    taken = [columns.pop(name) for name in dict.fromkeys(names)]
    if not columns:
        raise ContentError(f"{source} has only {', '.join(map(repr, names))}, expected other columns to predict from")
    return columns, taken


def _of_stream(stream: Any, name: str) -> Iterator[Piece]:
    buffered = io.BufferedReader(_Raw(stream), _FIRST_BYTES)
    if buffered.peek(1).lstrip()[:1] == b"{":
        yield from _of_json_lines(buffered, name)
    else:
        yield from _of_csv(buffered, name, ",")


class _Raw(io.RawIOBase):
    """A stream that is read as it comes."""

    def __init__(self, stream: Any):
        super().__init__()
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        content = self._stream.read1(len(buffer)) if hasattr(self._stream, "read1") else self._stream.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)


def _of_csv(file: Any, name: str, delimiter: str) -> Iterator[Piece]:
    import pyarrow as pa
    from pyarrow import csv

    first = file.read(_FIRST_BYTES)
    if not first.strip():
        raise ContentError(f"{name} is empty, expected a line of column names and at least one row")
    parse = csv.ParseOptions(delimiter=delimiter)
    with _explained(name):
        # Numbers that begin as whole ones may go on as others.
        complete = first[: first.rfind(b"\n") + 1] or first
        convert = csv.ConvertOptions(null_values=_MISSING, strings_can_be_null=True)
        found = csv.read_csv(io.BytesIO(complete), parse_options=parse, convert_options=convert).schema
        convert.column_types = {it.name: pa.float64() if _is_number(it.type) else it.type for it in found}
        whole = {it.name for it in found if pa.types.is_integer(it.type)}
        batches = csv.open_csv(
            pa.PythonFile(_Continued(first, file), mode="r"), parse_options=parse, convert_options=convert
        )
        for piece in _of_batches(batches, whole):
            yield piece._replace(share=_share(file))


def _share(file: Any) -> float | None:
    """Return the part of a file that has been read; None if it is a stream."""
    if not file.seekable():
        return None
    return file.tell() / max(os.fstat(file.fileno()).st_size, 1)


class _Continued(io.RawIOBase):
    """What has been read of a file, and then the rest of it."""

    def __init__(self, first: bytes, file: Any):
        super().__init__()
        self._first = io.BytesIO(first)
        self._file = file

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._first.read(size) or self._file.read(size)


def _of_parquet(path: Path) -> Iterator[Piece]:
    from pyarrow import parquet

    with _explained(str(path)), parquet.ParquetFile(path) as file:
        n_rows = max(file.metadata.num_rows, 1)
        for piece in _of_batches(file.iter_batches(batch_size=PIECE), set()):
            yield piece._replace(share=piece.first_row / n_rows)


@contextmanager
def _explained(name: str) -> Iterator[None]:
    from pyarrow import ArrowException

    try:
        yield
    except (ArrowException, OSError) as cause:
        raise ContentError(f"{name} cannot be read: {cause}") from cause


def _of_batches(batches: Any, whole: set[str]) -> Iterator[Piece]:
    row = 1
    for batch in batches:
        for start in range(0, batch.num_rows, PIECE):
            part = batch.slice(start, PIECE)
            columns = {
                name: _values(column, is_whole=name in whole)
                for name, column in zip(part.schema.names, part.columns, strict=True)
            }
            yield Piece(columns, row, None)
            row += part.num_rows


def _values(column: Any, *, is_whole: bool) -> Sequence[Any] | np.ndarray:
    import pyarrow as pa

    kind = column.type
    if pa.types.is_temporal(kind):
        column = column.cast(pa.timestamp("us"), safe=False).cast(pa.int64())
        return np.asarray(column.to_numpy(zero_copy_only=False), np.float64) / 1e6  # seconds
    if not (_is_number(kind) or pa.types.is_boolean(kind)):
        return column.to_pylist()
    values = np.asarray(column.to_numpy(zero_copy_only=False), np.float64)
    return values.astype(np.int64) if is_whole and np.array_equal(values, np.round(values)) else values


def _is_number(kind: Any) -> bool:
    import pyarrow as pa

    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind)


def _of_json_lines(file: Any, name: str) -> Iterator[Piece]:
    row, rows = 1, []
    while line := file.readline(_LONGEST_LINE):
        if len(line) == _LONGEST_LINE:
            raise ContentError(f"{name}, row {row + len(rows)} is longer than {_LONGEST_LINE:,} bytes")
        if not line.strip():
            continue
        rows.append(_object_of(line, f"{name}, row {row + len(rows)}"))
        if len(rows) == PIECE:
            yield Piece(_columns_of(rows), row, _share(file))
            row, rows = row + len(rows), []
    if rows:
        yield Piece(_columns_of(rows), row, _share(file))


def _object_of(line: bytes, where: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as cause:
        raise ContentError(f"{where} is no JSON ({cause}), expected an object in one line") from cause
    if not isinstance(found, dict):
        raise ContentError(f"{where} is {type(found).__name__}, expected an object from column to value")
    for name, value in found.items():
        if isinstance(value, dict | list):
            raise ContentError(f"{where}, column {name!r} is {type(value).__name__}, expected a number or a text")
    return found


def _columns_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}
