"""Hyper-parameters that are not given: `MER()` has those chosen for the digits that come with perdure, marked so."""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Mapping
from functools import wraps
from numbers import Integral
from typing import Any, NamedTuple, TypeVar

from perdure.learners.catalog import CATALOG
from perdure.learners.hyperparameters import required_and_known
from perdure.named import name_of_class
from perdure.presets.learners import find_default

Class = TypeVar("Class", bound=type)


class Taken(NamedTuple):
    """Hyper-parameters that a learner was not given."""

    chosen_for: str | None
    """Name of the benchmark that they were chosen for; None if they are usual values that were tuned for none."""
    hyperparameters: Mapping[str, Any]
    """By name."""


_TAKEN: dict[int, tuple[weakref.ref[Any], Taken]] = {}
"""Of the learners that live, by identity: as a part of a learner it would make equal ones different programs."""


def with_defaults(cls: Class) -> Class:
    """Let a learner's class be called without hyper-parameters that it has no default for.

    Those not given are the learner's preset for `digits-rotations`, or for another benchmark if it has none there
    (`perdure.presets.learners.DEFAULTS_FROM`). `taken_defaults` tells which they are.
    """
    initialize: Any = cls.__init__
    in_order = [it.name for it in dataclasses.fields(cls) if it.init and not it.kw_only]

    @wraps(initialize)
    def init(self: Any, *values: Any, **named: Any) -> None:
        given = {**dict(zip(in_order, values, strict=False)), **named}
        taken = _taken(cls, given)
        initialize(self, *values, **named, **taken.hyperparameters)
        if taken.hyperparameters:
            key = id(self)
            _TAKEN[key] = weakref.ref(self, lambda _: _TAKEN.pop(key, None)), taken

    cls.__init__ = init
    return cls


def taken_defaults(learner: Any) -> Taken | None:
    """Return the hyper-parameters that a learner was not given, None if it has been given all that it needs.

    A learner made from another one, as by `dataclasses.replace`, counts as given all.
    """
    reference, taken = _TAKEN.get(id(learner), (None, None))
    return taken if reference is not None and reference() is learner else None


def _taken(cls: type, given: Mapping[str, Any]) -> Taken:
    if all(it in given for it in required_and_known(cls)[0]):
        return Taken(None, {})
    name, memory_size = name_of_class(CATALOG, cls), given.get("memory_size")
    size = int(memory_size) if isinstance(memory_size, Integral) else None  # what is none is refused later
    preset = None if name is None else find_default(name, size)
    if preset is None:
        return Taken(None, {})
    chosen_for = preset.benchmark if preset.tuned else None
    return Taken(chosen_for, {it: value for it, value in preset.hyperparameters.items() if it not in given})
