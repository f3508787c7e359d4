"""Folders that are wholly there or not at all, whatever happens while they are filled."""

from __future__ import annotations

import ctypes
import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from perdure.storage.files import StorageError, make_folder, sync_folder
from perdure.storage.lock import LOCK_FILE, FolderInUseError, FolderLock

_PARTIAL = re.compile(r"\..+\.[0-9a-f]{8}\.partial")
_MARK = ".incomplete"
"""A file that is in a folder until all the rest is on the disk."""
_EXCHANGE = 2
"""RENAME_EXCHANGE of Linux."""
_HERE = -100
"""AT_FDCWD."""
_NOT_OFFERED = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP)


class NewFolder:
    """A folder beside a target, to be filled and then put in the target's place."""

    def __init__(self, path: Path, target: Path):
        """Use `new_folder`."""
        self.path = path
        self._target = target
        self._own = True

    def place(self) -> None:
        """Put the folder in its place, on the disk; the place is free, or holds an empty folder.

        Raises:
            StorageError: if the operating system refuses; the place is as it was.
        """
        with _explained(self._target):
            self._finish()
            self.path.rename(self._target)
            sync_folder(self._target.parent)

    def replace(self, aside: Path) -> None:
        """Put the folder in the place of another one, in one step, and that one in a place of its own.

        Where the operating system cannot exchange two folders, the place is empty for a moment.

        Args:
            aside: where the other one goes; on the same disk, and free.

        Raises:
            StorageError: if the operating system refuses; the place is as it was.
        """
        with _explained(self._target):
            self._finish()
            self._own = False  # from now on it may be the other one
            try:
                self._swap(aside)
            except OSError:
                self._own = True
                raise
            sync_folder(self._target.parent)
            sync_folder(aside.parent)

    def _finish(self) -> None:
        """Bring all of it to the disk."""
        for place, _, names in os.walk(self.path):
            for name in names:
                descriptor = os.open(Path(place, name), os.O_RDONLY)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
            sync_folder(Path(place))
        (self.path / _MARK).unlink()
        sync_folder(self.path)

    def _swap(self, aside: Path) -> None:
        try:
            exchange(self.path, self._target)
        except OSError as cause:
            if cause.errno not in _NOT_OFFERED:
                raise
            self._target.rename(aside)
            try:
                self.path.rename(self._target)
            except OSError:
                aside.rename(self._target)
                raise
            return
        try:
            self.path.rename(aside)
        except OSError:
            exchange(self.path, self._target)
            raise

    def remove(self) -> None:
        """Remove the folder, unless it was put in its place."""
        if self._own:
            shutil.rmtree(self.path, ignore_errors=True)


@contextmanager
def new_folder(target: Path, mode: int = 0o777) -> Iterator[NewFolder]:
    """Make a folder beside a target, which nobody takes for finished; it is removed unless the block puts it there.

    Those that killed processes have left beside the target are removed.

    Args:
        target: where it is to be; the folders above are made.
        mode: permissions.

    Raises:
        StorageError: if the operating system refuses.
    """
    make_folder(target.parent)
    _remove_partial_folders(target.parent)
    path = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    new = NewFolder(path, target)
    try:
        with _explained(target):
            path.mkdir(mode)
        with FolderLock(path):
            with _explained(target):
                (path / _MARK).touch()
            yield new
    finally:
        new.remove()


def exchange(one: Path, other: Path) -> None:
    """Let two folders change places, in one step.

    Raises:
        OSError: if the operating system refuses, with ENOSYS, EINVAL or ENOTSUP if it cannot do that.
    """
    library = ctypes.CDLL(None, use_errno=True)
    if not hasattr(library, "renameat2"):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if library.renameat2(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _remove_partial_folders(folder: Path) -> None:
    """Remove what killed processes have left in a folder; not what was finished, nor what is being filled."""
    for left in folder.glob(".*.partial"):
        if not _PARTIAL.fullmatch(left.name) or left.is_symlink() or not left.is_dir():
            continue
        inside = {it.name for it in left.iterdir()}
        if _MARK in inside or inside <= {LOCK_FILE}:
            with suppress(FolderInUseError), FolderLock(left):
                shutil.rmtree(left, ignore_errors=True)


@contextmanager
def _explained(target: Path) -> Iterator[None]:
    try:
        yield
    except StorageError:
        raise
    except OSError as cause:
        raise StorageError(
            cause.errno,
            f"{target} could not be written: {cause.strerror or cause}; nothing there is half-written. "
            "Check that the folder above is writable and has free space, then run again",
        ) from cause
