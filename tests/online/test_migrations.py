"""Journals of older schemas: opened with all that they hold, in one step, and refused if they are not what they say."""

import sqlite3
import zlib

import pytest

from perdure.core import PerdureWarning
from perdure.online import migrations
from perdure.online.backup import backup_model, restore_model
from perdure.online.durable import DurableModel
from perdure.online.folder import JOURNAL
from perdure.online.journal import Journal, JournalError
from perdure.online.migrations import MIGRATIONS, Migration
from perdure.online.schema import SCHEMA, TABLES
from perdure.online.verification import verify_journal
from tests.conftest import first_short
from tests.online.journals import change_journal

SETTINGS = (
    '{"method": "nearest-mean", "regression": false, "memory_size": 20, "memory_rule": "reservoir", '
    '"hidden_sizes": [2], "standardize": true, "allow_missing": true, "seed": 0}'
)
FORGOTTEN = 3


def of_schema_1(folder, n=30):
    """Write a journal as the first versions did."""
    folder.mkdir(parents=True)
    connection = sqlite3.connect(folder / JOURNAL)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA secure_delete=OFF")
    connection.execute("CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID")
    connection.execute("""CREATE TABLE examples (
        position INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT UNIQUE,
        x TEXT,
        y TEXT,
        checksum INTEGER,
        learned_at REAL NOT NULL
    )""")
    connection.executemany(
        "INSERT INTO meta VALUES (?, ?)", [("schema", "1"), ("settings", SETTINGS), ("edition", "4")]
    )
    for k in range(1, n + 1):
        x, y = f'{{"a": {k % 7}.0, "b": "secret {k:05d}"}}', '"p"' if k % 2 else '"q"'
        row = (f"i{k}" if k % 3 else None, x, y, zlib.crc32(f"{x}\n{y}".encode()), 1.7e9 + k)
        connection.execute("INSERT INTO examples (id, x, y, checksum, learned_at) VALUES (?, ?, ?, ?, ?)", row)
    connection.execute(f"UPDATE examples SET x = NULL, y = NULL, checksum = NULL WHERE position = {FORGOTTEN}")
    connection.commit()
    connection.close()
    return folder


@pytest.fixture
def old(tmp_path):
    return of_schema_1(tmp_path / "m")


def rows(folder):
    """Return number of the schema, and all examples whatever it is."""
    connection = sqlite3.connect(folder / JOURNAL)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        (schema,) = connection.execute("SELECT value FROM meta WHERE name = 'schema'").fetchone()
        columns = "position, id, x, y, checksum, learned_at"
        return int(schema), connection.execute(f"SELECT {columns} FROM examples ORDER BY position").fetchall()
    finally:
        connection.close()


def test_an_older_journal_is_opened_with_all_that_it_holds(old, assert_same_state, tmp_path):
    before = rows(old)[1]
    with DurableModel.open(old) as model, DurableModel.open(tmp_path / "new", method="nearest-mean") as new:
        assert (model.n_examples, model.position, model.settings.memory_size) == (29, 30, 20)
        for _, id, x, y, _, _ in before:
            if x is not None:
                new.learn({"a": float(x[6:9]), "b": x[-14:-2]}, y[1], ids=id)
        assert_same_state(model.model, new.model)
        model.learn({"a": 1.0}, "p", ids="i31")
        assert model.position == 31  # no position is used twice
        assert model._journal.edition == 4
    assert rows(old)[0] == SCHEMA
    assert rows(old)[1][:30] == before
    verify_journal(old / JOURNAL)
    with DurableModel.open(old) as model:  # with its snapshot: warnings are errors
        assert model.position == 31
        assert model.forget(["i1"]) == 1


def test_the_last_position_is_not_used_twice_though_its_example_was_forgotten(old):
    change_journal(old, "UPDATE examples SET x = NULL, y = NULL, checksum = NULL WHERE position = 30")
    with DurableModel.open(old) as model:
        assert model.learn({"a": 1.0}, "p") == 31


def test_nothing_of_what_was_forgotten_is_left(old):
    """The first versions left copies in free space."""
    assert b"secret 00003" in (old / JOURNAL).read_bytes()
    Journal(old / JOURNAL, writable=True).close()
    content = b"".join(it.read_bytes() for it in old.iterdir())
    assert b"secret 00003" not in content
    assert b"secret 00004" in content
    connection = sqlite3.connect(old / JOURNAL)
    assert connection.execute("PRAGMA freelist_count").fetchone() == (0,)
    connection.close()


def test_journals_are_told_from_each_other(old, tmp_path):
    one, other = (Journal(it / JOURNAL, writable=True) for it in (old, of_schema_1(tmp_path / "other")))
    assert one.digest(20) != other.digest(20)
    one.close()
    other.close()


def test_a_snapshot_of_before_is_passed_over(old):
    (old / "snapshots").mkdir()
    (old / "snapshots" / f"{20:020d}.safetensors").write_bytes(b"of another format")
    with pytest.warns(PerdureWarning, match="a snapshot is passed over"), DurableModel.open(old) as model:
        assert model.position == 30


def test_a_reader_says_how_to_migrate_and_leaves_it_as_it_was(old):
    before = (old / JOURNAL).read_bytes()
    with pytest.raises(JournalError, match=f"has schema 1, expected 2; .*: perdure model migrate {old}$"):
        DurableModel.open(old, read_only=True)
    assert (old / JOURNAL).read_bytes() == before


def test_a_backup_of_an_older_journal_is_of_this_schema_and_leaves_it_as_it_was(old, tmp_path):
    backup_model(old, tmp_path / "copy")
    assert [rows(it)[0] for it in (old, tmp_path / "copy")] == [1, SCHEMA]
    assert rows(old)[1] == rows(tmp_path / "copy")[1]
    assert restore_model(old, tmp_path / "again") == 30
    assert rows(old)[0] == 1


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("CREATE TRIGGER t AFTER INSERT ON examples BEGIN DELETE FROM meta; END", "trigger 't' is missing, was added"),
        ("CREATE TABLE examples_1 (x)", "table 'examples_1' is missing, was added"),
        ("ALTER TABLE examples ADD COLUMN z", "table 'examples' is missing, was added or has another definition"),
        ("UPDATE meta SET value = '2' WHERE name = 'schema'", "table 'examples' is missing, was added or has another"),
    ],
)
def test_an_older_journal_that_others_have_altered_is_not_touched(old, statement, words):
    change_journal(old, statement)
    before = rows(old)
    with pytest.raises(JournalError, match=f"{words}.* put a backup of the whole folder in its place"):
        DurableModel.open(old)
    assert rows(old) == before


def test_a_full_disk_leaves_the_older_journal(tmp_path, monkeypatch):
    old = of_schema_1(tmp_path / "m", 3_000)
    before = rows(old)

    def full(connection, path):
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages + 5}")
        migrations.migrate(connection, path)

    monkeypatch.setattr("perdure.online.journal.migrate", full)
    with pytest.raises(JournalError, match=r"could not be opened: database or disk is full; .* make room on the disk"):
        DurableModel.open(old)
    assert rows(old) == before
    monkeypatch.undo()
    with DurableModel.open(old) as model:
        assert model.position == 3_000


def test_several_schemas_are_migrated_in_their_order(old, monkeypatch):
    """With one of before the first, made for this test, in which ids have another name."""
    change_journal(
        old, "ALTER TABLE examples RENAME COLUMN id TO name", "UPDATE meta SET value = '0' WHERE name = 'schema'"
    )
    connection = sqlite3.connect(old / JOURNAL)
    parts = set(connection.execute("SELECT type, name, sql FROM sqlite_master"))
    connection.close()

    def named(connection):
        connection.execute("ALTER TABLE examples RENAME COLUMN name TO id")

    monkeypatch.setitem(MIGRATIONS, 0, Migration(parts, named))
    with DurableModel.open(old) as model:
        assert model.position == 30
    assert rows(old)[0] == SCHEMA


def test_every_schema_leads_to_the_next():
    assert sorted(MIGRATIONS) == list(range(1, SCHEMA))
    assert set(TABLES) == {"meta", "examples"}


@pytest.mark.parametrize("share", first_short([12, None]))
def test_a_migration_that_is_killed_is_done_or_was_not_begun(tmp_path, killed_at, share):
    """Before each statement, and in the midst of those that take long."""
    before = rows(of_schema_1(tmp_path / "first", 3_000))[1]
    n = killed_at(0, "migrate", tmp_path / "first")
    assert n is not None
    assert n > 50
    found = set()
    for step in range(1, n + 1) if share is None else [1 + k * (n - 1) // (share - 1) for k in range(share)]:
        old = of_schema_1(tmp_path / f"killed at {step}".replace(" ", "-"), 3_000)
        assert killed_at(step, "migrate", old) is None
        schema, examples = rows(old)
        assert examples == before
        found.add(schema)
        Journal(old / JOURNAL, writable=True).close()
        assert rows(old) == (SCHEMA, before)
        verify_journal(old / JOURNAL)
    assert found == {1, SCHEMA}
