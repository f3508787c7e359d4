"""A backup is whole or not there, and of one moment."""

import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from perdure.online import backup as module
from perdure.online.backup import backup_model, restore_model
from perdure.online.durable import DurableModel
from perdure.online.folder import JOURNAL, SNAPSHOTS
from perdure.online.history import replay
from perdure.online.snapshots import snapshot_files
from perdure.storage.files import StorageError
from tests.online.backups.folders import SMALL, content, damage, files, names, teach

VICTIM = Path(__file__).parents[1] / "victim.py"


def test_a_backup_is_the_model_and_stays_as_it_was(taught, tmp_path, assert_same_state):
    source, copy = taught("m", 30), tmp_path / "deep" / "copy"
    before = content(source)
    with DurableModel.open(source) as model:  # an owner does no harm
        assert backup_model(source, copy) == 30
        with DurableModel.open(copy, read_only=True) as found:
            assert_same_state(found.model, model.model)
        teach(model, range(30, 40))
        model.forget("3")
    assert content(copy) == before
    assert len(snapshot_files(copy / SNAPSHOTS)) == 1
    with DurableModel.open(copy) as found:
        teach(found, range(30, 35))
        assert found.n_examples == 35
    assert names(copy.parent) == ["copy"]


def test_a_backup_of_a_process_that_learns_at_full_speed(tmp_path, assert_same_state):
    """Its snapshots come and go meanwhile; each copy is what its own journal makes, and has all acknowledged before."""
    source = tmp_path / "m"
    with subprocess.Popen([sys.executable, VICTIM, source], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines, acknowledged = iter(process.stdout.readline, ""), 0
        found = []
        while len(found) < 5:
            while acknowledged < 30 * (len(found) + 1):
                acknowledged = int(next(lines))
            position = backup_model(source, tmp_path / f"copy {len(found)}")
            found.append((acknowledged, position))
        process.send_signal(signal.SIGKILL)
    assert all(acknowledged <= position for acknowledged, position in found)
    for number, (_, position) in enumerate(found):
        copy = tmp_path / f"copy {number}"
        assert [id for _, id, _, _ in content(copy)] == [f"{n}" for n in range(position)]
        assert snapshot_files(copy / SNAPSHOTS)
        with DurableModel.open(copy) as model:
            relearned = model.settings.new_model()
            replay(model._journal, relearned, 0, position)
            assert_same_state(model.model, relearned)


def test_commits_go_on_while_a_journal_is_copied_and_are_not_in_the_copy(taught, tmp_path, monkeypatch):
    """Page by page, with an example learned between any two."""
    monkeypatch.setattr(module, "_PAGES", 1)
    source = taught("m", 2_000)
    with DurableModel.open(source) as model:
        n = iter(range(2_000, 3_000))
        monkeypatch.setattr(module, "_notice_interrupts", lambda *_: teach(model, [next(n)]))
        assert backup_model(source, tmp_path / "copy") == 2_000
        assert model.n_examples > 2_005
    assert len(content(tmp_path / "copy")) == 2_000


def test_snapshots_that_the_journal_no_longer_bears_out_are_left_out(taught, tmp_path, monkeypatch):
    """The history is corrected after they were copied."""
    source = taught("m", 20)
    copied = module._copy_database
    with DurableModel.open(source) as model:

        def corrected(*paths):
            model.relabel("3", "late")
            copied(*paths)

        monkeypatch.setattr(module, "_copy_database", corrected)
        assert backup_model(source, tmp_path / "copy") == 20
    assert content(tmp_path / "copy")[3][3] == "late"
    assert snapshot_files(tmp_path / "copy" / SNAPSHOTS) == []


def test_a_snapshot_that_its_owner_removes_while_it_is_copied_is_left_out(taught, tmp_path, monkeypatch):
    source = taught("m", 20)
    copied = module._copy_file

    def removed(path, target):
        path.unlink()
        copied(path, target)

    monkeypatch.setattr(module, "_copy_file", removed)
    assert backup_model(source, tmp_path / "copy") == 20
    assert len(content(tmp_path / "copy")) == 20


def test_nothing_of_what_was_forgotten_is_in_a_backup(tmp_path):
    """Also where the model could not erase it, since another program was reading."""
    secret = "a secret that is long enough"
    with DurableModel.open(tmp_path / "m", **SMALL) as model:
        model.learn({"a": secret}, "p", ids="1")
        teach(model, range(2, 9))
        model._journal._connection.execute("PRAGMA busy_timeout = 50")
        reader = sqlite3.connect(tmp_path / "m" / JOURNAL, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM examples").fetchall()
        with pytest.raises(StorageError, match="the examples are forgotten, but their content is still in"):
            model.forget("1")
        backup_model(tmp_path / "m", tmp_path / "copy")
        reader.close()
    assert secret.encode() not in b"".join(files(tmp_path / "copy").values())
    assert [id for _, id, _, _ in content(tmp_path / "copy")] == [f"{n}" for n in range(2, 9)]


def test_others_may_not_read_a_copy_that_they_could_not_read_before(taught, tmp_path):
    source = taught("m", 3)
    source.chmod(0o700)
    backup_model(source, tmp_path / "copy")
    restore_model(tmp_path / "copy", tmp_path / "again")
    assert [stat.S_IMODE((tmp_path / it).stat().st_mode) for it in ("copy", "again")] == [0o700, 0o700]


def a_file(path):
    path.write_text("mine")


def a_dangling_link(path):
    path.symlink_to(path.parent / "nowhere")


@pytest.mark.parametrize("there", [a_file, Path.mkdir, a_dangling_link])
def test_a_destination_that_is_there_is_refused(taught, tmp_path, there):
    source = taught("m", 3)
    there(tmp_path / "copy")
    with pytest.raises(StorageError, match=r"copy exists, and a backup replaces nothing; give a path where nothing is"):
        backup_model(source, tmp_path / "copy")
    assert names(tmp_path) == ["copy", "m"]


def test_what_cannot_be_backed_up_is_told(taught, tmp_path):
    with pytest.raises(StorageError, match="nothing holds no model, so there is nothing to back up; give the folder"):
        backup_model(tmp_path / "nothing", tmp_path / "copy")
    source = taught("m", 3)
    with pytest.raises(StorageError, match="which is to be backed up; give a path outside"):
        backup_model(source, source / "copy")
    damage(source)
    with pytest.raises(
        StorageError, match=r"no backup was made: .*/m/journal.* example 2 is not what was written; put"
    ):
        backup_model(source, tmp_path / "copy")
    (source / JOURNAL).write_bytes(b"no database" * 1_000)
    with pytest.raises(StorageError, match=r"/m/journal.sqlite could not be copied: file is not a database\. put a"):
        backup_model(source, tmp_path / "copy")
    assert names(tmp_path) == ["m"]


def test_a_full_disk_leaves_nothing(taught, tmp_path, monkeypatch):
    source = taught("m", 300)

    class Small(sqlite3.Connection):
        def backup(self, target, **options):
            target.execute("PRAGMA max_page_count = 2")
            super().backup(target, **options)

    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **o: connect(*a, **o, factory=Small))
    with pytest.raises(StorageError, match=r"no backup was made: .* full\. make room on the disk"):
        backup_model(source, tmp_path / "copy")
    assert names(tmp_path) == ["m"]
