"""Declaring a learner's hyper-parameters, with what each means and which values it takes.

Rates are leaves of the learner, so that they may be traced or differ along a vmapped axis. Counts and flags shape
the program and are static, and so are loss and optimizer.
"""

from __future__ import annotations

import dataclasses
import math
import numbers
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
import optax
from jax.core import Tracer

from perdure.core import StreamInfo
from perdure.updates.losses import cross_entropy


class Hyperparameter(NamedTuple):
    """What is known of one hyper-parameter without a learner at hand."""

    name: str
    kind: type
    """`float` for rates, `int` for counts, `bool` for flags."""
    help: str
    minimum: float | int
    """Smallest value; of no meaning for a flag."""


def rate(help: str) -> Any:
    """Declare a float hyper-parameter, finite and ≥ 0."""
    return eqx.field(converter=_number_to_float, metadata={"help": help, "kind": float, "minimum": 0.0})


def integer(help: str, default: Any = dataclasses.MISSING) -> Any:
    """Declare an integer hyper-parameter ≥ 1."""
    metadata = {"help": help, "kind": int, "minimum": 1}
    return eqx.field(converter=_number_to_int, static=True, default=default, metadata=metadata)


def flag(help: str, default: bool) -> Any:
    """Declare a yes-or-no hyper-parameter, given by its name only."""
    metadata = {"help": help, "kind": bool, "minimum": False}
    return eqx.field(static=True, default=default, metadata=metadata, kw_only=True)


def loss_field() -> Any:
    """Declare the loss; an own one is a function of one example's outputs and its `y`."""
    return eqx.field(static=True, default=cross_entropy, kw_only=True)


def optimizer_field() -> Any:
    """Declare the optimizer: a function from a learning rate to a transformation of optax."""
    return eqx.field(static=True, default=optax.sgd, kw_only=True)


def stream_info_field() -> Any:
    """Declare the learner as one that must know `StreamInfo`; a run fills them in."""
    return eqx.field(static=True, default=None, kw_only=True)


def known_stream_info(learner: Any) -> StreamInfo:
    """Return what the learner has been told of its stream.

    Raises:
        ValueError: if it has not been told.
    """
    if learner.stream_info is None:
        name = type(learner).__name__
        raise ValueError(
            f"{name} does not know its stream; perdure.run tells it, otherwise make it {name}(…, "
            "stream_info=StreamInfo(n_tasks, task_sizes))"
        )
    return learner.stream_info


def hyperparameters(learner: eqx.Module | type[eqx.Module]) -> list[Hyperparameter]:
    """Return the hyper-parameters that a learner, or another record of them, declares, in order of declaration."""
    return [
        Hyperparameter(field.name, field.metadata["kind"], field.metadata["help"], field.metadata["minimum"])
        for field in dataclasses.fields(learner)
        if "kind" in field.metadata
    ]


def check_hyperparameters(learner: eqx.Module) -> None:
    """Raise if a hyper-parameter is out of range; traced values pass, their range cannot be known.

    Raises:
        TypeError: if a count is not an integer or a rate is not a number.
        ValueError: if a value is NaN, infinite or below its minimum.
    """
    for name, kind, _, minimum in hyperparameters(learner):
        value = getattr(learner, name)
        if kind is float and isinstance(value, Tracer):
            continue
        if kind is bool:
            if not isinstance(value, bool):
                raise TypeError(f"{name} = {value!r} is of type {type(value).__name__}, expected True or False")
            continue
        wanted = f"expected {_wanted(kind, minimum)}"
        accepted: Any = numbers.Integral if kind is int else (numbers.Real, jax.Array)
        if isinstance(value, bool) or not isinstance(value, accepted):
            raise TypeError(f"{name} = {value!r} is of type {type(value).__name__}, {wanted}")
        values = np.asarray(value)  # on JAX's arrays, comparisons made while something is traced are traced too
        if not np.all((minimum <= values) & (values < math.inf)):
            raise ValueError(f"{name} = {value}, {wanted}")


def _number_to_float(value: Any) -> Any:
    # NumPy's scalars too: they carry a dtype, which would change that of the weights they are multiplied with.
    return float(value) if isinstance(value, numbers.Real) and not isinstance(value, bool) else value


def _number_to_int(value: Any) -> Any:
    return int(value) if isinstance(value, numbers.Integral) and not isinstance(value, bool) else value


def _wanted(kind: type, minimum: float | int) -> str:
    return f"a whole number ≥ {minimum}" if kind is int else f"a finite number ≥ {minimum:g}"


def required_and_known(learner: type[eqx.Module]) -> tuple[list[str], list[str]]:
    """Return the names of the hyper-parameters without a default, and of all."""
    fields = [field for field in dataclasses.fields(learner) if "kind" in field.metadata]
    required = [field.name for field in fields if field.default is dataclasses.MISSING]
    return required, [field.name for field in fields]
