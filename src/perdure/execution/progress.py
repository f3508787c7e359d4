"""How far things are: the progress bar of one run, and the display of many jobs at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from perdure.execution.bars import Bars, bars
from perdure.machine.status import STATUS

_SECONDS_BETWEEN_LINES = 60.0  # for each job, where there is no terminal to draw bars on


class ProgressUpdate(NamedTuple):
    """Where a run stands."""

    position: int
    """Units done: examples, steps, frames, …"""
    total: int
    """Units in all."""
    units_per_second: float
    words: str = ""
    """How it does: an accuracy, a loss, a score."""


Watch = Callable[[ProgressUpdate], object]
"""A function to which progress is reported."""


@contextmanager
def job_progress(label: str, position: int, total: int | None, unit: str, *, show: bool | Watch) -> Iterator[Watch]:
    """Show a progress bar, under its label, on standard error while a block runs; nothing if not `show`.

    With a `total` of None, which means unknown, the bar shows only that work continues. The block reports each update
    to what this yields: the bar, or the function given as `show` in its place.
    """
    if callable(show):
        yield show
        return
    with _one_bar(label, position, total, show=show) as draw:
        yield lambda it: draw(
            it.position, f"{it.units_per_second:,.{0 if it.units_per_second >= 10 else 1}f} {unit}/s", it.words
        )


def say(line: str, *, show: bool | Watch) -> None:
    """Print a line on standard error, where progress is shown."""
    if show is True:
        STATUS.clear()
        Console(stderr=True).print(line, highlight=False, markup=False, soft_wrap=True)


@contextmanager
def _one_bar(label: str, position: int, total: int | None, *, show: bool) -> Iterator[Callable[[int, str, str], None]]:
    """Draw a bar that the block tells its position, a speed and a few words."""
    columns = (
        BarColumn(bar_width=20),
        TaskProgressColumn(),
        TextColumn("{task.fields[speed]}", markup=False),
        TextColumn("{task.fields[words]}", style="green", markup=False),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    if show:
        STATUS.clear()
    with bars(columns, show=show, everywhere=True) as drawn:
        if show:
            drawn.say(label, "bold")
        line = drawn.add("", completed=position, total=total, speed="compiling", words="")
        yield lambda at, speed, words: drawn.update(line, completed=at, speed=speed, words=words)


class JobsProgress:
    """Shows a bar for each running job and one for all; where no bars are drawn, a line now and then."""

    def __init__(self, bars: Bars, efforts: Mapping[str, float]):
        """Show all jobs as waiting.

        Args:
            bars: where to draw.
            efforts: of every job by name, in any unit: its share of the bar for all.
        """
        self._bars = bars
        self._efforts = efforts
        self._shares = dict.fromkeys(efforts, 0.0)
        self._ended = 0
        self._lines: dict[str, TaskID] = {}
        self._said: dict[str, float] = {}
        self._all = bars.add("", total=sum(efforts.values()), speed="", words="")
        self._show_all()

    def started(self, name: str) -> None:
        """Show a job as running."""
        self._lines[name] = self._bars.add(escape(name), total=None, speed="starting", words="")
        self._said[name] = time.monotonic()

    def moved(self, name: str, update: ProgressUpdate) -> None:
        """Show how far a running job is."""
        self._shares[name] = update.position / update.total
        speed = f"{update.units_per_second:,.0f}/s"
        line = self._lines[name]
        self._bars.update(line, completed=update.position, total=update.total, speed=speed, words=update.words)
        self._show_all()
        if not self._bars.is_drawn and time.monotonic() - self._said[name] > _SECONDS_BETWEEN_LINES:
            self._said[name] = time.monotonic()
            self._say(f"{name}: {self._shares[name]:.0%}, {speed}")

    def ended(self, name: str, how: str) -> None:
        """Take away a job's bar and say how it ended."""
        if name in self._lines:
            self._bars.remove(self._lines.pop(name))
        self._shares[name] = 1.0
        self._ended += 1
        self._show_all()
        self._say(f"{self._count()}: {name}: {how}")

    def lost(self, name: str, why: str) -> None:
        """Take away the bar of a job that is to be done again, and say why."""
        if name in self._lines:
            self._bars.remove(self._lines.pop(name))
        self._shares[name] = 0.0
        self._show_all()
        self._say(f"{name}: {why}; it will be resumed elsewhere")

    def _count(self) -> str:
        return f"{self._ended} of {len(self._efforts)}"

    def _show_all(self) -> None:
        done = sum(self._efforts[name] * share for name, share in self._shares.items())
        self._bars.update(self._all, completed=done, description=f"[bold]all: {self._count()}")

    def _say(self, line: str) -> None:
        self._bars.say(line)


@contextmanager
def jobs_progress(efforts: Mapping[str, float], *, show: bool) -> Iterator[JobsProgress]:
    """Show how jobs go on, on standard error, while a block runs; nothing if not `show`.

    Args:
        efforts: of every job by name, in any unit.
        show: show it.
    """
    if show:
        STATUS.clear()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=10),
        TaskProgressColumn(),
        TextColumn("{task.fields[speed]}", markup=False),
        TextColumn("{task.fields[words]}", style="green", markup=False),
        TimeRemainingColumn(),
    )
    with bars(columns, show=show) as drawn:
        yield JobsProgress(drawn, efforts)
