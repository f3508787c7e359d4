"""The line that says what a command does before there is anything else to see."""

from __future__ import annotations

import os
import sys

_CLEAR_LINE = "\r\x1b[K"


class StatusLine:
    """One line on standard error: in a terminal it is replaced by what comes next, elsewhere it stays."""

    def __init__(self) -> None:
        """Show nothing yet."""
        self._shown = False

    def show(self, text: str) -> None:
        """Show a text in place of the one before; where there is no terminal, only the first one is written."""
        if _is_terminal():
            sys.stderr.write(f"{_CLEAR_LINE}{text}")
        elif not self._shown:
            sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
        self._shown = True

    def clear(self) -> None:
        """Take the line away, before something else is written to the terminal."""
        if self._shown and _is_terminal():
            sys.stderr.write(_CLEAR_LINE)
            sys.stderr.flush()
        self._shown = False


def _is_terminal() -> bool:
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


STATUS = StatusLine()
"""The program's status line."""
