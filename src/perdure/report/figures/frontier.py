"""Accuracy against what it costs: bytes kept between examples, and CPU time per example."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from perdure.records.learner import RunRecord
from perdure.report.differences import metric_compared
from perdure.report.figures.style import (
    GREY,
    WIDTH,
    colour_of,
    heading,
    label_of_axis,
    legend_below,
    literal,
    percent_formatter,
    tidy,
)
from perdure.report.names import name_among
from perdure.report.tables import cpu_seconds_per_example

_ALIKE = 1.1
"""Ratio of the largest to the smallest cost below which they are alike."""


class _Point(NamedTuple):
    cost: float
    accuracy: float
    """In percent."""
    half_width: float
    """Of the 95 % interval; 0 for a single seed."""


@literal
def accuracy_against_cost(records: Sequence[RunRecord]) -> Figure:
    """Show accuracy against bytes kept and CPU time, a point per run, and which runs no other one dominates.

    It is retained accuracy; of runs without test sets, prequential accuracy. A run is on the frontier if every run that
    costs no more has a lower one. Costs are on logarithmic axes.

    Args:
        records: finished runs on one benchmark, all with test sets or all without, at least one.

    Raises:
        ValueError: if there are no runs, or one of them is unfinished.
    """
    if not records or not all(record.finished for record in records):
        raise ValueError(f"{len(records)} runs were given, not all finished; expected finished runs, at least one")
    what = metric_compared(records[0]).replace("_", " ").capitalize()
    figure = Figure(figsize=(WIDTH, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    _draw(left, records, _kept_kilobytes)
    _draw(right, records, lambda record: 1000 * cpu_seconds_per_example(record))
    left.set_ylabel(label_of_axis(what, left))
    left.yaxis.set_major_formatter(percent_formatter())
    left.set_xlabel("Kept between examples (kB)")
    right.set_xlabel("CPU time per example (ms)")
    figure.suptitle(heading(f"{what} against cost", records), x=0.01, ha="left", size=11)
    legend_below(figure, left)
    return figure


def _draw(axes: Axes, records: Sequence[RunRecord], cost: Callable[[RunRecord], float]) -> None:
    points = [_point(record, cost(record)) for record in records]
    axes.set_xscale("log")
    costs = [it.cost for it in points]
    if max(costs) < _ALIKE * min(costs):  # a logarithmic axis of no length shows nothing
        axes.set_xlim(min(costs) / 1.5, max(costs) * 1.5)
    axes.xaxis.set_major_locator(LogLocator(subs=_ticks(max(costs) / min(costs))))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    frontier = _frontier(points)
    steps = [*frontier, frontier[-1]._replace(cost=max(costs))]
    axes.plot(
        [it.cost for it in steps],
        [it.accuracy for it in steps],
        color=GREY,
        linewidth=1,
        drawstyle="steps-post",
        label="frontier",
    )
    for place, (record, point) in enumerate(zip(records, points, strict=True)):
        axes.errorbar(
            point.cost,
            point.accuracy,
            yerr=point.half_width,
            color=colour_of(place),
            marker=_MARKERS[place // len(_MARKERS) % len(_MARKERS)],
            markersize=6,
            capsize=2,
            linestyle="none",
            label=name_among(record, records),
        )
    tidy(axes, grid="y")


def _ticks(ratio: float) -> tuple[float, ...]:
    """Return what is multiplied with powers of ten for ticks on an axis whose ends have a ratio."""
    if ratio < 4:
        return (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)
    return (1.0, 2.0, 5.0) if ratio < 100 else (1.0,)


_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
"""One for every round of the colours: as many as there are colours."""


def _frontier(points: Sequence[_Point]) -> list[_Point]:
    """Return the points that lie above every one that costs no more, the cheapest first."""
    best = -np.inf
    frontier = []
    for point in sorted(points, key=lambda it: (it.cost, -it.accuracy)):
        if point.accuracy > best:
            frontier.append(point)
            best = point.accuracy
    return frontier


def _point(record: RunRecord, cost: float) -> _Point:
    assert record.summary is not None
    measured = record.summary.metrics[metric_compared(record)]
    return _Point(cost, 100 * measured.mean, 100 * float(np.nan_to_num(measured.ci95)))


def _kept_kilobytes(record: RunRecord) -> float:
    assert record.summary is not None
    return record.summary.state_bytes / 1000
