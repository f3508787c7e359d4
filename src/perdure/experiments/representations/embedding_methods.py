"""The methods that are compared on standardized features, with rates that suit their number."""

from __future__ import annotations

from typing import Any

from perdure.core import Learner
from perdure.learners.averaged import AveragedER
from perdure.learners.er import ER
from perdure.learners.mer import MER
from perdure.learners.multi_timescale import MultiTimescaleMER
from perdure.learners.online import Online
from perdure.online.estimators import OnlineClassifier


def embedding_method(name: str, d: int, memory_size: int = 2_000) -> str | Learner[Any]:
    """Return a method for standardized features, as `OnlineClassifier` takes it.

    A step of SGD on an example with d features of variance 1 changes what a linear network answers to it by at most d
    times the rate, so rates are in proportion to 1 / d; those of replay are larger, since ER takes the mean over eleven
    examples, and MER goes a part of the way.

    Args:
        name: one of `METHODS`.
        d: features that vary, at least 1.
        memory_size: examples that a method with a memory keeps.
    """
    d = max(d, 1)
    if name == "online":
        return Online(2.0 / d)
    if name == "er":
        return ER(10.0 / d, memory_size, 10)
    if name == "mer":
        return MER(3.0 / d, memory_size, 10, beta=0.3, gamma=0.5, batches_per_example=5)
    if name == "averaged-er":
        return AveragedER(10.0 / d, memory_size, 10, 0.99)
    if name == "multi-timescale-mer":
        return MultiTimescaleMER(memory_size, 3.0 / d)
    return name


def embedding_classifier(method: str | Learner[Any], memory_size: int = 2_000, seed: int = 0) -> OnlineClassifier:
    """Return the classifier that is measured: linear, on features that come standardized."""
    return OnlineClassifier(
        method,
        memory_size=memory_size,
        hidden_sizes=(),
        standardize=False,
        allow_missing=False,
        random_state=seed,
    )
