"""What it means when the database of a journal refuses, and what to do."""

from __future__ import annotations

import errno
import sqlite3
from typing import Any

from perdure.storage.files import StorageError

RESTORE = "put a backup of the whole folder in its place"

_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_TOOBIG)
_DENIED = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH)
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


class JournalError(StorageError):
    """The journal cannot be read or written; the message says why, and what to do."""


class NoExampleError(JournalError):
    """There is no such example, or it was forgotten."""


class NotErasedError(JournalError):
    """Examples are forgotten, but their content is still in a file; the message says in which, why, and what to do."""

    def __init__(self, message: str, forgot: Any):
        """Say what is wrong.

        Args:
            message: file, reason and remedy.
            forgot: what the call would have returned.
        """
        super().__init__(None, message)
        self.forgot = forgot


def remedy_for(cause: sqlite3.Error) -> str:
    """Return what to do about an error of SQLite."""
    if isinstance(cause, sqlite3.ProgrammingError):  # of a closed connection
        return "open the model again"
    code = _code(cause)
    if code in _BUSY:
        return "wait until the other program that uses it has closed it"
    if code == sqlite3.SQLITE_FULL:
        return "make room on the disk"
    if code in _DENIED:
        return "change the permissions of the file and its folder"
    if code in _DAMAGED:
        return RESTORE
    return f"make room on the disk, or if the file is damaged, {RESTORE}"


def errno_of(cause: sqlite3.Error) -> int | None:
    """Return the number of the operating system's error that is nearest to one of SQLite; None if none is."""
    code = _code(cause)
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return errno.ENOSPC
    if code in _DAMAGED:
        return errno.EIO
    if code in _DENIED:
        return errno.EACCES
    return errno.EBUSY if code in _BUSY else None


def _code(cause: sqlite3.Error) -> int:
    """Return the plain code, which an extended one has in its lowest byte."""
    return getattr(cause, "sqlite_errorcode", 0) & 0xFF
