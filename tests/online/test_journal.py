"""The journal: what is forgotten leaves no copy, and what others have put into the file is named."""

import json
import sqlite3
import zlib

import numpy as np
import pytest

from perdure.core import PerdureWarning
from perdure.online.durable import DurableModel
from perdure.online.encoding import to_json
from perdure.online.folder import JOURNAL
from perdure.online.journal import Journal, JournalError

SETTINGS = {
    "method": "online",
    "regression": False,
    "memory_size": 20,
    "memory_rule": "reservoir",
    "hidden_sizes": [2],
    "standardize": True,
    "allow_missing": True,
    "seed": 0,
}


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / JOURNAL, writable=True)
    journal.set_settings(SETTINGS)
    yield journal
    journal.close()


def secret(n):
    return f"S{n:05d}E"


def append(journal, examples):
    journal.append([(id, to_json(x), to_json(y)) for id, x, y in examples])


def fill(journal, n, rng):
    rows = [{"b": float(k), "c": secret(k) + "pad" * int(rng.integers(1, 60))} for k in range(n)]
    append(journal, [(f"i{k}", row, "x") for k, row in enumerate(rows)])


def left_of(folder, numbers):
    """Return the secrets that some file of a folder holds."""
    content = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    return [n for n in numbers if secret(n).encode() in content]


# --- forgetting


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_left_after_examples_were_moved_by_new_labels(journal, tmp_path, seed):
    rng = np.random.default_rng(seed)
    fill(journal, 300, rng)
    for n in rng.permutation(300)[:60]:
        journal.relabel(int(n) + 1, "L" * int(rng.integers(1, 400)))
    assert left_of(tmp_path, range(300)) == list(range(300))
    assert journal.forget(range(1, 300)) == 299
    assert left_of(tmp_path, range(300)) == [299]
    assert [it.id for it in journal.entries()] == ["i299"]


def test_nothing_is_left_after_some_are_forgotten_and_then_others(journal, tmp_path):
    rng = np.random.default_rng(0)
    fill(journal, 300, rng)
    order = rng.permutation(300)
    for start in range(0, 300, 60):
        journal.forget([int(n) + 1 for n in order[start : start + 60]])
        assert left_of(tmp_path, order[: start + 60]) == []
        assert len(left_of(tmp_path, order)) == 240 - start


def test_what_was_forgotten_is_not_counted_again(journal):
    fill(journal, 5, np.random.default_rng(0))
    assert journal.forget([2, 3]) == 2
    edition = journal.edition
    assert journal.forget([2, 3]) == 0
    assert journal.edition == edition
    assert journal.forget([2, 4, 4]) == 1
    assert journal.n_examples == 2


@pytest.fixture
def read_meanwhile(journal, tmp_path):
    """Examples that are forgotten while another program reads them."""
    fill(journal, 20, np.random.default_rng(0))
    journal._connection.execute("PRAGMA busy_timeout = 50")
    reader = sqlite3.connect(tmp_path / JOURNAL, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT COUNT(*) FROM examples").fetchone()
    with pytest.raises(
        JournalError, match=r"the examples are forgotten, but their content is still in .*-wal, since an"
    ):
        journal.forget([3])
    assert journal.n_examples == 19
    assert left_of(tmp_path, [2]) == [2]
    yield reader
    reader.close()


@pytest.mark.parametrize("again", [[3], [], [5]])
def test_what_another_program_reads_is_gone_when_it_is_forgotten_again(journal, read_meanwhile, tmp_path, again):
    with pytest.raises(JournalError, match=r"then forget them once more, or open .* to write"):
        journal.forget(again)
    read_meanwhile.execute("COMMIT")
    journal.forget(again)
    assert left_of(tmp_path, [2]) == []


def test_what_another_program_reads_is_gone_when_the_journal_is_opened_again(journal, read_meanwhile, tmp_path):
    journal.close()
    assert left_of(tmp_path, [2]) == [2]
    read_meanwhile.execute("COMMIT")
    again = Journal(tmp_path / JOURNAL, writable=True)
    assert left_of(tmp_path, [2]) == []
    again.close()


def test_opening_says_that_what_was_forgotten_is_still_there(journal, read_meanwhile, tmp_path, monkeypatch):
    journal.close()
    connect = sqlite3.connect

    def impatient(path, timeout, **given):
        return connect(path, timeout=timeout / 200, **given)

    monkeypatch.setattr(sqlite3, "connect", impatient)
    with pytest.warns(PerdureWarning, match="the examples are forgotten, but their content is still in"):
        Journal(tmp_path / JOURNAL, writable=True).close()


def test_a_model_forgets_while_another_program_reads(tmp_path, assert_same_state):
    rows = [{"a": float(n), "b": secret(n)} for n in range(8)]
    options = {"method": "online", "hidden_sizes": (2,)}
    with DurableModel.open(tmp_path / "m", **options) as model, DurableModel.open(tmp_path / "o", **options) as other:
        model.learn(rows, ["p", "q"] * 4, ids=[f"{n}" for n in range(8)])
        other.learn(rows[:4] + rows[5:], ["p", "q", "p", "q", "q", "p", "q"])
        model._journal._connection.execute("PRAGMA busy_timeout = 50")
        reader = sqlite3.connect(tmp_path / "m" / JOURNAL, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM examples").fetchall()
        with pytest.raises(JournalError, match="the examples are forgotten"):
            model.forget("4")
        assert_same_state(model.model, other.model)
        reader.close()
        assert model.forget(["4", "4"]) == 0
        assert left_of(tmp_path / "m", range(8)) == [0, 1, 2, 3, 5, 6, 7]
        assert_same_state(model.model, other.model)


# --- what is written can be read


def test_a_journal_whose_making_is_killed_has_its_settings_or_nothing(tmp_path, killed_at):
    kept = []
    (tmp_path / "0").mkdir()
    for step in range(1, killed_at(0, "make", tmp_path / "0") + 1):
        folder = tmp_path / f"{step}"
        folder.mkdir()
        assert killed_at(step, "make", folder) is None
        connection = sqlite3.connect(folder / JOURNAL)
        is_made = connection.execute("SELECT 1 FROM sqlite_master").fetchone() is not None
        query = "SELECT value FROM meta WHERE name = 'settings'"
        kept.append(is_made and connection.execute(query).fetchone())
        connection.close()
    assert set(kept) == {False, ('{"method": "er"}',)}


def test_an_example_that_could_not_be_read_again_is_not_written(journal):
    with pytest.raises(JournalError, match=r"an example of 5,000,0.. bytes was given, expected at most 5,000,000 with"):
        append(journal, [("1", {"a": 1}, "x"), ("2", {"a": "t" * 4_000_000}, "y" * 1_000_000)])
    append(journal, [("1", {"a": "t" * 4_000_000}, "x")])
    with pytest.raises(JournalError, match="expected at most 5,000,000 with its id and target; shorten its texts"):
        journal.relabel(1, "y" * 1_000_000)
    assert [it.y for it in journal.entries()] == ["x"]


def test_a_closed_journal_is_to_be_opened_again(tmp_path):
    with DurableModel.open(tmp_path / "m", method="online"):
        reader = DurableModel.open(tmp_path / "m", read_only=True)
        reader.close()
        with pytest.raises(JournalError, match=r"closed database\.; .* is kept\. open the model again$"):
            reader.predict([{"a": 1.0}])


# --- what others have put into the file


def altered(path, *statements):
    connection = sqlite3.connect(path)
    for it in statements:
        connection.execute(*it) if isinstance(it, tuple) else connection.execute(it)
    connection.commit()
    connection.close()


def an_example(x, y='"a"'):
    checksum = zlib.crc32(f"{x}\n{y}".encode())
    return "INSERT INTO examples (checksum, learned_at, x, y) VALUES (?, 0, ?, ?)", (checksum, x, y)


def a_setting(**changed):
    return "UPDATE meta SET value = ? WHERE name = 'settings'", (json.dumps(SETTINGS | changed),)


def a_meta(name, value):
    return "REPLACE INTO meta VALUES (?, ?)", (name, value)


ENDLESS = "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT"


@pytest.mark.parametrize("read_only", [True, False])
@pytest.mark.parametrize(
    ("statements", "complaint"),
    [
        (
            ["DROP TABLE examples", f"CREATE VIEW examples AS {ENDLESS} n AS position, '{{}}' AS x, '1' AS y FROM t"],
            "is missing, was added or has another definition than a journal's",
        ),
        (["DROP TABLE meta", f"CREATE VIEW meta AS {ENDLESS} 'schema' AS name, n AS value FROM t"], "is no journal"),
        (["CREATE TRIGGER t AFTER INSERT ON examples BEGIN DELETE FROM examples; END"], "trigger 't' is missing, was"),
        (["CREATE INDEX i ON examples (x)"], "index 'i' is missing, was added"),
        (["ALTER TABLE examples ADD COLUMN z"], "table 'examples' is missing, was added or has another definition"),
        ([a_meta("settings", "[" * 200_000)], "settings is nested more than 32 levels deep"),
        ([a_meta("settings", "5")], "settings holds 5, expected a JSON object"),
        ([a_meta("settings", "no JSON")], "settings cannot be read as JSON"),
        ([a_meta("settings", b"{}")], "its settings is b'{}', expected a text"),
        ([a_setting(seed=-1)], "settings: seed is -1, expected a whole number from 0 to 4,294,967,295"),
        ([a_setting(memory_rule="best")], "settings: memory_rule is 'best', expected one of reservoir"),
        ([a_setting(hidden_sizes=["a"])], "hidden_sizes.0. is 'a', expected a whole number from 1"),
        ([a_setting(method="best")], "method is 'best', expected a learner or one of auto"),
        ([a_meta("schema", '"2"')], 'has schema "2", expected 2; put a backup'),
        ([a_meta("schema", "0")], "has schema 0, expected 2; put a backup"),
        ([a_meta("schema", "3")], "has schema 3, expected 2; a newer version of perdure has written it; install that"),
        ([a_meta("edition", '"x"')], "its edition is '\"x\"', expected a whole number ≥ 0"),
        ([a_meta("edition", "9" * 5_000)], "its edition is '9+\\.\\.\\., expected a whole number ≥ 0"),
        ([an_example("[1]")], r"example 1 is \[1\], expected a JSON object from column to value"),
        ([an_example('{"a":1')], "example 1 cannot be read as JSON"),
        ([an_example('{"a":' + "[" * 100_000 + "]" * 100_000 + "}")], "example 1 cannot be read as JSON: nested more"),
        (
            ["INSERT INTO examples (checksum, learned_at, x, y) VALUES (5, 0, x'ff00', x'71')"],
            "example 1 is not what was written",
        ),
        (["INSERT INTO examples (checksum, learned_at, x) VALUES (5, 0, '{}')"], "example 1 is not what was written"),
    ],
)
def test_what_others_have_put_into_a_journal_is_named(journal, tmp_path, statements, complaint, read_only):
    journal.close()
    altered(tmp_path / JOURNAL, *statements)
    with pytest.raises(JournalError, match=complaint) as found:
        DurableModel.open(tmp_path, read_only=read_only)
    assert f"{tmp_path / JOURNAL}" in str(found.value)
    assert any(it in str(found.value) for it in ("put a backup", "pip install --upgrade", "choose another folder"))
