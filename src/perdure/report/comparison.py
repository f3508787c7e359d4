"""The page of methods compared on one benchmark."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from perdure.metrics.transfer import Statistic
from perdure.presets.learners import load_presets
from perdure.records.learner import RunRecord
from perdure.records.methods import MethodsRecord
from perdure.report.blocks import Block, Heading, Paragraph, Picture, Table
from perdure.report.cells import cost_table, values_table
from perdure.report.commands import command_of
from perdure.report.differences import METHOD_OF_P, difference, metric_compared
from perdure.report.figures import accuracy_against_cost, accuracy_over_time, class_accuracy, image_of, metric_bars
from perdure.report.figures.saving import save_figures
from perdure.report.html import html_page
from perdure.report.markdown import markdown_page
from perdure.report.names import benchmark_title, learner_title, title_among
from perdure.report.notes import comparison_notes
from perdure.report.study import measured_with
from perdure.report.tables import (
    DASH,
    cpu_milliseconds,
    cpu_seconds_per_example,
    metric_of,
    places_of_best,
    published_figure,
)
from perdure.storage.files import make_folder, write_atomically

_INTERVAL = "mean ± 95 % interval over seeds"


class _Column(NamedTuple):
    """A column of the comparison."""

    header: str
    cell: Callable[[RunRecord], str]
    value: Callable[[RunRecord], float] | None = None
    """What the best is found by, the larger the better; None if there is no best."""


def comparison_blocks(record: MethodsRecord) -> list[Block]:
    """Return the page of a comparison, from the runs that are finished."""
    runs = best_first(record.runs)
    blocks: list[Block] = [
        Heading(1, f"{_n_methods(runs)} on {benchmark_title(record.benchmark)}"),
        Paragraph(f"Written by `{record.request.command}`. Do not edit: run the command again."),
        Paragraph(measured_with(runs)),
    ]
    if not runs:
        return blocks
    blocks += [Paragraph(it) for it in _remarks(record, runs)]
    blocks += [
        Heading(2, "Accuracy and cost"),
        Paragraph(_legend(record, runs)),
        comparison_table(runs, record.request.baseline),
    ]
    measured = [it for it in runs if not np.isnan(_mean(it, metric_compared(it)))]
    if len(measured) > 1:
        caption = (
            f"{_what_is_compared(runs).capitalize()} against what one seed keeps between examples, and against the CPU "
            "time of an example. The line is the frontier: methods that no method of lower cost beats."
        )
        blocks.append(Picture(image_of(accuracy_against_cost(measured), "svg"), caption))
    tested = [it for it in measured if it.accuracy is not None]
    if tested:
        caption = f"Retained and learning accuracy, {_INTERVAL}."
        blocks.append(Picture(image_of(metric_bars(tested), "svg"), caption))
    watched = [it for it in runs if it.over_time is not None]
    if watched:
        blocks += _over_time(watched)
    blocks += [
        Heading(2, "Time and memory"),
        Paragraph(
            "Seeds of a method learn side by side, and several methods at a time, each on its share of the CPUs; CPU "
            "time depends on the machine, and on what else runs there."
        ),
        cost_table(runs),
        Heading(2, "Hyper-parameters"),
        values_table(runs),
    ]
    if sources := _sources(runs):
        blocks.append(Paragraph(f"Sources: {sources}."))
    return blocks


def _n_methods(runs: Sequence[RunRecord]) -> str:
    return f"{len(runs)} {'method' if len(runs) == 1 else 'methods'}"


def best_first(runs: Sequence[RunRecord]) -> list[RunRecord]:
    """Return finished runs, those that retain most first; without tests, those that predict best."""
    return sorted(runs, key=lambda it: -np.nan_to_num(_mean(it, metric_compared(it)), nan=-np.inf))


def comparison_table(runs: Sequence[RunRecord], baseline: str) -> Table:
    """Return a row for each run, what is best in each column in bold; columns that no run has a value in are left out.

    Args:
        runs: finished, of the same seeds.
        baseline: name of the learner whose retained accuracy the others are held against, seed by seed.
    """
    reference = next((it for it in runs if it.learner == baseline), None)
    against = {it.folder: _against(it, reference) for it in runs}
    columns = [
        _Column("method", lambda it: title_among(it, runs)),
        _Column("memory", lambda it: DASH if it.memory_size is None else f"{it.memory_size}"),
        _percent("retained", "retained_accuracy"),
        _Column(f"against {learner_title(baseline)}", lambda it: against[it.folder][0]),
        _Column("p", lambda it: against[it.folder][1]),
        _Column("published", _published),
        _percent("learning", "learning_accuracy"),
        _percent("prequential", "prequential_accuracy"),
        _percent("anytime", "average_anytime_accuracy"),
        _percent("worst case", "worst_case_accuracy"),
        _percent("gap", "stability_gap", largest_is_best=False),
        _Column("CPU ms", cpu_milliseconds, lambda it: -cpu_seconds_per_example(it)),
        _Column("kept kB", _kilobytes, lambda it: -float(_kept(it))),
    ]
    rows = [[column.cell(run) for column in columns] for run in runs]
    commands = [command_of(run) for run in runs]
    shown = [n for n in range(len(columns)) if n == 0 or any(row[n] != DASH for row in rows)]
    values = [[] if (value := columns[n].value) is None else [value(run) for run in runs] for n in shown]
    bold = [(row, place) for place, own in enumerate(values) for row in places_of_best(own)]
    return Table([columns[n].header for n in shown], [[row[n] for n in shown] for row in rows], (0,), bold, commands)


def save_comparison(record: MethodsRecord, page: Path, html: Path) -> list[Path]:
    """Write the page as Markdown and HTML, and the figures into the folder `figures` of the record; return the paths.

    Raises:
        StorageError: if something cannot be written.
    """
    save_pages(record, page, html)
    figures = save_figures(best_first(record.runs), record.folder / "figures") if record.runs else []
    return [page, html, *figures]


def save_pages(record: MethodsRecord, page: Path, html: Path) -> None:
    """Write the page as Markdown and HTML, from the runs that are finished.

    Raises:
        StorageError: if something cannot be written.
    """
    blocks = comparison_blocks(record)
    for path, render in ((page, markdown_page), (html, html_page)):
        make_folder(path.parent)
        write_atomically(path, render(blocks).encode())


def _over_time(watched: Sequence[RunRecord]) -> list[Block]:
    sampling = watched[0].config.get("evaluate", {})
    test_examples = sampling.get("test_examples")
    tests = "all test examples" if test_examples is None else f"{test_examples:,} test examples"
    caption = (
        f"Mean accuracy on the tasks seen so far, {tests} of each, tested every {sampling.get('every'):,} examples."
    )
    of_whom = ", of the first seed where seeds differ" if len(watched[0].seeds) > 1 else ""
    blocks: list[Block] = [
        Heading(2, "Over time"),
        Picture(image_of(accuracy_over_time(watched), "svg"), f"{caption} Vertical lines are ends of tasks{of_whom}."),
    ]
    best = watched[0]
    if best.over_time is not None and best.over_time.of_classes.shape[2]:
        caption = f"{title_among(best, watched)}, which retains most: accuracy of each class, mean over seeds."
        blocks.append(Picture(image_of(class_accuracy(best), "svg"), caption))
    return blocks


def _remarks(record: MethodsRecord, runs: Sequence[RunRecord]) -> list[str]:
    remarks = [f"Beware: {it}." for it in comparison_notes(runs)]
    missing = [it.learner for it in record.request.methods if it.run not in {run.folder.name for run in runs}]
    if missing:
        remarks.append(f"Not finished, and not in the table: {', '.join(missing)}.")
    return remarks


def _legend(record: MethodsRecord, runs: Sequence[RunRecord]) -> str:
    seeds = len(runs[0].seeds)
    text = (
        f"{seeds} {'seed' if seeds == 1 else 'seeds'}, the same streams for all methods. Accuracies in percent, "
        f"{_INTERVAL}. Retained: on all tasks after the last example. Learning: on each task just after it. "
        "Prequential: of each example just before it is learned. CPU ms: CPU time per example and seed. Kept kB: "
        "between examples, per seed. Bold: the best mean of a column"
    )
    if any(it.over_time is not None for it in runs):
        text += ". Anytime: average anytime accuracy. Worst case: worst-case accuracy. Gap: stability gap"
    if any(it.learner == record.request.baseline for it in runs) and seeds > 1:
        title = learner_title(record.request.baseline)
        what = _what_is_compared(runs)
        text += f". Against {title}: differences in {what} seed by seed, ± their 95 % interval. {METHOD_OF_P}"
    return f"{text}."


def _what_is_compared(runs: Sequence[RunRecord]) -> str:
    return metric_compared(runs[0]).replace("_", " ")


def _percent(header: str, metric: str, *, largest_is_best: bool = True) -> _Column:
    def cell(run: RunRecord) -> str:
        statistic = metric_of(run, metric)
        return DASH if statistic is None else _with_interval(statistic, ".2f")

    return _Column(header, cell, lambda run: _mean(run, metric) if largest_is_best else -_mean(run, metric))


def _against(run: RunRecord, baseline: RunRecord | None) -> tuple[str, str]:
    """Return the difference from a baseline, and its p-value."""
    found = None if baseline is None else difference(run, baseline)
    return (DASH, DASH) if found is None else (found.text, found.p_text)


def _published(run: RunRecord) -> str:
    figure = published_figure(run)
    return DASH if figure is None else f"{figure.mean:.2f}"


def _with_interval(statistic: Statistic, style: str) -> str:
    mean = f"{100 * statistic.mean:{style}}"
    return mean if np.isnan(statistic.ci95) else f"{mean} ± {100 * statistic.ci95:.2f}"


def _mean(run: RunRecord, metric: str) -> float:
    statistic = metric_of(run, metric)
    return float("nan") if statistic is None else statistic.mean


def _kept(run: RunRecord) -> int:
    assert run.summary is not None
    return run.summary.state_bytes


def _kilobytes(run: RunRecord) -> str:
    return f"{_kept(run) / 1000:,.0f}"


def _sources(runs: Sequence[RunRecord]) -> str:
    """Return where the hyper-parameters come from that are those of perdure's presets."""
    known = {}
    for run in runs:
        values = run.config["learner"]["hyperparameters"]
        for preset in load_presets():
            chosen = (preset.learner, preset.benchmark) == (run.learner, run.benchmark)
            if chosen and all(values.get(name) == value for name, value in preset.hyperparameters.items()):
                known.setdefault(preset.source, []).append(learner_title(run.learner))
    return "; ".join(f"{', '.join(names)}: {source}" for source, names in known.items())
