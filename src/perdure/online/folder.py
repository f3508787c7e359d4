"""The folder of a model that loses nothing: who may write there, and its journal."""

from __future__ import annotations

import errno
import shlex
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from perdure.online.history import settings_to_keep, settle
from perdure.online.journal import Journal
from perdure.online.refusals import RESTORE, JournalError
from perdure.online.settings import ModelSettings
from perdure.records.folder import CONFIG
from perdure.storage.files import StorageError, make_folder, remove_partial_files
from perdure.storage.lock import FolderLock

JOURNAL = "journal.sqlite"
SNAPSHOTS = "snapshots"


def claim_folder(
    path: Path, given: Mapping[str, Any], undo: ExitStack, *, read_only: bool, create: bool
) -> tuple[FolderLock | None, Journal]:
    """Take the lock of a model's folder, unless it is only read, and open its journal; make both if there are none.

    Args:
        path: the folder.
        given: settings of the model by name; None is not given.
        undo: is told how to give both up again.
        read_only: take no lock and write nothing.
        create: make a model if there is none?

    Raises:
        FolderInUseError: if another process writes into the folder.
        StorageError: if the folder holds something else, other settings or a journal of another schema, or is damaged.
        ValueError: naming the setting that no model can have; nothing was made.
    """
    if (path / CONFIG).exists():
        raise StorageError(None, f"{path} holds the record of a run, not a model; choose another folder")
    check_complete(path)
    if not (path / JOURNAL).exists() and (read_only or not create):
        command = shlex.join(["perdure", "model", "new", str(path)])
        raise StorageError(None, f"{path} holds no model; make one: {command}, or DurableModel.open in Python")
    lock = new = None
    if not read_only:
        if create:
            new = settings_to_keep(ModelSettings().changed(**given))
        make_folder(path)
        lock = undo.enter_context(FolderLock(path))
        remove_partial_files(path / SNAPSHOTS)
    journal = Journal(path / JOURNAL, writable=not read_only, settings=new)
    undo.callback(journal.close)
    settle(journal, given, path, new)
    return lock, journal


def check_complete(path: Path) -> None:
    """Check that a folder that holds parts of a model holds its journal too: a new one would be of another model.

    Raises:
        StorageError: if it does not.
    """
    journal, log = path / JOURNAL, path / f"{JOURNAL}-wal"
    if journal.exists() and journal.stat().st_size:
        return
    parts = [it for it in (log, *(path / SNAPSHOTS).glob("*.safetensors")) if it.is_file() and it.stat().st_size]
    if parts:
        raise StorageError(
            None,
            f"{journal} is missing or empty, but the rest of a model is there: {parts[0]}; {RESTORE}, or choose "
            "another folder to begin anew",
        )


def check_writable(lock: FolderLock | None, journal: Journal) -> None:
    """Check that a model's folder may be written.

    Raises:
        StorageError: if there is no lock of it, or the folder is not the one that the lock was taken on.
        JournalError: if the journal is not the one that was opened.
    """
    path = journal.path.parent
    if lock is None:
        raise StorageError(None, f"{path} was opened to read only, or closed; open it to write")
    if not lock.holds:
        raise StorageError(
            None,
            f"{path} was deleted or put in another place while the model was open; nothing can be kept there: open the "
            "model again",
        )
    if not journal.is_in_place:
        raise JournalError(
            errno.EIO,
            f"{journal.path} was deleted or replaced while the model was open; nothing can be kept there: close the "
            f"model, {RESTORE}, and open it again",
        )
