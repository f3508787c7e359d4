"""Backups: whole or not there, of one moment, and sound before they take a model's place."""

import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from perdure.core import PerdureWarning
from perdure.online import backup as module
from perdure.online.backup import backup_model, restore_model
from perdure.online.backups import backup_models, restore_models
from perdure.online.durable import DurableModel
from perdure.online.encoding import checksum_of
from perdure.online.folder import JOURNAL, SNAPSHOTS
from perdure.online.history import replay
from perdure.online.journal import Journal
from perdure.online.snapshots import is_of, snapshot_files
from perdure.online.verification import verify_journal
from perdure.storage import folders
from perdure.storage.files import StorageError
from perdure.storage.lock import FolderInUseError
from tests.conftest import first_short

SMALL: dict[str, Any] = {"method": "nearest-mean"}
VICTIM = Path(__file__).with_name("victim.py")


def teach(model, numbers):
    numbers = list(numbers)
    rows = [{"a": float(n % 7), "b": f"b{n % 3}"} for n in numbers]
    model.learn(rows, ["pq"[n % 2] for n in numbers], ids=[f"{n}" for n in numbers])


@pytest.fixture
def taught(tmp_path):
    """A function from a name and numbers of examples to a closed model of them."""

    def make(name, n, **options):
        with DurableModel.open(tmp_path / name, **SMALL, **options) as model:
            teach(model, range(n))
        return tmp_path / name

    return make


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


# --- a backup


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
    damaged(source)
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


# --- restoring


def test_a_model_is_what_its_backup_was(taught, tmp_path, assert_same_state):
    source = taught("m", 30)
    backup_model(source, tmp_path / "copy")
    before = files(tmp_path / "copy")
    assert restore_model(tmp_path / "copy", tmp_path / "again") == 30
    assert files(tmp_path / "copy") == before
    with DurableModel.open(source) as one, DurableModel.open(tmp_path / "again") as other:
        assert_same_state(one.model, other.model)
        for it in (one, other):
            teach(it, range(30, 35))
        assert_same_state(one.model, other.model)


def test_a_backup_that_may_only_be_read_is_restored(taught, tmp_path):
    source = taught("m", 5)
    backup_model(source, tmp_path / "copy")
    for path in [*(tmp_path / "copy").rglob("*"), tmp_path / "copy"]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    assert restore_model(tmp_path / "copy", tmp_path / "again") == 5
    with DurableModel.open(tmp_path / "again") as model:
        teach(model, [7])


def test_a_folder_that_was_copied_by_hand_with_its_log_is_a_backup(taught, tmp_path):
    """As after a crash: what was acknowledged last is in the log alone."""
    source = taught("m", 5)
    with DurableModel.open(source) as model:
        teach(model, range(5, 8))
        shutil.copytree(source, tmp_path / "copy")
    assert (tmp_path / "copy" / f"{JOURNAL}-wal").stat().st_size
    before = files(tmp_path / "copy")
    assert restore_model(tmp_path / "copy", tmp_path / "again") == 8
    assert files(tmp_path / "copy") == before


@pytest.mark.parametrize("offered", [True, False])
def test_a_model_is_replaced_only_if_it_is_told_where_it_goes(taught, tmp_path, offered, monkeypatch):
    source = taught("m", 6)
    backup_model(source, tmp_path / "copy")
    with DurableModel.open(source) as model:
        teach(model, range(6, 10))
    if not offered:
        monkeypatch.setattr(folders, "_EXCHANGE", 1 << 20)  # as where the file system cannot
    aside = tmp_path / ".m-replaced"
    with pytest.raises(StorageError, match=f"m is there already; say where it is to go.*: --set-aside {aside} "):
        restore_model(tmp_path / "copy", source)
    assert restore_model(tmp_path / "copy", source, set_aside=aside) == 6
    assert [len(content(it)) for it in (source, aside)] == [6, 10]
    assert names(tmp_path) == [".m-replaced", "copy", "m"]
    with pytest.raises(StorageError, match="m-replaced exists, and nothing is replaced; give --set-aside a path"):
        restore_model(tmp_path / "copy", source, set_aside=aside)
    with pytest.raises(StorageError, match=r"is in .*; give --set-aside a path outside"):
        restore_model(tmp_path / "copy", source, set_aside=source / "old")


@pytest.mark.parametrize("offered", [True, False])
def test_a_model_that_cannot_be_set_aside_stays(taught, tmp_path, offered, monkeypatch):
    source = taught("m", 6)
    backup_model(source, tmp_path / "copy")
    with DurableModel.open(source) as model:
        teach(model, range(6, 10))
    if not offered:
        monkeypatch.setattr(folders, "_EXCHANGE", 1 << 20)
    rename = Path.rename

    def refused(path, target):
        if target.name == "aside" or (not offered and path.name.endswith(".partial")):
            if target.name == "aside" and not offered and path == source:
                return rename(path, target)  # the second one is refused
            raise PermissionError(13, "Permission denied")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refused)
    with pytest.raises(StorageError, match="m could not be written: Permission denied; nothing there is half-written"):
        restore_model(tmp_path / "copy", source, set_aside=tmp_path / "aside")
    assert len(content(source)) == 10
    assert names(tmp_path) == ["copy", "m"]


def test_an_interrupt_in_the_middle_of_replacing_loses_neither(taught, tmp_path, monkeypatch):
    source = taught("m", 6)
    backup_model(source, tmp_path / "copy")
    with DurableModel.open(source) as model:
        teach(model, range(6, 10))
    rename = Path.rename

    def interrupted(path, target):
        if target.name == "aside":
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        restore_model(tmp_path / "copy", source, set_aside=tmp_path / "aside")
    monkeypatch.undo()
    (other,) = tmp_path.glob(".m.*.partial")
    assert [len(content(it)) for it in (source, other)] == [6, 10]
    backup_model(source, tmp_path / "another")  # which removes what was not finished
    assert len(content(other)) == 10


def test_a_model_or_a_backup_that_a_process_owns_is_left_to_it(taught, tmp_path):
    source, other = taught("m", 6), taught("other", 3)
    backup_model(source, tmp_path / "copy")
    with DurableModel.open(other), pytest.raises(FolderInUseError, match=f"other is in use by .*{os.getpid()}"):
        restore_model(tmp_path / "copy", other, set_aside=tmp_path / "aside")
    with DurableModel.open(tmp_path / "copy"), pytest.raises(FolderInUseError, match="copy is in use by"):
        restore_model(tmp_path / "copy", tmp_path / "again")
    assert names(tmp_path) == ["copy", "m", "other"]


def test_where_no_model_can_be_restored_is_told(taught, tmp_path):
    source = taught("m", 6)
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(StorageError, match="was given as backup and as the model; give two folders"):
        restore_model(source, source)
    with pytest.raises(StorageError, match="file is a file, expected the folder of a model"):
        restore_model(source, tmp_path / "file")
    with pytest.raises(StorageError, match="empty holds no backup of a model; give a folder that perdure model backup"):
        restore_model(tmp_path / "empty", tmp_path / "again")
    assert restore_model(source, tmp_path / "empty") == restore_model(source, tmp_path / "link") == 6
    assert len(content(tmp_path / "real")) == 6
    assert (tmp_path / "link").is_symlink()


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs a second disk")
def test_a_model_is_not_set_aside_on_another_disk(taught, tmp_path):
    if Path("/dev/shm").stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs a second disk")
    source = taught("m", 6)
    backup_model(source, tmp_path / "copy")
    with pytest.raises(StorageError, match=r"is on another disk than .*; give --set-aside a path beside it"):
        restore_model(tmp_path / "copy", source, set_aside=Path("/dev/shm/perdure tests/aside"))
    assert len(content(source)) == 6


# --- backups that are none


def sql(folder, *statements):
    connection = sqlite3.connect(folder / JOURNAL)
    for it in statements:
        connection.execute(it)
    connection.commit()
    connection.close()


def damaged(folder):
    sql(folder, """UPDATE examples SET y = '"sideways"' WHERE position = 2""")


def another_schema(folder):
    sql(folder, "UPDATE meta SET value = '99' WHERE name = 'schema'")


def with_a_trigger(folder):
    sql(folder, "CREATE TRIGGER t AFTER INSERT ON examples BEGIN DELETE FROM examples; END")


def of_another_program(folder):
    (folder / JOURNAL).unlink()
    sql(folder, "CREATE TABLE songs (title TEXT)")


def with_settings_of_no_model(folder):
    sql(folder, """UPDATE meta SET value = json_set(value, '$.method', 'best') WHERE name = 'settings'""")


def with_rows_of_no_model(folder):
    x, y = '{"a":"text"}', '"p"'
    checksum = checksum_of(x, y)
    sql(folder, f"UPDATE examples SET x = '{x}', y = '{y}', checksum = {checksum} WHERE position = 250")
    shutil.rmtree(folder / SNAPSHOTS)


def truncated(folder):
    with (folder / JOURNAL).open("r+b") as file:
        file.truncate(file.seek(0, 2) // 2)


def emptied(folder):
    (folder / JOURNAL).write_bytes(b"")


def with_a_page_of_zeros(folder):
    with (folder / JOURNAL).open("r+b") as file:
        file.seek(16_384)
        file.write(bytes(16_384))


def a_link_as_journal(folder):
    (folder / JOURNAL).rename(folder / "elsewhere")
    (folder / JOURNAL).symlink_to("elsewhere")


def a_folder_as_journal(folder):
    (folder / JOURNAL).unlink()
    (folder / JOURNAL).mkdir()


def a_pipe_as_journal(folder):
    (folder / JOURNAL).unlink()
    os.mkfifo(folder / JOURNAL)


def a_link_as_log(folder):
    (folder / f"{JOURNAL}-wal").symlink_to("/etc/passwd")


def a_link_as_snapshot(folder):
    (path,) = snapshot_files(folder / SNAPSHOTS)
    path.rename(folder / "elsewhere")
    path.symlink_to(folder / "elsewhere")


def links_as_snapshots(folder):
    (folder / SNAPSHOTS).rename(folder / "elsewhere")
    (folder / SNAPSHOTS).symlink_to("elsewhere")


HOSTILE = {
    damaged: "example 2 is not what was written; put a backup of the whole folder in its place",
    another_schema: "has schema 99, expected 2",
    with_a_trigger: "trigger 't' is missing, was added",
    of_another_program: "is no journal of a model, expected one; choose another folder",
    with_settings_of_no_model: "method is 'best', expected",
    with_rows_of_no_model: "row 250, column 'a' is 'text', expected a number",
    truncated: r"is damaged|malformed",
    emptied: "holds no model; put a backup",
    with_a_page_of_zeros: "is damaged|malformed",
    a_link_as_journal: r"journal.sqlite is a symbolic link, expected a file; put the file in its place",
    a_folder_as_journal: "Is a directory, expected a file",
    a_pipe_as_journal: "it is a pipe, a socket or a device, expected a file",
    a_link_as_log: r"journal.sqlite-wal is a symbolic link, expected a file",
    a_link_as_snapshot: "safetensors is a symbolic link, expected a file",
    links_as_snapshots: "snapshots is a symbolic link, which a backup does not have; remove it",
}


@pytest.mark.parametrize("harm", HOSTILE, ids=lambda it: it.__name__)
def test_a_hostile_backup_is_refused_by_its_name_and_the_model_stays(taught, tmp_path, harm):
    backup_model(taught("m", 300), tmp_path / "copy")
    harm(tmp_path / "copy")
    here = taught("here", 4)
    before, found = files(here), content(here)
    with pytest.raises(StorageError, match=HOSTILE[harm]) as caught:
        restore_model(tmp_path / "copy", here, set_aside=tmp_path / "aside")
    assert str(caught.value).startswith(f"the backup cannot be restored, and {here} is as it was: ")
    assert ".partial" not in str(caught.value)
    assert "/copy" in str(caught.value) or "row 250" in str(caught.value)
    assert files(here) == before
    assert content(here) == found
    assert names(tmp_path) == ["copy", "here", "m"]


@pytest.mark.parametrize("seed", first_short(range(40), 4))
def test_a_bit_that_has_flipped_is_found_or_does_no_harm(taught, tmp_path, seed):
    backup_model(taught("m", 300), tmp_path / "copy")
    before = content(tmp_path / "copy")
    journal = tmp_path / "copy" / JOURNAL
    data = bytearray(journal.read_bytes())
    pages = len(data) // 16_384
    place = (seed % pages) * 16_384 + (seed * 2_654_435_761) % 16_384
    data[place] ^= 1 << seed % 8
    journal.write_bytes(data)
    try:
        restore_model(tmp_path / "copy", tmp_path / "again")
    except StorageError:
        assert not (tmp_path / "again").exists()
    else:
        assert content(tmp_path / "again") == before


def test_a_damaged_snapshot_is_told_and_left_out(taught, tmp_path):
    backup_model(taught("m", 20), tmp_path / "copy")
    (path,) = snapshot_files(tmp_path / "copy" / SNAPSHOTS)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.warns(PerdureWarning, match="a snapshot is left out: .*; nothing is lost, but opening the copy takes"):
        assert restore_model(tmp_path / "copy", tmp_path / "again") == 20
    assert len(content(tmp_path / "again")) == 20


# --- a folder of models


def test_a_folder_of_models_is_backed_up_and_restored(taught, tmp_path):
    taught("models/one", 5)
    taught("models/two", 6)
    (tmp_path / "models" / "tokens.json").write_text("{}")
    (tmp_path / "models" / "one" / "predictions.sqlite").write_text("")
    copies = tmp_path / "copies"
    assert backup_models(tmp_path / "models", copies) == {"one": 5, "two": 6}
    assert [it for it in names(copies) if it != ".lock"] == ["one", "two"]
    assert "predictions.sqlite" not in names(copies / "one")
    with pytest.raises(StorageError, match="one is there already"):
        restore_models(copies, tmp_path / "models")
    shutil.rmtree(tmp_path / "models" / "two")
    taught("models/one", 9)
    aside = tmp_path / "models" / ".aside"
    assert restore_models(copies, tmp_path / "models", set_aside=aside) == {"one": 5, "two": 6}
    assert [len(content(it)) for it in (tmp_path / "models/one", tmp_path / "models/two", aside / "one")] == [5, 6, 9]
    assert names(tmp_path / "models") == [".aside", "one", "tokens.json", "two"]


def test_one_damaged_model_keeps_no_other_from_its_backup(taught, tmp_path):
    for name in ("one", "two", "three"):
        taught(f"models/{name}", 5)
    damaged(tmp_path / "models" / "three")
    with pytest.raises(StorageError, match=r"^2 of 3 models were backed up to .*copies; three: no backup was made: "):
        backup_models(tmp_path / "models", tmp_path / "copies")
    assert [it for it in names(tmp_path / "copies") if it != ".lock"] == ["one", "two"]
    damaged(tmp_path / "copies" / "one")
    with pytest.raises(StorageError, match=r"^1 of 2 models were restored; one: the backup cannot be restored, and"):
        restore_models(tmp_path / "copies", tmp_path / "again")
    assert names(tmp_path / "again") == ["two"]
    for name in ("one", "two"):
        damaged(tmp_path / "models" / name)
    with pytest.raises(StorageError, match=r"^0 of 3 models were backed up; one: no backup"):
        backup_models(tmp_path / "models", tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_folder_without_models_is_told(tmp_path):
    with pytest.raises(StorageError, match="holds no model, and no folder in it does"):
        backup_models(tmp_path, tmp_path / "copies")
    with pytest.raises(StorageError, match="holds no backup of models"):
        restore_models(tmp_path, tmp_path / "copies")


# --- killed at every step


def shares(short):
    """Return shares of an operation's steps at which it dies: few, or with the long tests all."""
    return first_short([short, None], 1)


def steps_to_die_at(killed_at, share, *command):
    """Return the steps of a command, of which it needs a first run to count them."""
    n = killed_at(0, *command)
    assert n is not None
    assert n > 10
    return range(1, n + 1) if share is None else sorted({1 + k * (n - 1) // (share - 1) for k in range(share)})


def only_whole(folder, expected):
    """Check that what a killed process has left beside a model is whole, or is known not to be."""
    for path in folder.glob(".*.partial"):
        if not (path / ".incomplete").exists() and names(path) not in ([], [".lock"]):
            assert len(content(path)) in expected


@pytest.mark.parametrize("share", shares(6))
def test_a_backup_that_is_killed_is_whole_or_not_there(taught, tmp_path, killed_at, share):
    source = taught("m", 200)
    place = tmp_path / "copies"
    found = content(source)
    for step in steps_to_die_at(killed_at, share, "backup", source, place / "first"):
        assert killed_at(step, "backup", source, place / "copy") is None
        assert content(source) == found
        if (place / "copy").exists():
            assert content(place / "copy") == found
            shutil.rmtree(place / "copy")
        if place.exists():
            only_whole(place, {200})
    assert killed_at(0, "backup", source, place / "copy")
    assert not [it for it in place.glob(".*.partial") if (it / ".incomplete").exists()]


@pytest.mark.parametrize("share", shares(6))
def test_restoring_that_is_killed_leaves_a_model_or_none(taught, tmp_path, killed_at, share):
    backup_model(taught("m", 200), tmp_path / "copy")
    found, place = content(tmp_path / "copy"), tmp_path / "models"
    for step in steps_to_die_at(killed_at, share, "restore", tmp_path / "copy", place / "first"):
        assert killed_at(step, "restore", tmp_path / "copy", place / "m") is None
        if (place / "m").exists():
            assert content(place / "m") == found
            shutil.rmtree(place / "m")
        only_whole(place, {200})
    assert content(tmp_path / "copy") == found


@pytest.mark.parametrize("share", shares(6))
def test_replacing_that_is_killed_leaves_one_or_the_other_and_loses_neither(taught, tmp_path, killed_at, share):
    backup_model(taught("m", 200), tmp_path / "copy")
    place = tmp_path / "models"

    def again(name):
        shutil.rmtree(place, ignore_errors=True)
        return taught(f"models/{name}", 50)

    again("first")
    command = ("replace", tmp_path / "copy", place / "first", place / ".aside")
    for step in steps_to_die_at(killed_at, share, *command):
        again("m")
        assert killed_at(step, "replace", tmp_path / "copy", place / "m", place / ".aside") is None
        assert len(content(place / "m")) in (50, 200)
        only_whole(place, {50, 200})
        others = [it for it in place.iterdir() if it.name != "m" and not (it / ".incomplete").exists()]
        kept = [len(content(it)) for it in [place / "m", *others] if (it / JOURNAL).exists()]
        assert 50 in kept
        if len(content(place / "m")) == 200:
            with DurableModel.open(place / "m") as model:
                assert model.n_examples == 200
