"""Are rows, targets and names what can be learned, and not too long?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from perdure.service.limits import Limits
from perdure.service.problems import ProblemError, pointer

_PLAIN = frozenset({float, int, str, bool, type(None)})
_NO_TEXT = frozenset({float, int, bool, type(None)})


def check_row(x: Mapping[str, Any], limits: Limits, *place: str | int) -> None:
    """Check that a row holds plain values, not too many and not too long.

    Raises:
        ProblemError: naming the column.
    """
    if len(x) > limits.columns:
        raise ProblemError(
            "bad-row",
            f"{pointer(*place)} has {len(x):,} columns, expected at most {limits.columns:,}; leave some out",
            field=pointer(*place),
        )
    types = set(map(type, x.values()))
    if float in types:
        _check_numbers(x, *place)
    if _NO_TEXT.issuperset(types) and max(map(len, x), default=0) <= limits.name:
        return
    for name, value in x.items():
        if len(name) > limits.name:
            raise ProblemError(
                "bad-row",
                f"{pointer(*place)} has a column whose name has {len(name):,} characters, expected at most "
                f"{limits.name:,}; shorten it",
                field=pointer(*place),
            )
        if type(value) not in _PLAIN:
            raise ProblemError(
                "bad-row",
                f"column {name!r} is {'a list' if isinstance(value, list) else 'an object'}, expected a number, a "
                "text, true, false or null; give each of its values a column of its own",
                field=pointer(*place, name),
            )
        if isinstance(value, str) and len(value) > limits.text:
            raise ProblemError(
                "bad-row",
                f"column {name!r} has {len(value):,} characters, expected at most {limits.text:,}; shorten it",
                field=pointer(*place, name),
            )


def _check_numbers(x: Mapping[str, Any], *place: str | int) -> None:
    """Refuse what Python reads as a number, but JSON has not."""
    if math.isfinite(sum(it for it in x.values() if type(it) is float)):
        return
    for name, value in x.items():
        if type(value) is float and not math.isfinite(value):
            raise ProblemError(
                "bad-row",
                f"column {name!r} is {value}, expected a finite number; give null for a missing value",
                field=pointer(*place, name),
            )


def check_target(y: Any, limits: Limits, *place: str | int, regression: bool) -> None:
    """Check that a target is a class, or numbers for regression.

    Raises:
        ProblemError: if it is neither.
    """
    if regression:
        values = y if isinstance(y, list) else [y]
        if values and len(values) <= limits.columns and all(type(it) in (int, float) for it in values):
            return
        expected = "a number, or a list of numbers"
    elif type(y) in (str, int, float, bool):
        if not isinstance(y, str) or len(y) <= limits.text:
            return
        expected = f"a text of at most {limits.text:,} characters"
    else:
        expected = "a class: a text, a number, true or false"
    text = "a text" if regression or not isinstance(y, str) else f"a text of {len(y):,} characters"
    given = {list: "a list", dict: "an object", type(None): "missing", str: text, bool: "true or false"}
    raise ProblemError(
        "bad-row",
        f"{pointer(*place)} is {given.get(type(y), 'a number')}, expected {expected}; correct it",
        field=pointer(*place),
    )


def check_id(id: str | None, limits: Limits, *place: str | int) -> None:
    """Check that a name of an example is not too long.

    Raises:
        ProblemError: if it is.
    """
    if id is not None and len(id) > limits.name:
        raise ProblemError(
            "bad-body",
            f"{pointer(*place)} has {len(id):,} characters, expected at most {limits.name:,}; shorten it",
            field=pointer(*place),
        )


def check_rows(n_rows: int, limits: Limits, place: str) -> None:
    """Check that there are not too many rows.

    Raises:
        ProblemError: if there are.
    """
    if n_rows > limits.rows:
        raise ProblemError(
            "too-large",
            f"{n_rows:,} rows were given, expected at most {limits.rows:,}; send several requests",
            field=place,
        )
