"""What a logger is told.

A logger is any object with one or more of these methods; those that it lacks are left out:

start(run: RunStart)                   before the first unit, or the first after a resumption
progress(position: int, values: dict)  about once a second: what the last stretch has measured
evaluation(position: int, values: dict)
checkpoint(position: int, path: Path)
end(status: str)                       "finished", "stopped" after a request to stop, or "failed"

`position` counts examples, frames or steps; values are numbers by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

METHODS = ("start", "progress", "evaluation", "checkpoint", "end")


class RunStart(NamedTuple):
    """A run that begins, or is resumed."""

    label: str
    """The run in a few words."""
    unit: str
    """What positions count, in the plural: "examples"."""
    position: int
    """Where it begins; more than 0 if it is resumed."""
    length: int
    """Where it ends, at the latest."""
    config: Mapping[str, Any]
    """All that decides its figures, as config.json has it; empty for a run without a folder."""
    folder: Path | None
    """None for a run without a folder."""
    known: Mapping[str, Any]
    """What the logger has kept of this run before, for a resumption."""
