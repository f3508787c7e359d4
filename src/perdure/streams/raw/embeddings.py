"""Arrays of features and classes in `.npz` archives, and in tables; what is read is bounded, and runs no code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from perdure.storage.reading import ContentError, open_file, shortened
from perdure.streams.ranges import VALUES_COMPARED, warn_merged
from perdure.streams.raw.npz import open_npz
from perdure.streams.raw.parquet import (
    BATCH_BYTES,
    check_flat,
    column_values,
    count_numbers,
    open_parquet,
    read_batches,
)
from perdure.streams.raw.piece import PIECE, check_different, listed_names
from perdure.streams.raw.tables import read_pieces, without

MAX_BYTES = 2**31
"""Most bytes of a table's features as float32."""
TEST = "test_"
"""What the names of the held-out arrays of an archive begin with."""

_TABLES = (".csv", ".tsv", ".parquet", ".ndjson", ".jsonl")
_BYTES = 4
"""Of a feature as float32."""
_NO_NUMBERS = (TypeError, ValueError, OverflowError)
"""What NumPy raises for values that are none."""
_CHARACTER_BYTES = 4
"""Of a character in an array of texts."""


class RawEmbeddings(NamedTuple):
    """Features and classes as a file holds them, not checked yet."""

    x: Any
    y: Any
    test_x: Any = None
    test_y: Any = None
    task: Any = None
    """Task of each example, if it was requested."""
    columns: tuple[str, ...] = ()
    """Of a table, the names of the features; none if they are a column of lists."""


def read_embeddings(
    path: Path, features: str | None = None, label: str = "y", task: str | None = None
) -> RawEmbeddings:
    """Return features and classes in a file.

    Args:
        path: an archive of NumPy (.npz) or a table (.parquet, .csv, .tsv, .ndjson, .jsonl).
        features: name of the array (n, d), "x" if None; of a table, its column of lists, or None for the only one that
            there is, or else for all columns but the label.
        label: name of the array (n,), or column, of the classes.
        task: name of the array (n,), or column, of the tasks; None if there is none.

    Raises:
        ContentError: if the file cannot be read, is damaged or too large, or holds no such array or column (the message
            lists those it has), or holds Python objects, which are not unpickled.
    """
    ending = path.suffix.lower()
    if ending == ".npz":
        return _of_archive(path, features or "x", label, task)
    if ending not in _TABLES:
        remedy = "; np.savez('embeddings.npz', x=x, y=y) writes features and classes to one file"
        raise ContentError(f"{path} ends in {ending or 'nothing'!r}, expected .npz or {', '.join(_TABLES)}{remedy}")
    if features is not None and ending != ".parquet":
        raise ContentError(
            f"features={features!r} was given for {path}, a table whose features are all columns but {label!r}, "
            "expected none; leave it out, it names an array of .npz or a column of lists of .parquet"
        )
    lists = _list_columns(path) if ending == ".parquet" else ()
    column = features or (lists[0] if len(lists) == 1 else None)
    if len(lists) > 1 and features is None:
        raise ContentError(
            f"{path} has several columns of lists: {', '.join(map(repr, lists))}, expected one; name the one to learn "
            f"from: {_name_it('features', lists[0])}"
        )
    if column is not None:
        return _of_list_column(path, column, label, task)
    return _of_number_columns(path, label, task)


def _of_archive(path: Path, features: str, label: str, task: str | None) -> RawEmbeddings:
    with open_npz(path) as archive:
        names = [features, label]
        for part, name in (("features", features), ("label", label), ("task", task)):
            if name is not None and name not in archive:
                raise ContentError(f"{path} has no array {name!r}; it has {archive.described()}: {_name_it(part)}")
        tests = [TEST + name for name in names]
        if sum(name in archive for name in tests) == 1:
            there, missing = sorted(tests, key=lambda name: name not in archive)
            raise ContentError(
                f"{path} has {there!r} and no {missing!r}, expected both or none: what is held out has features and "
                "classes; add the other one, or rename this one"
            )
        names += [name for name in tests if name in archive]
        own_task = None if task is None else archive.read(task)
        return RawEmbeddings(*map(archive.read, names), task=own_task)


def _name_it(part: str, name: str = "NAME") -> str:
    """Return how to name the features or the classes of a file."""
    return f"give {part}={name!r}"


def _list_columns(path: Path) -> tuple[str, ...]:
    import pyarrow as pa

    with _parquet(path) as table:
        return tuple(it.name for it in table.schema_arrow if _is_list(pa.types, it.type))


def _is_list(types: Any, kind: Any) -> bool:
    return any(it(kind) for it in (types.is_list, types.is_large_list, types.is_fixed_size_list))


@contextmanager
def _parquet(path: Path) -> Iterator[Any]:
    try:
        file = open_file(path)
    except OSError as cause:
        raise ContentError(f"{path} cannot be read: {cause.strerror or cause}") from cause
    with file, open_parquet(file, str(path)) as table:
        check_different(table.schema_arrow.names, str(path))
        yield table


def _of_list_column(path: Path, column: str, label: str, task: str | None) -> RawEmbeddings:
    where = f"{path}, column {column!r}"
    with _parquet(path) as table:
        _check_list_column(path, table, column, label, task)
        others = [label] if task is None else [label, task]
        check_flat(table, others, str(path))
        _bounded(path, _BYTES * count_numbers(table, column))
        # The first row tells what the file may not: how long the lists are.
        first = next(read_batches(table, [column], 1), None)
        if first is None:
            raise ContentError(f"{path} has no rows, expected at least one; add rows, or give another file")
        width = _rows_of_lists(first.column(0), where, 0, None).shape[1]
        _bounded(path, _BYTES * width * table.metadata.num_rows)
        parts, labels, tasks, n_read = [], [], [], 0
        for batch in read_batches(table, [column, *others], max(1, min(PIECE, BATCH_BYTES // (8 * width)))):
            parts.append(_rows_of_lists(batch.column(column), where, n_read, width))
            n_read += batch.num_rows
            _bounded(path, _BYTES * width * n_read)
            labels += _classes(path, batch, label)
            tasks += [] if task is None else _classes(path, batch, task)
    return _of_parts(path, parts, labels, tasks, label, task)


def _check_list_column(path: Path, table: Any, column: str, label: str, task: str | None) -> None:
    """Check by the schema alone, before anything is read, that a column has lists of numbers and others exist."""
    import pyarrow as pa

    kinds = {it.name: it.type for it in table.schema_arrow}
    for part, name in (("features", column), ("label", label), ("task", task)):
        if name is not None and name not in kinds:
            raise ContentError(f"{path} has no column {name!r}; it has {listed_names(kinds)}: {_name_it(part)}")
    kind = kinds[column]
    if not _is_list(pa.types, kind):
        raise ContentError(
            f"{path}, column {column!r} is of type {shortened(str(kind))}, expected lists of numbers; leave --features "
            "out to learn from all columns but the label"
        )
    if not (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)):
        raise ContentError(
            f"{path}, column {column!r} has lists of type {shortened(str(kind.value_type))}, expected numbers"
        )


def _classes(path: Path, batch: Any, name: str) -> list[Any]:
    return _listed(column_values(batch.column(name), f"{path}, column {name!r}", is_text=False, is_class=True))


def _rows_of_lists(column: Any, where: str, before: int, expected: int | None) -> np.ndarray:
    """Return lists as rows; the first tells how long they are if nothing else does."""
    lengths = [len(it) if it.is_valid else -1 for it in column]
    expected = lengths[0] if expected is None else expected
    wrong = next((row for row, it in enumerate(lengths) if it != expected or it < 1), None)
    if wrong is not None:
        found = "missing" if lengths[wrong] < 0 else f"a list of {lengths[wrong]} numbers"
        raise ContentError(
            f"{where} is {found} in row {before + wrong + 1}, counted from 1, expected {max(expected, 1)} numbers in "
            "each row; correct or drop the row"
        )
    values = column.flatten()
    if values.null_count:
        row = before + 1 + int(np.flatnonzero(np.asarray(values.is_null()))[0]) // expected
        raise ContentError(f"{where} lacks a number in row {row}, counted from 1; correct or drop the row")
    return _as_features(values.to_numpy(zero_copy_only=False)).reshape(len(lengths), expected)


def _of_number_columns(path: Path, label: str, task: str | None) -> RawEmbeddings:
    parts, exact, labels, tasks, size = [], [], [], [], 0
    names: list[str] = []
    taken = [label] if task is None else [label, task]
    for piece in read_pieces(path, classes=label):
        remedy = "" if len(taken) > 1 else f": {_name_it('label')}"
        columns, own = without(piece, taken, str(path), remedy)
        names = names or list(columns)
        part = np.stack([_numbers(path, name, columns.get(name), piece.first_row) for name in names], axis=1)
        if size < _BYTES * VALUES_COMPARED:
            exact.append(part)
        size = _bounded(path, size + _BYTES * part.size)
        parts.append(_as_features(part))
        labels += _listed(own[0])
        tasks += _listed(own[-1])
    warn_merged(str(path), np.concatenate(exact), names)
    return _of_parts(path, parts, labels, tasks, label, task)._replace(columns=tuple(names))


def _of_parts(
    path: Path, parts: list[np.ndarray], labels: list[Any], tasks: list[Any], label: str, task: str | None
) -> RawEmbeddings:
    _check_lengths(path, label, labels)
    if task is None:
        return RawEmbeddings(np.concatenate(parts), labels)
    _check_lengths(path, task, tasks)
    return RawEmbeddings(np.concatenate(parts), labels, task=tasks)


def _check_lengths(path: Path, name: str, texts: list[Any]) -> None:
    """Check that texts fit an array, in which each takes as much room as the longest."""
    row, longest = max(enumerate(len(it) if isinstance(it, str) else 0 for it in texts), key=lambda it: it[1])
    if _CHARACTER_BYTES * longest * len(texts) > MAX_BYTES:
        raise ContentError(
            f"{path}, column {name!r} has a text of {longest:,} characters in row {row + 1}, counted from 1, expected "
            f"the name of a class, of at most {MAX_BYTES // (_CHARACTER_BYTES * len(texts)):,}; shorten it"
        )


def _listed(values: Any) -> list[Any]:
    return values.tolist() if isinstance(values, np.ndarray) else list(values)


def _numbers(path: Path, name: str, values: Any, first_row: int) -> np.ndarray:
    where = f"{path}, column {name!r}"
    if values is None:
        raise ContentError(f"{where} is absent from some rows, expected every feature in every row")
    try:
        return np.asarray(values, np.float64)
    except _NO_NUMBERS as cause:
        row = next(row for row, it in enumerate(values) if not _is_feature(it))
        raise ContentError(
            f"{where} holds {shortened(repr(values[row]))} in row {first_row + row}, counted from 1, expected numbers, "
            "the features of a network; correct it, leave the column out of the file, or learn from it with perdure "
            "stream, which takes texts too"
        ) from cause


def _as_features(values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # infinite features are refused by row and column
        return values.astype(np.float32)


def _is_feature(value: Any) -> bool:
    try:
        np.asarray([value], np.float64)
    except _NO_NUMBERS:
        return False
    return True


def _bounded(path: Path, size: int) -> int:
    if size > MAX_BYTES:
        raise ContentError(
            f"{path} has features of more than {MAX_BYTES:,} bytes as float32, expected at most that; save a part of "
            "the examples"
        )
    return size
