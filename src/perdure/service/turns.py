"""Work on a model that one caller at a time may ask for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore, Lock

from perdure.service.problems import ProblemError

CALLERS = 4
"""Who has the turn and who waits for it; each of them keeps a thread from all other requests."""


class Turns:
    """Lets one caller at a time through, and few wait."""

    def __init__(self, what: str):
        """Let nobody wait yet.

        Args:
            what: that others are having done, for the message to whoever may not wait.
        """
        self._what = what
        self._callers = BoundedSemaphore(CALLERS)
        self._lock = Lock()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a turn, and have it.

        Raises:
            ProblemError: if too many wait already.
        """
        if not self._callers.acquire(blocking=False):
            raise ProblemError(
                "too-many-requests", f"{CALLERS} others are {self._what}; ask again a little later", retry_after=2
            )
        try:
            with self._lock:
                yield
        finally:
            self._callers.release()
