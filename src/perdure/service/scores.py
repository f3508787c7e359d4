"""How right a model has been since the server began to serve it."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from perdure.metrics.prequential import ClassScores, NumberScores
from perdure.online.drift import DriftMarker, is_loaded, load_detector

_MOST_DRIFTS = 100
_LOAD_AFTER = 200
"""Examples before which no drift could be found, so that the detector need not be loaded."""
_RATE_SECONDS = 10.0


class Scores:
    """Counts what was predicted for each example before it was learned. One thread counts, others read `shown`."""

    def __init__(self, *, regression: bool, window: int = 500):
        """Begin before the first example."""
        self._scores: ClassScores | NumberScores = (NumberScores if regression else ClassScores)(window)
        self._drift: DriftMarker | None = None
        """None until the detector is loaded: nothing that is learned waits for it."""
        self._drifts: deque[int] = deque(maxlen=_MOST_DRIFTS)
        self._n_drifts = self._n_marked = 0
        self._lately: deque[tuple[float, int]] = deque()
        self.shown: dict[str, Any] = {}
        """All of it as JSON holds it; another dictionary after each count."""
        self._show()

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
        errors = []
        for place, target in enumerate(targets):
            if isinstance(self._scores, ClassScores):
                number = numbers[place]
                share = float(answers[place, number]) if number is not None and number < answers.shape[1] else 0.0
                self._scores.add(predictions[place], target, share)
                errors.append(float(predictions[place] != target))
            else:
                shown = float(np.ravel(target)[0])
                predicted = float(answers[place, 0]) if answers.shape[1] else 0.0
                self._scores.add(predicted, shown)
                errors.append(abs(shown - predicted))
        self._mark(errors, positions)
        self._lately.append((time.monotonic(), len(targets)))
        self._show()

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

    def _show(self) -> None:
        now = time.monotonic()
        while self._lately and self._lately[0][0] < now - _RATE_SECONDS:
            self._lately.popleft()
        scores = self._scores
        shown: dict[str, Any] = {
            "counted": scores.n,
            "examples_per_second": sum(n for _, n in self._lately) / _RATE_SECONDS,
            "recent": scores.curve.values[-1] if scores.curve.values else None,
            "metrics": {name: finite(value) for name, value in scores.metrics.items()} if scores.n else {},
            "drifts": list(self._drifts),
        }
        if isinstance(scores, ClassScores):
            shown["recall"] = [{"class": label, "recall": value} for label, value in scores.recall.items()]
        self.shown = shown


def finite(value: float) -> float | None:
    """Return a number as JSON holds it; what is none is null."""
    return value if math.isfinite(value) else None
