"""Rows of a CSV, Parquet or NDJSON file, or of standard input, piece by piece: a file may be larger than memory."""

from __future__ import annotations

import codecs
import io
import json
import sys
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Any

from perdure.core import PerdureWarning
from perdure.storage.reading import ContentError, open_file
from perdure.streams.raw.delimited import read_delimited
from perdure.streams.raw.lines import text_lines
from perdure.streams.raw.parquet import check_flat, column_values, index_columns, open_parquet, read_batches
from perdure.streams.raw.piece import PIECE, Piece, check_different, listed_names, share_read

STANDARD_INPUT = "-"

_BUFFER = 1_000_000


def read_pieces(source: Path | str, *, texts: Collection[str] = (), classes: str | None = None) -> Iterator[Piece]:
    """Yield the rows of a file in their order; there is at least one.

    Numbers are float64, or int where they are whole, and moments are seconds since 1970.

    Args:
        source: a file whose name ends in .csv, .tsv, .parquet, .ndjson or .jsonl; or "-" for standard input, which is
            NDJSON if it begins with a brace, and CSV otherwise.
        texts: columns of CSV and Parquet that come as the text in the file, whatever they seem to be; NDJSON itself
            tells texts from numbers.
        classes: column whose values are numbers where that is exact, and otherwise come as they are written, such as
            007, true and dates in CSV; None if there is none.

    Raises:
        ContentError: if the file cannot be read or has no rows, or a row of it is not like the others; the message
            names the row, counted from 1.
    """
    n_rows = 0
    for piece in _pieces_of(source, name_of(source), texts, classes):
        n_rows += piece.n_rows
        yield piece
    if not n_rows:
        raise ContentError(f"{name_of(source)} has no rows, expected at least one; add rows, or give another file")


def name_of(source: Path | str) -> str:
    """Return what messages call a source of `read_pieces`."""
    return "standard input" if str(source) == STANDARD_INPUT else str(source)


def _pieces_of(source: Path | str, name: str, texts: Collection[str], classes: str | None) -> Iterator[Piece]:
    if str(source) == STANDARD_INPUT:
        yield from _of_stream(sys.stdin.buffer, name, texts, classes)
        return
    path = Path(source)
    ending = path.suffix.lower()
    if ending not in (".csv", ".tsv", ".parquet", ".ndjson", ".jsonl"):
        raise ContentError(f"{path} ends in {ending or 'nothing'!r}, expected .csv, .tsv, .parquet, .ndjson or .jsonl")
    try:
        file = open_file(path)
    except OSError as cause:
        raise ContentError(f"{path} cannot be read: {cause.strerror or cause}") from cause
    with file:
        if ending == ".parquet":
            yield from _of_parquet(file, name, texts, classes)
        elif ending in (".csv", ".tsv"):
            yield from read_delimited(file, name, "\t" if ending == ".tsv" else ",", texts, classes)
        else:
            yield from _of_json_lines(file, name)


def without(piece: Piece, names: Sequence[str], source: str, remedy: str = "") -> tuple[dict[str, Any], list[Any]]:
    """Return a piece's columns without some, and those.

    The index of a table of pandas is left out too, unless it is one of those, with a `PerdureWarning`: numbers of rows
    tell how a table was sorted, and so perhaps the answer.

    Args:
        piece: rows of a file.
        names: of the columns to take out.
        source: name of the file, for messages.
        remedy: what to do if there is no such column, nor one of a similar name.

    Raises:
        ContentError: if it has no such column, or no others.
    """
    columns = dict(piece.columns)
    for name in names:
        if name not in columns:
            near = get_close_matches(name, columns, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {listed_names(columns)}{remedy}"
            raise ContentError(f"{source} has no column {name!r}; {hint}")
    taken = [columns.pop(name) for name in dict.fromkeys(names)]
    index = [name for name in piece.index_columns if columns.pop(name, None) is not None]
    if index and piece.first_row == 1:
        warnings.warn(
            f"{source} has the index of a table of pandas, {listed_names(index)}, which is not learned from; write the "
            "table with to_parquet(path, index=False), or with reset_index() first if it is a feature",
            PerdureWarning,
            stacklevel=3,
        )
    if not columns:
        raise ContentError(f"{source} has only {', '.join(map(repr, names))}, expected other columns to predict from")
    return columns, taken


def _of_stream(stream: Any, name: str, texts: Collection[str], classes: str | None) -> Iterator[Piece]:
    buffered = io.BufferedReader(_Raw(stream), _BUFFER)
    if buffered.peek(1).removeprefix(codecs.BOM_UTF8).lstrip()[:1] == b"{":
        yield from _of_json_lines(buffered, name)
    else:
        yield from read_delimited(buffered, name, ",", texts, classes)


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


def _of_parquet(file: Any, name: str, texts: Collection[str], classes: str | None) -> Iterator[Piece]:
    with open_parquet(file, name) as table:
        names = table.schema_arrow.names
        check_different(names, name)
        check_flat(table, names, name)
        n_rows, row = max(table.metadata.num_rows, 1), 1
        for batch in read_batches(table, names):
            columns = {
                column: column_values(
                    values, f"{name}, column {column!r}", is_text=column in texts, is_class=column == classes
                )
                for column, values in zip(batch.schema.names, batch.columns, strict=True)
            }
            row += batch.num_rows
            yield Piece(columns, row - batch.num_rows, batch.num_rows, (row - 1) / n_rows, index_columns(table))


def _of_json_lines(file: Any, name: str) -> Iterator[Piece]:
    lines = (it for it in text_lines(file, name) if it.strip())
    row = 1
    while part := list(islice(lines, PIECE)):
        rows = [_object_of(line, f"{name}, row {number}") for number, line in enumerate(part, row)]
        yield Piece(_columns_of(rows), row, len(rows), share_read(file))
        row += len(rows)


def _object_of(line: str, where: str) -> dict[str, Any]:
    try:
        found = json.loads(line, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError) as cause:
        raise ContentError(f"{where} is no JSON ({cause}), expected an object in one line") from cause
    if not isinstance(found, _Pairs):
        raise ContentError(f"{where} is {type(found).__name__}, expected an object from column to value")
    values = dict(found)
    if len(values) < len(found):
        check_different((name for name, _ in found), where)
    for name, value in values.items():
        if isinstance(value, list):
            kind = "an object" if isinstance(value, _Pairs) else "a list"
            raise ContentError(
                f"{where}, column {name!r} is {kind}, expected a number or a text; write its parts as columns"
            )
    return values


class _Pairs(list[tuple[str, Any]]):
    """The names and values of a JSON object, of which two may have one name."""


def _columns_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}
