"""What the database of a journal is made of."""

from __future__ import annotations

import sqlite3

SCHEMA = 2
"""Number of this schema. Another number is another format, which this version does not read."""
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
PARTS: set[tuple[str, str, str | None]] = {
    *(("table", name, text) for name, text in TABLES.items()),
    ("table", "sqlite_sequence", "CREATE TABLE sqlite_sequence(name,seq)"),
    ("index", "sqlite_autoindex_examples_1", None),
}
"""Type, name and definition of all that there is; the last two are made by SQLite."""


def parts_of(connection: sqlite3.Connection) -> set[tuple[str, str, str | None]]:
    """Return what a database is made of, as `PARTS` has it, up to a few more than those."""
    return set(connection.execute("SELECT type, name, sql FROM sqlite_master LIMIT ?", (2 * len(PARTS),)))
