"""Evaluated representations as figures like the paper's, and what representations look like."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, PercentFormatter

from perdure.metrics.bootstrap import bootstrap_mean
from perdure.records.evaluation import Evaluation, SineResult, on_sines
from perdure.report.figures.saving import save_figure
from perdure.report.figures.style import WIDTH, colour_of, legend_below, literal, tidy
from perdure.representation.statistics import Statistics

PARTS = {"trajectory": "Images learned", "held_out": "Held-out images"}
"""Accuracies of an evaluation on classes, and the titles of their panels."""

_NAME_CHARACTERS = 16
"""Of a row of heat maps in one line."""
_FAR_APART = 50
"""Ratio of errors from which an axis is logarithmic: the smallest would not be seen otherwise."""


def save_evaluation_figures(evaluations: Sequence[Evaluation], folder: Path) -> Iterator[Path]:
    """Write the figures that evaluations allow, and yield the paths.

    Raises:
        StorageError: if a file cannot be written.
    """
    for name, figure in evaluation_figures(evaluations):
        yield from save_figure(figure, folder / name)


def evaluation_figures(evaluations: Sequence[Evaluation]) -> Iterator[tuple[str, Figure]]:
    """Yield the figures that evaluations allow, each with its name."""
    kinds = {"classes": accuracy_against_classes, "sine": error_over_functions}
    for (name, draw), is_sine in zip(kinds.items(), (False, True), strict=True):
        own = [it for it in evaluations if on_sines(it) is is_sine]
        if own:
            yield name, draw(own)


def _by_head(evaluations: Sequence[Evaluation]) -> dict[str, list[Any]]:
    """Return the results of each representation, or of each head of one that has several."""
    found: dict[str, list[Any]] = {}
    for evaluation in evaluations:
        has_several = len({it.head for it in evaluation.results}) > 1
        for it in evaluation.results:
            found.setdefault(f"{evaluation.name}, {it.head}" if has_several else evaluation.name, []).append(it)
    return found


def accuracy_against_classes(evaluations: Sequence[Evaluation]) -> Figure:
    """Show accuracy against the number of classes learned: on the images learned, and on others of those classes."""
    return accuracy_curves(
        {
            name: {part: {it.classes: bootstrap_mean(getattr(it, part)) for it in results} for part in PARTS}
            for name, results in _by_head(evaluations).items()
        }
    )


@literal
def accuracy_curves(curves: Mapping[str, Mapping[str, Mapping[int, Sequence[float]]]]) -> Figure:
    """Show accuracies against the number of classes learned; bands, or whiskers at a single number, are intervals.

    Args:
        curves: by name, part of `PARTS` and number of classes: the mean, and where its interval begins and ends.
    """
    figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    ticks = sorted({classes for parts in curves.values() for its in parts.values() for classes in its})
    for axes, (part, title) in zip(panels, PARTS.items(), strict=True):
        for place, (name, parts) in enumerate(curves.items()):
            x = sorted(parts[part])
            mean, low, high = zip(*(parts[part][classes] for classes in x), strict=True)
            if len(ticks) == 1:  # side by side, with the intervals that a band would be
                reach = [[mean[0] - low[0]], [high[0] - mean[0]]]
                at = [place - (len(curves) - 1) / 2]
                axes.errorbar(
                    at, mean, yerr=reach, fmt="o", markersize=4, capsize=3, color=colour_of(place), label=name
                )
            else:
                axes.plot(x, mean, marker="o", markersize=4, color=colour_of(place), label=name)
                axes.fill_between(x, low, high, color=colour_of(place), alpha=0.2, linewidth=0)
        axes.set_title(title, loc="left", size=10)
        axes.set_xlabel("Classes learned one after another")
        if len(ticks) == 1:
            axes.set_xticks([0], [str(ticks[0])], fontsize=7)
            axes.set_xlim(-len(curves), len(curves))
        else:
            axes.set_xscale("log")
            axes.set_xticks(ticks, [str(tick) for tick in ticks], fontsize=7)
        axes.xaxis.set_minor_locator(NullLocator())
        tidy(axes, grid="y")
    panels[0].set_ylim(0, 1.02)
    panels[0].set_ylabel("Accuracy")
    panels[0].yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
    legend_below(figure, panels[0])
    return figure


def error_over_functions(evaluations: Sequence[Evaluation]) -> Figure:
    """Show the error over the functions learned so far, and that of each function at the end."""
    return error_curves({name: errors_of(its[0]) for name, its in _by_head(evaluations).items()})


class SineErrors(NamedTuple):
    """Mean squared errors: each the mean, and where its interval begins and ends."""

    so_far: Sequence[Sequence[float]]
    """After each function, over the functions learned so far."""
    at_end: Sequence[Sequence[float]]
    """Of each function after the last."""


def errors_of(result: SineResult) -> SineErrors:
    """Return the errors that a figure shows."""
    return SineErrors(*([bootstrap_mean(it) for it in runs.T] for runs in (result.so_far, result.errors[:, -1])))


@literal
def error_curves(results: Mapping[str, SineErrors]) -> Figure:
    """Show the error over the functions learned so far, and that of each function at the end.

    Bands and whiskers are 95 % bootstrap intervals.
    """
    figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
    curves, ends = figure.subplots(1, 2)
    width = 0.6 / len(results)
    for place, (name, errors) in enumerate(results.items()):
        x = np.arange(1, len(errors.so_far) + 1)
        mean, low, high = map(np.array, zip(*errors.so_far, strict=True))
        curves.plot(x, mean, marker="o", markersize=4, color=colour_of(place), label=name)
        curves.fill_between(x, low, high, color=colour_of(place), alpha=0.2, linewidth=0)
        mean, low, high = map(np.array, zip(*errors.at_end, strict=True))
        at = x - 0.3 + width * (place + 0.5)
        reach = [mean - low, high - mean]
        ends.errorbar(at, mean, yerr=reach, fmt="o", markersize=3, color=colour_of(place), elinewidth=0.8)
        for axes in (curves, ends):
            axes.set_xticks(x)
    curves.set_title("Over the functions so far", loc="left", size=10)
    ends.set_title("Of each function at the end", loc="left", size=10)
    curves.set_ylabel("Mean squared error")
    curves.set_xlabel("Functions learned one after another")
    ends.set_xlabel("Function, in the order learned")
    last = [it.so_far[-1][0] for it in results.values()]
    for axes in (curves, ends):
        if max(last) > _FAR_APART * min(last):
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0)
        tidy(axes, grid="y")
    legend_below(figure, curves)
    return figure


@literal
def activation_maps(
    statistics: Mapping[str, Statistics], instances: Mapping[str, Float[np.ndarray, "shown d"]]
) -> Figure:
    """Show, a row for each representation, its features for a few inputs and their mean over many, as heat maps.

    Features are laid out in rows of no meaning, each map divided by its largest value.

    Args:
        statistics: of each representation, by name.
        instances: features of the same few inputs.
    """
    n_shown = len(next(iter(instances.values())))
    figure = Figure(figsize=(WIDTH, 0.5 + 1.15 * len(statistics)), layout="constrained")
    panels = figure.subplots(len(statistics), n_shown + 1, squeeze=False)
    drawn = None
    for row, (name, of_all) in zip(panels, statistics.items(), strict=True):
        for axes, features in zip(row, (*instances[name], of_all.mean_activation), strict=True):
            drawn = axes.imshow(
                _as_picture(features), cmap="viridis", vmin=0, vmax=1, aspect="auto", interpolation="nearest"
            )
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(False)
        label = fill(name, _NAME_CHARACTERS, break_long_words=False)
        row[0].set_ylabel(label, size=8, rotation=0, ha="right", va="center")
    for n, axes in enumerate(panels[0]):
        axes.set_title("mean" if n == n_shown else f"input {n + 1}", size=9)
    assert drawn is not None  # a map for each input, and one for their mean
    bar = figure.colorbar(drawn, ax=panels, shrink=0.8, pad=0.02, ticks=[0, 1])
    bar.ax.set_yticklabels(["0", "largest"], size=8)
    return figure


def _as_picture(features: Float[np.ndarray, " d"]) -> Float[np.ndarray, "rows columns"]:
    """Return features as rows of equal length, as near to twice as wide as high as their number allows."""
    size = len(features)
    rows = max((n for n in range(1, size + 1) if size % n == 0 and n <= (size / 2) ** 0.5), default=1)
    return (features / max(float(features.max()), 1e-12)).reshape(rows, -1)
