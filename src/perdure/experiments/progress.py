"""The progress bar of a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn


class RunProgress:
    """Shows how far a run is, how fast, how well and for how long still."""

    def __init__(self, bar: Progress, position: int, total: int):
        """Add a line to the bar."""
        self._bar = bar
        self._line = bar.add_task("", completed=position, total=total, speed="compiling", accuracy="")

    def update(self, position: int, examples_per_second: float, accuracy: float | None) -> None:
        """Show a new position.

        Args:
            position: examples learned from.
            examples_per_second: of each seed.
            accuracy: mean accuracy on each task just after learning it, so far; a fraction, None before the first.
        """
        shown = "" if accuracy is None else f"accuracy so far {100 * accuracy:.1f} %"
        self._bar.update(self._line, completed=position, speed=f"{examples_per_second:,.0f} examples/s", accuracy=shown)


@contextmanager
def run_progress(label: str, position: int, total: int, *, show: bool) -> Iterator[RunProgress]:
    """Show a progress bar, under its label, on standard error while a block runs; nothing if not `show`."""
    columns = (
        BarColumn(bar_width=20),
        TaskProgressColumn(),
        TextColumn("{task.fields[speed]}"),
        TextColumn("{task.fields[accuracy]}", style="green"),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not show) as bar:
        if show:
            bar.console.print(label, style="bold", highlight=False, markup=False)
        yield RunProgress(bar, position, total)
