"""Runs of learners side by side: as a page, and as values with all their digits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from perdure.metrics.transfer import Statistic
from perdure.records.learner import RunRecord
from perdure.report.blocks import Block, Heading, Paragraph, Picture, Table
from perdure.report.differences import (
    Pairings,
    difference,
    differences_legend,
    differences_table,
    metric_compared,
    stream_notes,
)
from perdure.report.figures import image_of, metric_bars
from perdure.report.names import benchmark_title, name_among
from perdure.report.notes import comparison_notes
from perdure.report.tables import cpu_seconds_per_example, flat_table, legend_of


def runs_notes(records: Sequence[RunRecord], found: Pairings) -> list[str]:
    """Return what to beware of when runs are compared, a sentence each."""
    return [*comparison_notes(records), *stream_notes(found, records)]


def runs_blocks(records: Sequence[RunRecord], found: Pairings) -> list[Block]:
    """Return the page of finished runs: their table, differences seed by seed, notes and a figure a benchmark.

    Args:
        records: finished runs.
        found: which of them are held against which.
    """
    blocks: list[Block] = [Heading(1, "Runs side by side"), Paragraph(legend_of(records)), flat_table(records)]
    differences = differences_table(found, records)
    if differences is not None:
        blocks += [Heading(2, "Differences"), Paragraph(differences_legend(found)), differences]
    blocks += [Paragraph(f"Beware: {it}.", is_literal=True) for it in runs_notes(records, found)]
    for benchmark in dict.fromkeys(it.benchmark for it in records if it.accuracy is not None):
        runs = [it for it in records if it.benchmark == benchmark and it.accuracy is not None]
        caption = f"{benchmark_title(benchmark)}: mean ± 95 % interval over seeds."
        blocks.append(Picture(image_of(metric_bars(runs), "svg"), caption))
    return blocks


def values_of_runs(records: Sequence[RunRecord], found: Pairings) -> Table:
    """Return a row for each finished run with every value that it has, accuracies as fractions, with all digits."""
    names = list(dict.fromkeys(name for it in records if it.summary is not None for name in it.summary.metrics))
    baselines = {run.folder: pair.baseline for pair in found.pairs for run in pair.others}
    headers = ["run", "folder", "learner", "benchmark", "memory_size", "n_seeds"]
    headers += [f"{name}{part}" for name in names for part in ("", "_std", "_ci95")]
    headers += ["training_seconds", "cpu_seconds_per_example", "state_bytes", "peak_memory_bytes"]
    headers += ["baseline", "metric_compared", "difference", "difference_ci95", "p_value"]
    rows = [
        [
            *(name_among(it, records), str(it.folder), it.learner, it.benchmark),
            *("" if it.memory_size is None else str(it.memory_size), str(len(it.seeds))),
            *_metrics(it, names),
            *_cost(it),
            *_difference(it, baselines.get(it.folder), records),
        ]
        for it in records
    ]
    return Table(headers, rows, range(4))


def _metrics(record: RunRecord, names: Sequence[str]) -> list[str]:
    assert record.summary is not None
    nothing = Statistic(np.nan, np.nan, np.nan, ())
    found = [record.summary.metrics.get(name, nothing) for name in names]
    return [_number(value) for it in found for value in (it.mean, it.std, it.ci95)]


def _cost(record: RunRecord) -> list[str]:
    it = record.summary
    assert it is not None
    return [
        *map(_number, (it.training_seconds, cpu_seconds_per_example(record))),
        *map(str, (it.state_bytes, it.peak_memory_bytes)),
    ]


def _difference(record: RunRecord, baseline: RunRecord | None, records: Sequence[RunRecord]) -> list[str]:
    found = None if baseline is None else difference(record, baseline)
    if baseline is None or found is None:
        return [""] * 5
    figures = (found.statistic.mean, found.statistic.ci95, found.p_value)
    return [name_among(baseline, records), metric_compared(record), *map(_number, figures)]


def _number(value: float) -> str:
    """Return a number with all digits, nothing where there is none."""
    return "" if np.isnan(value) else repr(float(value))
