"""Stopping on Ctrl-C, SIGTERM and SIGHUP: at once where nothing is lost, elsewhere after a checkpoint."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import Any

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What asks a program to stop; SIGHUP comes when its terminal is closed."""

_RESTORED_LINE = b"\r\x1b[K\x1b[?25h"
"""Clears a terminal's line and shows the cursor, which progress bars hide."""


class InterruptedRunError(Exception):
    """The run was asked to stop (Ctrl-C, SIGTERM or SIGHUP) and has saved where it was."""

    def __init__(self, message: str, signal_number: int):
        """Remember which signal it was."""
        super().__init__(message, signal_number)  # both, so that it survives the way back from a worker process
        self.signal_number = signal_number

    def __str__(self) -> str:
        return self.args[0]


class StoppedBySignal(BaseException):
    """The program was asked to stop where it had nothing to save."""

    def __init__(self, signal_number: int):
        """Remember which signal it was."""
        super().__init__(signal_number)
        self.signal_number = signal_number


class StopRequests:
    """Notes SIGINT, SIGTERM and SIGHUP instead of dying of them, while a block runs in the main thread.

    A second signal of the same kind acts as it would have without. A SIGHUP that is ignored, as under nohup, stays so.
    """

    def __init__(self) -> None:
        """Note nothing yet."""
        self.received: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopRequests:
        if threading.current_thread() is threading.main_thread():
            for number in _not_ignored():
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        signal.signal(number, self._before[number])


def stop_quietly() -> None:
    """End this program on a stop signal without a traceback, from now on, with exit status 128 + the signal's number.

    It ends at once until the first `loading` block has ended, and in every later one; elsewhere `StoppedBySignal` is
    raised, so that what is half written can be cleaned up, and a second signal ends the program at once.
    """
    _handle(_exit_at_once)
    sys.unraisablehook = _exit_if_stopped


@contextmanager
def loading() -> Iterator[None]:
    """Let stop signals end the program at once while a block imports libraries, if `stop_quietly` was called.

    Many libraries do not survive an exception in the middle of their import, and there is nothing to save yet.
    """
    ours = signal.getsignal(signal.SIGTERM) in (_exit_at_once, _raise)
    if ours:
        _handle(_exit_at_once)
    try:
        yield
    finally:
        if ours:
            _handle(_raise)


def _not_ignored() -> list[int]:
    hangup_ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [number for number in STOP_SIGNALS if not (number == signal.SIGHUP and hangup_ignored)]


def _handle(handler: Callable[[int, FrameType | None], None]) -> None:
    for number in _not_ignored():
        signal.signal(number, handler)


def _exit_at_once(number: int, frame: FrameType | None) -> None:
    if os.isatty(2):
        with suppress(OSError):  # the terminal may be gone: SIGHUP says just that
            os.write(2, _RESTORED_LINE)  # not by sys.stderr, in the middle of whose work the signal may have come
    os._exit(128 + number)


def _raise(number: int, frame: FrameType | None) -> None:
    _handle(_exit_at_once)
    raise StoppedBySignal(number)


def _exit_if_stopped(ignored: Any) -> None:
    """End the program if Python was about to print and ignore `StoppedBySignal`, as it does in a finalizer."""
    if isinstance(ignored.exc_value, StoppedBySignal):
        _exit_at_once(ignored.exc_value.signal_number, None)
    sys.__unraisablehook__(ignored)
