"""When which class comes: the figure of the page of streams.

``python benchmarks/schedules.py`` draws ``docs/figures/schedules.png`` and ``.svg`` from streams of the digits that
come with perdure; it takes seconds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from perdure.report.figures.saving import save_figure
from perdure.report.figures.style import COLOURS, GREY, WIDTH, tidy
from perdure.streams.catalog import make_benchmark

FIGURE = Path(__file__).parents[1] / "docs" / "figures" / "schedules"
SCHEDULES: dict[str, dict[str, Any]] = {
    "one task after another": {},
    "--scenario domain": {"scenario": "domain"},
    "--boundaries blurry": {"boundaries": "blurry"},
    "--boundaries gaussian": {"boundaries": "gaussian"},
    "--rounds 3": {"rounds": 3},
    "--imbalance 20": {"imbalance": 20},
}
"""Options of `digits-split` by how they are typed."""


def draw_schedules() -> Figure:
    """Return a small figure of each schedule: label against the example's place in the stream."""
    figure = Figure(figsize=(WIDTH, 4.2), layout="constrained")
    panels = figure.subplots(2, 3, sharey=True)
    for axes, (title, options) in zip(panels.ravel(), SCHEDULES.items(), strict=True):
        _draw(axes, title, options)
    for axes in panels[-1]:
        axes.set_xlabel("example", color=GREY)
    for axes in panels[:, 0]:
        axes.set_ylabel("label", color=GREY)
    return figure


def _draw(axes: Axes, title: str, options: dict[str, Any]) -> None:
    benchmark = make_benchmark("digits-split", 0, **options)
    y, places = np.asarray(benchmark.train.y), np.arange(len(benchmark.train.y))
    axes.scatter(
        places,
        y + np.random.default_rng(0).uniform(-0.3, 0.3, len(y)),
        s=0.6,
        color=COLOURS[0],
        linewidths=0,
        rasterized=True,
    )
    if not benchmark.hides_tasks:
        for end in benchmark.task_ends[:-1]:
            axes.axvline(end, color=GREY, linewidth=0.5, linestyle=":")
    axes.set_title(title, fontsize=9)
    axes.set_yticks(range(0, 10, 3))
    axes.set_ylim(-0.7, 9.7)
    axes.set_xlim(0, len(y))
    tidy(axes, "y")


if __name__ == "__main__":
    for path in save_figure(draw_schedules(), FIGURE):
        print(path)
