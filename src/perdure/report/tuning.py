"""A search for hyper-parameters as a table for the terminal, as a figure, and as a page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, NullFormatter
from rich.console import Group
from rich.table import Table as RichTable
from rich.text import Text

from perdure.records.tuning import LogUniform, Trial, TuningRecord, TuningResult, Values
from perdure.report.blocks import Block, Heading, Paragraph, Picture, Table
from perdure.report.figures.style import COLOURS, GREY, image_of, literal, tidy
from perdure.report.html import html_page
from perdure.report.markdown import markdown_page
from perdure.report.tables import DASH
from perdure.storage.files import make_folder, write_atomically

_PANELS_PER_ROW = 3
_PANEL = (2.9, 2.7)  # inches
_LEGEND_WIDTH = 6.4
_PERCENT = FuncFormatter(lambda value, _: f"{value:g}%")
_MARGIN = 1.15  # factor between the ends of an interval and those of its axis


def trials_table(result: TuningResult) -> Group:
    """Return one row a trial, best first: the hyper-parameters searched, and retained accuracy in percent."""
    several = len(result.seeds) > 1
    table = RichTable(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for header in [*result.space, "RA", *(["±"] if several else []), ""]:
        table.add_column(Text(header), justify="right" if header else "left", no_wrap=True)
    for trial in result.trials:
        chosen = trial is result.best
        values = [_shown(trial.hyperparameters[name]) for name in result.space]
        scores = [_percent(trial.score.mean), *([_percent(trial.score.ci95)] if several else [])]
        table.add_row(
            *values, *scores, _remark(trial, result), style="bold green" if chosen else "dim" if trial.diverged else ""
        )
    title = f"{_title(result)}: {len(result.trials)} combinations\n"
    return Group(Text(title, style="bold"), table, Text(f"\n{_caption(result)}", style="italic dim"))


@literal
def search_figure(result: TuningResult) -> Figure:
    """Show how retained accuracy depends on the hyper-parameters searched.

    Two of them, tried in all combinations, make a heat map. Otherwise each has a panel: every trial, and for each value
    the best trial of those that share it.
    """
    table = _heat_table(result)
    return _panels(result) if table is None else _heat_map(result, table)


def save_search_pages(record: TuningRecord, page: Path, html: Path) -> None:
    """Write what is finished of a search as Markdown and as HTML.

    Args:
        record: of the search; at least one combination is finished.
        page: of Markdown.
        html: the same as HTML.

    Raises:
        StorageError: if a page cannot be written.
    """
    blocks = search_blocks(record)
    for path, render in ((page, markdown_page), (html, html_page)):
        make_folder(path.parent)
        write_atomically(path, render(blocks).encode())


def search_blocks(record: TuningRecord) -> list[Block]:
    """Return the page of a search: how far it is, the combinations tried, best first, and the figure."""
    result, n = record.result, len(record.request.combinations)
    several = len(result.seeds) > 1
    headers = [*result.space, "RA", *(["±"] if several else []), ""]
    rows = []
    for trial in result.trials:
        values = [_shown(trial.hyperparameters[name]) for name in result.space]
        scores = [_percent(trial.score.mean), *([_percent(trial.score.ci95)] if several else [])]
        rows.append([*values, *scores, _remark(trial, result)])
    tried = f"{record.n_tried} of {n} combinations tried" + (
        "." if record.n_tried == n else ", the search is not finished."
    )
    blocks: list[Block] = [Heading(1, _title(result)), Paragraph(tried)]
    blocks.append(Table(headers, rows, {len(headers) - 1}, {(0, column) for column in range(len(headers))}))
    if not result.best.diverged:
        blocks.append(Picture(image_of(search_figure(result), "svg"), "Retained accuracy by hyper-parameter."))
    return [*blocks, Paragraph(_caption(result).replace("\n", " "), is_literal=True)]


def save_search_figure(result: TuningResult, folder: Path) -> list[Path]:
    """Write the figure as search.png (200 dpi) and search.svg, and return the paths.

    Raises:
        StorageError: if a file cannot be written.
    """
    make_folder(folder)
    figure = search_figure(result)
    paths = [folder / f"search.{ending}" for ending in ("png", "svg")]
    for path in paths:
        write_atomically(path, image_of(figure, path.suffix[1:]))
    return paths


def _remark(trial: Trial, result: TuningResult) -> str:
    return "diverged" if trial.diverged else "← chosen" if trial is result.best else ""


def _title(result: TuningResult) -> str:
    return f"{result.learner} on validation streams of {result.benchmark}"


def _caption(result: TuningResult) -> str:
    fixed = [
        f"{name} {_shown(value)}" for name, value in result.best.hyperparameters.items() if name not in result.space
    ]
    options = [f"{name} {value}" for name, value in result.options.items()]
    lines = [
        f"All with {', '.join(fixed)}." if fixed else "",
        f"Streams: seeds {', '.join(map(str, result.seeds))}{''.join(f'; {option}' for option in options)}.",
        "RA: retained accuracy in percent" + (", ± 95 % half width over seeds." if len(result.seeds) > 1 else "."),
        "As the best of many, the chosen score flatters; measure it on the reported streams.",
    ]
    return "\n".join(line for line in lines if line)


def _shown(value: float | int) -> str:
    return str(value).lower() if isinstance(value, bool | int) else f"{value:.6g}"


def _percent(fraction: float) -> str:
    return DASH if math.isnan(fraction) else f"{100 * fraction:.2f}"


def _heat_table(result: TuningResult) -> np.ndarray | None:
    """Return percentages by the values of two hyper-parameters; None if there are not two, in all combinations."""
    spaces = list(result.space.values())
    if len(spaces) != 2 or any(isinstance(values, LogUniform) or len(values) < 2 for values in spaces):
        return None
    ranks = [sorted(values) for values in spaces]
    table = np.full((len(ranks[0]), len(ranks[1])), -1.0)
    for trial in result.trials:
        row, column = (rank.index(trial.hyperparameters[name]) for rank, name in zip(ranks, result.space, strict=True))
        table[row, column] = 100 * trial.score.mean
    return None if (table == -1.0).any() else table


def _heat_map(result: TuningResult, table: np.ndarray) -> Figure:
    (row_name, row_values), (column_name, column_values) = result.space.items()
    figure = Figure(figsize=(max(2.4 + 0.75 * table.shape[1], 5.0), 1.7 + 0.5 * table.shape[0]), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(table, cmap="cividis", aspect="auto", origin="lower", interpolation="nearest")
    axes.set_xticks(range(table.shape[1]), [_shown(value) for value in sorted(column_values)])
    axes.set_yticks(range(table.shape[0]), [_shown(value) for value in sorted(row_values)])
    axes.set_xlabel(_words(column_name))
    axes.set_ylabel(_words(row_name))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    middle = (np.nanmin(table) + np.nanmax(table)) / 2
    for (row, column), percent in np.ndenumerate(table):
        diverged = math.isnan(percent)
        colour = "black" if diverged or percent > middle else "white"
        axes.text(
            column,
            row,
            "diverged" if diverged else f"{percent:.1f}",
            ha="center",
            va="center",
            color=colour,
            size=7 if diverged else 9,
        )
    best = [sorted(values).index(result.best.hyperparameters[name]) for name, values in result.space.items()]
    axes.add_patch(Rectangle((best[1] - 0.5, best[0] - 0.5), 1, 1, fill=False, color=COLOURS[1], lw=2.5, clip_on=False))
    bar = figure.colorbar(image, ax=axes, format=_PERCENT)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    axes.set_title(f"{_title(result)}\nretained accuracy", loc="left", size=10)
    return figure


def _panels(result: TuningResult) -> Figure:
    n_rows = math.ceil(len(result.space) / _PANELS_PER_ROW)
    n_columns = min(len(result.space), _PANELS_PER_ROW)
    width, height = _PANEL
    size = (max(1.2 + width * n_columns, _LEGEND_WIDTH), 1.0 + height * n_rows)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(n_rows, n_columns, sharey=True, squeeze=False).ravel()
    for axes, (name, values) in zip(panels, result.space.items(), strict=False):
        _panel(axes, result, name, values)
    for axes in panels[len(result.space) :]:
        axes.set_visible(False)
    for axes in panels[::n_columns]:
        axes.set_ylabel("Retained accuracy")
    entries = [axes.get_legend_handles_labels() for axes in panels]
    legend = {label: handle for handles, labels in entries for handle, label in zip(handles, labels, strict=True)}
    figure.legend(
        legend.values(), legend.keys(), loc="outside lower left", ncols=len(legend), frameon=False, fontsize=9
    )
    figure.suptitle(_title(result), x=0.01, ha="left", size=11)
    return figure


def _panel(axes: Axes, result: TuningResult, name: str, values: Values) -> None:
    """Draw the trials over the values of one hyper-parameter: listed ones evenly spaced, drawn ones on a log scale."""
    if isinstance(values, LogUniform):
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlim(values.low / _MARGIN, values.high * _MARGIN)
        place = {trial.hyperparameters[name]: float(trial.hyperparameters[name]) for trial in result.trials}
    else:
        ranked = sorted(values)
        place = {value: float(rank) for rank, value in enumerate(ranked)}
        axes.set_xticks(range(len(ranked)), [_shown(value) for value in ranked])
        axes.set_xlim(-0.5, len(ranked) - 0.5)
    sound = [trial for trial in result.trials if not trial.diverged]
    diverged = [place[trial.hyperparameters[name]] for trial in result.trials if trial.diverged]
    axes.scatter(*_points(sound, name, place), 12, color="#AAAAAA", label="a combination")
    if not isinstance(values, LogUniform):
        best_of = {trial.hyperparameters[name]: trial for trial in reversed(sound)}
        x, y = _points([best_of[value] for value in sorted(best_of)], name, place)
        axes.plot(x, y, color=COLOURS[0], marker="o", markersize=4, linewidth=1.5, label="best with this value")
    if diverged:
        bottom = axes.get_xaxis_transform()
        axes.scatter(diverged, [0.03] * len(diverged), 22, marker="x", color=GREY, transform=bottom, label="diverged")
    axes.scatter(*_points([result.best], name, place), 45, color=COLOURS[1], zorder=4, label="chosen")
    axes.set_xlabel(_words(name))
    axes.margins(y=0.12)
    axes.yaxis.set_major_formatter(_PERCENT)
    tidy(axes, grid="y")


def _points(trials: Sequence[Trial], name: str, place: Mapping[float | int, float]) -> tuple[list[float], list[float]]:
    return [place[trial.hyperparameters[name]] for trial in trials], [100 * trial.score.mean for trial in trials]


def _words(name: str) -> str:
    return name.replace("_", " ").capitalize()
