"""Requests to learn that are learned together, and committed at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from perdure.online.answers import Answers
from perdure.online.columns import Columns, Table
from perdure.online.drawings import as_table
from perdure.online.encoding import to_json
from perdure.online.errors import RowError
from perdure.online.history import Kept, as_kept, as_list, names_given
from perdure.online.journal import Journal, check_length
from perdure.online.model import OnlineModel
from perdure.online.rows import Rows, as_rows, dictionaries, of_dictionaries
from perdure.online.values import category_of

_CATEGORIES = frozenset({str, type(None)})
"""Types of values that are kept as they are in a column of categories."""


class Request(NamedTuple):
    """Rows that are learned all or none."""

    kept: Kept
    ids: list[str | None]
    """Name of each row; a row whose name is known is passed over."""

    def rows(self) -> list[Request]:
        """Return each row as a request of its own."""
        return [Request(self.kept.take([row]), [id]) for row, id in enumerate(self.ids)]


class Learned(NamedTuple):
    """What became of a request's rows."""

    positions: list[int]
    """Of each row; of one that was known before, where it was learned."""
    places: list[int | None]
    """Of each row among the group's answers; None if it was known before."""


class Group(NamedTuple):
    """What became of requests that were learned together."""

    results: list[Learned | RowError]
    """Of each request."""
    answers: Answers
    """What was predicted for each row before it was learned."""
    n_learned: int


class _Plan(NamedTuple):
    """Which rows of a request are to be learned."""

    kept: Kept
    ids: list[str | None]
    rows: list[int]
    """Their numbers in the request."""


def request_of(X: Any, y: Any, ids: Any = None, features: str | None = None) -> Request:
    """Return rows as a request.

    Args:
        X: rows: dictionaries, an array or a data frame; a single dictionary with a single target is one row.
        y: a target for each row.
        ids: a name for each row, or None if they have none.
        features: of drawings, if the model learns those: then rows may be an array (rows, height, width) of bytes.

    Raises:
        RowError: naming the row that cannot be kept.
        JournalError: if a row is too long to be kept.
    """
    if isinstance(X, Mapping):
        X, y = [X], [y]
    rows, targets = as_rows(as_table(X, features)), as_list(y)
    if len(targets) != rows.n:
        raise RowError(f"{rows.n} rows and {len(targets)} targets were given; give as many of each")
    names: list[str | None] = [None] * rows.n if ids is None else names_given(ids, rows)
    kept = as_kept(rows, targets)
    for name, texts in zip(names, kept.texts, strict=True):
        check_length(name, *texts)
    return Request(kept, names)


def learn_group(model: OnlineModel, journal: Journal, requests: Sequence[Request]) -> Group:
    """Learn requests in order, and append to the journal what was learned, all of it or nothing.

    A row that cannot be learned refuses its own request only.

    Raises:
        JournalError: if it cannot be written; then the model has learned what the journal does not hold.
    """
    known = journal.positions([id for request in requests for id in request.ids if id is not None])
    plans, parts = _learn(model, requests, known)
    learned = [plan for plan in plans if isinstance(plan, _Plan)]
    texts = [(id, *text) for it in learned for id, text in zip(it.ids, _texts(it.kept, model.columns), strict=True)]
    positions = journal.append(texts) if texts else range(0)  # while the device computes
    known |= {id: position for (id, *_), position in zip(texts, positions, strict=True) if id is not None}
    results, start = [], 0
    for request, plan in zip(requests, plans, strict=True):
        if isinstance(plan, RowError):
            results.append(plan)
            continue
        own = {row: start + place for place, row in enumerate(plan.rows)}
        start += len(plan.rows)
        places = [own.get(row) for row in range(len(request.ids))]
        results.append(
            Learned(
                [
                    known[id or ""] if place is None else positions[place]
                    for id, place in zip(request.ids, places, strict=True)
                ],
                places,
            )
        )
    return Group(results, Answers(parts, len(texts), max(model.n_outputs, 1)), len(texts))


def _texts(kept: Kept, columns: Columns) -> list[tuple[str, str]]:
    """Return x and y of each row as the journal is to hold them: what was learned as a category is a text.

    So it stays one when the rows are forgotten that had made its column one of categories.
    """
    table = kept.rows.inputs
    assert isinstance(table, Table)
    categories = {
        name: [category_of(it) for it in values]
        for name, values in table.columns.items()
        if (known := columns.known.get(name)) is not None
        and known.is_category
        and not _CATEGORIES.issuperset(map(type, values))
    }
    if not categories:
        return kept.texts
    changes = [dict(zip(categories, row, strict=True)) for row in zip(*categories.values(), strict=True)]
    rows = zip(dictionaries(kept.rows), changes, kept.texts, strict=True)
    return [(to_json({**x, **change}), y) for x, change, (_, y) in rows]


def _learn(
    model: OnlineModel, requests: Sequence[Request], known: Mapping[str, int]
) -> tuple[list[_Plan | RowError], list[tuple[int, int, Any]]]:
    """Learn what can be learned; return what that is, and parts of the answers as `Answers` takes them."""
    taken = set(known)
    plans: list[_Plan] = []
    for request in requests:
        plans.append(_plan(request, taken))
        taken.update(id for id in plans[-1].ids if id is not None)
    wanted = [plan for plan in plans if plan.rows]
    if not wanted:
        return list(plans), []
    try:
        return list(plans), _learn_plans(model, wanted)
    except RowError as error:
        if len(requests) == 1:
            return [error], []
    return _learn_each(model, requests, known)


def _learn_each(
    model: OnlineModel, requests: Sequence[Request], known: Mapping[str, int]
) -> tuple[list[_Plan | RowError], list[tuple[int, int, Any]]]:
    """As `_learn`, one request after another: a row of one of them cannot be learned."""
    taken = set(known)
    results: list[_Plan | RowError] = []
    parts: list[tuple[int, int, Any]] = []
    for request in requests:
        plan, end = _plan(request, taken), parts[-1][1] if parts else 0
        try:
            new = _learn_plans(model, [plan]) if plan.rows else []
        except RowError as error:
            results.append(error)
            continue
        taken.update(id for id in plan.ids if id is not None)
        parts.extend((start + end, stop + end, outputs) for start, stop, outputs in new)
        results.append(plan)
    return results, parts


def _learn_plans(model: OnlineModel, plans: Sequence[_Plan]) -> list[tuple[int, int, Any]]:
    if len(plans) == 1:
        return model.predict_then_learn(plans[0].kept.rows, plans[0].kept.targets).parts
    targets = [y for plan in plans for y in plan.kept.targets]
    return model.predict_then_learn(_together([plan.kept.rows for plan in plans]), targets).parts


def _together(parts: Sequence[Rows]) -> Rows:
    numbers = np.concatenate([[rows.number(row) for row in range(rows.n)] for rows in parts])
    return of_dictionaries([x for rows in parts for x in dictionaries(rows)], numbers)


def _plan(request: Request, taken: set[str]) -> _Plan:
    """Return the rows whose names are not taken, the first of each name, and those without one."""
    rows, seen = [], set()
    for row, id in enumerate(request.ids):
        if id is None or (id not in taken and id not in seen):
            rows.append(row)
            if id is not None:
                seen.add(id)
    return _Plan(request.kept.take(rows), [request.ids[row] for row in rows], rows)
