"""How well a model predicts each example before it learns it: test, then learn."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import numpy as np
from jaxtyping import Float, Float64

_SMALLEST = 1e-15
"""Probabilities are taken as at least this, so that one mistake made with certainty costs a finite loss."""

CLASS_METRICS = ("accuracy", "balanced_accuracy", "kappa", "log_loss")
NUMBER_METRICS = ("mae", "rmse", "r2")

MOST_POINTS = 2_000
"""Points of a curve at most; of a longer stream every second, fourth, … row is kept."""


@dataclass
class Curve:
    """Values over the rows of a stream that may go on for ever, at most `MOST_POINTS` of them."""

    rows: list[int] = field(default_factory=list)
    """Rows counted so far at each point."""
    values: list[float] = field(default_factory=list)
    spacing: int = 1
    """Rows between two points."""

    def add(self, row: int, value: float) -> None:
        """Take up the value after a row, if it falls on a point."""
        if row % self.spacing:
            return
        self.rows.append(row)
        self.values.append(value)
        if len(self.rows) > MOST_POINTS:
            self.spacing *= 2
            kept = [place for place, row in enumerate(self.rows) if row % self.spacing == 0]
            self.rows = [self.rows[place] for place in kept]
            self.values = [self.values[place] for place in kept]


class _Window:
    """Mean of the last values, summed without subtracting: one that leaves takes its rounding with it."""

    def __init__(self, size: int):
        """Begin empty."""
        self._size = size
        self._older: list[float] = []
        """The sum of the newest of the older values, of the two newest, …, of all of them, at the end."""
        self._newer: list[float] = []
        self._newer_sum = 0.0

    def add(self, value: float) -> float:
        """Take up a value; return the mean of the last `size` ones."""
        if len(self._older) + len(self._newer) == self._size:
            if not self._older:
                self._older = list(accumulate(reversed(self._newer)))
                self._newer, self._newer_sum = [], 0.0
            self._older.pop()
        self._newer.append(value)
        self._newer_sum += value
        older_sum = self._older[-1] if self._older else 0.0
        return (older_sum + self._newer_sum) / (len(self._older) + len(self._newer))


@dataclass
class ClassScores:
    """Running counts of predictions and classes, from which accuracy and the like are computed.

    Source: Dawid (1984), "Present Position and Potential Developments: Some Personal Views: Statistical Theory: The
    Prequential Approach"; Gama, Sebastião & Rodrigues (2013), "On evaluating stream learning algorithms".
    """

    window: int = 500
    """Rows of the windowed accuracy."""
    n: int = 0
    right: int = 0
    log_loss_sum: float = 0.0
    curve: Curve = field(default_factory=Curve)
    """Accuracy over the last rows."""
    _predicted: dict[Hashable, int] = field(default_factory=dict)
    _shown: dict[Hashable, int] = field(default_factory=dict)
    _right_of: dict[Hashable, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begin the window."""
        self._recent = _Window(self.window)

    def add(self, predicted: Any, shown: Any, probability: float) -> None:
        """Count a row.

        Args:
            predicted: the class that was predicted, None if none was known.
            shown: the class that came.
            probability: that the model gave to the class that came, 0..1.
        """
        is_right = predicted == shown
        self.n += 1
        self.right += is_right
        self.log_loss_sum -= math.log(max(probability, _SMALLEST))
        for counts, label in ((self._predicted, predicted), (self._shown, shown)):
            counts[label] = counts.get(label, 0) + 1
        self._right_of[shown] = self._right_of.get(shown, 0) + is_right
        self.curve.add(self.n, self._recent.add(float(is_right)))

    @property
    def accuracy(self) -> float:
        """Part of the rows that were predicted right, 0..1."""
        return self.right / self.n if self.n else float("nan")

    @property
    def log_loss(self) -> float:
        """Mean of −log p of the class that came, in nats."""
        return self.log_loss_sum / self.n if self.n else float("nan")

    @property
    def recall(self) -> dict[Hashable, float]:
        """Of each class, the part of its rows that was predicted right, 0..1."""
        return {label: self._right_of[label] / n for label, n in self._shown.items()}

    @property
    def balanced_accuracy(self) -> float:
        """Mean of the recall of all classes, 0..1."""
        return float(np.mean(list(self.recall.values()))) if self.n else float("nan")

    @property
    def kappa(self) -> float:
        """Cohen's kappa: 1 for no mistake, 0 for guessing by the frequency of the classes.

        Source: Cohen (1960), "A Coefficient of Agreement for Nominal Scales".
        """
        if not self.n:
            return float("nan")
        by_chance = sum(n * self._predicted.get(label, 0) for label, n in self._shown.items()) / self.n**2
        return (self.accuracy - by_chance) / (1 - by_chance) if by_chance < 1 else float("nan")

    @property
    def metrics(self) -> dict[str, float]:
        """All of them by name, `CLASS_METRICS`."""
        return {name: getattr(self, name) for name in CLASS_METRICS}


@dataclass
class NumberScores:
    """Running sums of errors, of one target."""

    window: int = 500
    n: int = 0
    curve: Curve = field(default_factory=Curve)
    """Mean absolute error over the last rows."""
    _absolute: float = 0.0
    _squared: float = 0.0
    _mean: float = 0.0
    _variation: float = 0.0

    def __post_init__(self) -> None:
        """Begin the window."""
        self._recent = _Window(self.window)

    def add(self, predicted: float, shown: float) -> None:
        """Count a row."""
        error = shown - predicted
        self.n += 1
        self._absolute += abs(error)
        self._squared += error**2
        away = shown - self._mean
        self._mean += away / self.n
        self._variation += away * (shown - self._mean)
        self.curve.add(self.n, self._recent.add(abs(error)))

    @property
    def metrics(self) -> dict[str, float]:
        """Mean absolute error, root mean squared error and R²."""
        if not self.n:
            return dict.fromkeys(NUMBER_METRICS, float("nan"))
        r2 = 1 - self._squared / self._variation if self._variation else float("nan")
        return {"mae": self._absolute / self.n, "rmse": (self._squared / self.n) ** 0.5, "r2": r2}


def windowed_means(values: Float[np.ndarray, "seeds N"], window: int) -> Float64[np.ndarray, "seeds N"]:
    """Return the mean of the last `window` values at each place, of fewer at the beginning.

    Sums are of blocks as long as the window, without subtracting: a value that leaves takes its rounding with it.

    Raises:
        ValueError: if the window is less than 1.
    """
    if window < 1:
        raise ValueError(f"window = {window}, expected at least 1")
    n_seeds, n = values.shape
    window = min(window, max(n, 1))
    blocks = np.pad(values.astype(np.float64), [(0, 0), (0, -n % window)]).reshape(n_seeds, -1, window)
    sums = np.cumsum(blocks, axis=2)
    sums[:, 1:, :-1] += np.cumsum(blocks[:, :-1, :0:-1], axis=2)[:, :, ::-1]  # what is left of the block before
    return sums.reshape(n_seeds, -1)[:, :n] / np.minimum(np.arange(1, n + 1), window)
