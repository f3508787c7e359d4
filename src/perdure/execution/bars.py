"""Bars that are redrawn in one place: in a terminal by Rich, in a notebook by the display of its cell."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console, Group
from rich.progress import Progress, ProgressColumn
from rich.text import Text

_SECONDS_BETWEEN_DRAWINGS = 0.2
_WIDTH = 100
"""Characters of a line in a notebook."""


class Bars:
    """Rich's bars, where they are drawn, and where lines are said beside them."""

    def __init__(self, progress: Progress, console: Console, cell: _Cell | None, *, drawn: bool):
        """Draw nothing yet.

        Args:
            progress: the bars.
            console: for lines.
            cell: where they are drawn in a notebook; None for a terminal.
            drawn: are they drawn at all?
        """
        self.progress = progress
        self.is_drawn = drawn
        self._console = console
        self._cell = cell

    def add(self, description: str, **fields: Any) -> Any:
        """Add a bar, and return what names it; fields are those of `rich.progress.Progress.add_task`."""
        added = self.progress.add_task(description, **fields)
        self._changed()
        return added

    def update(self, bar: Any, **fields: Any) -> None:
        """Change a bar."""
        self.progress.update(bar, **fields)
        self._changed()

    def remove(self, bar: Any) -> None:
        """Take a bar away."""
        self.progress.remove_task(bar)
        self._changed()

    def say(self, line: str, style: str = "") -> None:
        """Print a line that stays."""
        if self._cell is None:
            self._console.print(line, style=style, highlight=False, markup=False, soft_wrap=True)
        else:
            self._cell.say(line, style)
            self._changed()

    def _changed(self) -> None:
        if self._cell is not None:
            self._cell.draw(self.progress)


class _Cell:
    """A place in the output of a notebook's cell, which is written over."""

    def __init__(self) -> None:
        self._lines: list[Text] = []
        self._handle: Any = None
        self._drawn = float("-inf")

    def say(self, line: str, style: str) -> None:
        self._lines.append(Text(line, style=style))

    def draw(self, progress: Progress, *, at_once: bool = False) -> None:
        """Draw lines and bars, unless they have been drawn just now."""
        now = time.monotonic()
        if not at_once and now - self._drawn < _SECONDS_BETWEEN_DRAWINGS:
            return
        self._drawn = now
        content = _as_html(Group(*self._lines, progress.get_renderable()))
        if self._handle is None:
            from IPython.display import display  # pyright: ignore[reportMissingImports]

            self._handle = display(content, raw=True, display_id=True)
        else:
            self._handle.update(content, raw=True)


def _as_html(what: Group) -> dict[str, str]:
    """Return what Rich can print as a notebook shows it, with the same as plain text."""
    console = Console(file=io.StringIO(), record=True, width=_WIDTH, force_jupyter=False, color_system="truecolor")
    console.print(what)
    return {
        "text/html": console.export_html(inline_styles=True, clear=False, code_format="<pre>{code}</pre>"),
        "text/plain": console.export_text(),
    }


@contextmanager
def bars(columns: Sequence[ProgressColumn], *, show: bool, everywhere: bool = False) -> Iterator[Bars]:
    """Draw bars on standard error, or in the notebook, while a block runs.

    Args:
        columns: of each bar.
        show: show anything?
        everywhere: draw bars also where there is neither a terminal nor a notebook.
    """
    if show and Console(stderr=True).is_jupyter:
        cell = _Cell()
        with Progress(*columns, disable=True) as progress:
            try:
                yield Bars(progress, Console(quiet=True), cell, drawn=True)
            finally:
                cell.draw(progress, at_once=True)
        return
    console = Console(stderr=True, quiet=not show)
    drawn = show and (everywhere or console.is_terminal)
    with Progress(*columns, console=console, disable=not drawn) as progress:
        yield Bars(progress, console, None, drawn=drawn)
