"""Is a journal still what was written?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from perdure.online.journal import Journal, check_content

_PIECE = 1_000
_QUERY = "SELECT position, x, y, checksum FROM examples WHERE position > ? ORDER BY position LIMIT ?"


def verify_journal(path: Path, proceed: Callable[[], bool] = lambda: True) -> None:
    """Read all examples of a journal, beside whoever writes it, and compare them with their checksums.

    Args:
        path: the file.
        proceed: called now and then; False ends it before the end.

    Raises:
        JournalError: naming the example that is not what was written, or if the file cannot be read.
    """
    journal, after = Journal(path, writable=False), 0
    try:
        while proceed() and (rows := journal.select(_QUERY, after, _PIECE)):
            for position, x, y, checksum in rows:
                if (x, y, checksum) != (None, None, None):  # those were forgotten
                    check_content(path, position, x, y, checksum)
            after = rows[-1][0]
    finally:
        journal.close()
