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
        self._parts = parts
        self._shape = (n_rows, n_outputs)

    def wait(self) -> Float[np.ndarray, "rows outputs"]:
        """Return probabilities of the classes known after the rows, in the order of their appearance, or targets."""
        answers = np.zeros(self._shape, np.float32)
        for start, stop, outputs in self._parts:
            width = min(self._shape[1], outputs.shape[1])
            answers[start:stop, :width] = np.asarray(outputs)[: stop - start, :width]
        return answers
