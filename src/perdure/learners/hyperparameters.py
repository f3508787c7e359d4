"""Declaring a learner's hyper-parameters, with what each means and which values it takes.

Rates are leaves of the learner, so that they may be traced or differ along a vmapped axis. Counts, flags and choices
shape the program and are static, and so are loss and optimizer. Fields of a learner that are not declared, but
annotated as `float`, `int`, `bool` or `str`, are hyper-parameters of any value (`perdure.fields`).
"""

from __future__ import annotations

import dataclasses
import math
import numbers
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
from jax.core import Tracer

from perdure.core import StreamInfo
from perdure.fields import declared
from perdure.memory.buffer import LARGEST_COUNT


class Hyperparameter(NamedTuple):
    """What is known of one hyper-parameter without a learner at hand."""

    name: str
    kind: type
    """`float` for rates, `int` for counts, `bool` for flags, `str` for words."""
    help: str
    minimum: float | int
    """Smallest value, −infinity if there is none; of no meaning for a flag or a word."""
    maximum: float
    """Largest value; infinity if there is none."""
    options: tuple[str, ...] = ()
    """The values of a choice; none of other hyper-parameters."""


def rate(help: str, default: Any = dataclasses.MISSING, maximum: float = math.inf, *, minimum: float = 0.0) -> Any:
    """Declare a float hyper-parameter, finite and from a minimum to a maximum, if it has one."""
    return declared(float, help, minimum=minimum, maximum=maximum, default=default)


def integer(help: str, default: Any = dataclasses.MISSING, minimum: int = 1) -> Any:
    """Declare an integer hyper-parameter from a minimum on."""
    return declared(int, help, minimum=minimum, default=default)


def flag(help: str, default: bool) -> Any:
    """Declare a yes-or-no hyper-parameter, given by its name only."""
    return declared(bool, help, default=default, kw_only=True)


def choice(help: str, options: tuple[str, ...], default: str) -> Any:
    """Declare a hyper-parameter that is one of several words, given by its name only."""
    return declared(str, f"{help}: {', '.join(options)}", options=options, default=default, kw_only=True)


def loss_field() -> Any:
    """Declare the loss; an own one is a function of one example's outputs and its `y`.

    None, the default, is what the benchmark asks for: a run fills in mean squared error for regression and cross
    entropy within the task for classes that belong to tasks; what is still None is cross entropy (`or_cross_entropy`).
    """
    return eqx.field(static=True, default=None, kw_only=True)


def optimizer_field() -> Any:
    """Declare the optimizer: a function from a learning rate to a transformation of optax; None is SGD (`or_sgd`)."""
    return eqx.field(static=True, default=None, kw_only=True)


def stream_info_field() -> Any:
    """Declare the learner as one that must know `StreamInfo`; a run fills it in."""
    return eqx.field(static=True, default=None, kw_only=True)


def known_stream_info(learner: Any) -> StreamInfo:
    """Return what the learner knows of its stream.

    Raises:
        ValueError: if it has not been told.
    """
    if learner.stream_info is None:
        name = type(learner).__name__
        raise ValueError(
            f"{name} does not know its stream: its stream_info is None. perdure.run fills it in; without a run, use "
            "dataclasses.replace(learner, stream_info=perdure.learn.StreamInfo(n_outputs=10, n_tasks=5, "
            "task_sizes=(100,) * 5)) with the numbers of your stream"
        )
    return learner.stream_info


def hyperparameters(learner: eqx.Module | type[eqx.Module]) -> list[Hyperparameter]:
    """Return the hyper-parameters that a learner, or another record of them, declares, in order of declaration."""
    return [
        Hyperparameter(field.name, **{it: field.metadata[it] for it in Hyperparameter._fields[1:]})
        for field in dataclasses.fields(learner)
        if "kind" in field.metadata
    ]


def numeric_hyperparameters(learner: eqx.Module | type[eqx.Module]) -> list[Hyperparameter]:
    """Return the hyper-parameters that can be searched: all but words."""
    return [it for it in hyperparameters(learner) if it.kind is not str]


def check_hyperparameters(learner: eqx.Module) -> None:
    """Raise if a hyper-parameter is out of range; traced values pass, their range cannot be known.

    Raises:
        TypeError: if a count is not an integer or a rate is not a number.
        ValueError: if a value is NaN, infinite, below its minimum or above its maximum.
    """
    for name, kind, _, minimum, maximum, options in hyperparameters(learner):
        value = getattr(learner, name)
        if kind is float and isinstance(value, Tracer):
            continue
        if kind is bool:
            if not isinstance(value, bool):
                raise TypeError(f"{name} = {value!r} is of type {type(value).__name__}, expected True or False")
            continue
        if kind is str:
            if not isinstance(value, str):
                raise TypeError(f"{name} = {value!r} is of type {type(value).__name__}, expected a text")
            if options and value not in options:
                raise ValueError(f"{name} = {value!r}, expected one of {', '.join(options)}")
            continue
        wanted = f"expected {range_in_words(kind, minimum, maximum)}"
        accepted: Any = numbers.Integral if kind is int else (numbers.Real, jax.Array)
        if isinstance(value, bool) or not isinstance(value, accepted):
            raise TypeError(f"{name} = {value!r} is of type {type(value).__name__}, {wanted}")
        values = np.asarray(value)  # on JAX's arrays, comparisons made while something is traced are traced too
        if not np.all((minimum <= values) & (values <= maximum) & (values < math.inf)):
            raise ValueError(f"{name} = {value}, {wanted}")
        if kind is int and value > LARGEST_COUNT:
            raise ValueError(f"{name} = {value}, {wanted}, of at most {LARGEST_COUNT:,}")


def range_in_words(kind: type, minimum: float | int, maximum: float) -> str:
    """Return which values a rate or a count takes."""
    if maximum < math.inf:
        return f"a number from {minimum:g} to {maximum:g}"
    bound = f" ≥ {minimum:g}" if minimum > -math.inf else ""
    return f"a {'whole' if kind is int else 'finite'} number{bound}"


def required_and_known(learner: type[eqx.Module]) -> tuple[list[str], list[str]]:
    """Return the names of the hyper-parameters without a default, and of all."""
    fields = [field for field in dataclasses.fields(learner) if "kind" in field.metadata]
    required = [field.name for field in fields if field.default is dataclasses.MISSING]
    return required, [field.name for field in fields]
