"""The progress bar of a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class RunProgress:
    """Shows how far a run is, how fast, how well and for how long still."""

    def __init__(self, bar: Progress, label: str, position: int, total: int, n_seeds: int):
        """Add a line to the bar."""
        self._bar = bar
        self._n_seeds = n_seeds
        self._line = bar.add_task(label, completed=position, total=total, speed="", accuracy="")

    def update(self, position: int, examples_per_second: float, accuracy: float | None) -> None:
        """Show a new position.

        Args:
            position: examples learned from.
            examples_per_second: of one seed.
            accuracy: mean accuracy on each task just after learning it, so far; a fraction, None before the first.
        """
        seeds = f" × {self._n_seeds} seeds" if self._n_seeds > 1 else ""
        shown = "" if accuracy is None else f"accuracy so far {100 * accuracy:.1f} %"
        speed = f"{examples_per_second:,.0f} examples/s{seeds}"
        self._bar.update(self._line, completed=position, speed=speed, accuracy=shown)


@contextmanager
def run_progress(label: str, position: int, total: int, n_seeds: int, *, show: bool) -> Iterator[RunProgress]:
    """Show a progress bar on standard error while a block runs; nothing if not `show`."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}"),
        TextColumn("{task.fields[accuracy]}", style="green"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not show) as bar:
        yield RunProgress(bar, label, position, total, n_seeds)
