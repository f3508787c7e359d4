"""Restoring: nothing that is there is lost."""

import os
import shutil
from pathlib import Path

import pytest

from perdure.online.backup import backup_model, restore_model
from perdure.online.durable import DurableModel
from perdure.online.folder import JOURNAL
from perdure.storage import folders
from perdure.storage.files import StorageError
from perdure.storage.lock import FolderInUseError
from tests.online.backups.folders import content, files, names, teach


@pytest.fixture
def source(taught, tmp_path):
    """A model of 10 examples, of whose first 6 there is a backup, `copy`."""
    folder = taught("m", 6)
    backup_model(folder, tmp_path / "copy")
    with DurableModel.open(folder) as model:
        teach(model, range(6, 10))
    return folder


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
def test_a_model_is_replaced_only_if_it_is_told_where_it_goes(source, tmp_path, offered, monkeypatch):
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
def test_a_model_that_cannot_be_set_aside_stays(source, tmp_path, offered, monkeypatch):
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


def test_an_interrupt_in_the_middle_of_replacing_loses_neither(source, tmp_path, monkeypatch):
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
