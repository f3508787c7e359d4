"""Predictions that wait for their labels: kept on the disk, as many as may be, for as long as may be."""

from __future__ import annotations

import contextlib
import json
import secrets
import sqlite3
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

FILE = "predictions.sqlite"
_TABLE = """CREATE TABLE IF NOT EXISTS waiting (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE, at REAL, x TEXT, predicted TEXT
)"""
_PRUNE_EVERY = 1_000
_FAILED_FOR = 5.0
"""Seconds in which nothing is kept after the disk has refused."""


class Waiting(NamedTuple):
    """A prediction that waits for its label."""

    x: dict[str, Any]
    predicted: Any


class Predictions:
    """Rows that were answered, by the ids of their predictions.

    They survive the end of the process, however it comes; a power cut may take the last ones. What is lost is only
    that a label can be given by the prediction's id.
    """

    def __init__(self, folder: Path, *, rows: int, seconds: float):
        """Keep at most `rows` rows, each for `seconds`, in a folder."""
        self._path = folder / FILE
        self._rows, self._seconds = rows, seconds
        self._lock = threading.Lock()
        self._since_pruned = _PRUNE_EVERY
        self._failed_at = -_FAILED_FOR
        self._connection: sqlite3.Connection | None = None
        with contextlib.suppress(sqlite3.Error):  # tried again when there is something to keep
            self._open()

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            try:
                self._connection = self._opened()
            except sqlite3.OperationalError:  # a full disk, say
                raise
            except sqlite3.DatabaseError:  # damaged: nothing in it is worth keeping a model from its work
                for path in self._path.parent.glob(f"{FILE}*"):
                    path.unlink()
                self._connection = self._opened()
        return self._connection

    def _opened(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=1)
        try:
            self._prepare(connection)
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA trusted_schema=OFF")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("PRAGMA secure_delete=ON")
        connection.execute(_TABLE)

    def keep(self, rows: Sequence[dict[str, Any]], predicted: Sequence[Any]) -> list[str] | None:
        """Keep rows; return an id for each, or None if the disk refuses."""
        now = time.time()
        with self._lock:
            if time.monotonic() - self._failed_at < _FAILED_FOR:
                return None
            ids = [f"p-{secrets.token_hex(12)}" for _ in rows]
            kept = [
                (id, now, json.dumps(x), json.dumps(answer)) for id, x, answer in zip(ids, rows, predicted, strict=True)
            ]
            try:
                self._insert(self._open(), kept)
            except (sqlite3.Error, OSError):
                self._failed_at = time.monotonic()
                if self._connection is not None and self._connection.in_transaction:
                    self._connection.rollback()
                return None
        return ids

    def _insert(self, connection: sqlite3.Connection, kept: list[tuple[str, float, str, str]]) -> None:
        if len(kept) == 1:  # a transaction of its own
            connection.execute("INSERT INTO waiting (id, at, x, predicted) VALUES (?, ?, ?, ?)", kept[0])
        else:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO waiting (id, at, x, predicted) VALUES (?, ?, ?, ?)", kept)
            connection.execute("COMMIT")
        self._since_pruned += len(kept)
        if self._since_pruned >= _PRUNE_EVERY:
            self._since_pruned = 0
            self._prune(connection)

    def _prune(self, connection: sqlite3.Connection) -> None:
        connection.execute(
            "DELETE FROM waiting WHERE number <= (SELECT MAX(number) FROM waiting) - ? OR at < ?",
            (self._rows, time.time() - self._seconds),
        )

    def find(self, ids: Sequence[str]) -> dict[str, Waiting]:
        """Return those of the predictions that wait."""
        found, since = {}, time.time() - self._seconds
        with self._lock, contextlib.suppress(sqlite3.Error):  # what cannot be read is as good as expired
            connection = self._open()
            for id in ids:
                row = connection.execute(
                    "SELECT x, predicted FROM waiting WHERE id = ? AND at >= ?", (id, since)
                ).fetchone()
                if row is not None:
                    found[id] = Waiting(json.loads(row[0]), json.loads(row[1]))
        return found

    def drop(self, ids: Sequence[str]) -> None:
        """Remove predictions whose labels have come."""
        with self._lock, contextlib.suppress(sqlite3.Error):  # those that stay are known to the journal, and expire
            self._open().executemany("DELETE FROM waiting WHERE id = ?", [(id,) for id in ids])

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
