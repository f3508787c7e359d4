"""Hyper-parameters that a run was not given: told, and marked in its record."""

from __future__ import annotations

from typing import Any

from perdure.learners.defaults import Taken
from perdure.learners.hyperparameters import hyperparameters
from perdure.named import typed_option

_TRIED = (0.1, 0.3, 1.0, 3.0)
"""Parts of a rate that a search may begin with."""


def note_of_defaults(cls: type, name: str, stream: str, taken: Taken, *, can_be_typed: bool = True) -> str:
    """Return which values were not chosen for a stream, and what would choose better.

    Args:
        cls: the learner's class.
        name: of the learner, as it is typed.
        stream: as it is typed.
        taken: the values.
        can_be_typed: does the command line know the stream? Otherwise a search is proposed in Python.
    """
    rates = [it.name for it in hyperparameters(cls) if it.kind is float and taken.hyperparameters.get(it.name)]
    tried = {it: [f"{taken.hyperparameters[it] * part:.3g}" for part in _TRIED] for it in rates[:1]}
    if can_be_typed:
        options = [f"{typed_option(it)} {','.join(values)}" for it, values in tried.items()]
        search = " ".join(["perdure tune", name, stream, *options])
    else:
        grid = ", ".join(f"{it!r}: [{', '.join(values)}]" for it, values in tried.items())
        search = f"perdure.tune({name!r}, STREAM, {{{grid}}}), STREAM being what you gave to run"
    shown = ", ".join(f"{it} = {value:g}" for it, value in taken.hyperparameters.items())
    whence = "they are usual values" if taken.chosen_for is None else f"but for {taken.chosen_for}"
    return (
        f"{shown} {'was' if len(taken.hyperparameters) == 1 else 'were'} not chosen for {stream}, {whence}; choose "
        f"better: {search}"
    )


def as_json(taken: Taken) -> dict[str, Any]:
    """Return the mark of a record: which values were not chosen for its stream."""
    return {"chosen_for": taken.chosen_for, "hyperparameters": dict(taken.hyperparameters)}
