"""The one thread that changes a model: it takes what waits, learns it together and commits it at once."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from perdure.online.group import Request
from perdure.service.limits import MAX_GROUP_ROWS, Limits
from perdure.service.problems import ProblemError
from perdure.service.teacher import Rows


@dataclass(eq=False)
class Waiting:
    """Something to be done, and who waits for it."""

    what: Request | Rows | Callable[[], Any]
    """Rows to learn, or a function to call while nothing is learned."""
    future: asyncio.Future[Any]

    @property
    def n_rows(self) -> int:
        """Rows to learn."""
        return len(self.what.ids) if isinstance(self.what, Request | Rows) else 0


class Writer:
    """A queue and the thread that empties it."""

    def __init__(self, name: str, learn: Callable[[Sequence[Request | Rows]], Sequence[Any]], limits: Limits):
        """Start the thread.

        Args:
            name: of the thread.
            learn: called with requests to be learned together; returns for each what its sender is told, or an
                exception. What it raises is told to all.
            limits: how much may wait.
        """
        self._learn = learn
        self._limits = limits
        self._waiting: deque[Waiting] = deque()
        self._rows = 0
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def depth(self) -> int:
        """Requests that wait."""
        return len(self._waiting)

    def send(self, what: Request | Rows | Callable[[], Any]) -> asyncio.Future[Any]:
        """Put something into the queue, and return what will be answered; to be called in an event loop.

        Raises:
            ProblemError: if the queue is full, or the server is about to stop.
        """
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        waiting = Waiting(what, future)
        with self._changed:
            if self._stopping:
                raise ProblemError("stopping", "the server is about to stop; send it again later", retry_after=5)
            full = len(self._waiting) >= self._limits.queue
            crowded = self._waiting and waiting.n_rows and self._rows + waiting.n_rows > self._limits.queue_rows
            if full or crowded:
                raise ProblemError(
                    "queue-full",
                    f"{len(self._waiting):,} requests of {self._rows:,} rows wait already, expected at most "
                    f"{self._limits.queue:,} of {self._limits.queue_rows:,}; send it again a little later",
                    retry_after=1,
                )
            self._waiting.append(waiting)
            self._rows += waiting.n_rows
            self._changed.notify()
        return future

    def stop(self, seconds: float) -> bool:
        """Do what waits, and end; tell whether it has ended within `seconds`."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (taken := self._take()) is not None:
            _tell(taken, self._results(taken))

    def _results(self, taken: Sequence[Waiting]) -> Sequence[Any]:
        try:
            first = taken[0].what
            if not isinstance(first, Request | Rows):
                return [first()]
            return self._learn([it.what for it in taken if isinstance(it.what, Request | Rows)])
        except Exception as error:  # told to whoever waits, who raises it
            return [error] * len(taken)

    def _take(self) -> list[Waiting] | None:
        """Return what is to be done next: requests to learn, up to a bound, or something else; None to end."""
        with self._changed:
            while not self._waiting:
                if self._stopping:
                    return None
                self._changed.wait()
            taken = [self._waiting.popleft()]
            n_rows = taken[0].n_rows
            while (
                n_rows
                and self._waiting
                and self._waiting[0].n_rows
                and n_rows + self._waiting[0].n_rows <= MAX_GROUP_ROWS
            ):
                taken.append(self._waiting.popleft())
                n_rows += taken[-1].n_rows
            self._rows -= n_rows
            return taken


def _tell(taken: Sequence[Waiting], results: Sequence[Any]) -> None:
    """Answer those who wait, each in its event loop."""
    loops: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = {}
    for waiting, result in zip(taken, results, strict=True):
        loops.setdefault(waiting.future.get_loop(), []).append((waiting.future, result))
    for loop, answers in loops.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_resolve, answers)


def _resolve(answers: Sequence[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, result in answers:
        if future.done():  # whoever waited has gone
            continue
        if isinstance(result, BaseException):
            future.set_exception(result)
        else:
            future.set_result(result)
