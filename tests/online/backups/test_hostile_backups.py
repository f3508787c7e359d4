"""What is no sound backup takes no place of a model."""

import os
import shutil

import pytest

from perdure.core import PerdureWarning
from perdure.online.backup import backup_model, restore_model
from perdure.online.encoding import checksum_of
from perdure.online.folder import JOURNAL, SNAPSHOTS
from perdure.online.snapshots import snapshot_files
from perdure.storage.files import StorageError
from tests.conftest import first_short
from tests.online.backups.folders import content, damage, files, names
from tests.online.journals import change_journal


def another_schema(folder):
    change_journal(folder, "UPDATE meta SET value = '99' WHERE name = 'schema'")


def with_a_trigger(folder):
    change_journal(folder, "CREATE TRIGGER t AFTER INSERT ON examples BEGIN DELETE FROM examples; END")


def of_another_program(folder):
    (folder / JOURNAL).unlink()
    change_journal(folder, "CREATE TABLE songs (title TEXT)")


def with_settings_of_no_model(folder):
    change_journal(folder, """UPDATE meta SET value = json_set(value, '$.method', 'best') WHERE name = 'settings'""")


def with_rows_of_no_model(folder):
    x, y = '{"a":"text"}', '"p"'
    checksum = checksum_of(x, y)
    change_journal(folder, f"UPDATE examples SET x = '{x}', y = '{y}', checksum = {checksum} WHERE position = 250")
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
    damage: "example 2 is not what was written; put a backup of the whole folder in its place",
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
