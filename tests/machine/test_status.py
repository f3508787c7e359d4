"""The line that a command shows first."""

import io
import sys

import pytest

from perdure.machine.status import StatusLine


class Screen(io.StringIO):
    """Standard error, as a terminal or not."""

    def __init__(self, terminal):
        super().__init__()
        self._terminal = terminal

    def isatty(self):
        return self._terminal


@pytest.fixture
def screen(monkeypatch):
    """Function that puts a screen in the place of standard error."""

    def put(*, terminal, term="xterm"):
        monkeypatch.setenv("TERM", term)
        monkeypatch.setattr(sys, "stderr", Screen(terminal))
        return sys.stderr

    return put


def test_in_a_terminal_the_line_is_replaced_and_taken_away(screen):
    shown, line = screen(terminal=True), StatusLine()
    line.show("loading")
    line.show("compiling")
    line.clear()
    line.clear()
    assert shown.getvalue() == "\r\x1b[Kloading\r\x1b[Kcompiling\r\x1b[K"


@pytest.mark.parametrize("how", [{"terminal": False}, {"terminal": True, "term": "dumb"}])
def test_elsewhere_the_first_line_stays(screen, how):
    shown, line = screen(**how), StatusLine()
    line.show("loading")
    line.show("compiling")
    line.clear()
    assert shown.getvalue() == "loading\n"


def test_nothing_is_cleared_that_was_not_shown(screen):
    shown = screen(terminal=True)
    StatusLine().clear()
    assert shown.getvalue() == ""
