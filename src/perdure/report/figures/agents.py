"""Runs of agents as figures: scores over frames, level by level, and what was known when."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from perdure.metrics.transfer import mean_and_interval
from perdure.records.agent import AgentRecord
from perdure.report.agents import check_comparable
from perdure.report.figures.style import GREY, WIDTH, colour_of, literal, tidy

_COLUMNS = 3


@literal
def scores_over_frames(records: Sequence[AgentRecord]) -> Figure:
    """Show each level's score as frames go by, a panel a level, a line a run with its 95 % band over seeds.

    The stages in which the panel's level is played are shaded, their boundaries marked.

    Raises:
        ResultsError: if the runs are unfinished, or not of one game and schedule.
    """
    check_comparable(records)
    n_levels = len(records[0].config["levels"])
    columns = min(_COLUMNS, n_levels)
    rows = -(-n_levels // columns)
    figure = Figure(figsize=(WIDTH, 0.6 + 1.9 * rows), layout="constrained")
    panels = np.atleast_1d(figure.subplots(rows, columns, sharex=True)).ravel()
    for level, axes in enumerate(panels):
        if level >= n_levels:
            axes.set_visible(False)
            continue
        _mark_stages(axes, records[0].stages, level)
        for place, record in enumerate(records):
            _draw(axes, record, level, place)
        axes.set_title(f"Level {level}", loc="left", size=9)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda frames, _: f"{frames / 1000:g}k"))
        tidy(axes, grid="y")
    figure.supxlabel("Frames played", size=9)
    figure.supylabel("Score of the greedy policy", size=9)
    handles = panels[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper left", ncols=4, frameon=False, fontsize=9)
    return figure


def _mark_stages(axes: Axes, stages: Sequence[tuple[int, int]], level: int) -> None:
    start = 0
    for played, frames in stages:
        if played == level:
            axes.axvspan(start, start + frames, color=GREY, alpha=0.12, linewidth=0)
        start += frames
        axes.axvline(start, color=GREY, linewidth=0.5, linestyle=":")


def _draw(axes: Axes, record: AgentRecord, level: int, place: int) -> None:
    assert record.frames is not None
    assert record.scores is not None
    points = [mean_and_interval(column) for column in record.scores[:, :, level].T]
    mean, half = (np.array([getattr(point, name) for point in points]) for name in ("mean", "ci95"))
    axes.plot(record.frames, mean, color=colour_of(place), linewidth=1.5, label=record.folder.name)
    axes.fill_between(record.frames, mean - half, mean + half, color=colour_of(place), alpha=0.2, linewidth=0)
