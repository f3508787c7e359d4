"""What all figures share: colours, names, looks."""

from __future__ import annotations

import functools
import io
import textwrap
from collections.abc import Callable, Sequence
from typing import ParamSpec

import matplotlib as mpl
import numpy as np
from jaxtyping import Float64
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, LogFormatter

from perdure.records.learner import RunRecord

Arguments = ParamSpec("Arguments")

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""The palette of Okabe & Ito, which the colour-blind can tell apart."""
_SOLID, _DASHED, _DOTTED, _DASH_DOTTED = (), (4.0, 1.5), (1.0, 1.0), (4.0, 1.0, 1.0, 1.0)
_LINE_STYLES: tuple[tuple[int, tuple[float, ...]], ...] = ((0, _SOLID), (0, _DASHED), (0, _DOTTED), (0, _DASH_DOTTED))
_MARKERS = ("", "o", "s", "^", "D")
GREY = "#555555"
WIDTH = 7.0
_STEP = 5.0
"""Percent of which the ends of a fitted axis are multiples."""
_DPI = 200
_LEGEND_CHARACTERS = 96
"""That stand side by side in a legend as wide as the figure, with 6 for each mark."""
_LINE_HEIGHT = 0.17
"""Of a legend, in inches."""

_LEARNER_COLOURS = {
    "online": GREY,
    "independent": "#A6761D",
    "task-input": "#CC79A7",
    "ewc": "#E69F00",
    "gem": "#009E73",
    "a-gem": "#56B4E9",
    "er": "#0072B2",
    "mer": "#D55E00",
}
"""Of the learners that studies compare, the same in all their figures."""


def literal(draw: Callable[Arguments, Figure]) -> Callable[Arguments, Figure]:
    """Let a function that returns a figure show every text as it is: Matplotlib takes "$…$" in a name for a formula.

    Only the numbers along logarithmic axes are formulas.
    """

    @functools.wraps(draw)
    def drawn(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Figure:
        figure = draw(*args, **kwargs)
        axes = figure.findobj(lambda it: isinstance(it, Axis) and isinstance(it.get_major_formatter(), LogFormatter))
        formulas = {text for axis in axes for text in axis.findobj(Text)}
        for text in figure.findobj(Text):
            assert isinstance(text, Text)
            text.set_parse_math(text in formulas)
        return figure

    return drawn


def accuracies(record: RunRecord) -> Float64[np.ndarray, "seeds rows tasks"]:
    """Return a run's accuracy matrices.

    Raises:
        ValueError: if it has none yet.
    """
    if record.accuracy is None:
        raise ValueError(f"{record.title} has no accuracies yet; let the run finish, or leave it out")
    return record.accuracy


def knows_the_past(matrices: Float64[np.ndarray, "seeds rows tasks"]) -> bool:
    """Tell whether every task was evaluated after itself and after each later task."""
    seen = np.tril(np.ones(matrices.shape[1:], bool), k=-1)
    return not np.isnan(matrices[:, seen]).any()


def colour_of(place: int) -> str:
    """Return the colour of the run at a place among others."""
    return COLOURS[place % len(COLOURS)]


def line_style_of(place: int) -> tuple[int, tuple[float, ...]]:
    """Return the style of the line of the run at a place among others: another for every round of the colours."""
    return _LINE_STYLES[place // len(COLOURS) % len(_LINE_STYLES)]


def marker_of(place: int) -> str:
    """Return the marker of the line of the run at a place among others: another for every round of styles."""
    return _MARKERS[place // (len(COLOURS) * len(_LINE_STYLES)) % len(_MARKERS)]


def colour_of_learner(name: str) -> str:
    """Return the colour that a learner has in all figures of a study; black if it has none of its own."""
    return _LEARNER_COLOURS.get(name, "#000000")


def heading(what: str, records: Sequence[RunRecord]) -> str:
    """Return a title that names the benchmarks."""
    return f"{what}: {', '.join(dict.fromkeys(record.benchmark for record in records))}"


def lower_limit(percentages: Sequence[float]) -> float:
    """Return where an axis of percentages begins: at 0, or below the lowest if it is negative, as R² may be."""
    lowest = float(np.nanmin(percentages))
    return 0.0 if lowest >= 0 else lowest - 0.05 * (100 - lowest)


def fit_percents(panels: Sequence[Axes], percentages: Sequence[float]) -> float:
    """Let the y axes of panels of lines or points fit what is drawn, all alike, and return their length.

    They span 0 to 100, or less if all that is drawn, bands included, lies in the upper half of what would be shown;
    percentages below 0, as those of R² may be, extend them.

    Args:
        panels: drawn.
        percentages: means that they show.
    """
    low, high = lower_limit(percentages), 100.0
    drawn = np.array([axes.dataLim.intervaly for axes in panels])
    lowest, highest = max(float(drawn.min()), 0.0), min(float(drawn.max()), 100.0)
    room = max(0.08 * (highest - lowest), 1.0)
    fitted = _STEP * np.floor((lowest - room) / _STEP), min(_STEP * np.ceil((highest + room) / _STEP), 100.0)
    if low == 0 and fitted[0] >= fitted[1] / 2:
        low, high = map(float, fitted)
    for axes in panels:
        axes.set_ylim(low, high)
    return high - low


def label_of_axis(name: str, axes: Axes) -> str:
    """Return the label of a y axis, which says so if the axis does not begin at 0."""
    return f"{name}\n(axis does not begin at 0)" if axes.get_ylim()[0] > 0 else name


def in_short(value: float, decimals: int = 0) -> str:
    """Return a number as text, in powers of ten from a million on, where R² may be: digits would fill the figure."""
    return f"{value:.{decimals}f}" if abs(value) < 1e6 else f"{value:.1e}"


def percent_formatter() -> FuncFormatter:
    """Return what labels an axis with percentages."""
    return FuncFormatter(lambda value, _: f"{in_short(float(value))}%".replace("-", "−"))


def tidy(axes: Axes, grid: str) -> None:
    """Leave of the frame what is needed, and grid lines along one axis, x or y."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.tick_params(colors=GREY, labelcolor="black")
    axes.grid(axis="x" if grid == "x" else "y", color="#DDDDDD", linewidth=0.7)
    axes.set_axisbelow(True)


def legend_below(figure: Figure, axes: Axes) -> None:
    """Name the series of a panel under the figure, in as many columns as have room; the figure grows by its lines."""
    handles, labels = axes.get_legend_handles_labels()
    names = [textwrap.fill(it, _LEGEND_CHARACTERS - 6) for it in labels]
    longest = max(len(line) for name in names for line in name.split("\n"))
    columns = max(1, min(4, _LEGEND_CHARACTERS // (longest + 6)))
    lines = sum(name.count("\n") + 1 for name in names) / columns
    figure.set_figheight(figure.get_figheight() + _LINE_HEIGHT * max(0, lines - 2))
    figure.legend(handles, names, loc="outside lower left", ncols=columns, frameon=False, fontsize=8)


def image_of(figure: Figure, ending: str) -> bytes:
    """Return a figure as an image file, "png" (200 dpi) or "svg"; the same figure gives the same bytes."""
    _lay_out(figure)
    content = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "perdure"}):
        figure.savefig(content, format=ending, dpi=_DPI, metadata={"Date": None} if ending == "svg" else {})
    return content.getvalue()


def _lay_out(figure: Figure) -> None:
    """Place everything once: a third of the time that a figure takes, and no need to do it for each file."""
    if isinstance(figure.get_layout_engine(), ConstrainedLayoutEngine):
        figure.set_dpi(_DPI)
        figure.draw_without_rendering()
        figure.set_layout_engine(None)  # "none" would still have each file drawn twice
