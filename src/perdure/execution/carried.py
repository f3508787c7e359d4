"""Work that own code does, in processes that have not loaded it and on machines that do not have it."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from perdure import own
from perdure.execution.progress import Watch

Work = Callable[[Path, Watch], object]
"""What a job does in a folder."""


@dataclass(frozen=True)
class _Carried:
    """Work with the files that it takes."""

    sources: Sequence[own.Source]
    work: bytes

    def __call__(self, folder: Path, watch: Watch) -> object:
        own.provide(self.sources)
        return pickle.loads(self.work)(folder, watch)


def carried(work: Work) -> Work:
    """Return work for another process: with the own code that was loaded here by the paths of its files, if any was."""
    sources = own.sources()
    return _Carried(sources, pickle.dumps(work)) if sources else work
