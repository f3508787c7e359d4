"""The combinations of hyper-parameters that a search tries."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np

from perdure.core import Learner
from perdure.learners.hyperparameters import Hyperparameter, numeric_hyperparameters
from perdure.records.tuning import LogUniform, Values
from perdure.streams.tasks import named_rng

Point = dict[str, Any]
"""A value of each hyper-parameter that is searched."""

_FLAGS = {"true": True, "yes": True, "false": False, "no": False}
_DIGITS = 3  # of a rate drawn at random: enough to tell values apart, few enough to write them down


def parse_values(known: Hyperparameter, text: str) -> Values:
    """Return the values of a hyper-parameter in "0.01,0.03", or the interval in "0.001..0.1".

    Raises:
        ValueError: if the text is neither.
    """
    low, dots, high = text.partition("..")
    parts = [low, high] if dots else text.split(",")
    try:
        values = tuple(_parse(known.kind, part.strip()) for part in parts)
    except ValueError:
        example = {float: "0.01,0.03, or 0.001..0.1 for random search", int: "10,25", bool: "true,false"}
        option = f"--{known.name.replace('_', '-')}"
        raise ValueError(
            f"{option} is {text!r}, expected {_NOUNS[known.kind]} separated by commas, as {example[known.kind]}"
        ) from None
    return LogUniform(*values) if dots else values


_NOUNS = {float: "numbers", int: "whole numbers", bool: "true and false"}


def _parse(kind: type, text: str) -> Any:
    if kind is not bool:
        return kind(text)
    if text.lower() not in _FLAGS:
        raise ValueError(text)
    return _FLAGS[text.lower()]


def complete_space(learner: type[Learner], grid: Mapping[str, Any]) -> dict[str, Values]:
    """Return what to try of each hyper-parameter as a tuple without repetitions, or an interval.

    Args:
        learner: the learner's class.
        grid: for each hyper-parameter one value, several in a sequence or an array, or a `LogUniform`.

    Raises:
        TypeError: if the learner has no such hyper-parameter, a value is no number, or an interval is given for a
            hyper-parameter that is not a rate.
        ValueError: if there are no values of a hyper-parameter, or an interval is not 0 < low < high.
    """
    kinds = {it.name: it.kind for it in numeric_hyperparameters(learner)}
    if unknown := sorted(set(grid) - set(kinds)):
        raise TypeError(f"{learner.__name__} has no hyper-parameter {', '.join(unknown)}; it has {', '.join(kinds)}")
    return {name: _complete(name, kinds[name], given) for name, given in grid.items()}


def _complete(name: str, kind: type, given: Any) -> Values:
    if isinstance(given, LogUniform):
        if kind is not float:
            raise TypeError(
                f"{name} is given as the interval {given.low}..{given.high}, but is no rate; list its values"
            )
        if not 0 < given.low < given.high < math.inf:
            raise ValueError(
                f"{name} is given as the interval {given.low}..{given.high}, expected 0 < low < high; fix its ends"
            )
        return given
    is_single = isinstance(given, str) or np.ndim(given) == 0
    values: tuple[Any, ...] = tuple(dict.fromkeys([given] if is_single else given))
    if not values:
        raise ValueError(f"{name} is given no values; give at least one, or leave it out")
    for value in values:
        if not isinstance(value, numbers.Real):
            raise TypeError(f"{name} is given {value!r}, expected {_NOUNS[kind]}; see the learner's hyper-parameters")
    return tuple(value.item() if isinstance(value, np.generic) else value for value in values)


def grid_points(space: Mapping[str, Values]) -> list[Point]:
    """Return every combination of the values.

    Raises:
        ValueError: if the values of a hyper-parameter are an interval.
    """
    lists = {}
    for name, values in space.items():
        if isinstance(values, LogUniform):
            raise ValueError(
                f"{name} is given as the interval {values.low}..{values.high}, which only random search draws from; "
                "list its values, or search at random"
            )
        lists[name] = values
    return [dict(zip(lists, combination, strict=True)) for combination in product(*lists.values())]


def random_points(space: Mapping[str, Values], n_points: int) -> list[Point]:
    """Return combinations drawn at random, fewer than `n_points` if some come more than once.

    Each value is drawn from its list with equal chances, or log-uniformly from its interval, to three digits. The same
    space gives the same combinations, and more points begin with those that fewer would be.

    Raises:
        ValueError: if there are to be less than two, which leave nothing to choose from.
    """
    if n_points < 2:
        raise ValueError(f"the number of trials is {n_points}, expected 2 or more to choose from; ask for more")
    rng = named_rng(0, "hyper-parameters")
    points = [{name: _draw(values, rng) for name, values in space.items()} for _ in range(n_points)]
    return list({tuple(point.values()): point for point in points}.values())


def _draw(values: Values, rng: np.random.Generator) -> Any:
    if not isinstance(values, LogUniform):
        return values[rng.integers(len(values))]
    drawn = math.exp(rng.uniform(math.log(values.low), math.log(values.high)))
    return min(max(float(f"{drawn:.{_DIGITS}g}"), values.low), values.high)
