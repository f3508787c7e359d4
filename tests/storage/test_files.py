import errno
import os
import subprocess
import sys

import pytest

from perdure.storage.files import StorageError, make_folder, write_atomically, write_json

BEYOND_THE_LIMIT = """
import resource, signal, sys
from pathlib import Path
from perdure.storage.files import StorageError, write_atomically

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    write_atomically(Path(sys.argv[1]), bytes(1_000_000))
except StorageError as error:
    print(error)
"""


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_created_and_replaced(tmp_path):
    path = tmp_path / "a.bin"
    write_atomically(path, b"old and longer")
    write_atomically(path, lambda file: file.write(b"new"))
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["a.bin"]


def test_a_write_the_system_refuses_half_way_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    done = subprocess.run(
        [sys.executable, "-c", BEYOND_THE_LIMIT, path],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert f"{path} could not be written: {os.strerror(errno.EFBIG)}" in done.stdout
    assert "free space" in done.stdout
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.bin"]


def test_a_disk_that_is_full_at_the_sync_leaves_the_old_file(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"a\.bin could not be written: No space left on device") as caught:
        write_atomically(path, b"new")
    assert caught.value.errno == errno.ENOSPC
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.bin"]


def test_an_interrupted_writer_leaves_the_old_file(tmp_path):
    def interrupted(file):
        file.write(b"half")
        raise KeyboardInterrupt

    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, interrupted)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.bin"]


def test_file_then_folder_are_synced(tmp_path, monkeypatch):
    synced = []
    fsync = os.fsync

    def recorded(descriptor):
        synced.append((os.fstat(descriptor).st_ino, names(tmp_path)))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", recorded)
    write_atomically(tmp_path / "a.bin", b"new")
    (file, before), (folder, after) = synced
    assert file == (tmp_path / "a.bin").stat().st_ino
    assert folder == tmp_path.stat().st_ino
    assert (before != ["a.bin"], after) == (True, ["a.bin"])


@pytest.mark.skipif(os.name != "posix", reason="no umask there")
def test_whoever_may_read_other_files_may_read_these(tmp_path):
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "a.bin", b"new")
    finally:
        os.umask(before)
    assert (tmp_path / "a.bin").stat().st_mode & 0o777 == 0o640


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(StorageError, match=r"nowhere/a.bin could not be written: No such file"):
        write_atomically(tmp_path / "nowhere" / "a.bin", b"new")


def test_json_has_no_room_for_nan(tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "a.json", {"a": float("nan")})
    assert names(tmp_path) == []


def test_a_folder_under_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match=r"folder .*file/run could not be made: Not a directory"):
        make_folder(tmp_path / "file" / "run")
