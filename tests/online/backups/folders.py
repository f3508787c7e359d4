"""Folders of small models, and what they hold."""

from typing import Any

from perdure.online.folder import JOURNAL, SNAPSHOTS
from perdure.online.journal import Journal
from perdure.online.snapshots import is_of, snapshot_files
from perdure.online.verification import verify_journal
from tests.online.journals import change_journal

SMALL: dict[str, Any] = {"method": "nearest-mean"}


def teach(model, numbers):
    numbers = list(numbers)
    rows = [{"a": float(n % 7), "b": f"b{n % 3}"} for n in numbers]
    model.learn(rows, ["pq"[n % 2] for n in numbers], ids=[f"{n}" for n in numbers])


def content(folder):
    """Return the examples of a model, all of it sound."""
    verify_journal(folder / JOURNAL)
    journal = Journal(folder / JOURNAL, writable=False)
    try:
        assert journal.select("PRAGMA integrity_check") == [("ok",)]
        assert all(is_of(it, journal) for it in snapshot_files(folder / SNAPSHOTS))
        return [(it.position, it.id, it.x, it.y) for it in journal.entries()]
    finally:
        journal.close()


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def names(folder):
    return sorted(it.name for it in folder.iterdir())


def damage(folder):
    """Change an example, and not its checksum."""
    change_journal(folder, """UPDATE examples SET y = '"sideways"' WHERE position = 2""")
