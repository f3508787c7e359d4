"""What reading a zip archive may raise, and how many entries it has before its directory is read."""

from __future__ import annotations

import lzma
import struct
import zipfile
import zlib
from typing import Any

DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    RuntimeError,
    OSError,
    struct.error,
    UnicodeDecodeError,
    OverflowError,
)
"""What zipfile raises for archives that are damaged or made to harm.

RuntimeError for a password and, as NotImplementedError, for a compression that it does not know; OSError for damage in
bzip2 and for a place that cannot be sought; UnicodeDecodeError for a name that is not UTF-8 and says that it is; the
others for damage in the directory, in a compressed member and at the end.
"""

_DIRECTORY_ENTRY = b"PK\x01\x02"
"""What each entry of a zip archive's directory begins with."""
_PIECE = 1 << 20


def count_entries(file: Any) -> int:
    """Return how many entries the directory of an archive may have at most, and go back to the file's beginning.

    The directory itself is not read, as its entries take ten times their size in memory.
    """
    n_entries, tail = 0, b""
    while piece := file.read(_PIECE):
        n_entries += (tail + piece).count(_DIRECTORY_ENTRY)
        tail = (tail + piece)[1 - len(_DIRECTORY_ENTRY) :]
    file.seek(0)
    return n_entries
