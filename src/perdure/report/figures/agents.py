"""Runs of agents as figures: scores over frames, level by level and game by game, and what was known when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from perdure.metrics.transfer import mean_and_interval
from perdure.records.agent import AgentRecord
from perdure.report.agents import check_comparable
from perdure.report.figures.style import GREY, WIDTH, colour_of, line_style_of, literal, tidy

_COLUMNS = 3


@literal
def scores_over_frames(records: Sequence[AgentRecord]) -> Figure:
    """Show each level's score as frames go by, a panel a level, a line a run with its 95 % band over seeds.

    The stages in which the panel's level is played are shaded, their boundaries marked. Each panel has the range of its
    own scores; of several games it names the game.

    Raises:
        ResultsError: if the runs are unfinished, or not of one game and schedule.
    """
    return _figure(records, {name: [level] for level, name in enumerate(_names_of_levels(records[0]))})


@literal
def scores_of_games(records: Sequence[AgentRecord]) -> Figure:
    """Show the mean score over the levels of each game, a panel a game; else as `scores_over_frames`.

    Raises:
        ResultsError: if the runs are unfinished, or not of one game and schedule.
    """
    return _figure(records, records[0].groups)


def has_games(record: AgentRecord) -> bool:
    """Tell whether a run's levels belong to several games, of which one has several levels."""
    return 1 < len(record.groups) < len(record.config["levels"])


def _figure(records: Sequence[AgentRecord], panels: Mapping[str, Sequence[int]]) -> Figure:
    """Draw a panel for the mean over the levels of each name."""
    check_comparable(records)
    columns = min(_COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(WIDTH, 0.6 + 1.9 * rows), layout="constrained")
    places = np.atleast_1d(figure.subplots(rows, columns, sharex=True)).ravel()
    for axes in places[len(panels) :]:
        axes.set_visible(False)
    for axes, (name, levels) in zip(places[: len(panels)], panels.items(), strict=True):
        _mark_stages(axes, records[0].stages, levels)
        for place, record in enumerate(records):
            _draw(axes, record, levels, place)
        axes.set_title(name, loc="left", size=9)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda frames, _: f"{frames / 1000:g}k"))
        tidy(axes, grid="y")
    figure.supxlabel("Frames played", size=9)
    figure.supylabel("Score of the greedy policy", size=9)
    handles = places[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper left", ncols=4, frameon=False, fontsize=9)
    return figure


def _names_of_levels(record: AgentRecord) -> list[str]:
    """Return a title for each level: the game that it is of, and which of the game's levels it is."""
    names = [f"Level {level}" for level in range(len(record.config["levels"]))]
    for game, levels in record.groups.items():
        for its_level, level in enumerate(levels):
            names[level] = f"{names[level]}: {game}" + (f" {its_level}" if len(levels) > 1 else "")
    return names


def _mark_stages(axes: Axes, stages: Sequence[tuple[int, int]], levels: Sequence[int]) -> None:
    start = 0
    for played, frames in stages:
        if played in levels:
            axes.axvspan(start, start + frames, color=GREY, alpha=0.12, linewidth=0)
        start += frames
        axes.axvline(start, color=GREY, linewidth=0.5, linestyle=":")


def _draw(axes: Axes, record: AgentRecord, levels: Sequence[int], place: int) -> None:
    assert record.frames is not None
    assert record.scores is not None
    points = [mean_and_interval(column) for column in record.scores[:, :, list(levels)].mean(axis=2).T]
    mean, half = (np.array([getattr(point, name) for point in points]) for name in ("mean", "ci95"))
    axes.plot(
        record.frames,
        mean,
        color=colour_of(place),
        linestyle=line_style_of(place),
        linewidth=1.5,
        label=record.folder.name,
    )
    axes.fill_between(record.frames, mean - half, mean + half, color=colour_of(place), alpha=0.2, linewidth=0)
