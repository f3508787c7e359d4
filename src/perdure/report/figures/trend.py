"""Gradient alignment over the stream."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from perdure.records.learner import RunRecord
from perdure.report.figures.style import GREY, WIDTH, colour_of_learner, literal, tidy
from perdure.report.names import benchmark_title, learner_title

_STYLES = {"before": "-", "after": (0, (3, 1.5))}
_WORDS = {"before": "before the update", "after": "after the update"}
_SMOOTHING = 0.1  # of the stream: the width of the moving mean


@literal
def alignment_over_stream(records: Sequence[RunRecord]) -> Figure:
    """Show the dot product with a past example's gradient as the stream proceeds, before and after the update.

    A panel for each benchmark; lines are moving means over a tenth of the stream, over all seeds.

    Raises:
        ValueError: if there are no records, or one of them has not logged its alignment.
    """
    if not records or any(record.alignment is None for record in records):
        without = [record.title for record in records if record.alignment is None]
        raise ValueError(
            f"{len(records)} runs were given, without alignment: {', '.join(without) or 'none'}; expected runs that "
            "logged it, at least one"
        )
    benchmarks = list(dict.fromkeys(record.benchmark for record in records))
    figure = Figure(figsize=(WIDTH, 0.7 + 1.9 * len(benchmarks)), layout="constrained")
    panels = figure.subplots(len(benchmarks), 1, squeeze=False)[:, 0]
    for axes, benchmark in zip(panels, benchmarks, strict=True):
        for record in records:
            if record.benchmark == benchmark:
                _draw_run(axes, record)
        axes.axhline(0, color=GREY, linewidth=0.8)
        axes.set_title(benchmark_title(benchmark), loc="left", size=10)
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        tidy(axes, grid="y")
    panels[-1].set_xlabel("Examples learned")
    figure.supylabel("Dot product of gradients", size=10)
    figure.legend(handles=_legend(records), loc="outside lower left", ncols=2, frameon=False, fontsize=9)
    return figure


def moving_mean(values: Float64[np.ndarray, " n"], width: int) -> Float64[np.ndarray, " n"]:
    """Return the mean of the `width` values around each, of fewer towards the ends."""
    window = np.ones(width)
    return np.convolve(values, window, mode="same") / np.convolve(np.ones(len(values)), window, mode="same")


def _draw_run(axes: Axes, record: RunRecord) -> None:
    curves = record.alignment
    assert curves is not None
    width = max(1, min(len(curves.position), round(_SMOOTHING * len(curves.position))))
    for moment, style in _STYLES.items():
        mean = moving_mean(getattr(curves, moment).mean(axis=0), width)
        axes.plot(curves.position, mean, color=colour_of_learner(record.learner), linestyle=style, linewidth=1.5)


def _legend(records: Sequence[RunRecord]) -> list[Line2D]:
    learners = dict.fromkeys(record.learner for record in records)
    return [
        Line2D([], [], color=colour_of_learner(learner), linestyle=style, label=f"{learner_title(learner)} {words}")
        for learner in learners
        for style, words in zip(_STYLES.values(), _WORDS.values(), strict=True)
    ]
