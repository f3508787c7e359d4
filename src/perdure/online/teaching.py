"""A durable model and files of rows: taught from one, and its answers to another."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from perdure.execution.progress import ProgressUpdate, Watch, job_progress
from perdure.machine.signals import InterruptedRunError, StopRequests
from perdure.online.columns import Table
from perdure.online.durable import DurableModel
from perdure.online.errors import RowError
from perdure.online.labels import LabelColumn, has_fraction
from perdure.online.rows import Rows
from perdure.storage.reading import ContentError
from perdure.streams.raw.tables import name_of, read_pieces, without

_PARTS = 1_000
"""Steps of the progress bar."""


def learn_file(
    model: DurableModel, source: Path | str, label: str, id: str | None = None, *, progress: bool | Watch = True
) -> int:
    """Teach a model the rows of a file in their order; return how many there were.

    Args:
        model: opened to write.
        source: as `perdure.streams.raw.tables.read_pieces` takes it.
        label: column of the targets.
        id: column of a name for each row; rows whose names are known are passed over. None if they have none.
        progress: show a progress bar; or a function to which progress is reported.

    Raises:
        ContentError: if the file cannot be read or has no rows, or has no such column, or its classes are numbers with
            fractions.
        RowError: naming the row, counted from 1, that cannot be learned; those of the pieces before it are learned.
        ValueError: if both columns are the same.
        InterruptedRunError: after a request to stop; the message tells how many rows were learned.
    """
    if label == id:
        raise ValueError(
            f"label and id are both {label!r}, expected two columns; leave id out if the rows have no names"
        )
    texts = [*_texts(model), *([] if id is None else [id])]
    classes = None if model.settings.regression else label
    if model.classes and isinstance(model.classes[0], str):
        texts.append(label)
    found = LabelColumn(label, "make a model that does: perdure model new FOLDER --regression")
    n_rows, began = 0, time.perf_counter()
    with (
        StopRequests() as stop,
        job_progress(f"teaching {model.folder}", 0, _PARTS, "rows", show=progress) as report,
    ):
        for piece in read_pieces(source, texts=texts, classes=classes):
            inputs, taken = without(piece, [label] if id is None else [label, id], name_of(source))
            rows = Rows(Table(inputs, piece.n_rows, piece.first_row))
            names = None if id is None else _names(taken[1], id, piece.first_row, name_of(source))
            if classes is not None and not any(map(has_fraction, model.classes)):
                found.check(taken[0])
            with rows_of(source):
                model.learn(rows, taken[0], names)
            n_rows += rows.n
            speed = n_rows / (time.perf_counter() - began)
            report(ProgressUpdate(int(_PARTS * (piece.share or 0)), _PARTS, speed))
            if stop.received is not None:
                raise InterruptedRunError(
                    f"stopped: {n_rows:,} rows of {source} are learned and kept; teach the rest from a file without "
                    "them, or the same file again if its rows have names (--id)",
                    stop.received,
                )
    found.warn()
    return n_rows


def answers_to_file(model: DurableModel, source: Path | str, *, probabilities: bool) -> Iterator[list[Any]]:
    """Yield a line of column names, and one for each row of a file: the prediction, and each class's probability.

    Raises:
        ContentError: if the file cannot be read or has no rows, or if nothing has been learned yet.
        RowError: naming the row, counted from 1, that cannot be answered.
    """
    if not model.model.has_learned:
        raise ContentError(f"{model.folder} has learned nothing yet, so it has no answers; teach it first")
    classes = model.classes if probabilities and not model.settings.regression else []
    for piece in read_pieces(source, texts=_texts(model)):
        rows = Rows(Table(piece.columns, piece.n_rows, piece.first_row))
        with rows_of(source):
            answers = model.predict(rows)
            shares = model.predict_proba(rows) if classes else [[]] * rows.n
        if piece.first_row == 1:  # not before there are answers
            yield ["prediction", *(f"probability of {it}" for it in classes)]
        for answer, share in zip(answers, shares, strict=True):
            yield ["" if answer is None else answer, *(f"{it:.6g}" for it in share)]


@contextmanager
def rows_of(source: Path | str) -> Iterator[None]:
    """Name the file in errors that name a row of it."""
    try:
        yield
    except RowError as error:
        raise RowError(f"{name_of(source)}, {error} (rows are counted from 1)") from error


def _texts(model: DurableModel) -> list[str]:
    """Return the columns in which a model knows categories: a file in which all look like numbers has some too."""
    return [it.name for it in model.model.columns.known.values() if it.is_category]


def _names(values: Any, column: str, first_row: int, source: str) -> list[str]:
    for row, value in enumerate(values, first_row):
        if value is None:
            raise ContentError(
                f"{source}, row {row}, column {column!r} is missing, expected a name for each row; name the row, or "
                "teach the file without --id"
            )
        if isinstance(value, bool | float):
            raise ContentError(
                f"{source}, row {row}, column {column!r} is {value!r}, expected a text or a whole number, which alone "
                "can be told apart exactly; write it as a text"
            )
    return [str(it) for it in values]


def target_of(model: DurableModel, text: str) -> Any:
    """Return a class, or number, of the kind that a model learns, from its text.

    Raises:
        ValueError: if numbers are learned and this is none.
    """
    if not model.settings.regression and not (model.classes and isinstance(model.classes[0], bool | int | float)):
        return text
    known = {str(it): it for it in model.classes}
    return known[text] if text in known else _number(text)


def _number(text: str) -> int | float:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    raise ValueError(f"{text!r} was given, expected a number, as the model learns numbers")
