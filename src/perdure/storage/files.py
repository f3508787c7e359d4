"""Files that are either wholly old or wholly new, whatever happens while they are written."""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

_PARTIAL = re.compile(r"\..+\.[0-9a-f]{8}\.tmp")

_PARTIAL_WRITES: set[Path] = set()
"""Files that have not taken their place yet."""


class StorageError(OSError):
    """A file could not be written; the message says which one, why, and what to do."""

    def __str__(self) -> str:
        return self.strerror or super().__str__()


@contextmanager
def whole_file(target: Path) -> Iterator[BinaryIO]:
    """Open a file to write and read, which takes `target`'s place, on the disk, when the block ends without error.

    Otherwise it is removed and `target` stays as it was: a reader, a crash or a full disk meets the old content or the
    new, never a part. The folder must exist.

    Raises:
        OSError: if the operating system refuses a step.
    """
    # Not by tempfile, whose files nobody but their owner may read.
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    _PARTIAL_WRITES.add(partial)
    try:
        with partial.open("x+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
        _PARTIAL_WRITES.discard(partial)
    sync_folder(target.parent)


def remove_partial_writes() -> None:
    """Remove the files that this process is about to write, before it ends in the middle of it."""
    for partial in list(_PARTIAL_WRITES):
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` survive a loss of power, where folders can be opened (not on Windows)."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, data: bytes | Callable[[BinaryIO], object]) -> None:
    """Write a file through a temporary one in its folder: flush, fsync, rename, fsync of the folder.

    As `whole_file`, with an error that says what to do.

    Args:
        path: file to create or replace; its folder must exist.
        data: the content, or a function that writes it to an open binary file.

    Raises:
        StorageError: if the operating system refuses a step (disk full, folder missing, no permission).
    """
    try:
        with whole_file(path) as file:
            if callable(data):
                data(file)
            else:
                file.write(data)
    except OSError as cause:
        raise StorageError(
            cause.errno,
            f"{path} could not be written: {cause.strerror or cause}; nothing there is half-written. "
            "Check that the folder exists, is writable and has free space, then run again",
        ) from cause


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write indented JSON in UTF-8, atomically as `write_atomically`.

    Raises:
        ValueError: if a number is NaN or infinite, which JSON cannot hold.
        StorageError: as `write_atomically`.
    """
    text = json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False)
    write_atomically(path, (text + "\n").encode())


def append_line(path: Path, line: str) -> None:
    """Append one line to a text file in UTF-8.

    Raises:
        StorageError: if the operating system refuses.
    """
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
    except OSError as cause:
        raise StorageError(
            cause.errno, f"{path} could not be written: {cause.strerror}; free some space or change its permissions"
        ) from cause


def remove_file(path: Path) -> None:
    """Remove a file, if it is there.

    Raises:
        StorageError: if the operating system refuses.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as cause:
        raise StorageError(
            cause.errno, f"{path} could not be removed: {cause.strerror}; change the permissions of its folder"
        ) from cause


def make_folder(folder: Path) -> None:
    """Create a folder and those above it, unless it is there.

    Raises:
        StorageError: if the operating system refuses.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as cause:
        raise StorageError(
            cause.errno,
            f"folder {folder} could not be made: {cause.strerror}; choose another place or change its permissions",
        ) from cause


def remove_partial_files(folder: Path) -> None:
    """Remove the temporary files that a killed process has left in a folder and its `checkpoints`.

    Only the folder's owner may call this: a file that is being written looks the same.

    Raises:
        StorageError: if the operating system refuses.
    """
    for place in (folder, folder / "checkpoints"):
        for left in place.glob(".*.tmp"):
            if is_partial(left):
                remove_file(left)


def is_partial(path: Path) -> bool:
    """Tell whether a file is one that is being written, or was left half-written."""
    return _PARTIAL.fullmatch(path.name) is not None
