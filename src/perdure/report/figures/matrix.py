"""Accuracy on every task after every task."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import PercentFormatter

from perdure.records.learner import RunRecord
from perdure.report.figures.style import WIDTH, accuracies, in_short, literal
from perdure.report.names import run_title

_MOST_ANNOTATED = 12


@literal
def accuracy_matrix(record: RunRecord) -> Figure:
    """Show the accuracy on every task (columns) after every task (rows), mean over seeds.

    What was not evaluated stays blank; up to 12 tasks the percentages are written into the cells.

    Raises:
        ValueError: if the run has no accuracies yet.
    """
    figure = Figure(figsize=(6.0, 5.4), layout="constrained")
    axes = figure.add_subplot()
    percent = _mean_percent(record)
    image = _draw_matrix(axes, percent, ticks=10)
    axes.set_ylabel("After training on task")
    axes.set_xlabel("Accuracy on task")
    axes.set_title(record.title, loc="left")
    if percent.shape[1] <= _MOST_ANNOTATED:
        for row, task in np.argwhere(~np.isnan(percent)):
            colour = "white" if percent[row, task] < 55 else "black"
            axes.text(task, row, in_short(float(percent[row, task])), ha="center", va="center", color=colour, size=8)
    _add_scale(figure, image, [axes])
    return figure


@literal
def accuracy_matrices(records: Sequence[RunRecord]) -> Figure:
    """Show the matrices of several runs on one benchmark side by side, as `accuracy_matrix` without numbers.

    Raises:
        ValueError: if there are no records, or one of them has no accuracies yet.
    """
    matrices = [_mean_percent(record) for record in records]
    if not matrices:
        raise ValueError("no runs were given, expected at least one; give the record of a finished run")
    figure = Figure(figsize=(WIDTH, 3.0), layout="constrained")
    panels = figure.subplots(1, len(records), sharey=True, squeeze=False)[0]
    images = [_draw_matrix(axes, percent, ticks=4) for axes, percent in zip(panels, matrices, strict=True)]
    for axes, record in zip(panels, records, strict=True):
        axes.set_title(run_title(record), loc="left", size=10)
    panels[0].set_ylabel("After training on task")
    panels[len(panels) // 2].set_xlabel("Accuracy on task")
    _add_scale(figure, images[0], list(panels))
    return figure


def _mean_percent(record: RunRecord) -> np.ndarray:
    return 100 * np.mean(accuracies(record), axis=0)


def _draw_matrix(axes: Axes, percent: np.ndarray, ticks: int) -> AxesImage:
    """Draw a matrix, (T + 1, T), with about that number of ticks."""
    tasks = percent.shape[1]
    step = max(1, tasks // ticks)
    shown = np.arange(step - 1, tasks, step)
    axes.set_xticks(shown, [str(task + 1) for task in shown])
    axes.set_yticks([0, *(shown + 1)], ["before", *(str(task + 1) for task in shown)])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return axes.imshow(percent, cmap="cividis", vmin=0, vmax=100, aspect="auto", interpolation="nearest")


def _add_scale(figure: Figure, image: AxesImage, panels: Sequence[Axes]) -> None:
    bar = figure.colorbar(image, ax=panels, format=PercentFormatter(decimals=0), shrink=0.8)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
