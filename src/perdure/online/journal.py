"""The examples that a model was taught, in order, on disk before they are acknowledged."""

from __future__ import annotations

import json
import math
import sqlite3
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from perdure.online.columns import seconds
from perdure.storage.files import StorageError

SCHEMA = 1
_TABLES = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    """CREATE TABLE examples (
        position INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT UNIQUE,
        x TEXT,
        y TEXT,
        checksum INTEGER,
        learned_at REAL NOT NULL
    )""",
)
_PIECE = 1000


class JournalError(StorageError):
    """The journal cannot be read or written; the message says why, and what to do."""


class Entry(NamedTuple):
    """One example."""

    position: int
    """Counted from 1, in the order of learning; never used twice."""
    id: str | None
    """Given by whoever taught it; unique."""
    x: dict[str, Any]
    """Column to value; None where missing."""
    y: Any
    """Class, or targets."""


class Journal:
    """A database of examples (SQLite, write-ahead log, full synchronisation).

    An example is on the disk when `append` returns. One that was forgotten leaves its position and its id, and nothing
    of its content, also not in free pages of the file.
    """

    def __init__(self, path: Path, *, writable: bool):
        """Open the journal, or make it.

        Raises:
            JournalError: if the file is damaged, of another schema, or cannot be opened.
        """
        self._path = path
        if not writable and not path.exists():
            raise JournalError(None, f"{path} does not exist, expected the journal of a model")
        with self._explained("opened"):
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
            if writable:
                self._connection.execute("PRAGMA journal_mode=WAL")
                self._connection.execute("PRAGMA synchronous=FULL")
                self._connection.execute("PRAGMA secure_delete=ON")
            else:
                self._connection.execute("PRAGMA query_only=ON")
            found = {row[0] for row in self._connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if not found and writable:
                with self._transaction():
                    for table in _TABLES:
                        self._connection.execute(table)
                    self._set_meta("schema", SCHEMA)
                found = {"meta"}
        if "meta" not in found:
            raise JournalError(None, f"{path} is no journal of a model, expected one; choose another folder")
        if (schema := self._meta("schema")) != SCHEMA:
            raise JournalError(
                None,
                f"{path} has schema {schema}, expected {SCHEMA}; use the version of perdure that has written it",
            )

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    # --- what is remembered beside the examples

    @property
    def settings(self) -> Any:
        """Settings of the model, as JSON holds them; None for a new journal."""
        return self._meta("settings")

    def set_settings(self, settings: Any) -> None:
        """Set the settings of the model; a new edition begins."""
        with self._explained("written"), self._transaction():
            self._set_meta("settings", settings)
            self._begin_edition()

    @property
    def edition(self) -> int:
        """Changes whenever something other than examples at the end does: what was learned before has to be again."""
        return self._meta("edition") or 0

    def _begin_edition(self) -> None:
        self._set_meta("edition", self.edition + 1)

    def _meta(self, name: str) -> Any:
        with self._explained("read"):
            row = self._connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if row is None else json.loads(row[0])

    def _set_meta(self, name: str, value: Any) -> None:
        self._connection.execute("REPLACE INTO meta VALUES (?, ?)", (name, json.dumps(value)))

    # --- examples

    def append(self, examples: Sequence[tuple[str | None, str, str]]) -> None:
        """Append examples (id, x, y), x and y as `to_json` returns them, all or none; they are on the disk on return.

        Raises:
            JournalError: if the disk is full or an id is taken; nothing has been appended then.
        """
        now = time.time()
        rows = [(id, x, y, _checksum(x, y), now) for id, x, y in examples]
        with self._explained("written"), self._transaction():
            self._connection.executemany(
                "INSERT INTO examples (id, x, y, checksum, learned_at) VALUES (?, ?, ?, ?, ?)", rows
            )

    def entries(self, after: int = 0, upto: int | None = None) -> Iterator[Entry]:
        """Yield the examples that were not forgotten, of positions after `after` up to `upto`, in order.

        Raises:
            JournalError: if an example cannot be read, or is not what was written.
        """
        end = self.last_position if upto is None else upto
        while after < end:
            with self._explained("read"):
                rows = self._connection.execute(
                    "SELECT position, id, x, y, checksum FROM examples "
                    "WHERE position > ? AND position <= ? ORDER BY position LIMIT ?",
                    (after, end, _PIECE),
                ).fetchall()
            if not rows:
                return
            yield from (self._entry(row) for row in rows if row[2] is not None)
            after = rows[-1][0]

    def last_entry(self) -> Entry | None:
        """Return the last example that was not forgotten; None if there is none."""
        with self._explained("read"):
            row = self._connection.execute(
                "SELECT position, id, x, y, checksum FROM examples WHERE x IS NOT NULL ORDER BY position DESC LIMIT 1"
            ).fetchone()
        return None if row is None else self._entry(row)

    def _entry(self, row: tuple[int, str | None, str, str, int]) -> Entry:
        position, id, x, y, checksum = row
        if checksum != _checksum(x, y):
            raise JournalError(
                None,
                f"{self._path} is damaged: example {position} is not what was written; restore it from a backup, or "
                "forget that example",
            )
        return Entry(position, id, json.loads(x), json.loads(y))

    @property
    def last_position(self) -> int:
        """Position of the last example; 0 if there is none."""
        with self._explained("read"):
            return self._connection.execute("SELECT COALESCE(MAX(position), 0) FROM examples").fetchone()[0]

    @property
    def n_examples(self) -> int:
        """Number of examples that were not forgotten."""
        with self._explained("read"):
            return self._connection.execute("SELECT COUNT(x) FROM examples").fetchone()[0]

    def positions(self, ids: Sequence[str]) -> dict[str, int]:
        """Return the positions of those ids that are there, forgotten ones too."""
        found: dict[str, int] = {}
        with self._explained("read"):
            for start in range(0, len(ids), _PIECE):
                part = ids[start : start + _PIECE]
                places = ", ".join("?" * len(part))
                found.update(
                    self._connection.execute(f"SELECT id, position FROM examples WHERE id IN ({places})", part)
                )
        return {id: found[id] for id in ids if id in found}

    def forget(self, positions: Sequence[int]) -> None:
        """Remove the content of examples for good; position and id stay."""
        with self._explained("written"):
            with self._transaction():
                self._connection.executemany(
                    "UPDATE examples SET x = NULL, y = NULL, checksum = NULL WHERE position = ?",
                    [(it,) for it in positions],
                )
                self._begin_edition()
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def relabel(self, position: int, y: Any) -> None:
        """Put another target in an example's place."""
        with self._explained("written"), self._transaction():
            text = to_json(y)
            (x,) = self._connection.execute("SELECT x FROM examples WHERE position = ?", (position,)).fetchone()
            if x is None:
                raise JournalError(None, f"{self._path}: example {position} was forgotten, so it has no target")
            self._connection.execute(
                "UPDATE examples SET y = ?, checksum = ? WHERE position = ?", (text, _checksum(x, text), position)
            )
            self._begin_edition()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.IntegrityError as cause:
            raise JournalError(None, f"{self._path}: an id was given that is taken ({cause})") from cause
        except sqlite3.Error as cause:
            raise JournalError(
                None,
                f"{self._path} could not be {what}: {cause}; what was acknowledged before is kept. Make room on the "
                "disk, or if the file is damaged, restore it from a backup",
            ) from cause


def _checksum(x: str, y: str) -> int:
    return zlib.crc32(f"{x}\n{y}".encode())


def to_json(value: Any) -> str:
    """Return a row or a target as JSON; NaN, which JSON has not, as null, which is missing too.

    Raises:
        TypeError: if it is of a type that cannot be kept.
    """
    try:
        return _ENCODER.encode(value)
    except ValueError:
        return _ENCODER.encode(_without_nan(value))


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_nan(it) for name, it in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value


def _plain(value: Any) -> Any:
    if type(value).__name__ in ("NAType", "NaTType"):  # pandas' missing values
        return None
    if isinstance(value, date):
        return seconds(value)
    if isinstance(value, np.floating):  # also those that NumPy has no number of Python for
        return _without_nan(float(value))
    if hasattr(value, "tolist"):  # a number of NumPy
        return _without_nan(value.tolist())
    raise TypeError(
        f"{value!r} of type {type(value).__name__} cannot be kept; give numbers, texts, dates, True, False or None"
    )


_ENCODER = json.JSONEncoder(allow_nan=False, default=_plain)
"""Made once: making it takes as long as a row."""
