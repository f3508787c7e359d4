"""Accuracy within tasks, as Parquet tables: on each task seen so far, and of each class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from perdure.records.errors import REPAIR, ResultsError, damaged
from perdure.records.measurements import LARGEST_SCORE
from perdure.storage.reading import ContentError
from perdure.storage.tables import read_table, write_table

_TASKS, _CLASSES = "over-time.parquet", "classes.parquet"
_MAX_BYTES = 500_000_000


class AccuracyOverTime(NamedTuple):
    """Accuracy at each evaluation, NaN where a task or class had not been seen."""

    positions: Int64[np.ndarray, " evaluations"]
    """Examples learned from at each evaluation, ascending."""
    accuracy: Float64[np.ndarray, "seeds evaluations tasks"]
    """On the tests of each task that had begun, fractions 0..1, or R²."""
    of_classes: Float64[np.ndarray, "seeds evaluations classes"]
    """Of each class, on the tests of all tasks that had begun together, fractions 0..1; no classes for regression."""

    @property
    def task_ends(self) -> list[int]:
        """Positions at which the first seed's tasks ended, which are all evaluated."""
        n_seen = (~np.isnan(self.accuracy[0])).sum(axis=1)
        last = int(self.positions[n_seen > 0][-1])
        return [*map(int, self.positions[np.flatnonzero(np.diff(n_seen) > 0)]), last]


def write_over_time(folder: Path, seeds: Sequence[int], found: AccuracyOverTime) -> None:
    """Write over-time.parquet and classes.parquet: a row for every entry that is not NaN.

    Args:
        folder: the run's folder.
        seeds: one seed a leading entry of the arrays.
        found: what to write.

    Raises:
        StorageError: if it cannot be written.
    """
    for name, column, values in ((_TASKS, "test_task", found.accuracy), (_CLASSES, "class", found.of_classes)):
        seed, place, which = np.nonzero(~np.isnan(values))
        table = {
            "seed": np.asarray(seeds)[seed],
            "position": found.positions[place],
            column: which,
            "accuracy": values[seed, place, which],
        }
        write_table(folder / name, table)


def has_over_time(folder: Path) -> bool:
    """Tell whether a run's folder has accuracies within tasks."""
    return (folder / _TASKS).exists() and (folder / _CLASSES).exists()


def read_over_time(folder: Path, seeds: Sequence[int]) -> AccuracyOverTime:
    """Return what `write_over_time` wrote, seeds in the order given.

    Raises:
        ResultsError: if a file is damaged or at odds with the seeds.
    """
    positions, accuracy = _read(folder / _TASKS, "test_task", seeds)
    if len(positions) == 0 or set(np.unique(np.nonzero(~np.isnan(accuracy))[0])) != set(range(len(seeds))):
        raise ResultsError(f"{folder / _TASKS} has not a row for each of the seeds {list(seeds)}; {REPAIR}")
    of_these, of_classes = _read(folder / _CLASSES, "class", seeds)
    if len(of_these) and (of_these != positions).any():
        raise ResultsError(f"{folder / _CLASSES} has other positions than {_TASKS}; {REPAIR}")
    return AccuracyOverTime(positions, accuracy, of_classes if len(of_these) else np.empty((*accuracy.shape[:2], 0)))


def _read(path: Path, column: str, seeds: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return positions and values, (seeds, positions, which)."""
    try:
        table = read_table(path, {"seed": "int64", "position": "int64", column: "int64", "accuracy": "float64"})
    except ContentError as cause:
        raise damaged(cause) from cause
    seed, position, which, accuracy = table.values()
    positions = np.unique(position)
    n_columns = int(which.max(initial=-1)) + 1
    problem = None
    if not np.isin(seed, seeds).all():
        problem = f"has a seed that is not among {list(seeds)} of config.json"
    elif (position < 1).any() or (which < 0).any():
        problem = "has a negative number, or a position below 1"
    elif len(seeds) * len(positions) * n_columns * 8 > _MAX_BYTES:
        problem = f"has {column} {n_columns - 1:,}, which would take more than {_MAX_BYTES:,} bytes"
    elif not ((accuracy >= -LARGEST_SCORE) & (accuracy <= 1)).all():
        problem = f"has an accuracy that is above 1 or not finite, or an R² below {-LARGEST_SCORE:g}"
    if problem is not None:
        raise ResultsError(f"{path} {problem}; {REPAIR}")
    values = np.full((len(seeds), len(positions), n_columns), np.nan)
    order = np.argsort(seeds)
    place = order[np.searchsorted(np.asarray(seeds)[order], seed)]
    values[place, np.searchsorted(positions, position), which] = accuracy
    if np.count_nonzero(~np.isnan(values)) < len(accuracy):
        raise ResultsError(f"{path} has an entry twice, expected one row an entry; {REPAIR}")
    return positions, values
