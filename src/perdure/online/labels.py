"""The classes in a column of a file: are they rather numbers to be learned?"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np

from perdure.core import PerdureWarning
from perdure.storage.reading import ContentError

_FEW = 20
"""Different whole numbers that surprise nobody as classes."""
_ROWS_OF_A_CLASS = 10
"""Rows for each number above which it passes for a class."""


def has_fraction(label: Any) -> bool:
    """Tell whether a label is a number that is not whole."""
    return isinstance(label, float) and math.isfinite(label) and label != round(label)


class LabelColumn:
    """Looks at a column of classes, piece by piece."""

    def __init__(self, name: str, remedy: str):
        """Begin before the first row.

        Args:
            name: of the column.
            remedy: what to do to learn numbers.
        """
        self._name = name
        self._remedy = remedy
        self._numbers: set[Any] = set()
        self._n_rows = 0

    def check(self, labels: Iterable[Any]) -> None:
        """Look at the labels of further rows.

        Raises:
            ContentError: if one is a number with a fraction.
        """
        values: list[Any] = labels.tolist() if isinstance(labels, np.ndarray) else list(labels)
        for label in values:
            if has_fraction(label):
                raise ContentError(
                    f"column {self._name!r} holds numbers such as {label}, expected classes; to learn numbers, "
                    f"{self._remedy}"
                )
        self._n_rows += len(values)
        self._numbers.update(it for it in values if isinstance(it, int | float) and not isinstance(it, bool))

    def warn(self) -> None:
        """Warn if there are so many different numbers that they are hardly classes."""
        if len(self._numbers) > max(_FEW, self._n_rows / _ROWS_OF_A_CLASS):
            warnings.warn(
                f"column {self._name!r} holds {len(self._numbers):,} different numbers in {self._n_rows:,} rows, and "
                f"each was learned as a class; to learn numbers, {self._remedy}",
                PerdureWarning,
                stacklevel=3,
            )
