"""What the database of a journal is made of."""

from __future__ import annotations

import errno
import shlex
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from perdure.online.refusals import RESTORE, JournalError
from perdure.storage.reading import shortened

Parts: TypeAlias = set[tuple[str, str, str | None]]
"""Type, name and definition of all that there is."""

SCHEMA = 2
"""Number of this schema; `migrations` brings older ones to it."""
# The checksum comes before what may fill many pages: all of them are read to tell one content from another.
TABLES = {
    "meta": "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "examples": """CREATE TABLE examples (
        position INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT UNIQUE,
        checksum INTEGER,
        learned_at REAL NOT NULL,
        x TEXT,
        y TEXT
    )""",
}
"""Definitions of the tables, by their names."""


def parts_with(tables: Mapping[str, str]) -> Parts:
    """Return what a journal with these tables is made of; SQLite makes the last two."""
    return {
        *(("table", name, text) for name, text in tables.items()),
        ("table", "sqlite_sequence", "CREATE TABLE sqlite_sequence(name,seq)"),
        ("index", "sqlite_autoindex_examples_1", None),
    }


PARTS = parts_with(TABLES)


def parts_of(connection: sqlite3.Connection) -> Parts:
    """Return what a database is made of, up to a few more parts than a journal has."""
    return set(connection.execute("SELECT type, name, sql FROM sqlite_master LIMIT ?", (2 * len(PARTS),)))


def schema_of(connection: sqlite3.Connection) -> str | None:
    """Return the number of a journal's schema as it is written there; None if the database is no journal."""
    if ("table", "meta", TABLES["meta"]) not in parts_of(connection):
        return None
    row = connection.execute("SELECT value FROM meta WHERE name = 'schema'").fetchone()
    return None if row is None else str(row[0])


def check_parts(connection: sqlite3.Connection, path: Path, expected: Parts = PARTS) -> None:
    """Check that a database is made of what a journal of its schema is made of, and nothing else.

    Raises:
        JournalError: naming a part that is missing, was added or is another one.
    """
    if odd := sorted(f"{kind} {shortened(name)!r}" for kind, name, _ in parts_of(connection) ^ expected):
        raise JournalError(
            errno.EIO,
            f"{path} is damaged or was altered: {odd[0]} is missing, was added or has another definition than a "
            f"journal's; {RESTORE}",
        )


def check_schema(connection: sqlite3.Connection, path: Path) -> None:
    """Check that a database is a journal of this schema.

    Raises:
        JournalError: if it is of another one, or none.
    """
    schema = schema_of(connection)
    if schema is None:
        raise JournalError(None, f"{path} is no journal of a model, expected one; choose another folder")
    if schema != f"{SCHEMA}":
        known = schema.isascii() and schema.isdecimal() and len(schema) < 10
        why = RESTORE
        if known and int(schema) > SCHEMA:
            why = "a newer version of perdure has written it; install that: pip install --upgrade perdure"
        elif known and int(schema) > 0:
            why = f"bring it to this version's schema: perdure model migrate {shlex.quote(str(path.parent))}"
        raise JournalError(None, f"{path} has schema {shortened(schema)}, expected {SCHEMA}; {why}")
    check_parts(connection, path)


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit what the block does, or undo all of it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
