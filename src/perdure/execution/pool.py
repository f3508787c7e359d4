"""Independent jobs over worker processes, each on its share of the cores; what happens to one is no harm to others."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from multiprocessing import connection, get_context, parent_process
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from signal import Signals
from typing import NamedTuple

from perdure.execution.progress import JobsProgress, ProgressUpdate, Watch, jobs_progress
from perdure.machine.cores import only, shares
from perdure.machine.signals import InterruptedRunError, StopRequests

_SECONDS_BETWEEN_LOOKS = 0.2  # at whether we are to stop


class Job(NamedTuple):
    """Something to do in a process of its own."""

    name: str
    """Different for each job."""
    effort: float
    """How long it may take, in any unit."""
    work: Callable[[Watch], object]
    """Does it, and reports its progress; must be picklable. What it returns is lost: it must leave a record."""


class Failure(NamedTuple):
    """A job that came to nothing."""

    name: str
    reason: str


class _Done(NamedTuple):
    """A worker's last word."""

    error: str | None
    """What went wrong, None if nothing did."""


class _Worker(NamedTuple):
    """A process and what it does."""

    job: Job
    process: BaseProcess
    share: frozenset[int]
    """The cores that it has."""


def run_jobs(jobs: Sequence[Job], workers: int, *, show: bool = True) -> list[Failure]:
    """Do all jobs, the longest first, `workers` at a time, each in a fresh process, and return those that failed.

    The cores that this process may use are divided among the workers: a process has its share from its start on, so
    that what it starts (thread pools) is made for it. A job that fails or dies is no harm to the others.

    Args:
        jobs: what to do.
        workers: processes at a time, ≥ 1.
        show: show their progress.

    Raises:
        ValueError: if `workers` is below 1 or two jobs have the same name.
        InterruptedRunError: after Ctrl-C or SIGTERM, once the running jobs, which are sent SIGTERM, have ended.
    """
    names = [job.name for job in jobs]
    if workers < 1 or len(set(names)) < len(names):
        raise ValueError(f"{workers} workers for the jobs {names}, expected at least 1 worker and different names")
    waiting = sorted(jobs, key=lambda job: job.effort)
    free = shares(workers)
    running: dict[Connection, _Worker] = {}
    failures: list[Failure] = []
    told_to_stop = False
    with StopRequests() as stop, jobs_progress({job.name: job.effort for job in jobs}, show=show) as display:
        try:
            while running or (waiting and stop.received is None):
                while waiting and free and stop.received is None:
                    _start(waiting.pop(), free.pop(), running, display)
                if stop.received is not None and not told_to_stop:
                    told_to_stop = True
                    for worker in running.values():
                        worker.process.terminate()
                for pipe in connection.wait(list(running), timeout=_SECONDS_BETWEEN_LOOKS):
                    assert isinstance(pipe, Connection)
                    worker, word = running[pipe], _next_word(pipe)
                    if isinstance(word, ProgressUpdate):
                        display.moved(worker.job.name, word)
                        continue
                    del running[pipe]
                    pipe.close()
                    free.append(worker.share)
                    reason = _how_it_ended(worker.process, word)
                    stopped = reason is not None and told_to_stop
                    display.ended(worker.job.name, "stopped" if stopped else reason or "finished")
                    if reason is not None and not stopped:
                        failures.append(Failure(worker.job.name, reason))
        finally:
            for worker in running.values():
                worker.process.kill()
    if stop.received is not None:
        raise InterruptedRunError("stopped; the same command resumes", stop.received)
    return failures


def _start(job: Job, share: frozenset[int], running: dict[Connection, _Worker], display: JobsProgress) -> None:
    """Start a process for a job and note it as running."""
    context = get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(job.work, sender), daemon=True)
    with only(share):
        process.start()
    sender.close()  # so that the pipe ends with the process
    running[receiver] = _Worker(job, process, share)
    display.started(job.name)


def _work(work: Callable[[Watch], object], sender: Connection) -> None:
    """Do a job, in its process."""
    os.setpgid(0, 0)  # Ctrl-C in a terminal then reaches only the process that waits for us, which passes it on
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        work(sender.send)
    except BrokenPipeError:
        return  # nobody waits for us any more
    except Exception as error:
        sender.send(_Done(f"{type(error).__name__}: {error}"))
    else:
        sender.send(_Done(None))


def _end_with_parent() -> None:
    """End this process as soon as the one that started it has, even in the middle of a compilation.

    What its job has on disk is whole at any moment.
    """
    parent = parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)


def _next_word(pipe: Connection) -> ProgressUpdate | _Done | None:
    """Return what a worker says next, None if it has died."""
    try:
        return pipe.recv()
    except (EOFError, OSError):
        return None


def _how_it_ended(process: BaseProcess, word: _Done | None) -> str | None:
    """Return what went wrong with a worker that has said its last word, None if nothing did."""
    process.join()
    if word is not None:
        return word.error
    code = process.exitcode or 0
    return f"its process was killed by {Signals(-code).name}" if code < 0 else f"its process ended with status {code}"
