"""Rows of a CSV or TSV file; the kind of each column is told from the file's first megabyte.

A line break in a quoted value is part of the value. A quote that is not closed is refused, not taken for a very long
value: at the end of the file, at the next quote that has no delimiter behind it, or after as many characters as
Python's csv module allows in a value (131,072).
"""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterator, Sequence
from itertools import chain, islice
from typing import Any, NamedTuple

import numpy as np

from perdure.storage.reading import ContentError, shortened
from perdure.streams.raw.lines import text_lines
from perdure.streams.raw.piece import PIECE, Piece, check_different, share_read

FIRST_CHARACTERS = 1_000_000
"""Of the rows from which the kinds of columns are told."""
_MISSING = frozenset({"", "NA", "N/A", "NaN", "nan", "NULL", "null", "None", "?"})
_WHOLE = re.compile(r"[+-]?[0-9]{1,4000}")
_CODE = re.compile(r"[+-]?0[0-9]+|\+[0-9]+|-0")
"""Texts that as numbers would be equal to others: 007 and +7 to 7."""


class _Column(NamedTuple):
    name: str
    kind: Any
    """Type of PyArrow: int64 for numbers that begin as whole ones, float64, bool, timestamp or string."""
    is_class: bool
    example: str


def read_delimited(
    file: Any, name: str, delimiter: str, texts: Collection[str], classes: str | None
) -> Iterator[Piece]:
    """Yield the rows of a file in their order.

    Args:
        file: binary, UTF-8; the first line has the names of the columns.
        name: of the file, for messages.
        delimiter: between two values.
        texts: columns that come as written, whatever they seem to be.
        classes: column in which whole numbers and fractions are numbers, and all else comes as written; None if there
            is no such column.

    Raises:
        ContentError: if it is not UTF-8, or a row is not like the others; the message names the row.
    """
    rows = _rows(file, name, delimiter)
    header = next(rows, None)
    if header is None:
        raise ContentError(f"{name} is empty, expected a line of column names and at least one row")
    check_different(header, name)
    head, n_characters = [], 0
    for row in rows:
        head.append(row)
        n_characters += sum(map(len, row)) + len(row)
        if n_characters >= FIRST_CHARACTERS:
            break
    columns = [
        _column(column, values, column in texts, column == classes)
        for column, values in zip(header, zip(*head, strict=True), strict=bool(head))
    ]
    first_row, rows = 1, chain(head, rows)
    while part := list(islice(rows, PIECE)):
        cells = {
            column.name: _cells(column, values, f"{name}, row", first_row)
            for column, values in zip(columns, zip(*part, strict=True), strict=True)
        }
        yield Piece(cells, first_row, len(part), share_read(file))
        first_row += len(part)


def _rows(file: Any, name: str, delimiter: str) -> Iterator[list[str]]:
    """Yield the column names, and the values of each row; empty lines are passed over."""
    reader = csv.reader(text_lines(file, name), delimiter=delimiter, strict=True)
    n_columns, number = 0, 0
    while True:
        before = reader.line_num
        try:
            row = next(reader, None)
        except csv.Error as cause:
            where = f"row {number}" if number else "line of column names"
            raise ContentError(f"{name}, {where} (line {before + 1}) {_fault(cause, delimiter)}") from cause
        if row is None:
            return
        if not row or (not n_columns and not any(map(str.strip, row))):
            continue
        if not number:
            n_columns = len(row)
        elif len(row) != n_columns:
            raise ContentError(
                f"{name}, row {number} (line {before + 1}) has {len(row)} values, expected {n_columns}, one for each "
                f"column; put double quotes around a value that holds {delimiter!r}, and leave nothing between two "
                f"{delimiter!r} for a missing value"
            )
        number += 1
        yield row


def _fault(cause: csv.Error, delimiter: str) -> str:
    """Return what is wrong with a row, and what to do."""
    if "unexpected end" in str(cause):
        return (
            "has a double quote that is not closed before the end of the file, expected a second one; close or remove "
            "it, and write two for one inside a quoted value"
        )
    if "field limit" in str(cause):
        return (
            f"has a value of more than {csv.field_size_limit():,} characters, expected at most that; shorten it, or "
            "close the double quote that begins it"
        )
    return (
        f"has text behind a closing double quote, expected {delimiter!r} or the end of the line ({cause}); close each "
        "quote, and write two for one inside a quoted value"
    )


def _column(name: str, values: Sequence[str], is_text: bool, is_class: bool) -> _Column:
    import pyarrow as pa

    given = _given(values)
    example = next((it for it in given if it is not None), "")
    return _Column(name, pa.string() if is_text else _kind(given, is_class), is_class, example)


def _given(values: Sequence[str]) -> list[str | None]:
    """Return values without space around them, None where missing."""
    return [None if (stripped := it.strip()) in _MISSING else stripped for it in values]


def _kind(given: Sequence[str | None], is_class: bool) -> Any:
    """Return the type of values; numbers if all are missing."""
    import pyarrow as pa

    present = [it for it in given if it is not None]
    if is_class and any(map(_CODE.fullmatch, present)):
        return pa.string()
    if present and all(map(_WHOLE.fullmatch, present)):
        return pa.int64()
    moments = [pa.timestamp(unit, zone) for zone in (None, "UTC") for unit in ("us", "ns")]
    kinds = [pa.float64(), *([] if is_class else [pa.bool_(), *moments])]
    return next((it for it in kinds if _cast(present, it) is not None), pa.string())


def _cast(given: Sequence[str | None], kind: Any) -> Any:
    """Return values as an array of a type of PyArrow; None if one is of another kind."""
    import pyarrow as pa

    try:
        return pa.array(given, pa.string()).cast(kind)
    except pa.ArrowInvalid:
        return None


def _cells(column: _Column, values: Sequence[str], where: str, first_row: int) -> Sequence[Any] | np.ndarray:
    """Return the values of a column of a piece, as numbers if it is one of numbers."""
    import pyarrow as pa

    if pa.types.is_string(column.kind):
        return [None if it in _MISSING else it for it in values]
    is_code = [_CODE.fullmatch(it.strip()) is not None for it in values] if column.is_class else []
    if not any(is_code):
        numbers = _numbers(values, column)  # what is missing, or has space around it, takes longer
        numbers = _numbers(_given(values), column) if numbers is None else numbers
        if numbers is not None:
            return numbers
    given = _given(values)
    kind = pa.float64() if pa.types.is_integer(column.kind) else column.kind
    place = is_code.index(True) if any(is_code) else next(n for n, it in enumerate(given) if _cast([it], kind) is None)
    raise ContentError(
        f"{where} {first_row + place}, column {column.name!r} is {shortened(repr(values[place]))}, expected "
        f"{_words(column)}, as in the rows before, such as {shortened(repr(column.example))}; correct it, or "
        f"{'drop the row' if column.is_class else 'leave it empty if it is not known'}"
    )


def _words(column: _Column) -> str:
    import pyarrow as pa

    if pa.types.is_boolean(column.kind):
        return "true or false"
    if pa.types.is_timestamp(column.kind):
        return "a moment in time"
    return "a number without a needless 0 or + before it" if column.is_class else "a number"


def _numbers(given: Sequence[str | None], column: _Column) -> Sequence[Any] | np.ndarray | None:
    """Return numbers: whole ones exactly, however large, in a column that begins with such or is one of classes.

    None if one is of another kind.
    """
    import pyarrow as pa

    is_exact = pa.types.is_integer(column.kind) or column.is_class
    if is_exact and None not in given and (whole := _cast(given, pa.int64())) is not None:
        return whole.to_numpy()
    found = _cast(given, pa.float64() if is_exact else column.kind)
    if found is None or not is_exact:
        return None if found is None else as_floats(found)
    pairs = zip(given, as_floats(found).tolist(), strict=True)
    return [int(text) if text is not None and _WHOLE.fullmatch(text) else number for text, number in pairs]


def as_floats(column: Any) -> np.ndarray:
    """Return numbers, truths or moments of PyArrow as float64, NaN where null; moments as seconds since 1970."""
    import pyarrow as pa

    scale = 1.0
    if pa.types.is_timestamp(column.type):
        scale = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}[column.type.unit]
        column = column.cast(pa.int64())
    return np.asarray(column.to_numpy(zero_copy_only=False), np.float64) / scale
