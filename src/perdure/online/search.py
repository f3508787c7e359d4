"""Examples of a journal, the newest first, page by page."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from perdure.online.journal import Entry, Journal

_SCANNED = 50_000
"""Positions that one page looks at: a search that finds nothing comes to an end all the same."""
_LARGEST = 2**63 - 1


class Page(NamedTuple):
    """Some examples, and where the others begin."""

    examples: list[Entry]
    before: int | None
    """Ask for those before this position; None if there are none."""


def find_examples(
    journal: Journal,
    *,
    before: int | None = None,
    limit: int = 50,
    text: str | None = None,
    id: str | None = None,
    label: Any = None,
) -> Page:
    """Return the newest examples that were not forgotten.

    Args:
        journal: where to look.
        before: only those of positions before this one.
        limit: as many at most.
        text: only those in which it occurs, in a column's name or value, or in the class; whether letters are large
            does not matter, if they are ASCII.
        id: only the one of this id.
        label: only those of this class.

    Raises:
        JournalError: if the journal cannot be read.
    """
    conditions, values = ["position < ?", "position >= ?"], []
    if id is not None:
        conditions.append("id = ?")
        values.append(id)
    if label is not None:
        spellings = _spellings(label)
        conditions.append(f"y IN ({', '.join('?' * len(spellings))})")
        values.extend(spellings)
    if text:
        conditions.append("(instr(lower(x), lower(?)) OR instr(lower(y), lower(?)))")
        values.extend([json.dumps(text)[1:-1]] * 2)
    end = min(_LARGEST if before is None else before, journal.last_position + 1)
    start = 0 if id is not None else max(end - _SCANNED, 0)
    found = journal.newest(" AND ".join(conditions), end, start, *values, limit=limit)
    following = found[-1].position if len(found) == limit else start
    return Page(found, following if following > 1 else None)


def _spellings(label: Any) -> set[str]:
    """Return each text of JSON that stands for a class: numbers that are equal are one, and so are true and 1."""
    if not isinstance(label, int | float):
        return {json.dumps(label)}
    return {json.dumps(it) for it in (label, int(label), float(label), bool(label), -0.0) if it == label}
