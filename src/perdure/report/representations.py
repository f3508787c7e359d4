"""Evaluated representations as tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from rich.table import Table
from rich.text import Text

from perdure.metrics.bootstrap import bootstrap_mean
from perdure.metrics.transfer import mean_and_interval
from perdure.records.comparison import LearnerFigure
from perdure.records.evaluation import ClassResult, Evaluation, SineResult, on_sines
from perdure.records.representation import TrainingRecord
from perdure.representation.statistics import Statistics


def evaluation_tables(evaluations: Sequence[Evaluation]) -> list[Table]:
    """Return a table of all evaluations on classes, and one of all on sine waves; none that would be empty."""
    of_classes = [it for it in evaluations if not on_sines(it)]
    of_sines = [it for it in evaluations if on_sines(it)]
    return [*([_class_table(of_classes)] if of_classes else []), *([_sine_table(of_sines)] if of_sines else [])]


def statistics_table(statistics: Mapping[str, Statistics]) -> Table:
    """Return a row for each representation: how sparse its features are."""
    table = _table(
        ["Features", "Active", "Lifetime 5 %", "95 %", "Dead"],
        "In percent. Active: features above zero, mean over inputs (instance sparsity). Lifetime: inputs for which a "
        "feature is active, its percentiles over features. Dead: features that no input activates.",
    )
    for name, it in statistics.items():
        low, high = np.percentile(it.lifetime, [5, 95])
        shares = (f"{100 * share:.1f}" for share in (it.instance_sparsity, low, high, it.dead))
        table.add_row(Text(name), f"{len(it.lifetime):,}", *shares)
    return table


def learners_table(figures: Sequence[LearnerFigure]) -> Table:
    """Return a row for each task size and learner, a pair of columns for each representation: measured, published."""
    kinds = list(dict.fromkeys(it.representation for it in figures))
    headers = [it for kind in kinds for it in (Text(kind), Text("publ."))]
    table = _table(
        headers,
        "Retained accuracy in percent, ± the 95 % half width over seeds; published: Javed & White (2019), Table 2, ± "
        "one standard deviation. Memory 200; classes a task × tasks.",
        first="Tasks, learner",
    )
    for key in dict.fromkeys((it.tasks, it.learner) for it in figures):
        row = {it.representation: it for it in figures if (it.tasks, it.learner) == key}
        texts = [it for kind in kinds for it in (_measured(row.get(kind)), _published(row.get(kind)))]
        table.add_row(Text(f"{key[0]} {key[1]}"), *texts)
    return table


def training_table(records: Sequence[TrainingRecord]) -> Table:
    """Return a row for each finished training: steps taken, best validation score, time and memory."""
    table = _table(
        ["Steps", "Validation", "Training s", "Peak MiB"],
        "Validation: accuracy on validation classes, as a fraction, or mean squared error on validation functions, "
        "after adapting to them; the network that was best is kept.",
        first="Training",
    )
    for record in records:
        if record.summary is None:
            continue
        it = record.summary
        score = record.best_validation or "–"
        name = Text(f"{record.folder.name}\n{record.title}")
        table.add_row(name, f"{it.steps:,}", score, f"{it.training_seconds:.1f}", f"{it.peak_memory_bytes / 2**20:.0f}")
    return table


def _measured(figure: LearnerFigure | None) -> str:
    if figure is None:
        return "–"
    statistic = mean_and_interval([100 * value for value in figure.retained])
    return f"{statistic.mean:.1f} ± {statistic.ci95:.1f}"


def _published(figure: LearnerFigure | None) -> str:
    if figure is None or figure.published is None:
        return "–"
    return f"{figure.published[0]:.1f} ± {figure.published[1]:.1f}"


def _class_table(evaluations: Sequence[Evaluation]) -> Table:
    table = _table(
        ["Head", "Classes", "Rate", "Trajectory", "Held out", "Runs"],
        "Accuracies in percent with 95 % bootstrap intervals: on the images learned (trajectory), and on others of the "
        f"same classes (held out), {_passes(evaluations[0].protocol)}.",
    )
    for evaluation in evaluations:
        for it in evaluation.results:
            assert isinstance(it, ClassResult)
            accuracies = (_percent(values) for values in (it.trajectory, it.held_out))
            rate = "–" if it.rate is None else f"{it.rate:g}"
            table.add_row(Text(evaluation.name), it.head, str(it.classes), rate, *accuracies, str(len(it.held_out)))
        table.add_section()
    return table


def _passes(protocol: Mapping[str, Any]) -> str:
    passes = protocol["oracle"]
    if passes is None:
        return "after one pass, class after class"
    return f"after {passes} {'pass' if passes == 1 else 'passes'} in random order (Oracle)"


def _sine_table(evaluations: Sequence[Evaluation]) -> Table:
    table = _table(
        ["Head", "Functions", "Rate", "Error", "Runs"],
        "Mean squared error over all functions learned so far, after the last, with its 95 % bootstrap interval (rate: "
        "that of SGD, or ridge regression's penalty); "
        + ("function after function." if evaluations[0].protocol["oracle"] is None else "in random order (Oracle)."),
    )
    for evaluation in evaluations:
        for it in evaluation.results:
            assert isinstance(it, SineResult)
            final = bootstrap_mean(it.so_far[:, -1])
            error = f"{final.mean:#.3g} [{final.low:#.3g}, {final.high:#.3g}]"
            n_runs, n_functions = it.errors.shape[:2]
            table.add_row(Text(evaluation.name), it.head, str(n_functions), f"{it.rate:g}", error, str(n_runs))
    return table


def _table(headers: Sequence[str | Text], caption: str, first: str = "Representation") -> Table:
    table = Table(caption=caption, caption_justify="left", box=None, header_style="bold", pad_edge=False)
    table.add_column(first, no_wrap=True)
    for header in headers:
        table.add_column(header, justify="right", no_wrap=True)
    return table


def _percent(values: Float[np.ndarray, " runs"]) -> str:
    mean, low, high = (100 * it for it in bootstrap_mean(values))
    return f"{mean:.1f} [{low:.1f}, {high:.1f}]"
