"""What a run has measured, as Parquet tables: every accuracy, and gradient alignment over the stream."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int64

from perdure.records.errors import REPAIR, ResultsError, damaged
from perdure.storage.reading import ContentError
from perdure.storage.tables import Table, read_table, write_table

Matrices = Float64[np.ndarray, "seeds rows tasks"]

WINDOWS = 200
"""Most stretches of the stream that alignment is averaged over for the record."""

LARGEST_SCORE = 1e100
"""Largest size of an R² or a score: far beyond what float32 holds, and its square is a number still."""
_MAX_MATRIX_BYTES = 500_000_000
_SEEDS_SHOWN = 10
_COLUMNS = {"seed": "int64", "after_task": "int64", "test_task": "int64", "accuracy": "float64"}
_ALIGNMENT_COLUMNS = {
    "seed": "int64",
    "position": "int64",
    "before": "float64",
    "after": "float64",
    "cosine": "float64",
}


class AlignmentCurves(NamedTuple):
    """Gradient alignment over the stream, each value the mean over a window of examples."""

    position: Int64[np.ndarray, " windows"]
    """Examples learned from by the end of each window."""
    before: Float64[np.ndarray, "seeds windows"]
    """Dot product before the update."""
    after: Float64[np.ndarray, "seeds windows"]
    """Dot product after it."""
    cosine: Float64[np.ndarray, "seeds windows"]
    """Cosine before the update."""


def write_accuracy(folder: Path, seeds: Sequence[int], matrices: Matrices) -> None:
    """Write accuracy.parquet: a row for every entry that was evaluated (is not NaN).

    Args:
        folder: the run's folder.
        seeds: one seed a matrix.
        matrices: accuracy matrices (seeds, T + 1, T), fractions 0..1, or R².

    Raises:
        ValueError: if there is not one matrix a seed, or a matrix is not (T + 1, T).
        StorageError: if it cannot be written.
    """
    count, rows, tasks = matrices.shape
    if count != len(seeds) or rows != tasks + 1:
        raise ValueError(
            f"the accuracies have shape {matrices.shape} for {len(seeds)} seeds, expected (seeds, T + 1, T): "
            "one matrix a seed, in each one row before any training and one after each task"
        )
    seed, row, task = np.nonzero(~np.isnan(matrices))
    columns = (np.asarray(seeds)[seed], row - 1, task, matrices[seed, row, task])
    write_table(folder / "accuracy.parquet", dict(zip(_COLUMNS, columns, strict=True)))


def read_accuracy(path: Path, seeds: Sequence[int]) -> Matrices:
    """Return the matrices (seeds, T + 1, T), NaN where there is no row, seeds in the order given.

    Raises:
        ResultsError: if the file is damaged or at odds with the seeds.
    """
    table = _read(path, _COLUMNS)
    problem = _problem_with_rows(table, seeds)
    if problem is not None:
        raise ResultsError(f"{path} {problem}; {REPAIR}")
    seed, after_task, test_task, accuracy = table.values()
    tasks = test_task.max() + 1
    matrices = np.full((len(seeds), tasks + 1, tasks), np.nan)
    order = np.argsort(seeds)
    place = order[np.searchsorted(np.asarray(seeds)[order], seed)]
    matrices[place, after_task + 1, test_task] = accuracy
    if np.count_nonzero(~np.isnan(matrices)) < len(accuracy):
        raise ResultsError(f"{path} has an entry twice, expected one row an entry; {REPAIR}")
    return matrices


def alignment_curves(
    before: Float[np.ndarray, "seeds N"], after: Float[np.ndarray, "seeds N"], cosine: Float[np.ndarray, "seeds N"]
) -> AlignmentCurves:
    """Average what each example reported over at most `WINDOWS` windows of equal length, up to one example.

    The first example, which has no past, does not count.
    """
    length = before.shape[1]
    ends = np.unique(np.linspace(1, length, min(WINDOWS, max(length - 1, 0)) + 1).astype(np.int64))

    def means(values: Float[np.ndarray, "seeds N"]) -> Float64[np.ndarray, "seeds windows"]:
        sums = np.add.reduceat(values.astype(np.float64), ends[:-1], axis=1) if len(ends) > 1 else values[:, :0]
        return sums.astype(np.float64) / np.diff(ends)

    return AlignmentCurves(ends[1:], means(before), means(after), means(cosine))


def write_alignment(folder: Path, seeds: Sequence[int], curves: AlignmentCurves) -> None:
    """Write alignment.parquet: a row for every seed and window.

    Args:
        folder: the run's folder.
        seeds: one seed a row of the curves.
        curves: what to write.

    Raises:
        StorageError: if it cannot be written.
    """
    windows = len(curves.position)
    columns = {
        "seed": np.repeat(np.asarray(seeds), windows),
        "position": np.tile(curves.position, len(seeds)),
        **{name: getattr(curves, name).ravel() for name in ("before", "after", "cosine")},
    }
    write_table(folder / "alignment.parquet", columns)


def read_alignment(path: Path, seeds: Sequence[int]) -> AlignmentCurves:
    """Return what `write_alignment` wrote, seeds in the order given.

    Raises:
        ResultsError: if the file is damaged or at odds with the seeds.
    """
    table = _read(path, _ALIGNMENT_COLUMNS)
    seed = table["seed"]
    if len(seed) and (len(seed) % len(seeds) or np.unique(seed).tolist() != sorted(seeds)):
        raise ResultsError(f"{path} has not as many rows for each of the seeds {_in_words(sorted(seeds))}; {REPAIR}")
    order = np.lexsort((table["position"], seed))
    places = np.argsort(np.argsort(seeds))

    def by_seed(name: str) -> np.ndarray:
        return table[name][order].reshape(len(seeds), -1)[places]

    position = by_seed("position")
    if (position != position[0]).any():
        raise ResultsError(f"{path} has other windows for one seed than for another; {REPAIR}")
    return AlignmentCurves(position[0], *(by_seed(name) for name in ("before", "after", "cosine")))


def _read(path: Path, columns: dict[str, str]) -> dict[str, np.ndarray]:
    try:
        return read_table(path, columns)
    except ContentError as cause:
        raise damaged(cause) from cause


def _problem_with_rows(table: Table, seeds: Sequence[int]) -> str | None:
    """Return what is wrong with a table of accuracies, None if nothing is."""
    seed, after_task, test_task, accuracy = (table[name] for name in _COLUMNS)
    if (found := np.unique(seed).tolist()) != sorted(seeds):
        return f"has seeds {_in_words(found)}, expected {_in_words(sorted(seeds))} of config.json"
    last = int(test_task.max(initial=-1))
    if len(seeds) * (last + 2) * (last + 1) * 8 > _MAX_MATRIX_BYTES:
        return f"has task {last:,}, which would make matrices of more than {_MAX_MATRIX_BYTES:,} bytes"
    if last < 0 or test_task.min() < 0 or after_task.min() < -1 or after_task.max() != last:
        return f"has task numbers that do not fit together, expected after_task -1..{last} for {last + 1} tasks"
    if not ((accuracy >= -LARGEST_SCORE) & (accuracy <= 1)).all():
        return f"has an accuracy that is above 1 or not finite, or an R² below {-LARGEST_SCORE:g}"
    return None


def _in_words(seeds: Sequence[int]) -> str:
    more = f" and {len(seeds) - _SEEDS_SHOWN:,} more" if len(seeds) > _SEEDS_SHOWN else ""
    return f"[{', '.join(map(str, seeds[:_SEEDS_SHOWN]))}]{more}"
