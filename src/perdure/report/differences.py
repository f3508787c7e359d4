"""Runs on the same streams, held against a baseline seed by seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from perdure.metrics.sign_flips import sign_flip_p_value
from perdure.metrics.transfer import Statistic, paired_difference
from perdure.presets.comparison import BASELINE
from perdure.records.learner import RunRecord
from perdure.records.summary import PREQUENTIAL
from perdure.report.blocks import Table
from perdure.report.names import benchmark_title, name_among
from perdure.report.streams import by_stream, share_streams
from perdure.report.tables import DASH, metric_of

METHOD_OF_P = (
    "p: two-sided permutation test of the signs of the differences; with n seeds it is at least 2/2ⁿ, 0.06 with five"
)


class Difference(NamedTuple):
    """What a run has over its baseline, in fractions, over seeds."""

    statistic: Statistic
    p_value: float

    @property
    def text(self) -> str:
        """Mean ± half width of the 95 % interval, in percent."""
        mean = f"{100 * self.statistic.mean:+.2f}"
        return mean if np.isnan(self.statistic.ci95) else f"{mean} ± {100 * self.statistic.ci95:.2f}"

    @property
    def p_text(self) -> str:
        """The p-value; a dash for a single seed, from which no p-value follows."""
        if len(self.statistic.per_seed) < 2 or np.isnan(self.p_value):
            return DASH
        return "< 0.001" if self.p_value < 0.001 else f"{self.p_value:.2g}"


class Pairing(NamedTuple):
    """Runs on one stream, and the one that the others are held against."""

    baseline: RunRecord
    others: Sequence[RunRecord]


class Pairings(NamedTuple):
    """Runs by the streams that they share."""

    pairs: Sequence[Pairing]
    alone: Sequence[RunRecord]
    """Those that share their stream with no other run, or with none that is a baseline."""


def difference(run: RunRecord, baseline: RunRecord) -> Difference | None:
    """Return what a run retains more than its baseline, seed by seed; without tests, its prequential accuracy.

    None if their streams differ, they are one run, or a figure is missing.
    """
    if run.folder == baseline.folder or not share_streams(run, baseline):
        return None
    measured, reference = (metric_of(it, metric_compared(it)) for it in (run, baseline))
    if measured is None or reference is None:
        return None
    found = paired_difference(measured, reference)
    return Difference(found, sign_flip_p_value(found.per_seed))


def metric_compared(run: RunRecord) -> str:
    """Return the metric by which a run is held against others: without test sets there is only one."""
    return PREQUENTIAL if run.accuracy is None else "retained_accuracy"


def pairings(records: Sequence[RunRecord], baseline: str | None = None) -> Pairings:
    """Return which runs can be held against which.

    Args:
        records: finished runs.
        baseline: what the others are held against: a learner, or the name of a run in the table, or of its folder;
            None for ER, or the first where ER is not there.

    Raises:
        ValueError: if no run is named so, or several of one stream are.
    """
    if baseline is not None and not any(baseline in _names(it, records) for it in records):
        known = ", ".join(dict.fromkeys(name_among(it, records) for it in records))
        raise ValueError(f"the baseline is {baseline}, expected one of the runs: {known}")
    pairs, alone = [], []
    for group in by_stream(records):
        chosen = _baseline_of(group, records, baseline) if len(group) > 1 else None
        if chosen is None:
            alone += group
        else:
            pairs.append(Pairing(chosen, [it for it in group if it is not chosen]))
    return Pairings(pairs, alone)


def differences_table(found: Pairings, records: Sequence[RunRecord]) -> Table | None:
    """Return a row for each run that is held against another; None if there is none.

    Args:
        found: who is held against whom.
        records: all runs, among which each has its name.
    """
    rows = [
        [name_among(run, records), *_stream(run, records), name_among(pair.baseline, records), it.text, it.p_text]
        for pair in found.pairs
        for run in pair.others
        if (it := difference(run, pair.baseline)) is not None
    ]
    on = ["benchmark"] if _several_benchmarks(records) else []
    headers = ["run", *on, "against", "difference", "p"]
    return Table(headers, rows, range(len(headers) - 2)) if rows else None


def differences_legend(found: Pairings) -> str:
    """Return what the table of differences shows."""
    n = len(found.pairs[0].baseline.seeds)
    seeds = f" of {n} {'seed' if n == 1 else 'seeds'}" if len(found.pairs) == 1 else ""
    what = metric_compared(found.pairs[0].baseline).replace("_", " ")
    return f"Differences in {what} in points, on the same streams{seeds}, ± their 95 % interval. {METHOD_OF_P}."


def stream_notes(found: Pairings, records: Sequence[RunRecord]) -> list[str]:
    """Return which runs have streams that no other shares; none if all runs share one stream."""
    if len(records) < 2 or len(found.pairs) + len(found.alone) < 2:
        return []
    groups = [[pair.baseline, *pair.others] for pair in found.pairs] + [[it] for it in found.alone]
    told = "; ".join(
        f"{', '.join(name_among(it, records) for it in group)} (on {_stream_in_words(group[0])})" for group in groups
    )
    return [f"streams differ, and no difference is taken between them: {told}"]


def _baseline_of(group: Sequence[RunRecord], records: Sequence[RunRecord], baseline: str | None) -> RunRecord | None:
    if baseline is None:
        return next((it for it in group if it.learner == BASELINE), group[0])
    named = [it for it in group if baseline in _names(it, records)]
    if len(named) > 1:
        several = ", ".join(f"{it.folder.name} ({name_among(it, records)})" for it in named)
        raise ValueError(f"the baseline is {baseline}, which names several runs; give one of their folders: {several}")
    return named[0] if named else None


def _names(record: RunRecord, records: Sequence[RunRecord]) -> tuple[str, str, str]:
    return record.learner, name_among(record, records), record.folder.name


def _several_benchmarks(records: Sequence[RunRecord]) -> bool:
    return len({it.benchmark for it in records}) > 1


def _stream(record: RunRecord, records: Sequence[RunRecord]) -> list[str]:
    return [benchmark_title(record.benchmark)] if _several_benchmarks(records) else []


def _stream_in_words(record: RunRecord) -> str:
    options = [f"{name.replace('_', ' ')} {value}" for name, value in record.config["benchmark"]["options"].items()]
    seeds = record.seeds
    is_range = list(seeds) == list(range(seeds[0], seeds[0] + len(seeds)))
    listed = f"{seeds[0]}–{seeds[-1]}" if is_range and len(seeds) > 1 else ", ".join(map(str, seeds))
    return ", ".join([record.benchmark, *options, f"{'seeds' if len(seeds) > 1 else 'seed'} {listed}"])
