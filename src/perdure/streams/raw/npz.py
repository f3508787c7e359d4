"""Arrays in `.npz` archives; what is read is bounded before it is unpacked, and nothing is unpickled."""

from __future__ import annotations

import ast
import math
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from perdure.storage.reading import ContentError, open_file, shortened
from perdure.streams.raw.zips import DAMAGE, count_entries

MAX_ARRAY_BYTES = 2**31
"""Most bytes of an array."""
MAX_MEMBERS = 10_000
"""Arrays of an archive at most: their names are kept."""
MAX_HEADER = 10_000
"""Bytes of an array's description at most, as NumPy's own limit."""

_MAGIC = b"\x93NUMPY"
_LENGTH_BYTES = {(1, 0): 2, (2, 0): 4, (3, 0): 4}
"""Bytes that tell the length of the description, by version of the format."""
_PIECE = 1 << 20
_SHOWN = 12
_LONG = re.compile(r"(?<=[0-9])L(?=[,)])")
"""What ends a whole number that Python 2 wrote."""


class Form(NamedTuple):
    """What the description of an array tells."""

    shape: tuple[int, ...]
    dtype: np.dtype
    is_fortran: bool
    """First index the fastest?"""


class NpzArchive:
    """The arrays of an open archive, by name."""

    def __init__(self, path: Path, archive: zipfile.ZipFile):
        self._path = path
        self._archive = archive
        self._members = {it.filename.removesuffix(".npy"): it for it in archive.infolist()}

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def described(self) -> str:
        """Return names, shapes and dtypes, the first of many."""
        shown = [f"{shortened(name)!r} {self._in_words(name)}" for name in list(self._members)[:_SHOWN]]
        more = f" and {len(self._members) - _SHOWN:,} more" if len(self._members) > _SHOWN else ""
        return f"{', '.join(shown) or 'none'}{more}"

    def read(self, name: str) -> np.ndarray:
        """Return an array.

        Raises:
            ContentError: if it is damaged or too large, or holds Python objects, which are not unpickled.
        """
        where = f"{self._path}, array {name!r}"
        try:
            with self._archive.open(self._members[name]) as file:
                form = _form(file)
                _check_form(form, where, name)
                return _values(file, form)
        except ContentError:
            raise
        except (ValueError, *DAMAGE) as cause:
            raise ContentError(
                f"{where} cannot be read ({shortened(str(cause), 200)}), expected a whole array as np.savez writes it; "
                "write or copy the file again"
            ) from cause

    def _in_words(self, name: str) -> str:
        try:
            with self._archive.open(self._members[name]) as file:
                form = _form(file)
        except (ValueError, *DAMAGE):
            return "(no array)"
        return f"{form.shape} {form.dtype}"


@contextmanager
def open_npz(path: Path) -> Iterator[NpzArchive]:
    """Open an archive while a block runs.

    Raises:
        ContentError: if it cannot be read, is damaged or has too many arrays.
    """
    try:
        with open_file(path) as file:
            if (n_members := count_entries(file)) > MAX_MEMBERS:
                raise ContentError(f"{path} has {n_members:,} arrays, expected at most {MAX_MEMBERS:,}")
            with zipfile.ZipFile(file) as archive:
                yield NpzArchive(path, archive)
    except ContentError:
        raise
    except DAMAGE as cause:
        if isinstance(cause, OSError) and cause.errno is not None:
            raise ContentError(f"{path} cannot be read: {cause.strerror or cause}") from cause
        raise ContentError(
            f"{path} is a damaged archive ({shortened(str(cause), 200)}), expected a whole one, as np.savez writes it; "
            "write or copy it again"
        ) from cause


def _form(file: Any) -> Form:
    """Return what the description of an array tells, and leave the file at its values.

    NumPy reads a description as a whole before it checks its length, and parses it with what may raise anything.

    Raises:
        ValueError: if it is none, or longer than `MAX_HEADER`.
    """
    begin = file.read(len(_MAGIC) + 2)
    n_bytes = _LENGTH_BYTES.get(tuple(begin[-2:]))
    if not begin.startswith(_MAGIC) or n_bytes is None:
        raise ValueError(f"it begins with {begin!r}, which is no array of a known format")
    length = int.from_bytes(file.read(n_bytes), "little")
    if length > MAX_HEADER:
        raise ValueError(f"its description has {length:,} bytes, expected at most {MAX_HEADER:,}")
    text = file.read(length).decode("utf-8" if begin[-2] == 3 else "latin1")
    try:
        found = ast.literal_eval(_LONG.sub("", text.strip()))
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        raise ValueError(f"its description is {shortened(text)!r}") from None
    if not isinstance(found, dict) or found.keys() != {"descr", "fortran_order", "shape"}:
        raise ValueError(f"its description is {shortened(text)!r}")
    return Form(_shape(found["shape"]), _dtype(found["descr"]), found["fortran_order"] is True)


def _shape(shape: Any) -> tuple[int, ...]:
    if not isinstance(shape, tuple) or not all(type(it) is int and 0 <= it < 2**63 for it in shape):
        raise ValueError(f"its shape is {shortened(str(shape))}, expected whole numbers")
    return shape


def _dtype(described: Any) -> np.dtype:
    if isinstance(described, list):
        names = ", ".join(repr(it[0]) for it in described if isinstance(it, tuple) and it)
        raise ValueError(f"it is a table of the columns {shortened(names)}, expected an array of one kind")
    try:
        if isinstance(described, str):
            return np.dtype(described)
    except (TypeError, ValueError, SyntaxError, OverflowError):
        pass
    raise ValueError(f"its type is {shortened(repr(described))}, which NumPy does not know")


def _check_form(form: Form, where: str, name: str) -> None:
    if form.dtype.hasobject:
        raise ContentError(
            f"{where} holds Python objects, which are not unpickled, as they may run any code; save it as numbers or "
            f"texts: np.savez(…, {name}={name}.astype(str)) for classes, .astype('float32') for features"
        )
    if (size := math.prod(form.shape) * max(form.dtype.itemsize, 1)) > MAX_ARRAY_BYTES:
        raise ContentError(
            f"{where} has shape {form.shape} and dtype {form.dtype}, so {size:,} bytes, expected at most "
            f"{MAX_ARRAY_BYTES:,}; save a part of the examples, or features as float16"
        )


def _values(file: Any, form: Form) -> np.ndarray:
    """Return the array that follows its description."""
    content = bytearray()
    size = math.prod(form.shape) * form.dtype.itemsize
    while len(content) < size and (piece := file.read(min(_PIECE, size - len(content)))):
        content += piece
    if len(content) < size:
        raise ValueError(f"it ends after {len(content):,} of {size:,} bytes")
    shape = form.shape[::-1] if form.is_fortran else form.shape
    array = np.ndarray(shape, form.dtype, content)
    return array.T if form.is_fortran else array
