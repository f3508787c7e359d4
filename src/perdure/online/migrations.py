"""Journals of older schemas, brought to this one."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from perdure.online.schema import TABLES, Parts, check_parts, parts_with, schema_of, transaction


class Migration(NamedTuple):
    """How a journal of one schema becomes one of the next."""

    before: Parts
    """What a journal of the older schema is made of."""
    run: Callable[[sqlite3.Connection], None]
    """Change it; its number is changed afterwards."""


_TABLES_1 = {
    "meta": TABLES["meta"],
    "examples": """CREATE TABLE examples (
        position INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT UNIQUE,
        x TEXT,
        y TEXT,
        checksum INTEGER,
        learned_at REAL NOT NULL
    )""",
}


def _from_1_to_2(connection: sqlite3.Connection) -> None:
    """Put the checksums before the contents, and give the journal an identity.

    A journal of schema 1 may have copies of forgotten examples in its free space, so it is to be rebuilt; that gives
    back the room of the former table too.
    """
    connection.execute("ALTER TABLE examples RENAME TO examples_1")
    connection.execute(TABLES["examples"])
    columns = "position, id, checksum, learned_at, x, y"
    connection.execute(f"INSERT INTO examples ({columns}) SELECT {columns} FROM examples_1 ORDER BY position")
    connection.execute("DROP TABLE examples_1")
    connection.executemany(
        "INSERT INTO meta VALUES (?, ?)", [("identity", secrets.token_hex(16)), ("erasure", "to be done")]
    )


MIGRATIONS = {1: Migration(parts_with(_TABLES_1), _from_1_to_2)}
"""By the older schema's number. What a released version has written stays readable: none is taken away."""


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring a journal to this version's schema in one transaction, if it is of an older one.

    Raises:
        JournalError: if it is made of something else than a journal of its schema; nothing has changed then.
        sqlite3.Error: if it cannot be read or written; nothing has changed then.
    """
    if _older(connection) is None:
        return
    with transaction(connection):
        while (schema := _older(connection)) is not None:  # asked again: another process may have done it by now
            check_parts(connection, path, MIGRATIONS[schema].before)
            MIGRATIONS[schema].run(connection)
            connection.execute("UPDATE meta SET value = ? WHERE name = 'schema'", (f"{schema + 1}",))


def _older(connection: sqlite3.Connection) -> int | None:
    """Return the number of a journal's schema, if there is a migration from it."""
    found = schema_of(connection)
    return next((number for number in MIGRATIONS if found == f"{number}"), None)
