"""A learner with other rates than its own."""

from __future__ import annotations

import dataclasses
from typing import Any

from perdure.core import Learner
from perdure.learners.hyperparameters import hyperparameters


def rates_of(learner: Learner[Any]) -> dict[str, float]:
    """Return a learner's rates by name."""
    return {it.name: float(getattr(learner, it.name)) for it in hyperparameters(learner) if it.kind is float}


def other_values(learner: Learner[Any], rate: str) -> list[float]:
    """Return values that a rate may have, near its own and far from it."""
    value = rates_of(learner)[rate]
    maximum = next(it.maximum for it in hyperparameters(learner) if it.name == rate)
    others = [value / 2 or 0.1, 0.0, 1e-3 * value, 1.0, 1e3 * value, min(maximum, 1e6)]
    return [it for it in dict.fromkeys(others) if it != value and it <= maximum]


def still(learner: Learner[Any]) -> dict[str, float]:
    """Return the rates with which a learner should learn nothing: `learning_rate` is zero, or without one all are."""
    rates = rates_of(learner)
    return dict.fromkeys(["learning_rate"] if "learning_rate" in rates else rates, 0.0)


def with_rates(learner: Learner[Any], scale: float) -> Learner[Any]:
    """Return a learner with all rates multiplied by a factor."""
    return replaced(learner, {name: scale * value for name, value in rates_of(learner).items()})


def replaced(learner: Learner[Any], values: dict[str, float]) -> Learner[Any]:
    """Return a learner with other values of some rates."""
    return dataclasses.replace(learner, **values)
