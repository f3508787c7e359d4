"""Accuracy at every evaluation of a stream, and of each class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter, StrMethodFormatter

from perdure.records.learner import RunRecord
from perdure.records.over_time import AccuracyOverTime
from perdure.report.figures.style import (
    GREY,
    WIDTH,
    colour_of,
    fit_percents,
    heading,
    label_of_axis,
    legend_below,
    line_style_of,
    literal,
    marker_of,
    percent_formatter,
    tidy,
)
from perdure.report.names import name_among, run_title

_MOST_BOUNDARIES = 50
_MOST_BANDS = 4


@literal
def accuracy_over_time(records: Sequence[RunRecord]) -> Figure:
    """Show mean accuracy on the tasks seen so far at every evaluation, a line a run.

    Vertical lines are ends of tasks, drawn where all runs share them. Bands are 95 % intervals over seeds, drawn
    where they are few.

    Raises:
        ValueError: if there are no records, or one was not evaluated within tasks.
    """
    curves = [_over_time(record) for record in records]
    if not curves:
        raise ValueError("no runs were given, expected at least one; give the record of a finished run")
    figure = Figure(figsize=(WIDTH, 4.4), layout="constrained")
    axes = figure.add_subplot()
    if all(curve.task_ends == curves[0].task_ends for curve in curves):
        _mark_boundaries(axes, curves[0])
    heights: list[float] = []
    for place, (record, curve) in enumerate(zip(records, curves, strict=True)):
        seen = 100 * np.nanmean(curve.accuracy, axis=2)
        mean = np.nanmean(seen, axis=0)
        heights += mean.tolist()
        style = {"color": colour_of(place), "linestyle": line_style_of(place), "marker": marker_of(place)}
        axes.plot(curve.positions, mean, **style, linewidth=1.5, markersize=3, label=name_among(record, records))
        if len(records) <= _MOST_BANDS and len(seen) > 1:
            half = _half_widths(seen)
            axes.fill_between(curve.positions, mean - half, mean + half, color=style["color"], alpha=0.2, linewidth=0)
    fit_percents([axes], heights)
    axes.set_ylabel(label_of_axis("Accuracy", axes))
    axes.set_xlim(0, max(curve.positions[-1] for curve in curves))
    axes.set_xlabel("Examples learned")
    axes.set_title(heading("Mean accuracy on the tasks seen so far", records), loc="left", size=11)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.yaxis.set_major_formatter(percent_formatter())
    tidy(axes, grid="y")
    legend_below(figure, axes)
    return figure


@literal
def class_accuracy(record: RunRecord) -> Figure:
    """Show the accuracy of each class, on the tests of all tasks seen so far, at every evaluation: mean over seeds.

    Raises:
        ValueError: if the run was not evaluated within tasks, or has no classes.
    """
    curve = _over_time(record)
    if curve.of_classes.shape[2] == 0:
        raise ValueError(f"{record.title} learned numbers, which have no classes; draw its accuracy over time")
    n_classes = curve.of_classes.shape[2]
    figure = Figure(figsize=(WIDTH, float(np.clip(1.4 + 0.2 * n_classes, 2.4, 8))), layout="constrained")
    axes = figure.add_subplot()
    with np.errstate(invalid="ignore"):
        n_known = (~np.isnan(curve.of_classes)).sum(axis=0)
        mean = np.where(n_known > 0, np.nansum(100 * curve.of_classes, axis=0) / np.maximum(n_known, 1), np.nan)
    edges = np.concatenate([[0], curve.positions])
    image = axes.pcolormesh(edges, np.arange(n_classes + 1) - 0.5, mean.T, cmap="cividis", vmin=0, vmax=100)
    _mark_boundaries(axes, curve, colour="white")
    axes.set_ylabel("Class")
    axes.yaxis.set_major_locator(MaxNLocator(10, integer=True))
    axes.set_xlabel("Examples learned")
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.set_title(f"{run_title(record)}: accuracy of each class on the tasks seen so far", loc="left", size=10)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, format=PercentFormatter(decimals=0), shrink=0.9)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    return figure


def _over_time(record: RunRecord) -> AccuracyOverTime:
    if record.over_time is None:
        raise ValueError(f"{record.title} was tested at the ends of tasks only; run it with --evaluate-every")
    return record.over_time


def _mark_boundaries(axes: Axes, curve: AccuracyOverTime, colour: str = GREY) -> None:
    ends = curve.task_ends[:-1]
    if len(ends) <= _MOST_BOUNDARIES:
        for end in ends:
            axes.axvline(end, color=colour, linewidth=0.6, alpha=0.5, linestyle=(0, (2, 2)))


def _half_widths(values: np.ndarray) -> np.ndarray:
    """Return the half width of the 95 % interval of each column's mean."""
    from scipy.special import stdtrit

    n = len(values)
    return stdtrit(n - 1, 0.975) * values.std(axis=0, ddof=1) / n**0.5
