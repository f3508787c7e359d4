"""Figures of runs as files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from perdure.records.learner import RunRecord
from perdure.report.figures.bars import metric_bars
from perdure.report.figures.matrix import accuracy_matrix
from perdure.report.figures.stream import accuracy_over_stream
from perdure.report.figures.style import accuracies, image_of, knows_the_past
from perdure.storage.files import make_folder, write_atomically


def save_figures(records: Sequence[RunRecord], folder: Path) -> list[Path]:
    """Write every figure that finished runs allow, as PNG (200 dpi) and SVG, and return the paths.

    Runs are compared within their benchmark: `accuracy-over-stream-BENCHMARK` and
    `metrics-BENCHMARK`; `accuracy-matrix-RUN`, for runs with the full matrix, is named after the run's folder.
    The same records give the same files, byte for byte.

    Raises:
        StorageError: if a file cannot be written.
    """
    make_folder(folder)
    return [path for stem, figure in _figures(records) for path in save_figure(figure, folder / stem)]


def _figures(records: Sequence[RunRecord]) -> Iterator[tuple[str, Figure]]:
    finished = [record for record in records if record.finished]
    for benchmark in dict.fromkeys(record.benchmark for record in finished):
        runs = [record for record in finished if record.benchmark == benchmark]
        yield f"accuracy-over-stream-{benchmark}", accuracy_over_stream(runs)
        yield f"metrics-{benchmark}", metric_bars(runs)
    for record in finished:
        if knows_the_past(accuracies(record)):
            yield f"accuracy-matrix-{record.folder.name}", accuracy_matrix(record)


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
