"""Work that is done part by part: finished parts are kept, a part under way is not.

A search, an evaluation and a comparison are such work and no `Job`. What they keep are the figures of finished parts,
in their record; a checkpoint in the middle of a part would fit only a call with the same parts in the same order, and
their parts change from call to call: more values are tried, say, or as many side by side as memory then allows.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, Protocol, runtime_checkable

from perdure.core import PerdureWarning
from perdure.execution.progress import ProgressUpdate, Watch, job_progress
from perdure.machine.signals import InterruptedRunError, StopRequests
from perdure.named import resume_command
from perdure.records.folder import RunFolder


@runtime_checkable
class Advanced(Protocol):
    """Is called often, with the number of units done since the last call; raises an error after a stop request."""

    def __call__(self, n: int, stage: str = "", /) -> None:
        """Take note of units, and of the stage in a few words, where something is done that is no unit."""
        ...


class Finished(NamedTuple):
    """How many parts are finished."""

    n: int
    of: int
    parts: str
    """What they are, in the plural."""

    def __str__(self) -> str:
        return f"{self.n} of {self.of} {self.parts}"

    def where(self) -> str:
        """Return where work was stopped."""
        return f"stopped after {self}" if self.n else f"stopped before the first of {self.of} {self.parts} was finished"


@contextmanager
def parts_progress(
    label: str, total: int, unit: str, how_far: Callable[[], Finished], *, folder: RunFolder | None, show: bool | Watch
) -> Iterator[Advanced]:
    """Show progress and notice stop requests while a block does part after part.

    Args:
        label: the work in a few words.
        total: units of all parts still to do.
        unit: what is counted, in the plural.
        how_far: returns how many parts are finished.
        folder: where finished parts are kept; None if they are not.
        show: show a progress bar; or a function to which progress is reported.

    Raises:
        InterruptedRunError: after a stop request; the message says how far the work is and how to resume.
    """
    position, began = 0, time.monotonic()
    with StopRequests() as stop, job_progress(label, 0, total, unit, show=show) as report:

        def show_position(words: str) -> None:
            report(ProgressUpdate(position, total, position / (time.monotonic() - began), words))

        def advanced(n: int, stage: str = "", /) -> None:
            nonlocal position
            position += n
            show_position(stage or str(how_far()))
            if stop.received is not None:
                raise InterruptedRunError("stopped", stop.received)

        try:
            yield advanced
        except InterruptedRunError as stopped:
            where = how_far().where()
            if folder is None:
                message = f"{where}; nothing is kept of work without a folder"
            else:
                folder.log(where)
                kept = f"; those are kept in {folder.path}: resume" if how_far().n else ": begin again"
                how = f"`{resume_command(folder.path)}`, or with the call or command that began it"
                message = f"{where}{kept} with {how}"
            raise InterruptedRunError(message, stopped.signal_number) from stopped
        show_position(str(how_far()))  # the last part was finished after it had advanced


def keeps(folder: RunFolder) -> bool:
    """Tell whether a folder is still there to be written to; warn if it was deleted meanwhile."""
    if not folder.is_there():
        warnings.warn(
            f"the folder {folder.path} was deleted during the run: nothing more is kept of it, and it continues in "
            "memory only; stop it and start again to keep a record",
            PerdureWarning,
            stacklevel=2,
        )
        return False
    return True
