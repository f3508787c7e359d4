"""What a model's memory holds."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np

from perdure.memory import BalancedBuffer, Buffer, capacity, filled
from perdure.online.model import OnlineModel


class MemoryContent(NamedTuple):
    """What the largest memory of a model holds."""

    size: int
    """Examples that it can hold."""
    labels: list[Any]
    """Class of each example that it holds; None for regression."""


def memory_of(model: OnlineModel) -> MemoryContent | None:
    """Return what the largest memory of a model holds; None if it has none, or has learned nothing yet."""
    is_memory = lambda node: isinstance(node, Buffer | BalancedBuffer)  # noqa: E731
    state = model.state
    found = [] if state is None else [it for it in jax.tree.leaves(state.learner, is_leaf=is_memory) if is_memory(it)]
    if not found:
        return None
    largest = max(found, key=capacity)
    n = int(filled(largest))
    labels = [None] * n if model.regression else _labels(largest.examples, n, model.classes)
    return MemoryContent(capacity(largest), labels)


def _labels(examples: Any, n: int, classes: list[Any]) -> list[Any]:
    y = np.asarray(examples.y)[:n]
    return [classes[number] for number in y.tolist()]
