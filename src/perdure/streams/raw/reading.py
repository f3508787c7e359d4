"""Reading no more of a file than it may have."""

from __future__ import annotations

import os
from pathlib import Path

from perdure.streams.raw.registry import DataError

GET_ANOTHER = "get another copy (a file on disk that is deleted is downloaded again)"


def read_bytes(path: Path, limit: int, what: str) -> bytes:
    """Return the content of a file of at most `limit` bytes; `what` tells the error what it should be.

    Raises:
        DataError: if the file has more bytes; nothing of it is then read.
        OSError: if the operating system refuses.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        content = b"" if size > limit else file.read(limit + 1)
    if max(size, len(content)) > limit:
        raise DataError(f"{path} has {size:,} bytes, expected at most {limit:,} for {what}; {GET_ANOTHER}")
    return content
