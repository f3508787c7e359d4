"""A model in a folder: nothing that was acknowledged is lost, and what was forgotten is gone."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from perdure.core import PerdureWarning
from perdure.online.durable import DurableModel
from perdure.online.errors import RowError
from perdure.online.folder import JOURNAL
from perdure.online.journal import JournalError
from perdure.storage.files import StorageError
from perdure.storage.lock import FolderInUseError

OPTIONS = {"method": "er", "memory_size": 20, "hidden_sizes": (8,)}
VICTIM = Path(__file__).with_name("victim.py")


def example(n):
    rng = np.random.default_rng(n)
    a, b = rng.normal(size=2)
    return {"a": float(a), "b": float(b), "c": str(rng.choice(["x", "y"]))}, "up" if a > b else "down"


def teach(model, numbers):
    for n in numbers:
        x, y = example(n)
        model.learn([x], [y], ids=[f"{n}"])


def opened(folder, **options):
    return DurableModel.open(folder, **{**OPTIONS, **options})


@pytest.fixture
def taught(tmp_path):
    """Return a function from the numbers of examples to a model that was taught them."""

    def make(name, numbers, **options):
        model = opened(tmp_path / name, **options)
        teach(model, numbers)
        return model

    return make


def test_a_model_that_was_closed_is_the_same_when_opened(taught, tmp_path, assert_same_state):
    with taught("one", range(30)):
        pass
    with opened(tmp_path / "one") as one, taught("other", range(30)) as other:
        assert_same_state(one.model, other.model)
        assert one.predict([example(77)[0]]) == other.predict([example(77)[0]])


def test_an_id_is_learned_once(taught, assert_same_state):
    with taught("one", range(10)) as one, taught("other", range(10)) as other:
        teach(one, [3, 4])
        x, y = example(5)
        one.learn([x, x], [y, y], ids=["5", "5"])
        assert_same_state(one.model, other.model)
        assert one.n_examples == 10


def test_what_is_forgotten_was_never_seen(taught, tmp_path, assert_same_state):
    with taught("one", range(40), snapshot_examples=7) as one:
        assert one.forget(["11", "12", "25"]) == 3
        with taught("other", [n for n in range(40) if n not in (11, 12, 25)]) as other:
            assert_same_state(one.model, other.model)
        assert one.n_examples == 37
    with opened(tmp_path / "one") as again, taught("third", [n for n in range(40) if n not in (11, 12, 25)]) as other:
        assert_same_state(again.model, other.model)


def test_nothing_of_what_is_forgotten_stays_on_the_disk(tmp_path):
    with opened(tmp_path / "m") as model:
        model.learn([{"a": "a secret that is long enough"}], ["y"], ids=["1"])
        teach(model, range(2, 9))
        model.snapshot()
        model.forget("1")
    content = b"".join(path.read_bytes() for path in (tmp_path / "m").rglob("*") if path.is_file())
    assert b"a secret that is long enough" not in content


def test_undo_and_relabel(taught, assert_same_state):
    with taught("one", range(12)) as one, taught("other", range(11)) as other:
        assert one.undo().id == "11"
        assert_same_state(one.model, other.model)
        one.relabel("4", "sideways")
        assert "sideways" in one.classes
        one.relabel("4", example(4)[1])
        assert_same_state(one.model, other.model)
        with pytest.raises(JournalError, match="the example '11' was forgotten, so it has no target to correct"):
            one.relabel("11", "up")
        assert_same_state(one.model, other.model)


def test_the_model_as_it_was(taught, assert_same_state):
    with taught("one", range(20), snapshot_examples=6) as one, taught("other", range(9)) as other:
        assert_same_state(one.at(9).begun(), other.model)


def test_a_second_writer_is_refused_and_a_reader_follows(taught, tmp_path):
    with taught("m", range(10)) as writer, DurableModel.open(tmp_path / "m", read_only=True) as reader:
        with pytest.raises(FolderInUseError, match=f"{os.getpid()}"):
            opened(tmp_path / "m")
        teach(writer, range(10, 20))
        assert reader.predict([example(50)[0]]) == writer.predict([example(50)[0]])
        with pytest.raises(StorageError, match="opened to read only"):
            teach(reader, [99])


def test_an_altered_snapshot_is_passed_over_and_said(taught, tmp_path, assert_same_state):
    with taught("m", range(20), snapshot_examples=8):
        pass
    newest = sorted((tmp_path / "m" / "snapshots").iterdir())[-1]
    content = bytearray(newest.read_bytes())
    content[-3] ^= 1
    newest.write_bytes(content)
    with (
        pytest.warns(PerdureWarning, match=r"a snapshot is passed over: .*\.safetensors was altered"),
        opened(tmp_path / "m") as model,
        taught("other", range(20)) as other,
    ):
        assert_same_state(model.model, other.model)


def test_a_bad_row_is_not_written(taught):
    with taught("m", range(5)) as model:
        with pytest.raises(RowError, match="row 0, column 'a' is inf"):
            model.learn([{"a": float("inf")}], ["up"])
        assert model.position == 5


def test_a_full_disk_loses_nothing(taught, monkeypatch, assert_same_state):
    with taught("m", range(5)) as model, taught("other", range(6)) as other:
        with monkeypatch.context() as patch:

            def full(rows):
                raise JournalError(None, "the disk is full")

            patch.setattr(model._journal, "append", full)
            with pytest.raises(JournalError, match="full"):
                teach(model, [77])
        teach(model, [5])
        assert_same_state(model.model, other.model)


def test_a_disk_that_is_full_and_then_is_not(taught, assert_same_state):
    """As the database meets it: SQLite is given no more pages."""
    with taught("m", range(5)) as model, taught("other", range(5)) as other:
        connection = model._journal._connection
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")
        rows = [{"a": 1.0, "b": 2.0, "c": "x" * 2_000}] * 20
        with pytest.raises(JournalError, match="database or disk is full; what was acknowledged before is kept"):
            model.learn(rows, ["up"] * 20)
        assert_same_state(model.model, other.model)
        connection.execute("PRAGMA max_page_count = 1000000")
        for it in (model, other):
            it.learn(rows, ["up"] * 20)
        assert_same_state(model.model, other.model)
        assert model.n_examples == 25


def test_no_room_for_a_snapshot_is_said_and_loses_nothing(taught, monkeypatch, assert_same_state):
    with taught("m", range(5)) as model, taught("other", range(8)) as other:

        def full(*_):
            raise StorageError(28, "no space left")

        with monkeypatch.context() as patch:
            patch.setattr(model._snapshots, "write", full)
            patch.setattr(model._schedule, "_examples", 1)
            with pytest.warns(PerdureWarning, match="no snapshot could be made: no space left; nothing is lost"):
                teach(model, range(5, 8))
        assert_same_state(model.model, other.model)


@pytest.mark.long
def test_other_methods_on_the_same_history_and_adopting_one(taught, assert_same_state):
    with taught("m", range(60)) as model, taught("other", range(60), method="online") as other:
        found = model.backtest(["er", "online"], window=10)
        assert [it.scores.n for it in found.values()] == [60, 60]
        model.adopt("online")
        assert_same_state(model.model, other.model)
        assert model.settings == other.settings
        with pytest.raises(ValueError, match="method is 'best', expected"):
            model.adopt("best")
        assert model.settings.method == "online"


def test_a_reader_follows_what_is_forgotten_relabelled_and_adopted(taught, tmp_path, assert_same_state):
    with (
        taught("m", range(10), snapshot_examples=3) as writer,
        DurableModel.open(tmp_path / "m", read_only=True) as reader,
    ):
        for change in (
            lambda: writer.forget(["2"]),
            lambda: writer.relabel("4", "sideways"),
            lambda: writer.adopt("online"),
            lambda: teach(writer, range(10, 14)),
        ):
            change()
            reader.predict([example(0)[0]])
            assert_same_state(reader.model, writer.model)


def test_an_example_that_is_not_what_was_written_is_named(taught, tmp_path):
    with taught("m", range(9)):
        pass
    shutil.copytree(tmp_path / "m", tmp_path / "backup")
    for path in (tmp_path / "m" / "snapshots").iterdir():
        path.unlink()
    connection = sqlite3.connect(tmp_path / "m" / JOURNAL)
    connection.execute("""UPDATE examples SET y = '"sideways"' WHERE position = 4""")
    connection.commit()
    connection.close()
    with pytest.raises(JournalError, match="is damaged: example 4 is not what was written; put a backup of"):
        opened(tmp_path / "m")
    shutil.rmtree(tmp_path / "m")
    shutil.copytree(tmp_path / "backup", tmp_path / "m")
    with opened(tmp_path / "m") as model:
        assert model.n_examples == 9


def test_a_clock_that_goes_backwards_changes_nothing(taught, monkeypatch, assert_same_state):
    with taught("one", range(10)) as one, taught("other", range(5)) as other:
        monkeypatch.setattr(time, "time", lambda: 0.0)
        teach(other, range(5, 10))
        assert_same_state(one.model, other.model)


def test_a_folder_of_another_kind_is_refused(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_text("{}")
    with pytest.raises(StorageError, match="holds the record of a run, not a model"):
        opened(run)
    other = tmp_path / "other"
    other.mkdir()
    connection = sqlite3.connect(other / JOURNAL)
    connection.execute("CREATE TABLE songs (title TEXT)")
    connection.close()
    with pytest.raises(JournalError, match="is no journal of a model"):
        opened(other)
    with pytest.raises(StorageError, match="holds no model; make one: perdure model new"):
        DurableModel.open(tmp_path / "nothing", create=False)
    assert not (tmp_path / "nothing").exists()


def test_other_settings_and_other_schemas_are_refused(taught, tmp_path):
    with taught("m", range(3)):
        pass
    with pytest.raises(StorageError, match="method = 'er', but 'mer' was given"):
        opened(tmp_path / "m", method="mer")
    connection = sqlite3.connect(tmp_path / "m" / JOURNAL)
    connection.execute("UPDATE meta SET value = '7' WHERE name = 'schema'")
    connection.commit()
    connection.close()
    with pytest.raises(JournalError, match="has schema 7, expected 2"):
        opened(tmp_path / "m")


def test_a_damaged_journal_is_refused(tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / JOURNAL).write_bytes(b"no database" * 1000)
    with pytest.raises(JournalError, match="could not be opened: file is not a database"):
        opened(tmp_path / "m")


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.long)])
def test_killed_processes_lose_no_acknowledged_example(tmp_path, assert_same_state, kills):
    """A process learns and says so; it is killed at random moments and begun again."""
    rng = np.random.default_rng(kills)
    acknowledged = 0
    for _ in range(kills):
        with subprocess.Popen([sys.executable, VICTIM, tmp_path / "m"], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            acknowledged = max(acknowledged, int(process.stdout.readline()))
            time.sleep(rng.uniform(0, 0.3))
            process.send_signal(signal.SIGKILL)
            said = process.stdout.read().split("\n")[:-1]  # the last line may be cut
            acknowledged = max([acknowledged, *map(int, said)])
    with opened(tmp_path / "m") as model, opened(tmp_path / "other") as other:
        assert acknowledged <= model.position <= acknowledged + 1
        teach(other, range(model.position))
        assert_same_state(model.model, other.model)
