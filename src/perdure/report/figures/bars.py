"""Transfer metrics side by side."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from perdure.metrics.transfer import Statistic
from perdure.records.learner import RunRecord
from perdure.report.figures.style import (
    GREY,
    WIDTH,
    colour_of,
    heading,
    in_short,
    literal,
    percent_formatter,
    tidy,
)
from perdure.report.names import name_among
from perdure.report.tables import published_figure

_BARS = {
    "retained_accuracy": "Retained accuracy",
    "learning_accuracy": "Learning accuracy",
    "backward_transfer": "Backward transfer",
}

_NAME_WIDTH = 24  # characters of a name in a line: longer ones would leave no room for the bars


@literal
def metric_bars(records: Sequence[RunRecord]) -> Figure:
    """Show retained accuracy, learning accuracy and backward transfer of finished runs side by side.

    A triangle marks the published retained accuracy where there is one.

    Raises:
        ValueError: if there are no records, or one of them is unfinished.
    """
    unfinished = [record.title for record in records if not record.finished]
    if not records or unfinished:
        raise ValueError(
            f"{len(records)} runs were given, unfinished: {', '.join(unfinished) or 'none'}; "
            "expected finished ones, at least one"
        )
    figure = Figure(figsize=(WIDTH, 1.5 + 0.36 * len(records)), layout="constrained")
    panels = figure.subplots(1, len(_BARS), sharey=True)
    for axes, (name, title) in zip(panels, _BARS.items(), strict=True):
        for place, record in enumerate(records):
            assert record.summary is not None
            _bar(axes, place, record.summary.metrics[name])
        axes.set_title(title, loc="left", size=10)
        tidy(axes, grid="x")
        axes.tick_params(axis="y", length=0)
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
        axes.xaxis.set_major_formatter(percent_formatter())
    for axes in panels[:2]:
        if any(_bars_below_zero(axes)):  # R² of a regression
            _make_room_for_values(axes, 0.8)
            axes.xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 2.5, 5, 10]))
        else:
            axes.set_xlim(0, 130)
            axes.set_xticks([0, 50, 100])
    _make_room_for_values(panels[2], 0.35)
    _mark_published(panels[0], records)
    names = [textwrap.fill(name_among(record, records), _NAME_WIDTH) for record in records]
    panels[0].set_yticks(range(len(records)), names, size=9 if any("\n" in it for it in names) else None)
    middle, half = (len(records) - 1) / 2, max(len(records), 2) / 2
    panels[0].set_ylim(middle + half, middle - half)
    figure.suptitle(heading("Transfer", records), x=0.01, ha="left", size=11)
    return figure


def _bar(axes: Axes, place: int, statistic: Statistic) -> None:
    """Draw a bar from 0 with its interval, and its percentage beyond both."""
    mean, half = 100 * statistic.mean, 100 * np.nan_to_num(statistic.ci95)
    axes.barh(place, mean, height=0.62, color=colour_of(place))
    if half > 0:
        axes.errorbar(mean, place, xerr=half, color="black", linewidth=1, capsize=2.5)
    sign = -1 if mean < 0 else 1
    axes.annotate(
        in_short(mean, 1).replace("-", "−"),
        (mean + sign * half, place),
        xytext=(sign * 7, 0),
        textcoords="offset points",
        ha="right" if mean < 0 else "left",
        va="center",
        size=9,
    )


def _bars_below_zero(axes: Axes) -> list[bool]:
    return [isinstance(patch, Rectangle) and bool(patch.get_width() < 0) for patch in axes.patches]


def _make_room_for_values(axes: Axes, share: float) -> None:
    """Widen the x axis, which holds 0, by a share on the sides on which bars end, and draw the line at 0."""
    low, high = axes.dataLim.intervalx
    room = max(share * (high - low), 0.5)
    below = _bars_below_zero(axes)
    axes.set_xlim(low - room if any(below) else low, high if all(below) else high + room)
    axes.spines["left"].set_visible(False)
    axes.axvline(0, color=GREY, linewidth=0.8)


def _mark_published(axes: Axes, records: Sequence[RunRecord]) -> None:
    """Mark each published figure on the upper edge of its bar, clear of the interval and the value."""
    figures = [(place, published_figure(record)) for place, record in enumerate(records)]
    marks = [(figure.mean, place - 0.31) for place, figure in figures if figure is not None]
    if marks:
        x, y = zip(*marks, strict=True)
        axes.scatter(x, y, 30, marker="v", color="white", edgecolor="black", zorder=4, label="published")
        axes.legend(loc="upper left", bbox_to_anchor=(0, -0.2), frameon=False, fontsize=9, handletextpad=0.2)
