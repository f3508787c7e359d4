"""The rows of a model's journal, and its settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from perdure.online.errors import RowError
from perdure.online.journal import Entry, Journal, JournalError
from perdure.online.rows import Rows, of_dictionaries
from perdure.online.settings import ModelSettings
from perdure.storage.files import StorageError

_PIECE = 1_024
"""Examples read at a time."""


def pieces(journal: Journal, after: int, upto: int) -> Iterator[tuple[Rows, list[Any]]]:
    """Yield the examples of positions after `after` up to `upto` that were not forgotten, some at a time."""
    entries: list[Entry] = []
    for entry in journal.entries(after, upto):
        entries.append(entry)
        if len(entries) == _PIECE:
            yield _learnable(entries)
            entries = []
    if entries:
        yield _learnable(entries)


def _learnable(entries: list[Entry]) -> tuple[Rows, list[Any]]:
    return of_dictionaries([it.x for it in entries]), [it.y for it in entries]


def dictionaries(rows: Rows) -> list[dict[str, Any]]:
    """Return rows as the journal keeps them.

    Raises:
        RowError: if they are images or the like.
    """
    if isinstance(rows.inputs, np.ndarray):
        raise RowError("inputs of more than two dimensions cannot be kept; give rows of columns: X.reshape(len(X), -1)")
    names = list(rows.inputs.columns)
    values = [it.tolist() if isinstance(it, np.ndarray) else it for it in rows.inputs.columns.values()]
    return [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]


def unknown_only(journal: Journal, rows: Rows, targets: list[Any], ids: list[str]) -> tuple[Rows, list[Any], list[str]]:
    """Return the rows whose ids are not in a journal, the first of each id."""
    taken = set(journal.positions(ids))
    places = []
    for place, id in enumerate(ids):
        if id not in taken:
            taken.add(id)
            places.append(place)
    if len(places) == rows.n:
        return rows, targets, ids
    return rows.take(np.asarray(places, int)), [targets[it] for it in places], [ids[it] for it in places]


def settle(journal: Journal, given: Mapping[str, Any], path: Path, *, writable: bool) -> None:
    """Give a new model its settings, or check that those given are the ones it has.

    Args:
        journal: of the model.
        given: settings by name; None is not given.
        path: folder of the model, for messages.
        writable: may a new model be made?

    Raises:
        StorageError: if there is a model of other settings, or none and it may not be made.
        ValueError: if there is no such method.
    """
    if journal.settings is None:
        if not writable:
            raise JournalError(None, f"{path} holds no model yet, which a reader cannot make")
        settings = ModelSettings().changed(**given)
        settings.new_model()  # is there such a method?
        journal.set_settings(settings.to_json())
        return
    settings = ModelSettings.of_json(journal.settings, path)
    for name, value in given.items():
        if value is not None and value != getattr(settings, name):
            raise StorageError(
                None,
                f"{path} holds a model with {name} = {getattr(settings, name)!r}, but {value!r} was given; leave it "
                "out, or choose another folder",
            )
