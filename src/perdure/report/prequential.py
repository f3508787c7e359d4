"""Methods on a stream of rows as a table: how right they were on rows that they had not learned yet."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from perdure.records.stream import MethodResult, StreamRecord
from perdure.report.tables import DASH

_OF_CLASSES = (
    ("accuracy", "Accuracy"),
    ("balanced_accuracy", "Balanced"),
    ("kappa", "Kappa"),
    ("log_loss", "Log loss"),
)
_OF_NUMBERS = (("mae", "MAE"), ("rmse", "RMSE"), ("r2", "R²"))
_PERCENT = ("accuracy", "balanced_accuracy")
_MOST_CLASSES = 8


def prequential_table(record: StreamRecord) -> Table:
    """Return one row a method, the best first: its metrics, and the time that a row takes."""
    what = "mean absolute error" if record.regression else "accuracy in percent, Cohen's kappa"
    caption = (
        f"{record.n_rows:,} rows of {record.config['name']}, each answered before it was learned: {what}. µs a row: "
        "answering and learning, compilation included."
    )
    table = Table(
        caption=caption, caption_justify="left", box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold"
    )
    table.add_column("Method", no_wrap=True)
    columns = _OF_NUMBERS if record.regression else _OF_CLASSES
    for header in (*(header for _, header in columns), "Drifts", "µs a row"):
        table.add_column(header, justify="right", no_wrap=True)
    for it in _best_first(record):
        figures = [_figure(name, it.metrics[name]) for name, _ in columns]
        cost = f"{1e6 * it.seconds / max(record.n_rows, 1):,.0f}"
        table.add_row(*map(Text, (it.method, *figures, str(len(it.drifts)), cost)))
    return table


def prequential_notes(record: StreamRecord) -> list[str]:
    """Return what a user should know: the recall of each class, and where the errors changed."""
    best, notes = _best_first(record)[0], []
    if best.recall:
        worst = sorted(best.recall.items(), key=lambda it: it[1])[:_MOST_CLASSES]
        named = ", ".join(f"{label} {100 * value:.1f} %" for label, value in worst)
        notes.append(f"recall of {best.method}, lowest first: {named}")
    if best.drifts:
        notes.append(f"the errors of {best.method} changed after rows {', '.join(f'{it:,}' for it in best.drifts)}")
    return notes


def _best_first(record: StreamRecord) -> Sequence[MethodResult]:
    if record.regression:
        return sorted(record.results, key=lambda it: it.metrics["mae"])
    return sorted(record.results, key=lambda it: -it.metrics["accuracy"])


def _figure(name: str, value: float) -> str:
    if math.isnan(value):
        return DASH
    return f"{100 * value:.1f}" if name in _PERCENT else f"{value:.4g}" if name in ("mae", "rmse") else f"{value:.3f}"
