"""Independent jobs, several at a time, wherever an engine runs them; what happens to one is no harm to others."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from perdure.execution.progress import JobsProgress, ProgressUpdate, Watch, jobs_progress
from perdure.machine.signals import InterruptedRunError, StopRequests

_SECONDS_BETWEEN_LOOKS = 0.2  # at whether we are to stop
MAX_LOSSES = 5
"""A job whose machine is lost this often has failed: it may be the job that does it."""


class Job(NamedTuple):
    """Something to do in a process of its own."""

    name: str
    """Different for each job."""
    effort: float
    """How long it may take, in any unit."""
    work: Callable[[Path, Watch], object]
    """Does it in a folder, and reports its progress; must be picklable. What it returns is lost."""
    folder: Path
    """Where what it leaves must be; if it is done again there, it resumes."""


class Failure(NamedTuple):
    """A job that came to nothing."""

    name: str
    reason: str


class Begun(NamedTuple):
    """A job's first word."""


class Ended(NamedTuple):
    """A job's last word."""

    error: str | None
    """What went wrong, None if nothing did."""


class Lost(NamedTuple):
    """The machine of a job is gone, and the job with it; it can be done again."""

    reason: str


Word = Begun | ProgressUpdate | Ended | Lost


class Engine(ABC):
    """Where jobs run. It serves one `run_jobs` at a time."""

    @property
    @abstractmethod
    def has_room(self) -> bool:
        """May another job be started now?"""

    @abstractmethod
    def start(self, job: Job) -> None:
        """Start a job, or put it into the engine's own queue."""

    @abstractmethod
    def words(self, timeout: float) -> list[tuple[Job, Word]]:
        """Return what jobs have said since the last call, waiting up to `timeout` seconds for the first word."""

    @abstractmethod
    def stop(self) -> None:
        """Have running jobs save and end; each still has its last word."""

    @abstractmethod
    def kill(self) -> None:
        """End all that still runs at once."""

    @abstractmethod
    def one_at_a_time(self) -> Engine:
        """Return an engine at the same place that does one job after another, for the time that each takes."""


class Stage(NamedTuple):
    """Jobs that are done before those of the next stage begin."""

    jobs: Sequence[Job]
    engine: Engine
    """Where they run."""


def run_jobs(jobs: Sequence[Job], engine: Engine, *, show: bool = True) -> list[Failure]:
    """Do all jobs and return those that failed; see `run_stages`."""
    return run_stages([Stage(jobs, engine)], show=show)


def run_stages(
    stages: Sequence[Stage], *, show: bool = True, after_each: Callable[[], object] = lambda: None
) -> list[Failure]:
    """Do all jobs, stage after stage, the longest first, each in a fresh process, and return those that failed.

    One bar shows how far all stages are together.

    A job that fails or dies is no harm to the others. One whose machine is lost is done again, from what its folder
    holds, up to `MAX_LOSSES` times.

    Args:
        stages: what to do, and where.
        show: show their progress.
        after_each: is called after each job that has ended by itself, while others run.

    Raises:
        ValueError: if two jobs have the same name.
        InterruptedRunError: after Ctrl-C or SIGTERM, once the running jobs, which are told to stop, have ended.
    """
    jobs = [job for stage in stages for job in stage.jobs]
    names = [job.name for job in jobs]
    if len(set(names)) < len(names):
        raise ValueError(f"jobs of the names {names} were given, expected different names")
    with StopRequests() as stop, jobs_progress({job.name: job.effort for job in jobs}, show=show) as display:
        failures = [it for stage in stages for it in _run_stage(stage, stop, display, after_each)]
    if stop.received is not None:
        raise InterruptedRunError("stopped; the same command resumes", stop.received)
    return failures


def _run_stage(
    stage: Stage, stop: StopRequests, display: JobsProgress, after_each: Callable[[], object]
) -> list[Failure]:
    """Do the jobs of a stage, none more after a stop request, and return those that failed."""
    pool = _Pool(stage.engine, stage.jobs, display)
    try:
        while pool.running or (pool.waiting and stop.received is None):
            if stop.received is None:
                pool.start()
            else:
                pool.stop()
            for job, word in stage.engine.words(_SECONDS_BETWEEN_LOOKS):
                pool.hear(job, word)
                if isinstance(word, Ended) and stop.received is None:
                    after_each()
    finally:
        stage.engine.kill()
    return pool.failures


class _Pool:
    """Which jobs wait and which run."""

    def __init__(self, engine: Engine, jobs: Sequence[Job], display: JobsProgress):
        self.waiting = sorted(jobs, key=lambda job: job.effort)
        self.running: set[str] = set()
        self.failures: list[Failure] = []
        self._engine = engine
        self._display = display
        self._losses = dict.fromkeys((job.name for job in jobs), 0)
        self._told_to_stop = False

    def start(self) -> None:
        while self.waiting and self._engine.has_room:
            job = self.waiting.pop()
            self.running.add(job.name)
            self._engine.start(job)

    def stop(self) -> None:
        if not self._told_to_stop:
            self._told_to_stop = True
            self._engine.stop()

    def hear(self, job: Job, word: Word) -> None:
        if isinstance(word, Begun):
            self._display.started(job.name)
        elif isinstance(word, ProgressUpdate):
            self._display.moved(job.name, word)
        elif isinstance(word, Lost) and not self._told_to_stop and self._losses[job.name] < MAX_LOSSES:
            self._losses[job.name] += 1
            self.running.remove(job.name)
            self.waiting.append(job)  # it comes next
            self._display.lost(job.name, word.reason)
        else:
            self._ended(job, word.reason if isinstance(word, Lost) else word.error)

    def _ended(self, job: Job, reason: str | None) -> None:
        self.running.remove(job.name)
        stopped = reason is not None and self._told_to_stop
        self._display.ended(job.name, "stopped" if stopped else reason or "finished")
        if reason is not None and not stopped:
            self.failures.append(Failure(job.name, reason))
