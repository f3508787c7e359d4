"""Stopping a run without losing it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType


class InterruptedRunError(Exception):
    """The run was asked to stop (Ctrl-C, SIGTERM) and has saved where it was."""

    def __init__(self, message: str, signal_number: int):
        """Remember which signal it was."""
        super().__init__(message, signal_number)  # both, so that it survives the way back from a worker process
        self.signal_number = signal_number

    def __str__(self) -> str:
        return self.args[0]


class StopRequests:
    """Notes SIGINT and SIGTERM instead of dying of them, while a block runs in the main thread.

    A second signal of the same kind acts as it would have without.
    """

    def __init__(self) -> None:
        """Note nothing yet."""
        self.received: int | None = None
        self._before = {}

    def __enter__(self) -> StopRequests:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
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


@contextmanager
def signals_later() -> Iterator[None]:
    """Hold back SIGINT and SIGTERM until the end of a block, for imports that do not survive an interruption."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
