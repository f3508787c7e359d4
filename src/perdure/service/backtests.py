"""Backtests: jobs that measure other methods on a model's history, while the model keeps learning."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from perdure.online.folder import JOURNAL
from perdure.online.history import kept_settings, pieces
from perdure.online.journal import Journal
from perdure.online.prequential import Prequential, compare
from perdure.online.rows import Rows
from perdure.online.settings import ModelSettings
from perdure.online.state import BLOCK
from perdure.service.problems import ProblemError
from perdure.service.scores import finite

_MOST_KEPT = 100
_MOST_POINTS = 200
"""Points of a curve in an answer."""


class _StoppedError(Exception):
    """The job was stopped."""


class Backtest:
    """One job."""

    def __init__(self, model: str, folder: Path, methods: Sequence[str], window: int, delay: int):
        """Begin nothing yet."""
        self.id = f"b-{secrets.token_hex(8)}"
        self.model = model
        self.state = "waiting"
        """"waiting", "running", "done", "failed" or "stopped"."""
        self._lock = threading.Lock()
        self._stop_requested = False
        self._folder, self._methods, self._window, self._delay = folder, methods, window, delay
        self._progress = 0.0
        self._found: Mapping[str, Prequential] = {}
        self._error = ""

    @property
    def is_over(self) -> bool:
        """Has it come to an end?"""
        return self.state not in ("waiting", "running")

    def stop(self) -> None:
        """Stop; one that waits is over at once, one that runs when a method has learned a few more rows."""
        with self._lock:
            self._stop_requested = True
            if self.state == "waiting":
                self.state = "stopped"

    def run(self) -> None:
        """Measure, and keep what was found or why it failed."""
        with self._lock:
            if self.is_over:
                return
            self.state = "running"
        try:
            self._found = self._measured()
            self.state = "done"
        except _StoppedError:
            self.state = "stopped"
        except Exception as error:  # told to whoever asks for the job
            told = f"{error}" if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: {error}"
            self._error, self.state = told.replace(f"{self._folder}", self.model), "failed"

    def _measured(self) -> Mapping[str, Prequential]:
        journal = Journal(self._folder / JOURNAL, writable=False)
        try:
            settings = kept_settings(journal)
            models = {name: settings.changed(method=name).new_model() for name in self._methods}
            last = journal.last_position
            history = pieces(journal, 0, last, same_columns=not settings.allow_missing)
            blocks = self._blocks(history, last)
            return compare(models, blocks, window=self._window, delay=self._delay, check=self._check)
        finally:
            journal.close()

    def _check(self) -> None:
        if self._stop_requested:
            raise _StoppedError

    def _blocks(self, history: Iterator[tuple[Rows, list[Any]]], last: int) -> Iterator[tuple[Rows, list[Any]]]:
        """Yield the history in small pieces, and note how far it is."""
        for rows, targets in history:
            for start in range(0, rows.n, BLOCK):
                places = np.arange(start, min(start + BLOCK, rows.n))
                yield rows.take(places), targets[start : start + BLOCK]
                self._progress = rows.number(int(places[-1])) / max(last, 1)

    def described(self) -> dict[str, Any]:
        """Return how far it is and what it has found, as JSON holds it."""
        shown: dict[str, Any] = {"id": self.id, "model": self.model, "state": self.state}
        shown |= {"methods": list(self._methods), "progress": 1.0 if self.state == "done" else self._progress}
        if self._error:
            shown["error"] = self._error
        if self.state == "done":
            shown["results"] = {name: _result(found) for name, found in self._found.items()}
        return shown


def _result(found: Prequential) -> dict[str, Any]:
    step = max(1, len(found.curve.rows) // _MOST_POINTS)
    return {
        "rows": found.scores.n,
        "metrics": {name: finite(value) for name, value in found.metrics.items()},
        "recall": [{"class": label, "recall": value} for label, value in found.recall.items()],
        "drifts": list(found.drifts),
        "curve": {"rows": found.curve.rows[::step], "values": [finite(it) for it in found.curve.values[::step]]},
    }


class Backtests:
    """All jobs: one runs at a time, others wait."""

    def __init__(self, most: int):
        """Let at most `most` jobs wait or run."""
        self._most = most
        self._jobs: OrderedDict[str, Backtest] = OrderedDict()
        self._pool = ThreadPoolExecutor(1, "backtest")

    def begin(
        self, model: str, folder: Path, settings: ModelSettings, methods: Sequence[str], window: int, delay: int
    ) -> Backtest:
        """Begin a job.

        Raises:
            ProblemError: if there is no such method, or too many jobs wait.
        """
        for place, name in enumerate(methods):
            try:
                settings.changed(method=name).new_model()
            except ValueError as error:
                raise ProblemError("bad-settings", str(error), field=f"/methods/{place}") from error
        if sum(not it.is_over for it in self._jobs.values()) >= self._most:
            raise ProblemError(
                "queue-full", f"{self._most} backtests wait or run already; stop one, or wait", retry_after=10
            )
        job = Backtest(model, folder, list(dict.fromkeys(methods)), window, delay)
        self._jobs[job.id] = job
        while len(self._jobs) > _MOST_KEPT:
            self._jobs.popitem(last=False)
        self._pool.submit(job.run)
        return job

    def find(self, model: str, id: str) -> Backtest:
        """Return a job of a model.

        Raises:
            ProblemError: if there is none of this id.
        """
        job = self._jobs.get(id)
        if job is None or job.model != model:
            raise ProblemError("no-job", f"{model} has no backtest {id[:80]!r}; begin one: POST …/backtest")
        return job

    def of(self, model: str) -> list[Backtest]:
        """Return the jobs of a model, the oldest first."""
        return [it for it in self._jobs.values() if it.model == model]

    def forget(self, model: str) -> None:
        """Stop the jobs of a model that is deleted, and forget them."""
        for job in self.of(model):
            job.stop()
            del self._jobs[job.id]

    def stop(self) -> None:
        """Stop all jobs; return at once."""
        for job in list(self._jobs.values()):
            job.stop()

    def close(self) -> None:
        """Stop all jobs, and wait for the one that runs."""
        self.stop()
        self._pool.shutdown()
