"""What a model predicted for rows that it has learned since."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float


class Answers:
    """What was predicted for rows before they were learned; it may still be computed."""

    def __init__(self, parts: Sequence[tuple[int, int, Any]], n_rows: int, n_outputs: int):
        """Take up parts: where each begins and ends, and what is on the device for it."""
        self.parts = list(parts)
        self._shape = (n_rows, n_outputs)

    def wait(self) -> Float[np.ndarray, "rows outputs"]:
        """Return probabilities of the classes known after the rows, in the order of their appearance, or targets."""
        answers = np.zeros(self._shape, np.float32)
        for start, stop, outputs in self.parts:
            width = min(self._shape[1], outputs.shape[1])
            answers[start:stop, :width] = np.asarray(outputs)[: stop - start, :width]
        return answers


def predicted(answers: Float[np.ndarray, "rows outputs"], classes: Sequence[Any]) -> list[Any]:
    """Return the most probable class of each row; None where no class had appeared, whose probabilities are all 0."""
    if not classes or not answers.shape[1]:
        return [None] * len(answers)
    best = np.where(answers.any(axis=1), answers.argmax(axis=1), -1)
    return [classes[place] if place >= 0 else None for place in best.tolist()]
