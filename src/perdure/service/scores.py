"""How right a model has been since the server began to serve it."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Sequence
from threading import Lock
from typing import Any

import numpy as np
from jaxtyping import Float

from perdure.metrics.prequential import ClassScores, NumberScores
from perdure.online.drift import DriftMarker, is_loaded, load_detector

_MOST_DRIFTS = 100
_LOAD_AFTER = 200
"""Examples before which no drift could be found, so that the detector need not be loaded."""
_RATE_SECONDS = 10


class Scores:
    """Counts what was predicted for each example before it was learned."""

    def __init__(self, *, regression: bool, window: int = 500):
        """Begin before the first example."""
        self._scores: ClassScores | NumberScores = (NumberScores if regression else ClassScores)(window)
        self._drift: DriftMarker | None = None
        """None until the detector is loaded: nothing that is learned waits for it."""
        self._drifts: deque[int] = deque(maxlen=_MOST_DRIFTS)
        self._n_drifts = self._n_marked = 0
        self._lately: deque[list[float]] = deque(maxlen=_RATE_SECONDS)
        """Seconds in which something was counted, and how much."""
        self._lock = Lock()

    def count(
        self,
        answers: Float[np.ndarray, "rows outputs"],
        predictions: Sequence[Any],
        targets: Sequence[Any],
        numbers: Sequence[int | None],
        positions: Sequence[int],
    ) -> None:
        """Count examples.

        Args:
            answers: what was predicted for each, as probabilities or targets.
            predictions: the same as classes.
            targets: what came.
            numbers: of the classes that came among the outputs; of no matter for regression.
            positions: of the examples.
        """
        with self._lock:
            errors = [
                self._count_one(answers[place], predictions[place], target, numbers[place])
                for place, target in enumerate(targets)
            ]
            self._mark(errors, positions)
            second = float(int(time.monotonic()))
            if not self._lately or self._lately[-1][0] != second:
                self._lately.append([second, 0.0])
            self._lately[-1][1] += len(targets)

    def _count_one(
        self, answer: Float[np.ndarray, " outputs"], prediction: Any, target: Any, number: int | None
    ) -> float:
        """Count an example; return the error that was made."""
        if isinstance(self._scores, ClassScores):
            share = float(answer[number]) if number is not None and number < len(answer) else 0.0
            self._scores.add(prediction, target, share)
            return float(prediction != target)
        shown = float(np.ravel(target)[0])
        self._scores.add(float(answer[0]), shown)
        return abs(shown - float(answer[0]))

    def _mark(self, errors: Sequence[float], positions: Sequence[int]) -> None:
        """Look for drift in the errors at positions."""
        if self._drift is None:
            if self._scores.n >= _LOAD_AFTER:
                load_detector()
            if not is_loaded():
                return
            self._drift = DriftMarker()
        for error in errors:
            self._drift.add(error)
        self._n_marked += len(errors)
        found = self._drift.rows
        self._drifts.extend(positions[row - self._n_marked - 1] for row in found[self._n_drifts :])
        self._n_drifts = len(found)

    def shown(self) -> dict[str, Any]:
        """Return all of it as JSON holds it."""
        with self._lock:
            scores, now = self._scores, time.monotonic()
            lately = sum(n for second, n in self._lately if second > now - _RATE_SECONDS)
            shown: dict[str, Any] = {
                "counted": scores.n,
                "examples_per_second": lately / _RATE_SECONDS,
                "recent": finite(scores.curve.values[-1]) if scores.curve.values else None,
                "metrics": {name: finite(value) for name, value in scores.metrics.items()} if scores.n else {},
                "drifts": list(self._drifts),
            }
            if isinstance(scores, ClassScores):
                shown["recall"] = [{"class": label, "recall": value} for label, value in scores.recall.items()]
            return shown


def finite(value: float) -> float | None:
    """Return a number as JSON holds it; what is none is null."""
    return value if math.isfinite(value) else None


def all_finite(values: list[Any]) -> list[Any]:
    """Return numbers, or lists of them, as JSON holds them."""
    return [all_finite(it) if isinstance(it, list) else finite(it) for it in values]
