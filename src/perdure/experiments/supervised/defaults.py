"""Hyper-parameters that a run was not given: told, and marked in its record."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from perdure.learners.defaults import Taken
from perdure.learners.hyperparameters import hyperparameters
from perdure.named import typed_option, typed_options
from perdure.streams.torch_file import FILE_DIGEST

_TRIED = {float: (0.1, 0.3, 1.0, 3.0), int: (0.5, 1, 2)}
"""Multiples of a rate and of a count that a search may begin with."""


def note_of_defaults(cls: type, name: str, stream: str, taken: Taken, *, can_be_typed: bool = True) -> str:
    """Return which values were not chosen for a stream, and what would choose better.

    Args:
        cls: the learner's class.
        name: of the learner, as it is typed.
        stream: as it is typed.
        taken: the values.
        can_be_typed: does the command line know the stream? Otherwise a search is proposed in Python.
    """
    searched = _searched(cls, taken)
    if searched is None:
        remedy = "give another if it does not suit it"
    elif can_be_typed:
        values = f"{typed_option(searched[0])} {','.join(searched[1])}"
        remedy = f"choose better: perdure tune {shlex.quote(name)} {stream} {values}"
    else:
        grid = f"{searched[0]!r}: [{', '.join(searched[1])}]"
        remedy = f"choose better: perdure.tune({name!r}, STREAM, {{{grid}}}), STREAM being what you gave to run"
    shown = ", ".join(f"{it} = {value:g}" for it, value in taken.hyperparameters.items())
    whence = "they are usual values" if taken.chosen_for is None else f"but for {taken.chosen_for}"
    return f"{shown} {'was' if len(taken.hyperparameters) == 1 else 'were'} not chosen for {stream}, {whence}; {remedy}"


def stream_typed(benchmark: str, options: Mapping[str, Any]) -> str:
    """Return a stream as it is typed after `perdure tune`: its name, and what of its options a search takes.

    Args:
        benchmark: as it is typed.
        options: of the stream; of one in a file, also what names its columns and its file of tests.
    """
    taken = {name: it for name, it in options.items() if name not in ("task_order", "validation", FILE_DIGEST)}
    if taken.get("tests") == "none":  # a search is decided by tests
        del taken["tests"]
    return shlex.join([benchmark, *typed_options(taken)])


def _searched(cls: type, taken: Taken) -> tuple[str, list[str]] | None:
    """Return what a search may begin with, a rate if there is one, and its values; None if there is only a size."""
    known = [it for it in hyperparameters(cls) if it.kind in _TRIED and taken.hyperparameters.get(it.name)]
    by_kind = sorted((it for it in known if it.name != "memory_size"), key=lambda it: it.kind is int)
    if not by_kind:
        return None
    name, kind = by_kind[0].name, by_kind[0].kind
    values = [taken.hyperparameters[name] * part for part in _TRIED[kind]]
    return name, list(dict.fromkeys(f"{it:.3g}" if kind is float else f"{max(1, int(it))}" for it in values))


def as_json(taken: Taken) -> dict[str, Any]:
    """Return the mark of a record: which values were not chosen for its stream."""
    return {"chosen_for": taken.chosen_for, "hyperparameters": dict(taken.hyperparameters)}
