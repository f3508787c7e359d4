"""Lines of a text file: bounded in length, and refused where they are not UTF-8."""

from __future__ import annotations

import io
import shlex
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

from perdure.storage.reading import ContentError

LONGEST_LINE = 10_000_000
"""Characters."""


_BINARY = {
    "PK\x03\x04": ("a zip archive, as NumPy and spreadsheets write them", ".npz if np.savez wrote it"),
    "PAR1": ("a Parquet file", ".parquet"),
    "\udc93NUMPY": ("an array of NumPy", ".npy and pack it with its classes by np.savez"),
    "\x1f\udc8b": ("compressed with gzip", ".gz and unpack it with gunzip"),
}
"""What files of other kinds begin with, as lines have it."""


def text_lines(file: Any, name: str) -> Iterator[str]:
    """Yield the lines of a file with their ends; a byte order mark at its beginning is passed over.

    Args:
        file: binary; UTF-8.
        name: of the file, for messages.

    Raises:
        ContentError: naming the line that is not UTF-8, holds NUL or is too long.
    """
    # Bytes that are not UTF-8 become halves of surrogate pairs, by which their line is found.
    text = io.TextIOWrapper(file, "utf-8-sig", errors="surrogateescape", newline="")
    try:
        for number in count(1):
            line = text.readline(LONGEST_LINE)
            if not line:
                return
            if len(line) == LONGEST_LINE:
                raise ContentError(
                    f"{name}, line {number} is longer than {LONGEST_LINE:,} characters, expected at most that; put "
                    "each row in a line of its own"
                )
            if "\0" in line or not (line.isascii() or _is_utf8(line)):
                raise _not_utf8(line, number, name)
            yield line
    finally:
        if not file.closed:
            text.detach()  # or it would close the file


def _is_utf8(line: str) -> bool:
    try:
        line.encode()
    except UnicodeEncodeError:
        return False
    return True


def _not_utf8(line: str, number: int, name: str) -> ContentError:
    path = Path(name)
    begin = next((it for it in _BINARY if number == 1 and line.startswith(it)), None)
    if begin is not None:
        kind, ending = _BINARY[begin]
        return ContentError(
            f"{name} is {kind}, expected text in UTF-8; give it the ending {ending}, or export a CSV file"
        )
    source, target = shlex.quote(name), shlex.quote(str(path.with_stem(f"{path.stem}-utf8")))
    if "\0" not in line:
        return ContentError(
            f"{name}, line {number} is not UTF-8, expected text in UTF-8; convert it, for example from Latin-1: "
            f"iconv -f latin1 -t utf-8 {source} > {target}"
        )
    if number == 1:
        return ContentError(
            f"{name} has NUL bytes in its first line and seems to be UTF-16, expected text in UTF-8; convert it: "
            f"iconv -f utf-16 -t utf-8 {source} > {target}"
        )
    return ContentError(
        f"{name}, line {number} has a NUL byte, expected text; remove it: tr -d '\\000' < {source} > {target}"
    )
