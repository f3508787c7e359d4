"""Retained accuracy against the size of the memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from perdure.records.learner import RunRecord
from perdure.report.figures.style import GREY, WIDTH, colour_of_learner, label_of_axis, literal, percent_formatter, tidy
from perdure.report.names import benchmark_title, learner_title
from perdure.report.tables import published_figure


@literal
def retained_against_memory(records: Sequence[RunRecord]) -> Figure:
    """Show retained accuracy against memory size: a panel for each benchmark, a line for each learner.

    Learners without memory are broken lines across. Published figures are hollow.

    Raises:
        ValueError: if there are no records, or one of them is unfinished.
    """
    if not records or not all(record.finished for record in records):
        raise ValueError(f"{len(records)} runs were given, not all finished; expected finished runs, at least one")
    benchmarks = list(dict.fromkeys(record.benchmark for record in records))
    figure = Figure(figsize=(WIDTH, 3.9), layout="constrained")
    panels = figure.subplots(1, len(benchmarks), sharey=True, squeeze=False)[0]
    for axes, benchmark in zip(panels, benchmarks, strict=True):
        _draw_benchmark(axes, [record for record in records if record.benchmark == benchmark])
        axes.set_title(benchmark_title(benchmark), loc="left", size=10)
    panels[0].set_ylabel(label_of_axis("Retained accuracy", panels[0]))
    panels[0].yaxis.set_major_formatter(percent_formatter())
    panels[len(panels) // 2].set_xlabel("Memory (examples)")
    figure.legend(handles=_legend(records), loc="outside lower left", ncols=5, frameon=False, fontsize=9)
    return figure


def _draw_benchmark(axes: Axes, records: Sequence[RunRecord]) -> None:
    axes.set_xscale("log")
    sizes = sorted({record.memory_size for record in records if record.memory_size is not None})
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(min(sizes, default=1) / 1.5, max(sizes, default=10) * 1.5)
    for learner in dict.fromkeys(record.learner for record in records):
        own = sorted((it for it in records if it.learner == learner), key=lambda it: it.memory_size or 0)
        colour = colour_of_learner(learner)
        retained = np.array([_retained(record) for record in own])
        published = [figure and figure.mean for figure in map(published_figure, own)]
        if own[0].memory_size is None:
            axes.axhline(retained[0, 0], color=colour, linewidth=1.2, linestyle=(0, (4, 2)))
            places = [axes.get_xlim()[0]]
        else:
            places = [float(record.memory_size or 0) for record in own]
            axes.errorbar(
                places, retained[:, 0], yerr=retained[:, 1], color=colour, marker="o", markersize=4, capsize=2
            )
        known = [(x, y) for x, y in zip(places, published, strict=True) if y is not None]
        if known:
            x, y = zip(*known, strict=True)
            axes.scatter(x, y, 42, facecolor="none", edgecolor=colour, linewidth=1.2, zorder=4, clip_on=False)
    tidy(axes, grid="y")


def _retained(record: RunRecord) -> tuple[float, float]:
    """Return mean and half width in percent."""
    assert record.summary is not None
    statistic = record.summary.metrics["retained_accuracy"]
    return 100 * statistic.mean, 100 * float(np.nan_to_num(statistic.ci95))


def _legend(records: Sequence[RunRecord]) -> list[Line2D]:
    with_memory = {record.learner: record.memory_size is not None for record in records}
    handles = [
        Line2D([], [], color=colour_of_learner(learner), marker="o", markersize=4, label=learner_title(learner))
        if has_memory
        else Line2D([], [], color=colour_of_learner(learner), linestyle=(0, (4, 2)), label=learner_title(learner))
        for learner, has_memory in with_memory.items()
    ]
    if any(published_figure(record) for record in records):
        hollow = Line2D([], [], linestyle="none", marker="o", markersize=6.5, markerfacecolor="none", color=GREY)
        hollow.set_label("published")
        handles.append(hollow)
    return handles
