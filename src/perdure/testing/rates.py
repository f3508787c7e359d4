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
    minimum, maximum = next((it.minimum, it.maximum) for it in hyperparameters(learner) if it.name == rate)
    others = [value / 2 or 0.1, minimum, 1e-3 * value, 1.0, 1e3 * value, min(maximum, 1e6)]
    return [it for it in dict.fromkeys(others) if it != value and minimum <= it <= maximum]


def still(learner: Learner[Any]) -> dict[str, float]:
    """Return the rates with which a learner should learn nothing: `learning_rate`, or without one all, at the minimum.

    The minimum is zero where a learner declares no other.
    """
    rates = rates_of(learner)
    names = {"learning_rate"} if "learning_rate" in rates else rates.keys()
    return {it.name: float(it.minimum) for it in hyperparameters(learner) if it.name in names}


def with_rates(learner: Learner[Any], scale: float) -> Learner[Any]:
    """Return a learner with all rates multiplied by a factor, or at their minimum if that is higher."""
    minima = {it.name: it.minimum for it in hyperparameters(learner)}
    return replaced(learner, {name: max(minima[name], scale * value) for name, value in rates_of(learner).items()})


def replaced(learner: Learner[Any], values: dict[str, float]) -> Learner[Any]:
    """Return a learner with other values of some rates."""
    return dataclasses.replace(learner, **values)
