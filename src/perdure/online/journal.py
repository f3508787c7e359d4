"""The examples that a model was taught, in order, on disk before they are acknowledged."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import sqlite3
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from perdure.core import PerdureWarning
from perdure.online.encoding import checksum_of, to_json
from perdure.online.migrations import migrate
from perdure.online.refusals import RESTORE, JournalError, NoExampleError, NotErasedError, errno_of, remedy_for
from perdure.online.schema import SCHEMA, TABLES, check_schema, parts_of, transaction
from perdure.storage.reading import MAX_DEPTH, MAX_TEXT_BYTES, ContentError, parse_json, shortened

_PIECE = 1000
_PAGE_BYTES = 16_384
"""Larger pages than SQLite's 4,096 make erasing about a third faster with 20 columns."""
_COLUMNS = "position, id, x, y, checksum, learned_at"


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
    learned_at: float
    """Seconds since 1970."""


class Journal:
    """A database of examples (SQLite, write-ahead log, full synchronisation).

    An example is on the disk when `append` returns. One that was forgotten leaves its position and its id, and nothing
    of its content, also not in free space of the file.
    """

    def __init__(self, path: Path, *, writable: bool, settings: Mapping[str, Any] | None = None):
        """Open the journal, or make it; one of an older schema is migrated, if it is to be written.

        Args:
            path: the file.
            writable: is it to be written?
            settings: of the model, as JSON holds them, if the journal is made; None if they are set later.

        Raises:
            JournalError: if the file is damaged, of another schema, or cannot be opened.
        """
        self._path = path
        self._digest: tuple[int, int, Any] | None = None
        self._process = os.getpid()
        if path.exists() and not path.is_file():
            raise JournalError(
                None, f"{path} is a folder, a pipe or a device, expected the journal of a model; {RESTORE}"
            )
        if not writable and not path.exists():
            raise JournalError(None, f"{path} does not exist, expected the journal of a model")
        with self._explained("opened"):
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
        try:
            self._prepare(writable, settings)
            self._file = path.stat()
        except BaseException:
            self._connection.close()
            raise

    def _prepare(self, writable: bool, settings: Mapping[str, Any] | None) -> None:
        with self._explained("opened"):
            self._connection.execute("PRAGMA trusted_schema=OFF")
            self._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 2 * MAX_TEXT_BYTES)
            if writable:
                self._connection.execute(f"PRAGMA page_size={_PAGE_BYTES}")  # of a new file
                self._connection.execute("PRAGMA journal_mode=WAL")
                self._connection.execute("PRAGMA synchronous=FULL")
                self._connection.execute("PRAGMA secure_delete=ON")
            else:
                self._connection.execute("PRAGMA query_only=ON")
            if writable and not parts_of(self._connection):
                with transaction(self._connection):
                    for table in TABLES.values():
                        self._connection.execute(table)
                    self._set_meta("schema", f"{SCHEMA}")
                    self._set_meta("identity", secrets.token_hex(16))
                    if settings is not None:
                        self._set_meta("settings", json.dumps(settings))
            if writable:
                migrate(self._connection, self._path)
            check_schema(self._connection, self._path)
        if writable and self._meta("erasure") is not None:
            try:
                self._erase(0)
            except NotErasedError as cause:
                warnings.warn(str(cause), PerdureWarning, stacklevel=4)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    # --- what is remembered beside the examples

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    @property
    def is_in_place(self) -> bool:
        """Is the file at its path the one that is open? What is written to a deleted one is lost with the process."""
        try:
            return os.path.samestat(self._path.stat(), self._file)
        except OSError:
            return False

    @property
    def settings(self) -> dict[str, Any] | None:
        """Settings of the model, as JSON holds them; None for a new journal.

        Raises:
            JournalError: if they cannot be read.
        """
        text = self._meta("settings")
        try:
            return None if text is None else parse_json(text.encode(), f"{self._path}, settings")
        except ContentError as cause:
            raise JournalError(None, f"{cause}; {RESTORE}") from cause

    def set_settings(self, settings: Mapping[str, Any]) -> None:
        """Set the settings of the model; a new edition begins."""
        with self._explained("written"), transaction(self._connection):
            self._set_meta("settings", json.dumps(settings))
            self._begin_edition()

    @property
    def edition(self) -> int:
        """Changes whenever something other than examples at the end does: what was learned before has to be again."""
        text = self._meta("edition") or "0"
        if not (text.isdecimal() and text.isascii() and len(text) < 19):
            raise JournalError(
                None, f"{self._path}: its edition is {shortened(repr(text))}, expected a whole number ≥ 0; {RESTORE}"
            )
        return int(text)

    def _begin_edition(self) -> None:
        self._set_meta("edition", f"{self.edition + 1}")

    def _meta(self, name: str) -> str | None:
        with self._explained("read"):
            row = self._connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        if row is not None and not isinstance(row[0], str):
            raise JournalError(
                None, f"{self._path}: its {name} is {shortened(repr(row[0]))}, expected a text; {RESTORE}"
            )
        return None if row is None else row[0]

    def _set_meta(self, name: str, value: str) -> None:
        self._connection.execute("REPLACE INTO meta VALUES (?, ?)", (name, value))

    def digest(self, position: int) -> str:
        """Return what tells this journal's examples up to a position from all others: a SHA-256.

        It is made of the journal's random identity and the checksum of each example.
        """
        edition = self.edition
        after, total = 0, hashlib.sha256((self._meta("identity") or "").encode())
        if self._digest is not None and self._digest[0] == edition and self._digest[1] <= position:
            after, total = self._digest[1], self._digest[2].copy()
        query = "SELECT position, checksum FROM examples WHERE position > ? AND position <= ? ORDER BY position LIMIT ?"
        while after < position:
            with self._explained("read"):
                rows = self._connection.execute(query, (after, position, _PIECE)).fetchall()
            if not rows:
                break
            total.update("".join(f"{at} {checksum}\n" for at, checksum in rows).encode())
            after = rows[-1][0]
        self._digest = (edition, after, total)
        return total.hexdigest()

    # --- examples

    def append(self, examples: Sequence[tuple[str | None, str, str]]) -> range:
        """Append examples (id, x, y), x and y as `to_json` returns them, all or none; they are on the disk on return.

        Returns:
            Their positions.

        Raises:
            JournalError: if the disk is full, an id is taken or an example is too long; nothing has been appended then.
        """
        now = time.time()
        for id, x, y in examples:
            check_length(id, x, y)
        rows = [(id, x, y, checksum_of(x, y), now) for id, x, y in examples]
        with self._explained("written"), transaction(self._connection):
            self._connection.executemany(
                "INSERT INTO examples (id, x, y, checksum, learned_at) VALUES (?, ?, ?, ?, ?)", rows
            )
            end = self._connection.execute("SELECT COALESCE(MAX(position), 0) + 1 FROM examples").fetchone()[0]
        return range(end - len(rows), end)

    def entries(self, after: int = 0, upto: int | None = None) -> Iterator[Entry]:
        """Yield the examples that were not forgotten, of positions after `after` up to `upto`, in order.

        Raises:
            JournalError: if an example cannot be read, or is not what was written.
        """
        end = self.last_position if upto is None else upto
        while after < end:
            query = f"SELECT {_COLUMNS} FROM examples WHERE position > ? AND position <= ? ORDER BY position LIMIT ?"
            rows = self.select(query, after, end, _PIECE)
            if not rows:
                return
            yield from (self._entry(row) for row in rows if row[2] is not None)
            after = rows[-1][0]

    def select(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a query.

        Raises:
            JournalError: if the file cannot be read.
        """
        with self._explained("read"):
            return self._connection.execute(query, values).fetchall()

    def newest(self, condition: str, *values: Any, limit: int) -> list[Entry]:
        """Return examples that were not forgotten and meet a condition of SQL, the newest first.

        Raises:
            JournalError: if an example cannot be read, or is not what was written.
        """
        query = f"SELECT {_COLUMNS} FROM examples WHERE x IS NOT NULL AND {condition} ORDER BY position DESC LIMIT ?"
        return [self._entry(row) for row in self.select(query, *values, limit)]

    def last_entry(self) -> Entry | None:
        """Return the last example that was not forgotten; None if there is none."""
        return next(iter(self.newest("TRUE", limit=1)), None)

    def _entry(self, row: tuple[Any, ...]) -> Entry:
        position, id, x, y, checksum, learned_at = row
        check_content(self._path, position, x, y, checksum)
        try:
            inputs, target = json.loads(x), json.loads(y)
        except (ValueError, RecursionError) as cause:
            why = f"nested more than {MAX_DEPTH} levels deep" if isinstance(cause, RecursionError) else f"{cause}"
            raise JournalError(
                errno.EIO, f"{self._path}: example {position} cannot be read as JSON: {why}; {RESTORE}"
            ) from cause
        if not isinstance(inputs, dict):
            raise JournalError(
                None,
                f"{self._path}: example {position} is {shortened(x)}, expected a JSON object from column to value; "
                f"{RESTORE}",
            )
        return Entry(position, id, inputs, target, learned_at)

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

    def forget(self, positions: Sequence[int]) -> int:
        """Remove the content of examples for good; position and id stay. Return how many had not been forgotten before.

        Raises:
            JournalError: if it cannot be written; nothing has changed then.
            NotErasedError: if the examples are forgotten, but their content is still in a file: `forget` of no or any
                examples removes it, and so does opening.
        """
        n_forgotten = 0
        with self._explained("written"), transaction(self._connection):
            for position in positions:
                n_forgotten += self._connection.execute(
                    "UPDATE examples SET x = NULL, y = NULL, checksum = NULL WHERE position = ? AND x IS NOT NULL",
                    (position,),
                ).rowcount
            if n_forgotten:
                self._set_meta("erasure", "to be done")
                self._begin_edition()
            to_erase = self._meta("erasure") is not None
        if to_erase:
            self._erase(n_forgotten)
        return n_forgotten

    def _erase(self, n_forgotten: int) -> None:
        """Leave nothing of what was forgotten in the files.

        SQLite moves examples from page to page when others change their size, and leaves copies in the free space of
        pages, which only rebuilding the database removes.
        """
        try:
            self._connection.execute("VACUUM")
            is_busy, *_ = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if not is_busy:
                with transaction(self._connection):
                    self._connection.execute("DELETE FROM meta WHERE name = 'erasure'")
        except sqlite3.Error as cause:
            raise self._not_erased(n_forgotten, self._path, f"{cause}", remedy_for(cause)) from cause
        if is_busy:
            log, why = self._path.with_name(f"{self._path.name}-wal"), "another program is reading the journal"
            raise self._not_erased(n_forgotten, log, why, "wait until it has closed it")

    def _not_erased(self, n_forgotten: int, file: Path, why: str, remedy: str) -> NotErasedError:
        return NotErasedError(
            f"the examples are forgotten, but their content is still in {file}, since {why}; {remedy}, then forget "
            f"them once more, or open {self._path.parent} to write",
            n_forgotten,
        )

    def relabel(self, position: int, y: Any) -> None:
        """Put another target in an example's place."""
        with self._explained("written"), transaction(self._connection):
            text = to_json(y)
            (x,) = self._connection.execute("SELECT x FROM examples WHERE position = ?", (position,)).fetchone()
            if x is None:
                raise NoExampleError(None, f"{self._path}: example {position} was forgotten, so it has no target")
            check_length(None, x, text)
            self._connection.execute(
                "UPDATE examples SET y = ?, checksum = ? WHERE position = ?", (text, checksum_of(x, text), position)
            )
            self._begin_edition()

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        if os.getpid() != self._process:
            raise JournalError(
                None,
                f"{self._path} was opened by process {self._process}, of which this one is a copy (fork): SQLite and "
                "JAX do not work in copies; start processes by multiprocessing.get_context('spawn'), and open the "
                "model in them",
            )
        try:
            yield
        except sqlite3.IntegrityError as cause:
            raise JournalError(None, f"{self._path}: an id was given that is taken ({cause})") from cause
        except sqlite3.Error as cause:
            raise JournalError(
                errno_of(cause),
                f"{self._path} could not be {what}: {cause}; what was acknowledged before is kept. {remedy_for(cause)}",
            ) from cause


def check_content(path: Path, position: int, x: Any, y: Any, checksum: Any) -> None:
    """Check that an example is what was written.

    Raises:
        JournalError: naming it, if it is not.
    """
    if not isinstance(x, str) or not isinstance(y, str) or checksum != checksum_of(x, y):
        raise JournalError(errno.EIO, f"{path} is damaged: example {position} is not what was written; {RESTORE}")


def check_length(id: str | None, x: str, y: str) -> None:
    """Refuse what could not be read again; JSON is ASCII.

    Raises:
        JournalError: if the example is too long.
    """
    n_bytes = len((id or "").encode()) + len(x) + len(y)
    if n_bytes > MAX_TEXT_BYTES:
        raise JournalError(
            None,
            f"an example of {n_bytes:,} bytes was given, expected at most {MAX_TEXT_BYTES:,} with its id and target; "
            "shorten its texts",
        )
