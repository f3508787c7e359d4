"""Classes and numbers to be learned, checked."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64

from perdure.online.errors import RowError
from perdure.storage.reading import shortened

_TOO_LARGE = 2**63
LARGEST = float(np.finfo(np.float32).max)
"""Largest number that float32 holds."""


class Classes:
    """Classes in the order in which they appeared, each with its number."""

    def __init__(self) -> None:
        """Begin with none."""
        self.labels: list[Any] = []
        self.numbers_by_label: dict[Any, int] = {}

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.labels)

    def __contains__(self, label: Any) -> bool:
        """Tell whether a class has appeared."""
        return label in self.numbers_by_label

    def number(self, label: Any) -> int | None:
        """Return the number of a class; None if it has not appeared."""
        return self.numbers_by_label.get(label)

    def numbers(self, labels: Iterable[Any]) -> list[int]:
        """Return the numbers of classes that have appeared."""
        return [self.numbers_by_label[it] for it in labels]

    def add(self, labels: Iterable[Any]) -> None:
        """Give a number to each class that has none."""
        for label in labels:
            if label not in self.numbers_by_label:
                self.numbers_by_label[label] = len(self.labels)
                self.labels.append(label)

    def checked(self, y: Any, number: Callable[[int], int] = int) -> list[Any]:
        """Return the classes of rows as Python objects; none is taken up.

        Args:
            y: a class for each row.
            number: from the place of a row to its number in messages.

        Raises:
            RowError: naming the row whose class is missing, cannot be told from others by `==`, or is of another kind
                than those before: a number among texts, say.
        """
        labels = [it.item() if isinstance(it, np.generic) else it for it in y]
        kind = _kind(self.labels[0]) if self.labels else None
        for row, label in enumerate(labels):
            _check_class(label, number, row)
            found = _kind(label)
            if kind is not None and found != kind:
                raise RowError(
                    f"row {number(row)} has the class {label!r}, {found}, expected {kind}, as the classes before, "
                    f"such as {(self.labels or labels)[0]!r}; convert it",
                    row=number(row),
                )
            kind = found
        return labels


def numbers(y: Any, n_targets: int | None, number: Callable[[int], int] = int) -> Float64[np.ndarray, "rows targets"]:
    """Return targets for regression.

    Args:
        y: numbers (rows,) or (rows, targets).
        n_targets: as many as the rows before had; None if there were none.
        number: from the place of a row to its number in messages.

    Raises:
        RowError: naming the row whose target is no finite number that fits float32, or not as many as before.
    """
    try:
        values = np.asarray(y, np.float64)
    except (TypeError, ValueError, OverflowError) as cause:
        raise RowError(f"{_first_that_is_no_number(y, number)}, expected a number; convert it") from cause
    values = values.reshape(len(values), math.prod(values.shape[1:]))
    if not values.shape[1]:
        raise RowError("rows have no targets, expected at least one number for each")
    if n_targets is not None and values.shape[1] != n_targets:
        raise RowError(f"rows have {values.shape[1]} targets, expected {n_targets}, as the rows before")
    bad = ~(np.abs(values) <= LARGEST)
    if bad.any():
        row = int(bad.any(axis=1).argmax())
        shown = values[row, 0] if values.shape[1] == 1 else values[row].tolist()
        raise RowError(
            f"row {number(row)} has the target {shown}, expected a finite number that fits float32; drop the row",
            row=number(row),
        )
    return values


def as_array(y: Any) -> np.ndarray:
    """Return targets as an array, of Python objects if it must be.

    Raises:
        RowError: naming the row that has not as many as the others.
    """
    if isinstance(y, Sequence):
        sizes = [np.size(it) if isinstance(it, Sequence | np.ndarray) and not isinstance(it, str) else None for it in y]
        for row, size in enumerate(sizes):
            if size != sizes[0]:
                shown = shortened(repr(y[row]))
                raise RowError(f"row {row} has the target {shown}, expected as many numbers as row 0 has", row=row)
    return np.asarray(y)


def _check_class(label: Any, number: Callable[[int], int], row: int) -> None:
    try:
        hash(label)
    except TypeError as cause:
        raise RowError(
            f"row {number(row)} has the class {label!r} of type {type(label).__name__}, expected a text or a number",
            row=number(row),
        ) from cause
    if type(label).__name__ in ("NAType", "NaTType") or label is None or label != label:
        raise RowError(
            f"row {number(row)} has the class {label!r}, expected a class; drop the row, or name its class",
            row=number(row),
        )
    if isinstance(label, int | float) and not abs(label) < _TOO_LARGE:
        shown = label if isinstance(label, float) else f"a whole number of {label.bit_length()} bits"
        raise RowError(
            f"row {number(row)} has the class {shown}, expected a text, or a number of at most 64 bits; convert it",
            row=number(row),
        )


def _kind(label: Any) -> str:
    if isinstance(label, str):
        return "a text"
    if isinstance(label, bool | int | float | np.number | np.bool_):
        return "a number"
    return f"a {type(label).__name__}"


def _first_that_is_no_number(y: Sequence[Any], number: Callable[[int], int]) -> str:
    for row, value in enumerate(y):
        try:
            np.asarray(value, np.float64)
        except (TypeError, ValueError):
            return f"row {number(row)} has the target {shortened(repr(value))}"
        except OverflowError:  # a whole number of more than 308 digits
            return f"row {number(row)} has a target that does not fit float32"
    return "rows have different numbers of targets"
