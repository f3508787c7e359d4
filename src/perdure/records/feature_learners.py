"""The record of learners compared on representations: a JSON file, from which the table is made without JAX."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from perdure.records.errors import ResultsError
from perdure.records.run import misspelt, read_record
from perdure.storage.files import write_json

FORMAT = 1


@dataclass(frozen=True)
class LearnerCell:
    """A learner on a representation."""

    representation: str
    """Its name, or "raw"."""
    learner: str
    tasks: str
    """Classes a task × number of tasks, "5×20"."""
    rate: float
    """Learning rate that was chosen on validation classes."""
    retained: tuple[float, ...]
    """Retained accuracy of each seed, a fraction."""
    published: tuple[float, float] | None
    """Mean and standard deviation of the published figure, in percent."""


@dataclass(frozen=True)
class LearnersAsked:
    """What a comparison of learners was asked for."""

    seeds: int
    """Of each figure."""
    inputs: tuple[tuple[str, str], ...]
    """Kind of each representation and checksum of its features, in their order."""


def save_cells(path: Path, asked: LearnersAsked, cells: Sequence[LearnerCell]) -> None:
    """Write a comparison of learners to a JSON file, as far as it has come.

    Raises:
        StorageError: if it cannot be written.
    """
    write_json(path, {"format": FORMAT, **asdict(asked), "cells": [asdict(cell) for cell in cells]})


def load_cells(path: Path, asked: LearnersAsked) -> list[LearnerCell]:
    """Return the figures that a comparison has come to; none if there is no file.

    Raises:
        ResultsError: if the file cannot be read, is of another format, or holds another comparison than one that
            begins as the one asked for.
    """
    if not path.exists():
        return []
    content = read_record(path, FORMAT)
    try:
        there = LearnersAsked(
            int(content["seeds"]), tuple((str(kind), str(checksum)) for kind, checksum in content["inputs"])
        )
        cells = [_cell_from_json(it) for it in content["cells"]]
    except (KeyError, TypeError, ValueError) as cause:
        raise misspelt(path, cause) from cause
    if there.seeds != asked.seeds or there.inputs != asked.inputs[: len(there.inputs)]:
        raise ResultsError(
            f"{path} holds a comparison on {_in_words(there)}, asked for was one on {_in_words(asked)}; "
            "give this one another folder with --out, or delete that file"
        )
    return cells


def _in_words(asked: LearnersAsked) -> str:
    return ", ".join(f"{kind} {checksum[:8]}" for kind, checksum in asked.inputs) + f" with {asked.seeds} seeds"


def _cell_from_json(content: Mapping[str, Any]) -> LearnerCell:
    published = content["published"]
    return LearnerCell(
        str(content["representation"]),
        str(content["learner"]),
        str(content["tasks"]),
        float(content["rate"]),
        tuple(map(float, content["retained"])),
        None if published is None else (float(published[0]), float(published[1])),
    )
