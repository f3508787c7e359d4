"""Methods on embeddings: what they know of the classes learned so far, and what they cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, PercentFormatter

from perdure.metrics.transfer import mean_and_interval
from perdure.records.embeddings import EmbeddingResult, EmbeddingsRecord
from perdure.report.figures.style import WIDTH, colour_of, label_of_axis, literal, tidy

_MARKERS = "os^Dv<>P"


def methods_on_embeddings(record: EmbeddingsRecord) -> Figure:
    """Show accuracy on held-out examples as learning went on, and at the end against the time of an example."""
    return methods_side_by_side(record.config["name"], record.methods)


@literal
def methods_side_by_side(title: str, methods: Mapping[str, Sequence[EmbeddingResult]]) -> Figure:
    """Show accuracy on held-out examples as learning went on, and at the end against the time of an example.

    Args:
        title: of the figure.
        methods: results by method, one a seed.
    """
    figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
    curves, costs = figure.subplots(1, 2, sharey=True)
    for place, (method, own) in enumerate(methods.items()):
        colour, marker = colour_of(place), _MARKERS[place % len(_MARKERS)]
        mean = 100 * np.mean([it.curve for it in own], axis=0)
        rows = np.mean([it.rows for it in own], axis=0)  # classes that end there may differ in size from seed to seed
        curves.plot(rows, mean, color=colour, marker=marker, markersize=4, linewidth=1.5, label=method)
        cost = float(np.mean([it.microseconds for it in own]))
        held_out = mean_and_interval([100 * it.held_out for it in own])
        half_width = None if np.isnan(held_out.ci95) else held_out.ci95
        costs.errorbar([cost], [held_out.mean], half_width, color=colour, marker=marker, markersize=7, linewidth=1)
    curves.set_title("Held-out examples of the classes so far", loc="left", size=10)
    curves.set_xlabel("Examples learned")
    curves.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    curves.xaxis.set_major_locator(MaxNLocator(5))
    curves.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10], integer=True))
    curves.yaxis.set_major_formatter(PercentFormatter(decimals=0))
    curves.margins(x=0.03)
    costs.set_title("At the end, and what it costs", loc="left", size=10)
    n_seeds = len(next(iter(methods.values())))
    interval = f"\n(bars: 95 % interval, {n_seeds} seeds)" if n_seeds > 1 else ""
    costs.set_xlabel(f"µs of CPU time to learn an example{interval}")
    costs.set_xscale("log")
    costs.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    costs.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    costs.xaxis.set_minor_formatter(NullFormatter())
    costs.margins(x=0.3)
    for axes in (curves, costs):
        tidy(axes, grid="y")
    curves.set_ylabel(label_of_axis("Accuracy", curves))
    figure.legend(*curves.get_legend_handles_labels(), loc="outside lower left", ncols=6, frameon=False, fontsize=9)
    figure.suptitle(title, x=0.01, ha="left", size=11)
    return figure
