"""What is wrong with a record."""

from __future__ import annotations

from pathlib import Path

REPAIR = "delete the folder and run again, or restore the file from a copy"


class ResultsError(Exception):
    """A record is missing, damaged, of another format or of another configuration."""


def damaged(cause: Exception, path: Path | None = None) -> ResultsError:
    """Return the error to raise for a file of a record that cannot be read; `path` if `cause` does not name it."""
    where = "" if path is None else f"{path}: "
    return ResultsError(f"{where}{cause}; {REPAIR}")
