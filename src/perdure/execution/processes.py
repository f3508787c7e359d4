"""Jobs in processes of this machine, each with its share of the cores."""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import connection, get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from perdure.execution.pool import Begun, Ended, Engine, Job, Word
from perdure.execution.progress import ProgressUpdate, Watch
from perdure.machine.cores import only, shares


class Worker(NamedTuple):
    """A process that does a job."""

    job: Job
    process: BaseProcess
    pipe: Connection
    """What it says comes out here; the pipe ends with the process."""
    share: frozenset[int]
    """The cores that it has."""

    def next_word(self) -> ProgressUpdate | Ended:
        """Return what it says next; waits for it."""
        try:
            word = self.pipe.recv()
        except (EOFError, OSError):
            word = None
        if isinstance(word, ProgressUpdate):
            return word
        self.pipe.close()
        self.process.join()
        return word or Ended(_how_it_died(self.process.exitcode or 0))


class Processes(Engine):
    """Worker processes of this machine.

    The cores that this process may use are divided among the workers: a process has its share from its start on, so
    that what it starts (thread pools) is made for it.
    """

    def __init__(self, workers: int):
        """Divide the cores.

        Args:
            workers: processes at a time, ≥ 1.

        Raises:
            ValueError: if `workers` is below 1.
        """
        if workers < 1:
            raise ValueError(f"{workers} workers were requested, expected at least 1")
        self._free = shares(workers)
        self._running: dict[Connection, Worker] = {}
        self._begun: list[Job] = []

    @property
    def has_room(self) -> bool:
        """Is a worker free?"""
        return bool(self._free)

    def start(self, job: Job) -> None:
        """Start a process for a job."""
        worker = start_worker(job, self._free.pop())
        self._running[worker.pipe] = worker
        self._begun.append(job)

    def words(self, timeout: float) -> list[tuple[Job, Word]]:
        """Return what workers have said."""
        said: list[tuple[Job, Word]] = [(job, Begun()) for job in self._begun]
        self._begun.clear()
        for pipe in connection.wait(list(self._running), timeout=0 if said else timeout):
            assert isinstance(pipe, Connection)
            worker = self._running[pipe]
            word = worker.next_word()
            said.append((worker.job, word))
            if isinstance(word, Ended):
                del self._running[pipe]
                self._free.append(worker.share)
        return said

    def stop(self) -> None:
        """Send SIGTERM to the workers."""
        for worker in self._running.values():
            worker.process.terminate()

    def kill(self) -> None:
        """Send SIGKILL to the workers."""
        for worker in self._running.values():
            worker.process.kill()

    def one_at_a_time(self) -> Processes:
        """Return one worker with all cores."""
        return Processes(1)


def start_worker(job: Job, share: frozenset[int] = frozenset()) -> Worker:
    """Start a process that does a job, with some of the cores; with none given, with all."""
    context = get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(job.work, job.folder, sender), daemon=True)
    with only(share), _interrupt_held_back():
        process.start()
    sender.close()  # so that the pipe ends with the process
    return Worker(job, process, receiver, share)


@contextmanager
def without_main() -> Iterator[None]:
    """Hide the program that runs from processes that are started while a block runs: they do not import it."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextmanager
def _interrupt_held_back() -> Iterator[None]:
    """Have processes that are started while a block runs not heed Ctrl-C before `_work` has begun.

    While they import, it would end them with a traceback of its own.
    """
    resource_tracker.ensure_running()  # which multiprocessing starts first, and heeds Ctrl-C again after that
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _forget_interrupt() -> None:
    """Drop a Ctrl-C that came while this process started, and heed later ones."""
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    signal.signal(signal.SIGINT, handler)


def _work(work: Callable[[Path, Watch], object], folder: Path, sender: Connection) -> None:
    """Do a job, in its process."""
    os.setpgid(0, 0)  # Ctrl-C in a terminal then reaches only the process that waits for us, which passes it on
    _forget_interrupt()
    warnings.showwarning = lambda message, *_: print(f"note: {folder.name}: {message}", file=sys.stderr)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        work(folder, sender.send)
    except BrokenPipeError:
        return  # nobody waits for us any more
    except Exception as error:
        sender.send(Ended(f"{type(error).__name__}: {error}"))
    else:
        sender.send(Ended(None))


def _end_with_parent() -> None:
    """End this process as soon as the one that started it has, even in the middle of a compilation.

    What its job has on disk is whole at any moment.
    """
    parent = parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)


def _how_it_died(code: int) -> str:
    return (
        f"its process was killed by {signal.Signals(-code).name}"
        if code < 0
        else f"its process ended with status {code}"
    )
