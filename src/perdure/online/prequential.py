"""Test, then learn: every row is answered before it is learned, and what counts are those answers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from perdure.metrics.prequential import ClassScores, Curve, NumberScores
from perdure.online.answers import Answers
from perdure.online.drift import DriftMarker
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
        report: called now and then, and at the end, with the number of rows counted and the metrics so far.

    Raises:
        RowError: naming row and column of what cannot be learned.
        ValueError: if window or delay is out of range.

    Source: Gama, Sebastião & Rodrigues (2013), "On evaluating stream learning algorithms", Machine Learning 90.
    """
    rows, targets = as_rows(X), model.checked_targets(y)
    model.begin(X, rows)
    meter = Meter(model.begun(), window=window, delay=delay)
    for start in range(0, rows.n, _PIECE):
        places = np.arange(start, min(start + _PIECE, rows.n))
        meter.learn(rows.take(places), targets[places])
        if report is not None and meter.scores.n:
            report(meter.scores.n, meter.scores.metrics)
    meter.finish()
    if report is not None:
        report(meter.scores.n, meter.scores.metrics)
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
        self._drift = DriftMarker()
        self._last: tuple[Answers, Any] | None = None
        self.scores: ClassScores | NumberScores = (NumberScores if model.regression else ClassScores)(window)

    def learn(self, rows: Rows, targets: Sequence[Any] | np.ndarray) -> None:
        """Answer rows, and learn them, or with a delay those whose time has come.

        Raises:
            RowError: naming row and column of what cannot be learned.
        """
        if not self._delay:
            answers = self._model.predict_then_learn(rows, targets)
            self._count_last()  # while these are computed
            self._last = (answers, targets)
            return
        for place in range(rows.n):
            self._learn_waiting(self._delay)
            row, target = rows.take(np.asarray([place])), targets[place : place + 1]
            self._count(self._model.predict(row), target)
            self._waiting.append((row, target))

    def finish(self) -> None:
        """Learn the rows whose targets were still to come, and count what has not been counted."""
        self._learn_waiting(0)
        self._count_last()

    def result(self) -> Prequential:
        """Return what was measured."""
        return Prequential(self.scores, self._drift.rows)

    def _learn_waiting(self, most: int) -> None:
        """Learn rows until no more than `most` wait."""
        while len(self._waiting) > most:
            self._model.learn(*self._waiting.popleft())

    def _count_last(self) -> None:
        """Count the answers to the last rows that were learned."""
        if self._last is not None:
            answers, targets = self._last
            self._count(answers.wait(), targets)
            self._last = None

    def _count(self, answers: Float[np.ndarray, "rows outputs"], targets: Sequence[Any] | np.ndarray) -> None:
        count = self._count_numbers if self._model.regression else self._count_classes
        for error in count(answers, targets):
            self._drift.add(error)

    def _count_numbers(self, answers: Float[np.ndarray, "rows outputs"], targets: Any) -> Iterator[float]:
        """Count answers, and yield the absolute error of each."""
        assert isinstance(self.scores, NumberScores)
        shown = np.asarray(targets, np.float64).reshape(len(answers), -1)[:, 0]
        predicted = answers[:, 0] if answers.shape[1] else np.zeros(len(answers))
        for answer, target in zip(predicted.tolist(), shown.tolist(), strict=True):
            self.scores.add(answer, target)
            yield abs(answer - target)

    def _count_classes(self, answers: Float[np.ndarray, "rows outputs"], targets: Any) -> Iterator[float]:
        """Count answers, and yield 0 for each that is right, 1 for each that is wrong."""
        assert isinstance(self.scores, ClassScores)
        classes, n_outputs = self._model.classes, answers.shape[1]
        # All zeros is no answer: no class had appeared.
        best = np.where(answers.any(axis=1), answers.argmax(axis=1) if n_outputs else -1, -1).tolist()
        for place, (number, target) in enumerate(zip(best, targets, strict=True)):
            predicted = classes[number] if number >= 0 else None
            shown = self._model.number_of(target)
            is_known = shown is not None and shown < n_outputs
            self.scores.add(predicted, target, float(answers[place, shown]) if is_known else 0.0)
            yield float(predicted != target)


def compare(
    models: Mapping[str, OnlineModel],
    pieces: Iterable[tuple[Rows, Sequence[Any] | np.ndarray]],
    *,
    window: int = 500,
    delay: int = 0,
    check: Callable[[], None] = lambda: None,
) -> dict[str, Prequential]:
    """Return what several models are worth on one stream that each learns, by the models' names.

    Args:
        models: by names of your choice.
        pieces: rows and their targets.
        window: rows of the windowed curve, at least 1.
        delay: rows answered between a row's answer and its target.
        check: called before a model learns a piece; what it raises ends all of it.

    Raises:
        RowError: naming row and column of what cannot be learned.
        ValueError: if window or delay is out of range.
    """
    meters = {name: Meter(model, window=window, delay=delay) for name, model in models.items()}
    for rows, targets in pieces:
        for meter in meters.values():
            check()
            meter.learn(rows, targets)
    for meter in meters.values():
        check()
        meter.finish()
    return {name: meter.result() for name, meter in meters.items()}
