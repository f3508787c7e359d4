"""Copies of a model's folder, made while it is learning, and put back in its place."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

from perdure.core import PerdureWarning
from perdure.online.durable import DurableModel
from perdure.online.errors import RowError
from perdure.online.folder import JOURNAL, SNAPSHOTS
from perdure.online.journal import Journal, JournalError
from perdure.online.refusals import RESTORE, errno_of, remedy_for
from perdure.online.snapshots import is_of, snapshot_files
from perdure.online.verification import verify_journal
from perdure.storage.files import StorageError, make_folder
from perdure.storage.folders import new_folder
from perdure.storage.lock import FolderLock, check_unlocked
from perdure.storage.reading import ContentError, open_file

_PAGES = 2_000
"""Copied before an interrupt is noticed."""


def backup_model(folder: str | Path, destination: str | Path) -> int:
    """Copy a model to a new folder, also while another process teaches it; return the position of its last example.

    The copy is a model's folder of its own, verified before it is there: what was committed at one moment, with the
    snapshots of it. Rows that wait for their labels are not in it.

    Args:
        folder: of the model; it is left as it is.
        destination: where the copy is to be; nothing may be there.

    Raises:
        StorageError: if something is at the destination, the folder holds no model or a damaged one, or the copy
            cannot be written; nothing is at the destination then.
    """
    folder, destination = Path(folder), Path(destination)
    if not (folder / JOURNAL).exists():
        raise StorageError(None, f"{folder} holds no model, so there is nothing to back up; give the folder of a model")
    check_destination(destination, folder)
    with new_folder(destination, permissions(folder)) as new:
        position = copy_model(folder, new.path)
        new.place()
    return position


def restore_model(backup: str | Path, folder: str | Path, *, set_aside: str | Path | None = None) -> int:
    """Put a copy of a backup in a model's place, once it was opened; return the position of its last example.

    Args:
        backup: folder that `backup_model` has made, or a copy of it; it is only read.
        folder: of the model that is to be.
        set_aside: where the model goes that is in that place: a path on the same disk, where nothing is. None: a model
            that is there is not replaced.

    Raises:
        FolderInUseError: if a process owns the backup, or the model that is to be replaced.
        StorageError: if the backup is damaged or holds something else, a model is there already, or the copy cannot be
            written; the model's place is as it was then.
    """
    backup, folder = Path(backup), Path(folder)
    aside = None if set_aside is None else Path(set_aside)
    check_backup(backup)
    if folder.is_symlink():
        folder = folder.resolve()
    with ExitStack() as held:
        replaces = check_place(folder, aside, backup)
        if replaces:
            held.enter_context(FolderLock(folder))
        new = held.enter_context(new_folder(folder, permissions(backup)))
        with _said_of(new.path, backup, f"the backup cannot be restored, and {folder} is as it was"):
            _copy_backup(backup, new.path)
            position = _finish(new.path)
            with DurableModel.open(new.path, read_only=True):
                pass
        if replaces and aside is not None:
            make_folder(aside.parent)
            new.replace(aside)
        else:
            new.place()
    return position


# --- what may be where


def check_destination(destination: Path, folder: Path) -> None:
    """Check that a backup of a folder can be put somewhere.

    Raises:
        StorageError: if it cannot.
    """
    if os.path.lexists(destination):
        raise StorageError(
            None, f"{destination} exists, and a backup replaces nothing; give a path where nothing is, or remove it"
        )
    if destination.resolve().is_relative_to(folder.resolve()):
        raise StorageError(
            None, f"{destination} is in {folder}, which is to be backed up; give a path outside, best on another disk"
        )


def check_backup(backup: Path) -> None:
    """Check that a folder looks like a backup, which nobody is writing.

    Raises:
        FolderInUseError: if a process owns it.
        StorageError: if it is something else.
    """
    if not os.path.lexists(backup / JOURNAL):
        raise StorageError(
            None, f"{backup} holds no backup of a model; give a folder that perdure model backup has made"
        )
    check_unlocked(backup)


def check_place(folder: Path, aside: Path | None, backup: Path) -> bool:
    """Check that a model can be put in a place; return whether another one is there, which is to be set aside.

    Raises:
        StorageError: if it cannot.
    """
    if folder.resolve() == backup.resolve():
        raise StorageError(None, f"{folder} was given as backup and as the model; give two folders")
    if not os.path.lexists(folder):
        return False
    if not folder.is_dir():
        raise StorageError(None, f"{folder} is a file, expected the folder of a model, or nothing; give another path")
    if not any(folder.iterdir()):
        return False
    if aside is None:
        raise StorageError(
            None,
            f"{folder} is there already; say where it is to go, and the backup takes its place: "
            f"--set-aside {folder.parent / f'.{folder.name}-replaced'} (set_aside in Python)",
        )
    if os.path.lexists(aside):
        raise StorageError(None, f"{aside} exists, and nothing is replaced; give --set-aside a path where nothing is")
    if aside.resolve().is_relative_to(folder.resolve()):
        raise StorageError(None, f"{aside} is in {folder}; give --set-aside a path outside")
    if _disk(aside) != _disk(folder):
        raise StorageError(
            None, f"{aside} is on another disk than {folder}; give --set-aside a path beside it, and move it later"
        )
    return True


def _disk(path: Path) -> int:
    """Return the number of the disk that a path is on, or will be."""
    while not path.exists():
        path = path.absolute().parent
    return path.stat().st_dev


def permissions(folder: Path) -> int:
    """Return a folder's permissions, for a copy that no others shall read."""
    return stat.S_IMODE(folder.stat().st_mode) | stat.S_IRWXU


# --- copying


def copy_model(folder: Path, into: Path) -> int:
    """Copy a model that may be learning into an empty folder, and verify it; return the position of its last example.

    Raises:
        StorageError: if the model is damaged, or the copy cannot be written.
    """
    with _said_of(into, folder, "no backup was made"):
        # Snapshots first: they are of examples that the journal holds by now, and later ones it may not hold yet.
        make_folder(into / SNAPSHOTS)
        for path in snapshot_files(folder / SNAPSHOTS):
            with suppress(FileNotFoundError):  # the owner has removed it meanwhile, for it has a newer one
                _copy_file(path, into / SNAPSHOTS / path.name)
        _copy_database(folder / JOURNAL, into / JOURNAL)
        return _finish(into)


def _copy_database(source: Path, target: Path) -> None:
    """Copy a database as it is at one moment, while others write; they do not wait."""
    try:
        with (
            closing(sqlite3.connect(source, isolation_level=None, timeout=10)) as original,
            closing(sqlite3.connect(target)) as copy,
        ):
            original.execute("PRAGMA trusted_schema=OFF")
            original.execute("PRAGMA query_only=ON")
            original.execute("BEGIN")  # all pages are of this moment: else copying begins again with every commit
            original.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
            original.backup(copy, pages=_PAGES, progress=_notice_interrupts)
    except sqlite3.Error as cause:
        raise JournalError(errno_of(cause), f"{source} could not be copied: {cause}. {remedy_for(cause)}") from cause


def _notice_interrupts(*_: int) -> None:
    """Let Python look for signals between two pieces."""


def _copy_backup(backup: Path, into: Path) -> None:
    """Copy the files of a backup, which nobody writes: not opened as a database before, since it is only to be read."""
    for name in (JOURNAL, f"{JOURNAL}-wal"):
        if os.path.lexists(backup / name):
            _copy_file(backup / name, into / name)
    if (backup / SNAPSHOTS).is_symlink():
        raise ContentError(f"{backup / SNAPSHOTS} is a symbolic link, which a backup does not have; remove it")
    make_folder(into / SNAPSHOTS)
    for path in snapshot_files(backup / SNAPSHOTS):
        _copy_file(path, into / SNAPSHOTS / path.name)


def _copy_file(source: Path, target: Path) -> None:
    """Copy a regular file.

    Raises:
        ContentError: if it is something else.
        OSError: if the operating system refuses.
    """
    if source.is_symlink():
        raise ContentError(f"{source} is a symbolic link, expected a file; put the file in its place, or remove it")
    with open_file(source) as file, target.open("xb") as copy:
        shutil.copyfileobj(file, copy)


def _finish(folder: Path) -> int:
    """Make a copy of a journal and snapshots a sound model, or refuse it; return the position of its last example."""
    path = folder / JOURNAL
    journal = Journal(path, writable=True)  # erases what was to be erased, and empties the log
    try:
        ((found,),) = journal.select("PRAGMA integrity_check(1)")
        if found != "ok":
            raise JournalError(None, f"{path} is damaged: {found}; {RESTORE}")
        if journal.settings is None:
            raise JournalError(None, f"{path} holds no model; {RESTORE}")
        position = journal.last_position
        for snapshot in snapshot_files(folder / SNAPSHOTS):
            try:
                if is_of(snapshot, journal):
                    continue
            except ContentError as cause:
                warnings.warn(
                    f"a snapshot is left out: {cause}; nothing is lost, but opening the copy takes longer",
                    PerdureWarning,
                    stacklevel=4,
                )
            snapshot.unlink()
    finally:
        journal.close()
    verify_journal(path)
    return position


@contextmanager
def _said_of(copy: Path, original: Path, outcome: str) -> Iterator[None]:
    """Let errors tell of the original what was found in its copy, and what has come of it."""
    try:
        yield
    except (StorageError, ContentError, RowError) as cause:
        number = cause.errno if isinstance(cause, StorageError) else None
        raise StorageError(number, f"{outcome}: {cause}".replace(f"{copy}", f"{original}")) from cause
    except OSError as cause:
        raise StorageError(
            cause.errno,
            f"{outcome}: {cause}; make room on the disk, or change the permissions".replace(f"{copy}", f"{original}"),
        ) from cause
