"""The rows of a model's journal, and its settings."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from perdure.online.encoding import to_json
from perdure.online.errors import RowError
from perdure.online.journal import Entry, Journal, JournalError
from perdure.online.methods import METHODS
from perdure.online.model import OnlineModel
from perdure.online.refusals import RESTORE, NoExampleError
from perdure.online.rows import Rows, dictionaries, of_dictionaries
from perdure.online.settings import ModelSettings
from perdure.online.values import number_of
from perdure.storage.files import StorageError
from perdure.storage.reading import ContentError

_PIECE = 1_024
"""Examples read at a time."""
LEFT_OUT = object()
"""In place of a target: the example is not learned."""
_NONE: Mapping[int, Any] = MappingProxyType({})
_PLAIN = frozenset({float, int, str, bool, type(None)})
"""Types of values that come back from JSON as they were."""


def pieces(
    journal: Journal, after: int, upto: int, changes: Mapping[int, Any] = _NONE, *, same_columns: bool = False
) -> Iterator[tuple[Rows, list[Any]]]:
    """Yield the examples of positions after `after` up to `upto` that were not forgotten, some at a time.

    Messages about rows name positions.

    Args:
        journal: of the examples.
        after: position before the first one.
        upto: position of the last one.
        changes: targets by position, in place of those in the journal; or `LEFT_OUT`.
        same_columns: only rows of the same columns in one piece, for models in which no value may be missing: a column
            that appears later is not missing in the rows before it.
    """
    entries: list[Entry] = []
    for entry in journal.entries(after, upto):
        if entry.position in changes:
            if (target := changes[entry.position]) is LEFT_OUT:
                continue
            entry = entry._replace(y=target)
        if len(entries) == _PIECE or (same_columns and entries and entries[-1].x.keys() != entry.x.keys()):
            yield _learnable(entries)
            entries = []
        entries.append(entry)
    if entries:
        yield _learnable(entries)


def replay(journal: Journal, model: OnlineModel, after: int, upto: int, changes: Mapping[int, Any] = _NONE) -> None:
    """Let a model learn the examples of positions after `after` up to `upto`, but for some changes; see `pieces`.

    Raises:
        RowError: naming the position of an example that cannot be learned.
    """
    uniform = not model.columns.allow_missing
    for rows, y in pieces(journal, after, upto, changes, same_columns=uniform):
        model.learn(rows, y)


def positions_of(journal: Journal, ids: Any) -> dict[str, int]:
    """Return the positions of examples by their ids.

    Raises:
        NoExampleError: naming an id that was never learned.
        RowError: naming one that no example can have.
    """
    names = [name_of(id, "an example cannot have") for id in as_list(ids)]
    positions = journal.positions(names)
    if missing := [it for it in names if it not in positions]:
        raise NoExampleError(None, f"{journal.path.parent} has no example with the id {missing[0]!r}")
    return positions


def as_list(values: Any) -> list[Any]:
    """Return targets or ids as a list; a single one is one."""
    if hasattr(values, "tolist"):
        values = values.tolist()
    return list(values) if isinstance(values, Iterable) and not isinstance(values, str | bytes) else [values]


def _learnable(entries: list[Entry]) -> tuple[Rows, list[Any]]:
    positions = np.asarray([it.position for it in entries], int)
    return of_dictionaries([it.x for it in entries], positions), [it.y for it in entries]


class Kept(NamedTuple):
    """Rows as they come back from a journal, and as it holds them."""

    rows: Rows
    targets: list[Any]
    texts: list[tuple[str, str]]
    """x and y of each row."""

    def take(self, places: Sequence[int]) -> Kept:
        """Return some of the rows."""
        if len(places) == self.rows.n:
            return self
        rows = self.rows.take(np.asarray(places, int))
        return Kept(rows, [self.targets[it] for it in places], [self.texts[it] for it in places])


def as_kept(rows: Rows, targets: list[Any]) -> Kept:
    """Return rows and targets as they come back from a journal, so that a model learns now what it would learn again.

    Raises:
        RowError: naming the row that cannot be kept.
    """
    examples = dictionaries(rows)
    texts = []
    for row, (x, y) in enumerate(zip(examples, targets, strict=True)):
        try:
            texts.append((to_json(x), to_json(y)))
        except (TypeError, ValueError) as cause:
            raise RowError(
                f"row {rows.number(row)}{_not_finite(x, y) or f': {cause}'}", row=rows.number(row)
            ) from cause
    if not all(_PLAIN.issuperset(map(type, x.values())) for x in examples):
        numbers = np.asarray([rows.number(row) for row in range(rows.n)], int)
        rows = of_dictionaries([json.loads(x) for x, _ in texts], numbers)
    for row, (y, (_, text)) in enumerate(zip(targets, texts, strict=True)):
        if type(y) not in _PLAIN and json.loads(text) != y:
            raise RowError(
                f"row {rows.number(row)} has the target {y!r} of type {type(y).__name__}, which cannot be kept; give a "
                "text, a number, True or False",
                row=rows.number(row),
            )
    targets = [y if type(y) in _PLAIN else json.loads(text) for y, (_, text) in zip(targets, texts, strict=True)]
    return Kept(rows, targets, texts)


def _not_finite(x: Mapping[str, Any], y: Any) -> str | None:
    """Return in words what is infinite in a row; None if nothing is."""
    for name, value in x.items():
        if (number := number_of(value)) is not None and math.isinf(number):
            return f", column {name!r} is {value}, expected a finite number; correct or drop the row"
    if (number := number_of(y)) is not None and math.isinf(number):
        return f" has the target {y}, expected a finite number; drop the row"
    return None


def names_given(ids: Any, rows: Rows) -> list[str | None]:
    """Return ids as texts, None for a row that is to have none.

    Raises:
        RowError: naming the row whose id is no text and no whole number, or if there are not as many ids as rows.
    """
    given = as_list(ids)
    if len(given) != rows.n:
        raise RowError(f"{rows.n} rows and {len(given)} ids were given; give as many of each")
    return [None if id is None else name_of(id, f"row {rows.number(row)} has") for row, id in enumerate(given)]


def name_of(id: Any, who: str) -> str:
    """Return an id as a text.

    Args:
        id: a text or a whole number.
        who: has it, in messages.

    Raises:
        RowError: if it is something else, or no text of Unicode.
    """
    if isinstance(id, bool) or not isinstance(id, str | int | np.integer):
        raise RowError(f"{who} the id {id!r}, expected a text or a whole number")
    if isinstance(id, str) and not id.isascii() and any("\ud800" <= it <= "\udfff" for it in id):
        raise RowError(f"{who} the id {id!r}, which is no text of Unicode; give another one")
    return str(id)


def settings_to_keep(settings: ModelSettings) -> dict[str, Any]:
    """Return settings as a journal keeps them, once they are known to make a model.

    Raises:
        ValueError: if there is no such method, or it is a learner, which a journal cannot keep.
    """
    if not isinstance(settings.method, str):
        raise ValueError(
            f"method is {settings.method!r}, expected one of {', '.join(METHODS)}: a folder keeps the name of a "
            "method, not a learner; to learn with it, choose OnlineClassifier or OnlineRegressor"
        )
    settings.new_model()
    return settings.to_json()


def kept_settings(journal: Journal) -> ModelSettings:
    """Return the settings in a journal that has some.

    Raises:
        JournalError: if they make no model.
    """
    try:
        return ModelSettings.of_json(journal.settings or {}, f"{journal.path}, settings")
    except ContentError as cause:
        raise JournalError(None, f"{cause}; {RESTORE}") from cause


def settle(journal: Journal, given: Mapping[str, Any], path: Path, new: Mapping[str, Any] | None) -> None:
    """Give a new model its settings, or check that those given are the ones it has.

    Args:
        journal: of the model.
        given: settings by name; None is not given.
        path: folder of the model, for messages.
        new: what `settings_to_keep` returned, for a new model; None if none may be made.

    Raises:
        StorageError: if there is a model of other settings, or none and it may not be made.
        ValueError: naming the setting given that no model can have.
    """
    if journal.settings is None:
        if journal.last_position:
            raise JournalError(None, f"{journal.path} has examples, but no settings of their model; {RESTORE}")
        if new is None:
            raise JournalError(
                None,
                f"{path} holds no model: making it was cut short before it was taught; delete it, and make it anew",
            )
        journal.set_settings(new)
        return
    settings = kept_settings(journal)
    for name, value in given.items():
        if settings.changed(**{name: value}) != settings:
            raise StorageError(
                None,
                f"{path} holds a model with {name} = {getattr(settings, name)!r}, but {value!r} was given; leave it "
                "out, or choose another folder",
            )
