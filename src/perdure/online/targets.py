"""Classes and numbers to be learned, checked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64

from perdure.online.errors import RowError

LARGEST = float(np.finfo(np.float32).max)
"""Largest number that float32 holds."""


class Classes:
    """Classes in the order in which they appeared, each with its number."""

    def __init__(self) -> None:
        """Begin with none."""
        self.labels: list[Any] = []
        self._numbers: dict[Any, int] = {}

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.labels)

    def __contains__(self, label: Any) -> bool:
        """Tell whether a class has appeared."""
        return label in self._numbers

    def number(self, label: Any) -> int | None:
        """Return the number of a class; None if it has not appeared."""
        return self._numbers.get(label)

    def numbers(self, labels: Iterable[Any]) -> list[int]:
        """Return the numbers of classes that have appeared."""
        return [self._numbers[it] for it in labels]

    def add(self, labels: Iterable[Any]) -> None:
        """Give a number to each class that has none."""
        for label in labels:
            if label not in self._numbers:
                self._numbers[label] = len(self.labels)
                self.labels.append(label)

    def checked(self, y: Any, first_row: int = 0) -> list[Any]:
        """Return the classes of rows as Python objects; none is taken up.

        Args:
            y: a class for each row.
            first_row: number of the first row, for messages.

        Raises:
            RowError: naming the row whose class is missing, cannot be told from others by `==`, or is of another kind
                than those before: a number among texts, say.
        """
        labels = [it.item() if isinstance(it, np.generic) else it for it in y]
        kind = _kind(self.labels[0]) if self.labels else None
        for row, label in enumerate(labels, first_row):
            if label is None or label != label:
                raise RowError(f"row {row} has the class {label!r}, expected a class; drop the row, or name its class")
            _check_hashable(label, row)
            found = _kind(label)
            if kind is not None and found != kind:
                raise RowError(
                    f"row {row} has the class {label!r}, {found}, expected {kind}, as the classes before, such as "
                    f"{(self.labels or labels)[0]!r}; convert it"
                )
            kind = found
        return labels


def numbers(y: Any, n_targets: int | None, first_row: int = 0) -> Float64[np.ndarray, "rows targets"]:
    """Return targets for regression.

    Args:
        y: numbers (rows,) or (rows, targets).
        n_targets: as many as the rows before had; None if there were none.
        first_row: number of the first row, for messages.

    Raises:
        RowError: naming the row whose target is no finite number that fits float32, or not as many as before.
    """
    try:
        values = np.asarray(y, np.float64)
    except (TypeError, ValueError) as cause:
        raise RowError(f"{_first_that_is_no_number(y, first_row)}, expected a number; convert it") from cause
    values = values.reshape(len(values), -1)
    if n_targets is not None and values.shape[1] != n_targets:
        raise RowError(f"rows have {values.shape[1]} targets, expected {n_targets}, as the rows before")
    bad = ~(np.abs(values) <= LARGEST)
    if bad.any():
        row = int(bad.any(axis=1).argmax())
        shown = values[row, 0] if values.shape[1] == 1 else values[row].tolist()
        raise RowError(
            f"row {first_row + row} has the target {shown}, expected a finite number that fits float32; drop the row"
        )
    return values


def _check_hashable(label: Any, row: int) -> None:
    try:
        hash(label)
    except TypeError as cause:
        raise RowError(
            f"row {row} has the class {label!r} of type {type(label).__name__}, expected a text or a number"
        ) from cause


def _kind(label: Any) -> str:
    if isinstance(label, str):
        return "a text"
    if isinstance(label, bool | int | float | np.number | np.bool_):
        return "a number"
    return f"of type {type(label).__name__}"


def _first_that_is_no_number(y: Sequence[Any], first_row: int) -> str:
    for row, value in enumerate(y, first_row):
        try:
            np.asarray(value, np.float64)
        except (TypeError, ValueError):
            return f"row {row} has the target {value!r}"
    return "rows have different numbers of targets"
