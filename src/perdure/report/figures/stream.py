"""Accuracy as the stream proceeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from perdure.metrics.transfer import mean_and_interval
from perdure.records.learner import RunRecord
from perdure.report.figures.style import (
    GREY,
    WIDTH,
    accuracies,
    colour_of,
    fit_percents,
    heading,
    knows_the_past,
    label_of_axis,
    literal,
    percent_formatter,
    tidy,
)
from perdure.report.names import name_among


@literal
def accuracy_over_stream(records: Sequence[RunRecord]) -> Figure:
    """Show how accuracy fares as the stream proceeds.

    If every run was evaluated on all past tasks after each task: mean accuracy over the tasks seen so far,
    one line a run, with its band. Otherwise: accuracy on each task just after it was learned and at the end
    of the stream, one panel a run; the lines between the two are what was forgotten.

    Raises:
        ValueError: if there are no records, or one of them has no accuracies yet.
    """
    matrices = [accuracies(record) for record in records]
    if not matrices:
        raise ValueError("no runs were given, expected at least one; give the record of a finished run")
    if all(knows_the_past(matrix) for matrix in matrices):
        return _mean_over_tasks_seen(records, matrices)
    return _learned_and_retained(records, matrices)


def _mean_over_tasks_seen(records: Sequence[RunRecord], matrices: Sequence[np.ndarray]) -> Figure:
    figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
    axes = figure.add_subplot()
    ends = []
    for place, matrix in enumerate(matrices):
        ends.append(draw_tasks_seen(axes, matrix, colour_of(place), name_among(records[place], records)))
    length = _fit([axes], [height for line in axes.lines for height in np.asarray(line.get_ydata())])
    _label_ends(axes, ends, records, gap=0.055 * length)
    axes.set_ylabel(label_of_axis("Accuracy", axes))
    axes.set_xlabel("Tasks learned")
    axes.set_title(heading("Mean accuracy on the tasks seen so far", records), loc="left", size=11)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(percent_formatter())
    tidy(axes, grid="y")
    return figure


def draw_tasks_seen(axes: Axes, matrix: np.ndarray, colour: str, label: str) -> tuple[float, float]:
    """Draw the mean accuracy in percent on the tasks seen so far, with its band over seeds; return where it ends."""
    tasks = matrix.shape[2]
    seen = [mean_and_interval(list(100 * matrix[:, task + 1, : task + 1].mean(axis=1))) for task in range(tasks)]
    mean, half = (np.array([getattr(point, name) for point in seen]) for name in ("mean", "ci95"))
    after = np.arange(1, tasks + 1)
    axes.plot(after, mean, color=colour, linewidth=1.8, label=label)
    axes.fill_between(after, mean - half, mean + half, color=colour, alpha=0.2, linewidth=0)
    return float(tasks), float(mean[-1])


def _fit(panels: Sequence[Axes], percentages: Sequence[float]) -> float:
    """Let the y axes fit, with a line at 0 if a percentage is negative, and return their length."""
    length = fit_percents(panels, percentages)
    for axes in panels:
        if axes.get_ylim()[0] < 0:
            axes.axhline(0, color=GREY, linewidth=0.8)
    return length


def _label_ends(axes: Axes, ends: Sequence[tuple[float, float]], records: Sequence[RunRecord], *, gap: float) -> None:
    """Write each run's name at the end of its line, in its colour, at least a gap in percent apart."""
    heights = spread_out([height for _, height in ends], gap)
    for place, ((x, _), height) in enumerate(zip(ends, heights, strict=True)):
        axes.annotate(
            name_among(records[place], records),
            (x, height),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            color=colour_of(place),
            size=9,
            annotation_clip=False,
        )


def spread_out(heights: Sequence[float], gap: float) -> list[float]:
    """Return the heights, in the same order, moved as little as it takes to lie at least `gap` apart."""
    if len(heights) < 2:
        return list(heights)
    from scipy.optimize import isotonic_regression  # here, for a single run's figures do without

    order = np.argsort(heights, kind="stable")
    steps = gap * np.arange(len(heights))
    spread = np.empty(len(heights))
    # Less their steps, heights that lie far enough apart increase; the nearest such ones are a regression.
    spread[order] = isotonic_regression(np.asarray(heights)[order] - steps).x + steps
    return spread.tolist()


def _learned_and_retained(records: Sequence[RunRecord], matrices: Sequence[np.ndarray]) -> Figure:
    figure = Figure(figsize=(WIDTH, 1.1 + 1.4 * len(records)), layout="constrained")
    panels = figure.subplots(len(records), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    means = [100 * matrix[:, 1:].mean(axis=0) for matrix in matrices]
    shown = [height for mean in means for height in (*np.diagonal(mean), *mean[-1])]
    for place, (axes, mean) in enumerate(zip(panels, means, strict=True)):
        colour = colour_of(place)
        draw_learned_and_retained(axes, mean, colour)
        axes.set_title(name_among(records[place], records), loc="left", size=10, color=colour)
        axes.yaxis.set_major_formatter(percent_formatter())
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        tidy(axes, grid="y")
    _fit(list(panels), shown)
    figure.supylabel(label_of_axis("Accuracy", panels[0]), size=10)
    legend_of_moments(figure, panels[-1])
    panels[-1].set_xlabel("Task")
    figure.suptitle(heading("Accuracy on each task", records), x=0.01, ha="left", size=11)
    return figure


def draw_learned_and_retained(axes: Axes, mean: np.ndarray, colour: str) -> None:
    """Draw the accuracy in percent on each task just after it was learned and in the end, given the rows after tasks.

    The lines between the two are what was forgotten.
    """
    tasks = len(mean)
    learned, retained, task = np.diagonal(mean), mean[-1], np.arange(1, tasks + 1)
    size = float(np.clip(400 / tasks, 6, 28))
    axes.vlines(task, retained, learned, color=colour, alpha=0.45, linewidth=float(np.clip(40 / tasks, 0.8, 2)))
    axes.scatter(task, learned, size, facecolor="white", edgecolor=colour, zorder=3)
    axes.scatter(task, retained, size, color=colour, zorder=3)


def legend_of_moments(figure: Figure, axes: Axes) -> None:
    """Tell what the white and the full dots of `draw_learned_and_retained` are."""
    for fill, moment in (("white", "just after learning it"), (GREY, "at the end of the stream")):
        axes.scatter([], [], 22, facecolor=fill, edgecolor=GREY, label=moment)
    figure.legend(loc="outside lower right", ncols=2, frameon=False, fontsize=9, handletextpad=0.2)
