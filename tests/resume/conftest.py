"""A file system that fails at a chosen call: the process dies there, loses power, or is refused."""

import errno
import fcntl
import io
import os
from pathlib import Path

import pytest


class Death(BaseException):
    """The process ends here: nothing is tidied up, since whatever it still tries to do ends likewise."""


class FailingFileSystem:
    """Counts the calls that change a folder, or make a change last, and fails at one of them.

    A write is two calls, so that a file may be torn. `how` it fails:
    "death": the process is killed before the call; "power": it is too, and what has not been synced is torn;
    "refusal": the operating system refuses that call alone, for want of space.
    """

    def __init__(self, root, fails_at=None, how="death"):
        self.calls = []
        self._root, self._fails_at, self._how = root, fails_at, how
        self._dead = False
        self._unsynced = set()
        self._patch = pytest.MonkeyPatch()
        self._open = io.open

    def __enter__(self):
        for name in ("open", "fsync", "replace", "unlink", "mkdir", "ftruncate", "pwrite"):
            self._patch.setattr(os, name, self._counted(name, getattr(os, name)))
        self._patch.setattr(fcntl, "flock", self._counted("flock", fcntl.flock))
        self._patch.setattr(io, "open", self._opened)
        return self

    def __exit__(self, kind, error, trace):
        self._patch.undo()

    @property
    def failed(self):
        return self._fails_at is not None and len(self.calls) >= self._fails_at

    def count(self, call):
        """Note that a call is about to be made, or fail."""
        if self._dead:
            raise Death
        self.calls.append(call)
        if len(self.calls) != self._fails_at:
            return
        if self._how == "refusal":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._dead = True
        if self._how == "power":
            self._tear()
        raise Death

    def wrote(self, descriptor):
        self._unsynced.add(os.fstat(descriptor).st_ino)

    def _counted(self, name, function):
        def call(*arguments, **options):
            self.count(name)
            if name == "fsync":
                self._unsynced.discard(os.fstat(arguments[0]).st_ino)
            return function(*arguments, **options)

        return call

    def _opened(self, path, mode="r", *arguments, **options):
        if not set(mode) & set("wax+") or self._root not in Path(path).parents:
            return self._open(path, mode, *arguments, **options)
        self.count("open")
        return TearableFile(self, self._open(path, mode, *arguments, **options))

    def _tear(self):
        for path in self._root.rglob("*"):
            if path.is_file() and path.stat().st_ino in self._unsynced:
                os.truncate(path, path.stat().st_size // 2)


class TearableFile:
    """A file whose content reaches the disk in halves."""

    def __init__(self, system, file):
        self._system, self._file = system, file

    def __getattr__(self, name):
        return getattr(self._file, name)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._file.close()

    def write(self, content):
        half = len(content) // 2
        for part in (content[:half], content[half:]):
            self._system.count("write")
            self._file.write(part)
            self._file.flush()
            self._system.wrote(self._file.fileno())
        return len(content)


@pytest.fixture
def failing_file_system():
    return FailingFileSystem
