"""The tables of a study's page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from perdure.metrics.transfer import Statistic
from perdure.presets.learners import Published, published_alignment, published_figures
from perdure.records.learner import RunRecord
from perdure.records.summary import ALIGNMENTS
from perdure.report.blocks import Table
from perdure.report.commands import command_of
from perdure.report.names import benchmark_title, learner_title, title_among
from perdure.report.tables import DASH, cpu_milliseconds, metric_of, published_figure
from perdure.storage.reading import MAX_INTEGER, shortened

MER_TOLERANCE = 0.7
"""Points below the published mean within which MER's figure counts as reached."""
TOLERANCE = 2.0
"""The same for other learners."""

_DECIMALS = {"gradient_alignment": 3, "gradient_alignment_after_update": 3, "gradient_cosine": 4}


def accuracy_table(records: Sequence[RunRecord], *, with_published: bool) -> Table:
    """Return retained accuracies in percent, and how they compare with what was published."""
    headers = ["learner", "memory", "kept", "seeds", "measured"]
    rows = [
        [*_names(it, records), _kept(it), f"{len(it.seeds)}", _percent(metric_of(it, "retained_accuracy"))]
        for it in records
    ]
    if with_published:
        headers += ["published", "difference", "verdict"]
        rows = [row + _comparison(record) for row, record in zip(rows, records, strict=True)]
    return Table(headers, rows, text_columns=(0, 7), commands=[command_of(it) for it in records])


def alignment_table(records: Sequence[RunRecord], *, with_published: bool) -> Table:
    """Return mean gradient alignments of runs that logged them."""
    headers = ["learner", "memory", "before the update", "after the update", "cosine"]
    rows = [
        [*_names(it, records), *(_signed(metric_of(it, name), _DECIMALS[name]) for name in ALIGNMENTS)]
        for it in records
    ]
    if with_published:
        headers.insert(2, "published")
        for row, record in zip(rows, records, strict=True):
            row.insert(2, _plus_minus(published_alignment(record.learner, record.benchmark), "+.3f"))
    return Table(headers, rows, text_columns=(0,))


def variants_table(records: Sequence[RunRecord]) -> Table:
    """Return retained accuracies in percent: a row for each benchmark and memory size, a column for each learner."""
    learners = list(dict.fromkeys(record.learner for record in records))
    settings = list(dict.fromkeys((record.benchmark, record.memory_size) for record in records))
    measured = {
        (it.benchmark, it.memory_size, it.learner): _percent(metric_of(it, "retained_accuracy")) for it in records
    }
    rows = [
        [benchmark_title(benchmark), f"{memory}", *(measured.get((benchmark, memory, it), DASH) for it in learners)]
        for benchmark, memory in settings
    ]
    return Table(["benchmark", "memory", *map(learner_title, learners)], rows, text_columns=(0,))


def published_only_table(benchmark: str, records: Sequence[RunRecord]) -> Table:
    """Return the published retained accuracies in percent on a benchmark that none of the runs is held against."""
    measured = {(it.learner, it.benchmark, it.memory_size) for it in records if published_figure(it) is not None}
    rows = [
        [learner_title(learner), _memory(memory_size), _plus_minus(figure, ".2f")]
        for (learner, on, memory_size), figure in published_figures().items()
        if on == benchmark and (learner, on, memory_size) not in measured
    ]
    return Table(["learner", "memory", "published"], rows, text_columns=(0,))


def cost_table(records: Sequence[RunRecord]) -> Table:
    """Return time and memory of finished runs."""
    headers = [
        "benchmark",
        "learner",
        "memory",
        "seeds",
        "CPUs",
        "CPU time per example",
        "kept between examples",
        "training",
        "compilation",
        "peak memory",
    ]
    rows = [
        [benchmark_title(it.benchmark), *_names(it, records), f"{len(it.seeds)}", *_cost(it)]
        for it in records
        if it.finished
    ]
    return Table(headers, rows, text_columns=(0, 1))


def values_table(records: Sequence[RunRecord]) -> Table:
    """Return the hyper-parameters of runs."""
    rows = [[benchmark_title(it.benchmark), *_names(it, records), _values(it)] for it in records]
    return Table(["benchmark", "learner", "memory", "hyper-parameters"], rows, text_columns=(0, 1, 3))


def _names(record: RunRecord, records: Sequence[RunRecord]) -> list[str]:
    return [title_among(record, records), _memory(record.memory_size)]


def _memory(size: int | None) -> str:
    return DASH if size is None else f"{size}"


def _kept(record: RunRecord) -> str:
    """Return what a finished run's method keeps between examples, of one seed."""
    return DASH if record.summary is None else f"{record.summary.state_bytes / 1000:,.0f} kB"


def _comparison(record: RunRecord) -> list[str]:
    """Return the published figure, the difference from it and the verdict."""
    measured, published = metric_of(record, "retained_accuracy"), published_figure(record)
    if published is None or measured is None:
        return [DASH, DASH, DASH]
    difference = 100 * measured.mean - published.mean
    tolerance = MER_TOLERANCE if record.learner == "mer" else TOLERANCE
    verdict = "reached" if difference >= -tolerance else "not reached"
    return [_plus_minus(published, ".2f"), f"{difference:+.2f}", verdict]


def _cost(record: RunRecord) -> list[str]:
    summary = record.summary
    assert summary is not None
    cpus = (record.environment or {}).get("usable_cpus")
    return [
        DASH if cpus is None else f"{cpus}",
        f"{cpu_milliseconds(record)} ms",
        _kept(record),
        f"{summary.training_seconds:,.1f} s",
        f"{summary.compile_seconds:,.1f} s",
        f"{summary.peak_memory_bytes / 2**20:,.0f} MiB",
    ]


def _values(record: RunRecord) -> str:
    values = record.config["learner"]["hyperparameters"]
    return ", ".join(f"{name} {_value(value)}" for name, value in values.items() if name != "memory_size")


def _value(value: Any) -> str:
    """Return a hyper-parameter as text: a number, and whatever else a learner of one's own has."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float | int) and abs(value) <= MAX_INTEGER:
        return f"{value:g}"
    return shortened("none" if value is None else str(value))


def _plus_minus(figure: Published | None, style: str) -> str:
    if figure is None:
        return DASH
    spread = "" if figure.std is None else f" ± {figure.std:{style.lstrip('+')}}"
    return f"{figure.mean:{style}}{spread}" + (" (remembered)" if figure.remembered else "")


def _percent(statistic: Statistic | None) -> str:
    return DASH if statistic is None else _with_interval(f"{100 * statistic.mean:.2f}", 100 * statistic.ci95, 2)


def _signed(statistic: Statistic | None, decimals: int) -> str:
    return DASH if statistic is None else _with_interval(f"{statistic.mean:+.{decimals}f}", statistic.ci95, decimals)


def _with_interval(mean: str, half: float, decimals: int) -> str:
    return mean if np.isnan(half) else f"{mean} ± {half:.{decimals}f}"
