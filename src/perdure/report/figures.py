"""Records of runs as figures. Bands and error bars are 95 % intervals of the mean over seeds."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from jaxtyping import Float64
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from scipy.optimize import isotonic_regression

from perdure.experiments.files import make_folder, write_atomically
from perdure.experiments.results import RunRecord
from perdure.metrics.transfer import Statistic, mean_and_interval
from perdure.report.tables import published_figure

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""The palette of Okabe & Ito, which the colour-blind can tell apart."""
_GREY = "#555555"
_WIDTH = 7.0
_BARS = {
    "retained_accuracy": "Retained accuracy",
    "learning_accuracy": "Learning accuracy",
    "backward_transfer": "Backward transfer",
}


def accuracy_over_stream(records: Sequence[RunRecord]) -> Figure:
    """Show how accuracy fares as the stream goes on.

    If every run was evaluated on all past tasks after each task: mean accuracy over the tasks seen so far,
    one line a run, with its band. Otherwise: accuracy on each task just after it was learned and at the end
    of the stream, one panel a run; the lines between the two are what was forgotten.

    Raises:
        ValueError: if there are no records, or one of them has no accuracies yet.
    """
    matrices = [_accuracy(record) for record in records]
    if not matrices:
        raise ValueError("no runs were given, expected at least one; give the record of a finished run")
    if all(_knows_the_past(matrix) for matrix in matrices):
        return _mean_over_tasks_seen(records, matrices)
    return _learned_and_retained(records, matrices)


def accuracy_matrix(record: RunRecord) -> Figure:
    """Show the accuracy on every task (columns) after every task (rows), mean over seeds.

    What was not evaluated stays blank; up to 12 tasks the percentages are written into the cells.

    Raises:
        ValueError: if the run has no accuracies yet.
    """
    percent = 100 * np.mean(_accuracy(record), axis=0)
    tasks = percent.shape[1]
    figure = Figure(figsize=(6.0, 5.4), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(percent, cmap="cividis", vmin=0, vmax=100, aspect="auto", interpolation="nearest")
    step = max(1, tasks // 10)
    shown = np.arange(step - 1, tasks, step)
    axes.set_xticks(shown, [str(task + 1) for task in shown])
    axes.set_yticks([0, *(shown + 1)], ["before", *(str(task + 1) for task in shown)])
    axes.set_xlabel("Accuracy on task")
    axes.set_ylabel("After training on task")
    axes.set_title(record.title, loc="left")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    if tasks <= 12:
        for row, task in np.argwhere(~np.isnan(percent)):
            colour = "white" if percent[row, task] < 55 else "black"
            axes.text(task, row, f"{percent[row, task]:.0f}", ha="center", va="center", color=colour, size=8)
    bar = figure.colorbar(image, ax=axes, format=PercentFormatter(decimals=0), shrink=0.8)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    return figure


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
    figure = Figure(figsize=(_WIDTH, 1.5 + 0.36 * len(records)), layout="constrained")
    panels = figure.subplots(1, len(_BARS), sharey=True)
    for axes, (name, title) in zip(panels, _BARS.items(), strict=True):
        for place, record in enumerate(records):
            assert record.summary is not None
            _bar(axes, place, record.summary.metrics[name])
        axes.set_title(title, loc="left", size=10)
        _style(axes, grid="x")
        axes.tick_params(axis="y", length=0)
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
        axes.xaxis.set_major_formatter(PercentFormatter(decimals=0))
    for axes in panels[:2]:
        axes.set_xlim(0, 130)
        axes.set_xticks([0, 50, 100])
    _make_room_for_values(panels[2])
    _mark_published(panels[0], records)
    panels[0].set_yticks(range(len(records)), [_name_among(record, records) for record in records])
    middle, half = (len(records) - 1) / 2, max(len(records), 2) / 2
    panels[0].set_ylim(middle + half, middle - half)
    figure.suptitle(_heading("Transfer", records), x=0.01, ha="left", size=11)
    return figure


def save_figures(records: Sequence[RunRecord], folder: Path) -> list[Path]:
    """Write every figure that finished runs allow, as PNG (200 dpi) and SVG, and return the paths.

    Runs are compared within their benchmark: `accuracy-over-stream-BENCHMARK` and
    `metrics-BENCHMARK`; `accuracy-matrix-RUN`, for runs with the full matrix, is named after the run's folder.
    The same records give the same files, byte for byte.

    Raises:
        StorageError: if a file cannot be written.
    """
    make_folder(folder)
    return [path for stem, figure in _figures(records) for path in _save(figure, folder / stem)]


def _figures(records: Sequence[RunRecord]) -> Iterator[tuple[str, Figure]]:
    finished = [record for record in records if record.finished]
    for benchmark in dict.fromkeys(record.benchmark for record in finished):
        runs = [record for record in finished if record.benchmark == benchmark]
        yield f"accuracy-over-stream-{benchmark}", accuracy_over_stream(runs)
        yield f"metrics-{benchmark}", metric_bars(runs)
    for record in finished:
        if _knows_the_past(_accuracy(record)):
            yield f"accuracy-matrix-{record.folder.name}", accuracy_matrix(record)


def _save(figure: Figure, stem: Path) -> Iterator[Path]:
    for ending, metadata in (("png", {}), ("svg", {"Date": None})):
        path = stem.with_name(f"{stem.name}.{ending}")
        content = io.BytesIO()
        with mpl.rc_context({"svg.hashsalt": "perdure"}):
            figure.savefig(content, format=ending, dpi=200, metadata=metadata)
        write_atomically(path, content.getvalue())
        yield path


def _accuracy(record: RunRecord) -> Float64[np.ndarray, "seeds rows tasks"]:
    if record.accuracy is None:
        raise ValueError(f"{record.title} has no accuracies yet; let the run finish, or leave it out")
    return record.accuracy


def _knows_the_past(matrices: Float64[np.ndarray, "seeds rows tasks"]) -> bool:
    """Tell whether every task was evaluated after itself and after each later task."""
    seen = np.tril(np.ones(matrices.shape[1:], bool), k=-1)
    return not np.isnan(matrices[:, seen]).any()


def _mean_over_tasks_seen(records: Sequence[RunRecord], matrices: Sequence[np.ndarray]) -> Figure:
    figure = Figure(figsize=(_WIDTH, 3.6), layout="constrained")
    axes = figure.add_subplot()
    ends = []
    for place, matrix in enumerate(matrices):
        tasks = matrix.shape[2]
        seen = [mean_and_interval(list(100 * matrix[:, task + 1, : task + 1].mean(axis=1))) for task in range(tasks)]
        mean, half = (np.array([getattr(point, name) for point in seen]) for name in ("mean", "ci95"))
        after = np.arange(1, tasks + 1)
        axes.plot(after, mean, color=_colour(place), linewidth=1.8, label=_name_among(records[place], records))
        axes.fill_between(after, mean - half, mean + half, color=_colour(place), alpha=0.2, linewidth=0)
        ends.append((float(tasks), float(mean[-1])))
    axes.set_ylim(0, 100)
    _label_ends(axes, ends, records)
    axes.set_xlabel("Tasks learned")
    axes.set_title(_heading("Mean accuracy on the tasks seen so far", records), loc="left", size=11)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(PercentFormatter(decimals=0))
    _style(axes, grid="y")
    return figure


def _label_ends(axes: Axes, ends: Sequence[tuple[float, float]], records: Sequence[RunRecord]) -> None:
    """Write each run's name at the end of its line, in its colour, without overlap."""
    heights = _spread_out([height for _, height in ends], gap=5.5)
    for place, ((x, _), height) in enumerate(zip(ends, heights, strict=True)):
        axes.annotate(
            _name_among(records[place], records),
            (x, height),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            color=_colour(place),
            size=9,
            annotation_clip=False,
        )


def _spread_out(heights: Sequence[float], gap: float) -> list[float]:
    """Return the heights, in the same order, moved as little as it takes to lie at least `gap` apart."""
    order = np.argsort(heights, kind="stable")
    steps = gap * np.arange(len(heights))
    spread = np.empty(len(heights))
    # Less their steps, heights that lie far enough apart increase; the nearest such ones are a regression.
    spread[order] = isotonic_regression(np.asarray(heights)[order] - steps).x + steps
    return spread.tolist()


def _learned_and_retained(records: Sequence[RunRecord], matrices: Sequence[np.ndarray]) -> Figure:
    figure = Figure(figsize=(_WIDTH, 1.1 + 1.4 * len(records)), layout="constrained")
    panels = figure.subplots(len(records), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for place, (axes, matrix) in enumerate(zip(panels, matrices, strict=True)):
        mean = 100 * matrix[:, 1:].mean(axis=0)
        tasks = len(mean)
        learned, retained, task = np.diagonal(mean), mean[-1], np.arange(1, tasks + 1)
        size = float(np.clip(400 / tasks, 6, 28))
        colour = _colour(place)
        axes.vlines(task, retained, learned, color=colour, alpha=0.45, linewidth=float(np.clip(40 / tasks, 0.8, 2)))
        axes.scatter(task, learned, size, facecolor="white", edgecolor=colour, zorder=3)
        axes.scatter(task, retained, size, color=colour, zorder=3)
        axes.set_ylim(0, 100)
        axes.set_title(_name_among(records[place], records), loc="left", size=10, color=colour)
        axes.yaxis.set_major_formatter(PercentFormatter(decimals=0))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        _style(axes, grid="y")
    moments = [("white", "just after learning it"), (_GREY, "at the end of the stream")]
    for fill, moment in moments:
        panels[-1].scatter([], [], 22, facecolor=fill, edgecolor=_GREY, label=moment)
    figure.legend(loc="outside lower right", ncols=2, frameon=False, fontsize=9, handletextpad=0.2)
    panels[-1].set_xlabel("Task")
    figure.suptitle(_heading("Accuracy on each task", records), x=0.01, ha="left", size=11)
    return figure


def _bar(axes: Axes, place: int, statistic: Statistic) -> None:
    """Draw a bar from 0 with its interval, and its percentage beyond both."""
    mean, half = 100 * statistic.mean, 100 * np.nan_to_num(statistic.ci95)
    axes.barh(place, mean, height=0.62, color=_colour(place))
    if half > 0:
        axes.errorbar(mean, place, xerr=half, color="black", linewidth=1, capsize=2.5)
    sign = -1 if mean < 0 else 1
    axes.annotate(
        f"{mean:.1f}".replace("-", "−"),
        (mean + sign * half, place),
        xytext=(sign * 7, 0),
        textcoords="offset points",
        ha="right" if mean < 0 else "left",
        va="center",
        size=9,
    )


def _make_room_for_values(axes: Axes) -> None:
    """Widen the x axis, which holds 0, on the sides on which bars end, and draw the line at 0."""
    low, high = axes.dataLim.intervalx
    room = max(0.35 * (high - low), 0.5)
    axes.set_xlim(low - room if low < 0 else 0, high + room if high > 0 or low == 0 else 0)
    axes.spines["left"].set_visible(False)
    axes.axvline(0, color=_GREY, linewidth=0.8)


def _mark_published(axes: Axes, records: Sequence[RunRecord]) -> None:
    """Mark each published figure on the upper edge of its bar, clear of the interval and the value."""
    figures = [(place, published_figure(record)) for place, record in enumerate(records)]
    marks = [(figure.mean, place - 0.31) for place, figure in figures if figure is not None]
    if marks:
        x, y = zip(*marks, strict=True)
        axes.scatter(x, y, 30, marker="v", color="white", edgecolor="black", zorder=4, label="published")
        axes.legend(loc="upper left", bbox_to_anchor=(0, -0.2), frameon=False, fontsize=9, handletextpad=0.2)


def _colour(place: int) -> str:
    return _COLOURS[place % len(_COLOURS)]


def _name_among(record: RunRecord, records: Sequence[RunRecord]) -> str:
    """Return what tells a run from the others: its label, or its folder where they share that."""
    shared = sum(other.label == record.label for other in records) > 1
    return record.folder.name if shared else record.label


def _heading(what: str, records: Sequence[RunRecord]) -> str:
    return f"{what}: {', '.join(dict.fromkeys(record.benchmark for record in records))}"


def _style(axes: Axes, grid: str) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_GREY)
    axes.tick_params(colors=_GREY, labelcolor="black")
    axes.grid(axis="x" if grid == "x" else "y", color="#DDDDDD", linewidth=0.7)
    axes.set_axisbelow(True)
