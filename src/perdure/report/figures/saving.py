"""Figures of runs as files."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from perdure.records.learner import RunRecord
from perdure.report.differences import metric_compared
from perdure.report.figures.bars import metric_bars
from perdure.report.figures.frontier import accuracy_against_cost
from perdure.report.figures.matrix import accuracy_matrix
from perdure.report.figures.over_time import accuracy_over_time, class_accuracy
from perdure.report.figures.stream import accuracy_over_stream
from perdure.report.figures.style import accuracies, image_of, knows_the_past
from perdure.report.tables import metric_of
from perdure.storage.files import make_folder, write_atomically

_MAX_NAME_BYTES = 120
"""Longest part of a file name, which file systems take up to 255 bytes of."""


def file_names(names: Sequence[str]) -> list[str]:
    """Return different names of files for names that a user chose, which may hold anything, and may be equal.

    Letters, digits, dots, dashes and underscores are kept, except dots at the beginning; of equal ones all but the
    first get a number.
    """
    chosen: list[str] = []
    taken = set()
    for name in names:
        plain = re.sub(r"[^\w.-]", "-", name).lstrip(".").encode("utf-8", "replace")[:_MAX_NAME_BYTES]
        first = plain.decode("utf-8", "ignore") or "unnamed"
        # Many file systems take capitals for small letters.
        free = (it for n in itertools.count(1) if (it := first if n == 1 else f"{first}-{n}").lower() not in taken)
        chosen.append(next(free))
        taken.add(chosen[-1].lower())
    return chosen


def save_figures(records: Sequence[RunRecord], folder: Path) -> list[Path]:
    """Write every figure that finished runs allow, as PNG (200 dpi) and SVG, and return the paths.

    Runs are compared within their benchmark: `accuracy-over-stream-BENCHMARK`, `metrics-BENCHMARK` and, of several,
    `accuracy-against-cost-BENCHMARK`; of those evaluated within tasks `accuracy-over-time-BENCHMARK`.
    `accuracy-matrix-RUN`, for runs with the full matrix, and `class-accuracy-RUN`, for runs evaluated within tasks, are
    named after the run's folder. Runs without test sets have `accuracy-against-cost-BENCHMARK` only. Names are those of
    `file_names`. The same records give the same files, byte for byte.

    Raises:
        StorageError: if a file cannot be written.
    """
    make_folder(folder)
    return [path for stem, figure in _figures(records) for path in save_figure(figure, folder / stem)]


def _figures(records: Sequence[RunRecord]) -> Iterator[tuple[str, Figure]]:
    measured = [it for it in records if it.finished and metric_of(it, metric_compared(it)) is not None]
    groups: dict[tuple[str, str], list[RunRecord]] = {}
    for record in measured:
        groups.setdefault((record.benchmark, metric_compared(record)), []).append(record)
    for runs, name in zip(groups.values(), file_names([benchmark for benchmark, _ in groups]), strict=True):
        if runs[0].accuracy is not None:
            yield f"accuracy-over-stream-{name}", accuracy_over_stream(runs)
            yield f"metrics-{name}", metric_bars(runs)
        if len(runs) > 1:
            yield f"accuracy-against-cost-{name}", accuracy_against_cost(runs)
        if watched := [record for record in runs if record.over_time is not None]:
            yield f"accuracy-over-time-{name}", accuracy_over_time(watched)
    tested = [record for record in measured if record.accuracy is not None]
    for record, name in zip(tested, file_names([record.folder.name for record in tested]), strict=True):
        if knows_the_past(accuracies(record)):
            yield f"accuracy-matrix-{name}", accuracy_matrix(record)
        if record.over_time is not None and record.over_time.of_classes.shape[2]:
            yield f"class-accuracy-{name}", class_accuracy(record)


def save_figure(figure: Figure, stem: Path) -> Iterator[Path]:
    """Write a figure as PNG and SVG, `stem` with their endings, and yield the paths.

    Raises:
        StorageError: if a file cannot be written.
    """
    make_folder(stem.parent)
    for ending in ("png", "svg"):
        path = stem.with_name(f"{stem.name}.{ending}")
        write_atomically(path, image_of(figure, ending))
        yield path
