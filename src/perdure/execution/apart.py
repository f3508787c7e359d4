"""A run whose parts are done apart: each a job in a folder of its own inside the run's, wherever an engine runs it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from perdure.execution.carried import Work, carried
from perdure.execution.pool import Engine, Failure, Job, Stage, run_stages
from perdure.machine.signals import InterruptedRunError
from perdure.named import resume_command
from perdure.records.folder import RunFolder, is_finished
from perdure.storage.lock import FolderInUseError

_PARTS = "parts"
_PATIENCE = 30.0  # seconds in which a part's folder may still be owned by a worker of a command that was killed

_PAUSES = 20
"""How many times as long as writing a page took, it is left alone."""


class PartsError(Exception):
    """Parts of a run came to nothing."""


class Part(NamedTuple):
    """A part of a run."""

    name: str
    """Of its folder, different for each part."""
    config: Mapping[str, Any]
    """Of its own record, which tells when it is finished."""
    effort: float
    """How long it may take, in any unit."""
    work: Work
    """Does it, and leaves its record in the folder that it is given."""


def part_folder(home: RunFolder, name: str) -> Path:
    """Return where a part of a run is done."""
    return home.path / _PARTS / name


def has_parts(folder: Path) -> bool:
    """Tell whether a run in a folder was begun apart and is not finished."""
    return (folder / _PARTS).is_dir()


def remove_parts(home: RunFolder) -> None:
    """Remove the folders of the parts, once what they have found is in the run's record."""
    shutil.rmtree(home.path / _PARTS, ignore_errors=True)


def do_apart(
    home: RunFolder,
    parts: Sequence[Part],
    engine: Engine,
    *,
    show: bool,
    after_each: Callable[[], object] = lambda: None,
) -> None:
    """Do all parts of a run that are not finished yet.

    Args:
        home: folder of the run.
        parts: what to do.
        engine: where.
        show: show how far they are, all together.
        after_each: is called after each part that has ended by itself.

    Raises:
        PartsError: naming the parts that failed, after the others.
        InterruptedRunError: after Ctrl-C or SIGTERM; doing the same again resumes.
    """
    missing = [it for it in parts if not is_finished(part_folder(home, it.name), it.config)]
    jobs = [Job(it.name, it.effort, carried(it.work), part_folder(home, it.name)) for it in missing]
    failures = run_resumable(home, [Stage(jobs, engine)], show=show, after_each=after_each)
    if failures:
        told = "; ".join(f"{it.name}: {it.reason}" for it in failures)
        raise PartsError(
            f"{len(failures)} of {len(parts)} parts failed: {told}. The others are kept in {home.path}; remove the "
            f"cause and resume with `{resume_command(home.path)}`"
        )


def run_resumable(
    home: RunFolder, stages: Sequence[Stage], *, show: bool, after_each: Callable[[], object] = lambda: None
) -> list[Failure]:
    """Do the jobs of a run as `run_stages`; what is raised after a stop request tells how to resume."""
    try:
        return run_stages(stages, show=show, after_each=after_each)
    except InterruptedRunError as stopped:
        home.log("stopped")
        how = f"resume with `{resume_command(home.path)}`, or with the command that began it"
        raise InterruptedRunError(f"stopped; {how}", stopped.signal_number) from stopped


def now_and_then(action: Callable[[], object]) -> Callable[[], None]:
    """Return a function that takes an action, unless that would take more than a twentieth of the time."""
    earliest = 0.0

    def act() -> None:
        nonlocal earliest
        began = time.monotonic()
        if began >= earliest:
            action()
            ended = time.monotonic()
            earliest = ended + _PAUSES * (ended - began)

    return act


def when_free(action: Callable[[], object]) -> None:
    """Do something in a folder; wait if a worker still owns it, which ends a little after the process that began it.

    Raises:
        FolderInUseError: if it is not free within 30 seconds.
    """
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            action()
            return
        except FolderInUseError:
            if time.monotonic() > until:
                raise
            time.sleep(0.5)
