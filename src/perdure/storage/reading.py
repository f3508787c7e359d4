"""Reading files that may be damaged or hostile: bounded in size and depth, with errors that name the place."""

from __future__ import annotations

import json
import math
import os
import re
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

MAX_BYTES = 500_000_000
"""Largest file that is read into memory."""
MAX_TEXT_BYTES = 5_000_000
"""Longest JSON that is parsed: objects take up to fifty times the space of their text."""
MAX_TOML_BYTES = 1_000_000
MAX_DEPTH = 32
"""Deepest nesting of lists and tables; records and presets need six."""
MAX_INTEGER = 2**63 - 1
"""Largest whole number, either side of 0: what NumPy and Parquet hold."""
MAX_SHOWN = 60
"""Most characters of a text from a file that an error shows."""

_NOUNS = {
    dict: "a table of names and values",
    list: "a list",
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
}
# A string that does not end is taken up to the end too: looked for again at each of its quotes it would take for ever.
_TOML_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?(?:"""|\Z)|\'\'\'.*?(?:\'\'\'|\Z)|"(?:[^"\\\n]|\\.)*+"?|\'[^\'\n]*+\'?', re.DOTALL
)

_NO_TEXT = re.compile("[\0\ud800-\udfff]")


class ContentError(ValueError):
    """A file cannot be read or holds something else than expected; the message names the file and the place in it."""


def open_file(path: Path) -> BinaryIO:
    """Open a regular file to read: a pipe would keep its reader waiting, and a device may have no end.

    Raises:
        ContentError: if it is something else, which is not opened.
        OSError: if it cannot be opened.
    """
    _refuse_special(path, path.stat())
    # Something else may take its place meanwhile: a pipe is then opened without waiting, and refused.
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    try:
        _refuse_special(path, os.fstat(file.fileno()))
    except ContentError:
        file.close()
        raise
    return file


def read_bytes(path: Path, limit: int = MAX_BYTES) -> bytes:
    """Return the content of a file of at most `limit` bytes.

    Raises:
        ContentError: if the file cannot be read, is larger, or is no regular file.
    """
    try:
        with open_file(path) as file:
            content = file.read(limit + 1)
    except OSError as cause:
        raise ContentError(f"{path} cannot be read: {cause.strerror or cause}") from cause
    if len(content) > limit:
        raise ContentError(f"{path} is larger than {limit:,} bytes, expected at most that")
    return content


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file.

    Raises:
        ContentError: if the file cannot be read, is too large or too deeply nested, or holds something else.
    """
    return parse_json(read_bytes(path, MAX_TEXT_BYTES), path)


def parse_json(content: bytes, where: object) -> dict[str, Any]:
    """Return the object in the JSON of a file.

    Args:
        content: JSON in UTF-8.
        where: file, and place in it, for errors.

    Raises:
        ContentError: if it is too large or too deeply nested, or holds something else.
    """
    if len(content) > MAX_TEXT_BYTES:
        raise ContentError(f"{where} is larger than {MAX_TEXT_BYTES:,} bytes, expected at most that")
    try:
        parsed = json.loads(content.decode("utf-8-sig"), parse_constant=_refuse_constant)
    except RecursionError:
        raise _too_deep(where) from None
    except ValueError as cause:
        raise ContentError(f"{where} cannot be read as JSON: {cause}") from cause
    _check_values(parsed, where)
    if not isinstance(parsed, dict):
        raise ContentError(f"{where} holds {_in_words(parsed)}, expected a JSON object")
    return parsed


def read_toml(path: Path) -> dict[str, Any]:
    """Return the content of a TOML file; a byte order mark at its beginning is passed over.

    Raises:
        ContentError: if the file cannot be read, is too large or too deeply nested, or is not TOML.
    """
    content = read_bytes(path, MAX_TOML_BYTES)
    try:
        text = content.decode("utf-8-sig")
        _check_toml_depth(text, path)
        return tomllib.loads(text)
    except ContentError:
        raise
    except RecursionError:
        raise _too_deep(path) from None
    except ValueError as cause:
        raise ContentError(f"{path} cannot be read as TOML: {cause}") from cause


def entry(content: Mapping[str, Any], name: str, kind: type, where: object) -> Any:
    """Return the value of a name in a table that was read from a file.

    Args:
        content: the table.
        name: what it should have.
        kind: dict, list, str, int, float or bool; a whole number is a number, true and false are neither.
        where: file and place of the table, for errors.

    Raises:
        ContentError: if the table has no such name, or a value of another kind.
    """
    if name not in content:
        raise ContentError(f"{where} has no {name!r}, expected {_NOUNS[kind]}")
    return checked(content[name], kind, f"{where}, {name!r}")


def checked(value: Any, kind: type, where: object) -> Any:
    """Return a value that was read from a file, once it is known to be of a kind, as `entry` has it.

    Raises:
        ContentError: if it is of another, or a number that is infinite or beyond 64 bits.
    """
    accepted: Any = (int, float) if kind is float else kind
    if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
        raise ContentError(f"{where} is {_in_words(value)}, expected {_NOUNS[kind]}")
    if (isinstance(value, int) and abs(value) > MAX_INTEGER) or (isinstance(value, float) and not math.isfinite(value)):
        raise ContentError(f"{where} is {_in_words(value)}, expected {_NOUNS[kind]} of at most 64 bits")
    return value


def shortened(text: str, length: int = MAX_SHOWN) -> str:
    """Return a text, cut to a length in characters."""
    return text if len(text) <= length else text[: length - 3] + "..."


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _refuse_special(path: Path, status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise ContentError(f"{path} cannot be read: Is a directory, expected a file")
    if not stat.S_ISREG(status.st_mode):
        raise ContentError(f"{path} cannot be read: it is a pipe, a socket or a device, expected a file")


def _check_values(parsed: Any, where: object) -> None:
    """Refuse what is nested too deeply, and texts that cannot be shown or be the name of a file."""
    level, depth = [parsed], 0
    while level:
        if depth > MAX_DEPTH:
            raise _too_deep(where)
        inner = [[*it, *it.values()] if isinstance(it, dict) else it for it in level if isinstance(it, dict | list)]
        for value in (value for values in inner for value in values if isinstance(value, str)):
            if _NO_TEXT.search(value):
                raise ContentError(
                    f"{where} has the text {_in_words(value)}, expected none with NUL or half of a surrogate pair"
                )
        level = [value for values in inner for value in values if isinstance(value, dict | list)]
        depth += 1


def _check_toml_depth(text: str, path: Path) -> None:
    """Refuse what a parser would take quadratic time or deep recursion for: long dotted keys and nested brackets."""
    bare = re.sub(r"#[^\n]*", "", _TOML_STRING.sub('""', text))
    deepest = depth = 0
    for bracket in re.finditer(r"[\[\]{}]", bare):
        depth += 1 if bracket[0] in "[{" else -1
        deepest = max(deepest, depth)
    dots = max((len(run) for run in re.findall(r"(?:\.[^.\n=,\]}]*){2,}", bare) for run in [run.split(".")]), default=0)
    if max(deepest, dots) > MAX_DEPTH:
        raise _too_deep(path)


def _too_deep(where: object) -> ContentError:
    return ContentError(f"{where} is nested more than {MAX_DEPTH} levels deep, expected at most that")


def _in_words(value: Any) -> str:
    if isinstance(value, int) and value.bit_length() > 64:
        return f"a whole number of {value.bit_length()} bits"
    if isinstance(value, dict):
        return f"a table of {len(value)} names"
    return f"a list of length {len(value)}" if isinstance(value, list) else shortened(repr(value))
