"""Stopping on Ctrl-C, SIGTERM and SIGHUP: at once where nothing is lost, elsewhere after a checkpoint.

At once means without an exception: compiled libraries do not survive one in the middle of their work. What is on the
disk is whole at every moment, so nothing has to be brought to an end.
"""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any

from perdure.storage.files import remove_partial_writes

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
        if os.isatty(2):
            _write(b"stopping after a checkpoint; once more stops at once\n")


def stop_quietly() -> None:
    """End this program at once on a stop signal, from now on, with a line that says so and exit status 128 + number."""
    for number in _not_ignored():
        signal.signal(number, _exit_at_once)


def _not_ignored() -> list[int]:
    hangup_ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [number for number in STOP_SIGNALS if not (number == signal.SIGHUP and hangup_ignored)]


def _exit_at_once(number: int, frame: FrameType | None) -> None:
    remove_partial_writes()
    _write(b"stopped; what was recorded before is kept\n")
    os._exit(128 + number)


def _write(line: bytes) -> None:
    """Write a line where errors go; not by sys.stderr, in the middle of whose work the signal may have come."""
    with suppress(OSError):  # the terminal may be gone: SIGHUP says just that
        os.write(2, _RESTORED_LINE + line if os.isatty(2) else line)
