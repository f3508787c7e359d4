"""One process owns a folder: a lock that names its owner and ends with it."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from types import TracebackType

from perdure.storage.files import StorageError

LOCK_FILE = ".lock"
_OWNER_IS_WRITTEN_WITHIN = 1.0  # seconds after the lock was taken


class FolderInUseError(StorageError):
    """Another process, or another run of this one, owns the folder."""


class FolderLock:
    """The lock on a folder, held while a block runs.

    The operating system gives the lock up when its owner ends, however it ends: a lock file that a killed process
    has left behind is taken over.
    """

    def __init__(self, folder: Path):
        """Take no lock yet; the folder must exist when the block begins."""
        self._folder = folder
        self._descriptor: int | None = None

    def __enter__(self) -> FolderLock:
        """Take the lock.

        Raises:
            FolderInUseError: if it is held; the message tells the owner's process number.
            StorageError: if the operating system refuses the lock file.
        """
        path = self._folder / LOCK_FILE
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)  # a link may lead to any file
        except OSError as cause:
            raise StorageError(
                cause.errno,
                f"{path} could not be opened: {cause.strerror}; check that the folder is there and writable, and that "
                "the lock file is no link",
            ) from cause
        try:
            self._take(descriptor)
        except BaseException:  # Ctrl-C too must not leave it locked
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the lock up."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    @property
    def holds(self) -> bool:
        """Is the lock held, and the folder still the one that it was taken on, neither deleted nor recreated?"""
        if self._descriptor is None:
            return False
        try:
            return os.path.samestat(os.fstat(self._descriptor), (self._folder / LOCK_FILE).stat())
        except OSError:
            return False

    def _take(self, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError as cause:
            raise FolderInUseError(cause.errno, _refusal(self._folder, _owner(descriptor))) from cause
        except OSError as cause:
            raise StorageError(
                cause.errno,
                f"{self._folder / LOCK_FILE} could not be locked: {cause.strerror}; give this run a folder on a disk "
                "of this machine that has free space",
            ) from cause


def check_unlocked(folder: Path) -> None:
    """Check that no process owns a folder, and write nothing there.

    Raises:
        FolderInUseError: if one does; the message tells its number.
        StorageError: if the operating system refuses the lock file.
    """
    try:
        descriptor = os.open(folder / LOCK_FILE, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    except OSError as cause:
        raise StorageError(
            cause.errno, f"{folder / LOCK_FILE} could not be opened: {cause.strerror}; remove it, or make it readable"
        ) from cause
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError as cause:
        raise FolderInUseError(cause.errno, _refusal(folder, _owner(descriptor))) from cause
    finally:
        os.close(descriptor)


def _refusal(folder: Path, owner: int | None) -> str:
    who = "another process" if owner is None else f"process {owner}"
    if owner == os.getpid():
        who = f"another run in this process ({owner})"
    return f"{folder} is in use by {who}; wait for it to end, stop it, or give this run another folder"


def _owner(descriptor: int) -> int | None:
    """Return the process number in a lock file; its owner may be about to write it."""
    until = time.monotonic() + _OWNER_IS_WRITTEN_WITHIN
    while True:
        text = os.pread(descriptor, 32, 0)
        if text.endswith(b"\n") and text.strip().isdigit():
            return int(text)
        if time.monotonic() > until:
            return None
        time.sleep(0.01)
