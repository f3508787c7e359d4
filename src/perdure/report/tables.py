"""Records of runs as tables for the terminal.

Accuracies are in percent, ± the 95 % half width over seeds; published figures are ± one standard deviation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from rich.console import Group
from rich.table import Table
from rich.text import Text

from perdure.metrics.transfer import Statistic
from perdure.presets.learners import Published, follows_protocol, published
from perdure.records.learner import RunRecord
from perdure.records.listing import DamagedRecord, ListedRun
from perdure.report import blocks
from perdure.report.commands import command_of
from perdure.report.names import name_among
from perdure.report.streams import by_stream
from perdure.streams.catalog import BENCHMARKS

DASH = "–"
"""Stands where there is no value."""


class Cell(NamedTuple):
    """A value and, if there is one, what follows its ±."""

    value: str
    spread: str = ""


class Column(NamedTuple):
    """A column of the comparison."""

    header: str
    cell: Callable[[RunRecord], Cell]
    is_text: bool = False
    best: Callable[[RunRecord], float] | None = None
    """What the best run on a stream is found by, the larger the better; None if there is no best."""


NOTHING = Cell(DASH)


def comparison_table(records: Sequence[RunRecord]) -> Table:
    """Return one row a run: metrics, the published figure beside them, and cost.

    Spreads stand under their values, so that the table of usual metrics fits 100 columns; columns in which no run has a
    value are left out. Names are folded where there is little room, numbers are not.
    """
    columns = [_NAME, _MEMORY_AND_SEEDS, *_present(_MEASURED, records), _COST]
    table = Table(
        caption=legend_of(records),
        caption_justify="left",
        box=None,
        padding=(0, 1, 1, 0),
        pad_edge=False,
        header_style="bold",
    )
    bold = _bold(columns, records)
    rows = []
    for row, record in enumerate(records):
        cells = [_folded(it.cell(record), bold=(row, place) in bold) for place, it in enumerate(columns)]
        name = name_among(record, records)
        if name != record.label and (name != record.folder.name or _has_double(record, records)):
            cells[0] = Text(f"{name.replace(', ', chr(10))}\n{record.benchmark}")
        rows.append(cells)
    for place, column in enumerate(columns):
        if column.is_text:
            table.add_column(column.header, overflow="fold")
        else:
            shown = "\n".join([column.header, *(cells[place].plain for cells in rows)])
            table.add_column(column.header, justify="right", no_wrap=True, min_width=max(map(len, shown.split("\n"))))
    for cells in rows:
        table.add_row(*cells)
    return table


def _has_double(record: RunRecord, records: Sequence[RunRecord]) -> bool:
    """Tell whether another run has the same label and benchmark, so that its row would look the same."""
    return sum((it.label, it.benchmark) == (record.label, record.benchmark) for it in records) > 1


def flat_table(records: Sequence[RunRecord]) -> blocks.Table:
    """Return the same as `comparison_table` with one column for each thing, for pages."""
    name = Column("Run", lambda it: Cell(name_among(it, records)), is_text=True)
    columns = [name, *_present([_BENCHMARK, _MEMORY, _SEEDS, *_MEASURED, *_COSTS], records)]
    rows = [[_in_a_line(column.cell(record)) for column in columns] for record in records]
    text_columns = [place for place, column in enumerate(columns) if column.is_text]
    headers = [column.header.replace("\n", " ") for column in columns]
    commands = [command_of(record) for record in records]
    return blocks.Table(headers, rows, text_columns, _bold(columns, records), commands)


def legend_of(records: Sequence[RunRecord]) -> str:
    """Return what the headers of the table of runs stand for."""
    shown = [column.header for column in (*_present(_MEASURED, records), _COST) if column.header in _LEGEND]
    spread = ", ± 95 % half width over seeds" if any(len(record.seeds) > 1 for record in records) else ""
    return f"{'; '.join(_LEGEND[header] for header in shown)}. Accuracies in percent{spread}."


def places_of_best(values: Sequence[float]) -> list[int]:
    """Return where the largest value stands, several places if it is there twice; none with fewer than two values."""
    known = [it for it in values if not np.isnan(it)]
    return [place for place, it in enumerate(values) if it == max(known)] if len(known) > 1 else []


def runs_table(runs: Sequence[ListedRun | DamagedRecord]) -> Group:
    """Return one row a run of any kind: folder, what it is, how far it is, its main figure; then what is damaged."""
    table = Table(box=None, padding=(0, 1, 1, 0), pad_edge=False, header_style="bold")
    table.add_column("Folder\nKind", overflow="fold")
    table.add_column("What", overflow="fold")
    for header in ("Seeds", "Status", "Figure"):
        table.add_column(header, justify="right", no_wrap=True)
    for it in runs:
        if isinstance(it, ListedRun):
            status = "finished" if it.finished else "unfinished"
            status += f"\n{it.progress}" if it.progress else ""
            cells = (f"{it.folder.name}\n{it.kind}", it.what, DASH if it.n_seeds is None else str(it.n_seeds))
            table.add_row(*map(Text, (*cells, status, it.figure or DASH)))
    damaged = [Text(f"cannot be read: {it.reason}", style="red") for it in runs if isinstance(it, DamagedRecord)]
    return Group(table, *damaged)


def published_figure(record: RunRecord) -> Published | None:
    """Return the published retained accuracy in percent to hold a run against, None if there is none.

    The run must have the published learner, memory size, network and stream, and no loss or optimizer of its
    own; its rates may differ.
    """
    config = record.config
    if not follows_protocol(record.benchmark, config["benchmark"].get("options", {})):
        return None
    has_own_parts = "fields" in config["learner"] or "source" in config["learner"]
    if has_own_parts or config.get("model", {}).get("name") != BENCHMARKS[record.benchmark].network:
        return None
    return published(record.learner, record.benchmark, record.memory_size)


def metric_of(record: RunRecord, name: str) -> Statistic | None:
    """Return a metric of a finished run, None if it was not evaluated."""
    statistic = None if record.summary is None else record.summary.metrics.get(name)
    return None if statistic is None or np.isnan(statistic.mean) else statistic


def _scaled(name: str, scale: float, decimals: int) -> Callable[[RunRecord], Cell]:
    def cell(record: RunRecord) -> Cell:
        statistic = metric_of(record, name)
        if statistic is None:
            return NOTHING
        spread = "" if np.isnan(statistic.ci95) else f"{scale * statistic.ci95:.{decimals}f}"
        return Cell(f"{scale * statistic.mean:.{decimals}f}", spread)

    return cell


def _percent(name: str) -> Callable[[RunRecord], Cell]:
    return _scaled(name, 100.0, 2)


def _without_tests(record: RunRecord) -> Cell:
    """Return the prequential accuracy of a run without test sets, which has no other."""
    has_other = metric_of(record, "retained_accuracy") is not None
    return NOTHING if has_other else _percent("prequential_accuracy")(record)


def _published(record: RunRecord) -> Cell:
    figure = published_figure(record)
    return NOTHING if figure is None else Cell(f"{figure.mean:.2f}", "" if figure.std is None else f"{figure.std:.2f}")


def _difference(record: RunRecord) -> Cell:
    figure, measured = published_figure(record), metric_of(record, "retained_accuracy")
    if figure is None or measured is None:
        return NOTHING
    return Cell(f"{100 * measured.mean - figure.mean:+.2f}")


def _seconds(record: RunRecord) -> Cell:
    return NOTHING if record.summary is None else Cell(f"{record.summary.training_seconds:.1f}")


def cpu_seconds_per_example(record: RunRecord) -> float:
    """Return the CPU time that a finished run took to learn one example with one seed."""
    assert record.summary is not None
    return record.summary.training_cpu_seconds / (record.summary.examples_seen * len(record.seeds))


def cpu_milliseconds(record: RunRecord) -> str:
    """Return the CPU time per example of a finished run, in milliseconds, with three digits."""
    milliseconds = 1000 * cpu_seconds_per_example(record)
    return f"{milliseconds:,.0f}" if milliseconds >= 100 else f"{milliseconds:.3g}"


def _cpu_milliseconds(record: RunRecord) -> Cell:
    return NOTHING if record.summary is None else Cell(cpu_milliseconds(record))


def _kept_bytes(record: RunRecord) -> float:
    assert record.summary is not None
    return float(record.summary.state_bytes)


def _kept_kilobytes(record: RunRecord) -> Cell:
    return NOTHING if record.summary is None else Cell(f"{record.summary.state_bytes / 1000:,.0f}")


def _memory(record: RunRecord) -> Cell:
    return NOTHING if record.memory_size is None else Cell(str(record.memory_size))


def _mean(name: str) -> Callable[[RunRecord], float]:
    def mean(record: RunRecord) -> float:
        statistic = metric_of(record, name)
        return float("nan") if statistic is None else statistic.mean

    return mean


def _less(name: str) -> Callable[[RunRecord], float]:
    return lambda record: -_mean(name)(record)


_LEGEND = {
    "RA": "RA: retained accuracy",
    "Publ.\nRA": "Publ. RA: published, ± standard deviation",
    "Diff.": "Diff.: measured less published",
    "LA": "LA: learning accuracy",
    "BTI": "BTI: backward transfer and interference",
    "FWT": "FWT: forward transfer",
    "Forg.": "Forg.: forgetting",
    "PA": "PA: prequential accuracy, each example predicted before it was learned",
    "Align.": "Align.: gradient alignment, a dot product",
    "AAA": "AAA: average anytime accuracy",
    "WC": "WC: worst-case accuracy",
    "Gap": "Gap: stability gap",
    "Training s\nCPU ms\nKept kB": "CPU ms: CPU time per example and seed; Kept kB: kept between examples, per seed",
}
"""What the headers of a comparison stand for."""

_LEARNER = Column("Learner", lambda record: Cell(record.learner), is_text=True)
_BENCHMARK = Column("Benchmark", lambda record: Cell(record.benchmark), is_text=True)
_MEMORY = Column("Memory", _memory)
_SEEDS = Column("Seeds", lambda record: Cell(str(len(record.seeds))))
_SECONDS = Column("Training s", _seconds)
_CPU_MILLISECONDS = Column("CPU ms", _cpu_milliseconds, best=lambda it: -cpu_seconds_per_example(it))
_KEPT_KILOBYTES = Column("Kept kB", _kept_kilobytes, best=lambda it: -_kept_bytes(it))
_COSTS = (_SECONDS, _CPU_MILLISECONDS, _KEPT_KILOBYTES)
_MEASURED = [
    Column("RA", _percent("retained_accuracy"), best=_mean("retained_accuracy")),
    Column("PA", _without_tests, best=_mean("prequential_accuracy")),
    Column("Publ.\nRA", _published),
    Column("Diff.", _difference),
    Column("LA", _percent("learning_accuracy"), best=_mean("learning_accuracy")),
    Column("BTI", _percent("backward_transfer"), best=_mean("backward_transfer")),
    Column("FWT", _percent("forward_transfer"), best=_mean("forward_transfer")),
    Column("Forg.", _percent("forgetting"), best=_less("forgetting")),
    Column("Align.", _scaled("gradient_alignment", 1.0, 3)),
    Column("AAA", _percent("average_anytime_accuracy"), best=_mean("average_anytime_accuracy")),
    Column("WC", _percent("worst_case_accuracy"), best=_mean("worst_case_accuracy")),
    Column("Gap", _percent("stability_gap"), best=_less("stability_gap")),
]


def _beneath(*columns: Column) -> Column:
    """Return a column that shows each column's value under that of the one before."""

    def cell(record: RunRecord) -> Cell:
        return Cell("\n".join(it.cell(record).value for it in columns))

    return Column("\n".join(it.header for it in columns), cell, is_text=columns[0].is_text)


_NAME = _beneath(_LEARNER, _BENCHMARK)
_MEMORY_AND_SEEDS = _beneath(_MEMORY, _SEEDS)
_COST = _beneath(*_COSTS)


def _present(columns: Sequence[Column], records: Sequence[RunRecord]) -> list[Column]:
    """Return the columns in which some run has a value."""
    return [column for column in columns if any(column.cell(record) != NOTHING for record in records)]


def _bold(columns: Sequence[Column], records: Sequence[RunRecord]) -> set[tuple[int, int]]:
    """Return row and column of what is the best among the finished runs on a stream."""
    found = set()
    for group in by_stream([record for record in records if record.finished]):
        rows = [row for row, record in enumerate(records) if any(record is it for it in group)]
        for place, column in enumerate(columns):
            best = [] if column.best is None else places_of_best([column.best(record) for record in group])
            found |= {(rows[it], place) for it in best}
    return found


def _in_a_line(cell: Cell) -> str:
    return f"{cell.value} ± {cell.spread}" if cell.spread else cell.value


def _folded(cell: Cell, *, bold: bool) -> Text:
    return Text(f"{cell.value}\n± {cell.spread}" if cell.spread else cell.value, style="bold" if bold else "")
