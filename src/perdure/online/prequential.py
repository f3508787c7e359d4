"""Test, then learn: every row is answered before it is learned, and what counts are those answers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from perdure.metrics.prequential import ClassScores, Curve, NumberScores
from perdure.online.model import OnlineModel
from perdure.online.rows import Rows, as_rows

if TYPE_CHECKING:  # scikit-learn takes long to load, which the command line does without
    from perdure.online.estimators import OnlineEstimator

_PIECE = 1_024
"""Rows learned between two reports."""


@dataclass(frozen=True)
class Prequential:
    """What a model was worth on a stream that it learned."""

    scores: ClassScores | NumberScores
    """Sums behind the metrics."""
    drifts: tuple[int, ...]
    """Numbers of rows after which the errors had changed, as ADWIN finds it; none without the extra `river`."""

    @property
    def metrics(self) -> dict[str, float]:
        """Accuracy, balanced accuracy, Cohen's kappa and log loss; for numbers, mae, rmse and R²."""
        return self.scores.metrics

    @property
    def recall(self) -> dict[Any, float]:
        """Of each class, the part of its rows that was predicted right; none for numbers."""
        return self.scores.recall if isinstance(self.scores, ClassScores) else {}

    @property
    def curve(self) -> Curve:
        """Accuracy, or mean absolute error, over the last rows."""
        return self.scores.curve

    def __repr__(self) -> str:
        """Return the metrics in one line."""
        figures = ", ".join(f"{name} {value:.4g}" for name, value in self.metrics.items())
        changes = f"; errors changed after rows {', '.join(map(str, self.drifts))}" if self.drifts else ""
        return f"Prequential({self.scores.n:,} rows: {figures}{changes})"


def prequential(
    model: OnlineEstimator,
    X: Any,
    y: Any,
    *,
    window: int = 500,
    delay: int = 0,
    report: Callable[[int, dict[str, float]], None] | None = None,
) -> Prequential:
    """Answer each row, then learn it, and return how right the answers were.

    The model continues from what it has learned before.

    Args:
        model: an `OnlineClassifier` or an `OnlineRegressor`.
        X: rows, as in `OnlineClassifier.fit`.
        y: a target for each row; one number each for regression.
        window: rows of the windowed curve, at least 1.
        delay: the target of a row is known, and learned, only after this many further rows were answered.
        report: called now and then with the number of rows learned and the metrics so far.

    Raises:
        RowError: naming row and column of what cannot be learned.
        ValueError: if window or delay is out of range.

    Source: Gama, Sebastião & Rodrigues (2013), "On evaluating stream learning algorithms", Machine Learning 90.
    """
    rows, targets = as_rows(X), model.checked_targets(y)
    meter = Meter(model.begun(), window=window, delay=delay)
    model.check_features(X, rows)
    for start in range(0, rows.n, _PIECE):
        places = np.arange(start, min(start + _PIECE, rows.n))
        meter.learn(rows.take(places), targets[places])
        if report is not None:
            report(meter.scores.n, meter.scores.metrics)
    meter.finish()
    return meter.result()


class Meter:
    """Measures a model on rows that come piece by piece, and has it learn them."""

    def __init__(self, model: OnlineModel, *, window: int = 500, delay: int = 0):
        """Begin before the first row.

        Args:
            model: what answers and learns.
            window: rows of the windowed curve, at least 1.
            delay: rows answered between a row's answer and its target.

        Raises:
            ValueError: if window or delay is out of range.
        """
        if window < 1 or delay < 0:
            raise ValueError(f"window = {window} and delay = {delay} were given, expected window ≥ 1 and delay ≥ 0")
        self._model = model
        self._delay = delay
        self._waiting: deque[tuple[Rows, Any]] = deque()
        self._found = _drift_finder()
        self._drifts: list[int] = []
        self.scores: ClassScores | NumberScores = (NumberScores if model.regression else ClassScores)(window)

    def learn(self, rows: Rows, targets: Sequence[Any] | np.ndarray) -> None:
        """Answer rows, and learn them, or with a delay those whose time has come.

        Raises:
            RowError: naming row and column of what cannot be learned.
        """
        if not self._delay:
            for answer, target in zip(self._model.learn(rows, targets), targets, strict=True):
                self._count(answer, target)
            return
        for place in range(rows.n):
            self._learn_waiting(self._delay)
            row = rows.take(np.asarray([place]))
            self._count(self._model.predict(row)[0], targets[place])
            self._waiting.append((row, targets[place : place + 1]))

    def finish(self) -> None:
        """Learn the rows whose targets were still to come."""
        self._learn_waiting(0)

    def result(self) -> Prequential:
        """Return what was measured."""
        return Prequential(self.scores, tuple(self._drifts))

    def _learn_waiting(self, most: int) -> None:
        """Learn rows until no more than `most` wait."""
        while len(self._waiting) > most:
            self._model.learn(*self._waiting.popleft())

    def _count(self, answer: np.ndarray, target: Any) -> None:
        error = self._count_number(answer, target) if self._model.regression else self._count_class(answer, target)
        if self._found(error):
            self._drifts.append(self.scores.n)

    def _count_number(self, answer: np.ndarray, target: Any) -> float:
        assert isinstance(self.scores, NumberScores)
        shown = float(np.ravel(target)[0])
        predicted = float(answer[0]) if len(answer) else 0.0
        self.scores.add(predicted, shown)
        return abs(predicted - shown)

    def _count_class(self, answer: np.ndarray, target: Any) -> float:
        assert isinstance(self.scores, ClassScores)
        number = self._model.number_of(target)
        predicted = self._model.classes[int(answer.argmax())] if answer.any() else None
        probability = float(answer[number]) if number is not None and number < len(answer) else 0.0
        self.scores.add(predicted, target, probability)
        return float(predicted != target)


def _drift_finder() -> Callable[[float], bool]:
    """Return what tells after each error whether the errors have changed."""
    try:
        from river.drift import ADWIN  # pyright: ignore[reportMissingImports]
    except ImportError:
        return lambda error: False
    detector = ADWIN()

    def found(error: float) -> bool:
        detector.update(error)
        return bool(detector.drift_detected)

    return found
