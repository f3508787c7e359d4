"""Fields of learners as hyper-parameters: what is declared of each, and what follows from a plain annotation."""

from __future__ import annotations

import dataclasses
import inspect
import math
import numbers
from collections.abc import Callable
from typing import Any

import equinox as eqx
from jaxtyping import Array, Float

Rate = float | Float[Array, ""]
"""A float hyper-parameter: a number, or an array that may be traced."""
_KINDS = {"float": float, "Rate": float, "int": int, "bool": bool, "str": str}
"""By annotation; a module with postponed annotations has them as text."""


def declared(
    kind: type,
    help: str,
    *,
    minimum: int | float = -math.inf,
    maximum: float = math.inf,
    options: tuple[str, ...] = (),
    default: Any = dataclasses.MISSING,
    kw_only: bool = False,
) -> Any:
    """Return a field that is declared as a hyper-parameter.

    Args:
        kind: `float` for rates, which may be traced; `int`, `bool` and `str` shape the program and are static.
        help: what it means.
        minimum: smallest value of a number.
        maximum: largest value of a number.
        options: the values of a choice; none of others.
        default: its value unless it is given.
        kw_only: is it given by its name only?
    """
    metadata = {"help": help, "kind": kind, "minimum": minimum, "maximum": maximum, "options": options}
    more: dict[str, Any] = {"converter": _CONVERTERS[kind]} if kind in _CONVERTERS else {}
    return eqx.field(static=kind is not float, default=default, kw_only=kw_only, metadata=metadata, **more)


def declare_plain_fields(cls: type) -> None:
    """Declare the fields of a class as hyper-parameters that are annotated as a number, a yes or no, or a text.

    Fields that are made by a function, `rate` or `eqx.field` say, are left as they are.
    """
    for name, annotation in inspect.get_annotations(cls).items():
        text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
        kind = float if annotation is Rate else _KINDS.get(text)
        default = cls.__dict__.get(name, dataclasses.MISSING)
        if kind is not None and (default is dataclasses.MISSING or isinstance(default, _VALUES[kind])):
            setattr(cls, name, declared(kind, "", default=default))


_VALUES: dict[type, Any] = {float: numbers.Real, int: numbers.Integral, bool: bool, str: str}
"""What a default is an instance of."""


def _number_to_float(value: Any) -> Any:
    # NumPy's scalars too: they carry a dtype, which would change that of the weights they are multiplied with.
    return float(value) if isinstance(value, numbers.Real) and not isinstance(value, bool) else value


def _number_to_int(value: Any) -> Any:
    return int(value) if isinstance(value, numbers.Integral) and not isinstance(value, bool) else value


_CONVERTERS: dict[type, Callable[[Any], Any]] = {float: _number_to_float, int: _number_to_int}
