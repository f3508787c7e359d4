"""Single results as small figures, as a notebook shows them."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float64, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from perdure.metrics.prequential import windowed_means
from perdure.metrics.transfer import mean_and_interval
from perdure.report.figures.stream import draw_learned_and_retained, draw_tasks_seen, legend_of_moments
from perdure.report.figures.style import (
    colour_of,
    fit_percents,
    knows_the_past,
    label_of_axis,
    line_style_of,
    literal,
    percent_formatter,
    tidy,
)

_SIZE = (5.2, 2.6)  # inches
_WINDOW = 0.05  # of the stream, over which curves are smoothed


@literal
def accuracy_of_run(title: str, accuracy: Float64[np.ndarray, "seeds rows tasks"]) -> Figure:
    """Show the mean accuracy on the tasks seen so far; with few evaluations, each task when learned and in the end.

    Args:
        title: of the figure.
        accuracy: accuracy matrices, as in `perdure.metrics.transfer`.
    """
    figure, axes = _begin(title)
    if accuracy.shape[2] > 1 and knows_the_past(accuracy):
        draw_tasks_seen(axes, accuracy, colour_of(0), "")
        fit_percents([axes], [float(it) for line in axes.lines for it in np.asarray(line.get_ydata())])
        axes.set_xlabel("Tasks learned")
        axes.set_ylabel(label_of_axis("Accuracy on them", axes))
    else:
        draw_learned_and_retained(axes, 100 * accuracy[:, 1:].mean(axis=0), colour_of(0))
        legend_of_moments(figure, axes)
        axes.set_xlabel("Task")
        axes.set_ylabel(label_of_axis("Accuracy", axes))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(percent_formatter())
    return figure


@literal
def accuracy_over_examples(title: str, correct: Float[np.ndarray, "seeds N"]) -> Figure:
    """Show the accuracy on the last arriving examples, each predicted before it was learned, mean over seeds.

    Args:
        title: of the figure.
        correct: 1 or 0 for each example; NaN where the stream of a seed has ended.
    """
    figure = _curve(title, 100 * correct, "Prequential accuracy")
    figure.axes[0].yaxis.set_major_formatter(percent_formatter())
    return figure


@literal
def loss_over_examples(title: str, losses: Float[np.ndarray, "seeds N"]) -> Figure:
    """Show the loss on the last arriving examples, before they were learned, mean over seeds.

    Args:
        title: of the figure.
        losses: of each example; NaN where the stream of a seed has ended.
    """
    return _curve(title, losses, "Loss")


@literal
def scores_of_run(
    title: str, frames: Int[np.ndarray, " times"], scores: Float64[np.ndarray, "seeds times levels"]
) -> Figure:
    """Show the score at each level over frames, mean over seeds.

    Args:
        title: of the figure.
        frames: played at each evaluation.
        scores: of the greedy policy.
    """
    figure, axes = _begin(title)
    for level, mean in enumerate(scores.mean(axis=0).T):
        axes.plot(frames, mean, color=colour_of(level), linestyle=line_style_of(level), label=f"level {level}")
    axes.set_xlabel("Frames")
    axes.set_ylabel("Score")
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    return figure


def _begin(title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=_SIZE, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", size=10)
    tidy(axes, grid="y")
    return figure, axes


def _curve(title: str, values: Float[np.ndarray, "seeds N"], what: str) -> Figure:
    """Show the moving mean of what was measured at each example that all seeds have, with its band over seeds."""
    figure, axes = _begin(title)
    values = values[:, ~np.isnan(values).any(axis=0)]
    smooth = windowed_means(values, max(1, round(_WINDOW * values.shape[1])))
    points = [mean_and_interval(column) for column in smooth[:, :: max(1, smooth.shape[1] // 500)].T]
    after = 1 + np.arange(smooth.shape[1])[:: max(1, smooth.shape[1] // 500)]
    mean, half = (np.array([getattr(it, name) for it in points]) for name in ("mean", "ci95"))
    axes.plot(after, mean, color=colour_of(0), linewidth=1.5)
    axes.fill_between(after, mean - half, mean + half, color=colour_of(0), alpha=0.2, linewidth=0)
    axes.set_xlabel("Examples learned")
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.set_ylabel(what)
    return figure
