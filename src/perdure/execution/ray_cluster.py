"""Jobs as tasks of a Ray cluster; what they leave comes back into the folders of this machine.

A task starts a fresh process on its node, as the pool of this machine does, and works in a folder of that node. After
each checkpoint the files that have changed come back, so that a job whose node is lost resumes elsewhere from the last
ones.
No folder has to be shared. Only this module imports Ray, and only when it is called for.
"""

from __future__ import annotations

import inspect
import logging
import os
import socket
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from perdure.execution.pool import Begun, Ended, Engine, Job, Lost, Word
from perdure.execution.processes import start_worker, without_main
from perdure.machine.cores import usable_cpus
from perdure.storage.files import is_partial, make_folder, remove_file, write_atomically
from perdure.storage.lock import LOCK_FILE

LOCAL = "local"
"""In place of an address: a cluster of this machine, for as long as the command runs."""
CPUS = 1
"""Of a task."""
MEMORY = 2**30
"""Bytes of memory of a task."""
_SECONDS_TO_ANSWER = 6.0
_SECONDS_BETWEEN_LOOKS = 0.2
_SECONDS_TO_STOP = 15.0
_SETTINGS = ("JAX_", "XLA_")
"""How names of variables begin that tasks have from here, unless their node sets them."""


class RayError(Exception):
    """There is no Ray, or no cluster at the address."""


class Files(NamedTuple):
    """Where a folder stands."""

    changed: Mapping[str, bytes]
    """Content of files that are new or have changed, by their path in the folder."""
    all: frozenset[str]
    """Paths of all that are there."""


class RayCluster(Engine):
    """A Ray cluster. Its own scheduler queues the jobs."""

    def __init__(self, address: str, limit: int | None = None):
        """Connect.

        Args:
            address: of the cluster's head, HOST:PORT; ray://HOST:PORT; auto, for the cluster that this machine is part
                of; or local, for one of this machine alone.
            limit: jobs at a time; None for as many as the cluster has room for.

        Raises:
            RayError: if Ray is not installed, or no cluster answers within 10 seconds.
        """
        self._address, self._limit = address, limit
        self._ray = connect(address)
        task = self._ray.remote(num_cpus=CPUS, memory=MEMORY, max_retries=0, num_returns="streaming")
        self._do: Any = task(inspect.unwrap(_do))  # Ray must see a generator, not what checks its types
        self._running: dict[Any, Job] = {}
        """By the stream of a job's words."""
        self._stopped_at: float | None = None
        """When the jobs were cancelled, by the clock of `time.monotonic`."""
        self._settings = {name: it for name, it in os.environ.items() if name.startswith(_SETTINGS)}

    @property
    def has_room(self) -> bool:
        """Is the limit not reached yet?"""
        return self._limit is None or len(self._running) < self._limit

    def start(self, job: Job) -> None:
        """Put a job into the cluster's queue, with what its folder holds."""
        files = folder_files(job.folder, {})
        self._running[self._do.remote(job, files.changed, self._settings)] = job

    def words(self, timeout: float) -> list[tuple[Job, Word]]:
        """Return what jobs have said, and write what they have left."""
        if not self._running:
            return []
        said: list[tuple[Job, Word]] = []
        for stream in self._ready(timeout):
            job = self._running[stream]
            word = self._next(stream)
            if isinstance(word, Files):
                write_files(job.folder, word)
                continue
            if isinstance(word, Ended | Lost):
                del self._running[stream]
            said.append((job, word))
        return said + self._given_up()

    def _ready(self, timeout: float) -> list[Any]:
        """Return the streams whose next word is there.

        Of a task that was cancelled before it began, Ray may wait for the last word for ever: once jobs are cancelled,
        only streams of tasks that have ended are read.
        """
        streams = list(self._running)
        awaited = streams if self._stopped_at is None else [it.completed() for it in streams]
        ready = set(self._ray.wait(awaited, num_returns=len(awaited), timeout=timeout, fetch_local=False)[0])
        return [stream for stream, it in zip(streams, awaited, strict=True) if it in ready]

    def _given_up(self) -> list[tuple[Job, Word]]:
        """Return the end of jobs that were cancelled `_SECONDS_TO_STOP` ago and have still not ended."""
        if self._stopped_at is None or time.monotonic() < self._stopped_at + _SECONDS_TO_STOP:
            return []
        jobs = list(self._running.values())
        self.kill()
        return [(job, Ended("stopped")) for job in jobs]

    def _next(self, stream: Any) -> Word | Files:
        try:
            return self._ray.get(next(stream))
        except StopIteration:
            return Lost("its task ended without a word")
        except self._ray.exceptions.TaskCancelledError:
            return Ended("stopped")
        except (self._ray.exceptions.RayTaskError, self._ray.exceptions.RuntimeEnvSetupError) as error:
            return Ended(str(error).strip().splitlines()[-1])
        except self._ray.exceptions.RayError:
            return Lost("its node or worker was lost")

    def stop(self) -> None:
        """Cancel the jobs; the checkpoints that came back stay."""
        self._stopped_at = time.monotonic()
        for stream in self._running:
            self._ray.cancel(stream)

    def kill(self) -> None:
        """Cancel what still runs, at once."""
        for stream in self._running:
            self._ray.cancel(stream, force=True)
        self._running.clear()

    def one_at_a_time(self) -> RayCluster:
        """Return the same cluster with one job after another."""
        return RayCluster(self._address, limit=1)


def connect(address: str) -> Any:
    """Return the module Ray, connected to a cluster.

    Raises:
        RayError: if it is not installed, or no cluster answers within 10 seconds.
    """
    _check_that_something_answers(address)  # before Ray is imported, which takes seconds
    try:
        import ray
    except ImportError as cause:
        raise RayError("Ray is not installed; install perdure with its extra: pip install 'perdure[ray]'") from cause
    if ray.is_initialized():
        return ray
    logging.getLogger("ray").setLevel(logging.ERROR)  # it warns of the thread that joins below
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # as Ray will have it; it warns otherwise
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": False}
    options["address"] = address  # "local" for Ray too: without it Ray may join a cluster that runs on this machine
    if address == LOCAL:
        options |= {"num_cpus": usable_cpus(), "include_dashboard": False}
    failures: list[BaseException] = []

    def join() -> None:
        try:
            ray.init(**options)
        except BaseException as error:
            failures.append(error)

    if address == LOCAL:  # starting one may take longer than a cluster that runs takes to answer
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="os.fork")  # which only starts programs
            join()
    else:
        thread = threading.Thread(target=join, daemon=True)
        thread.start()
        thread.join(_SECONDS_TO_ANSWER)
        if thread.is_alive():
            raise RayError(_no_answer(address, f"nothing that speaks Ray within {_SECONDS_TO_ANSWER:.0f} seconds"))
    if failures:
        raise RayError(_no_answer(address, str(failures[0]).splitlines()[0])) from failures[0]
    return ray


def _check_that_something_answers(address: str) -> None:
    if address in (LOCAL, "auto"):
        return
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not (colon and host and port.isdecimal() and int(port) < 2**16):
        raise RayError(f"the Ray address is {address!r}, expected HOST:PORT, as 10.0.0.1:6379, or auto or local")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_SECONDS_TO_ANSWER).close()
    except OSError as cause:
        raise RayError(_no_answer(address, cause.strerror or str(cause))) from cause


def _no_answer(address: str, why: str) -> str:
    return (
        f"no Ray cluster answers at {address} ({why}); start one with `ray start --head --port=6379` and give its "
        "address, or give --ray local for this machine alone"
    )


def _do(job: Job, files: Mapping[str, bytes], settings: Mapping[str, str]) -> Iterator[Word | Files]:
    """Do a job on a node of the cluster, and yield what it says and what it leaves."""
    for name, value in settings.items():
        os.environ.setdefault(name, value)
    os.environ["JAX_NUM_CPU_DEVICES"] = str(CPUS)
    with TemporaryDirectory(prefix="perdure-") as home:
        folder = Path(home) / "run"
        if files:
            write_files(folder, Files(files, frozenset(files)))
        yield Begun()
        with without_main():
            worker = start_worker(job._replace(folder=folder))
        sent: dict[str, tuple[int, int]] = {}
        try:
            word = None
            while not isinstance(word, Ended):
                while not worker.pipe.poll(_SECONDS_BETWEEN_LOOKS):
                    pass  # a request to stop is noticed between two looks only, not while a word is waited for
                word = worker.next_word()
                now = folder_files(folder, sent)
                if any(not name.endswith(".txt") for name in now.changed) or isinstance(word, Ended):
                    yield now
                yield word
        finally:
            worker.process.kill()
            worker.process.join()


def folder_files(folder: Path, sent: dict[str, tuple[int, int]]) -> Files:
    """Return where a folder stands.

    Args:
        folder: which need not be there.
        sent: time and size of the files that are known already; what is returned is added.
    """
    changed, there = {}, set()
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.name == LOCK_FILE or is_partial(path):
            continue
        with suppress(FileNotFoundError, IsADirectoryError):  # its owner may remove an old checkpoint meanwhile
            stat = path.stat()
            mark = (stat.st_mtime_ns, stat.st_size)
            if sent.get(name) != mark:
                changed[name] = path.read_bytes()
                sent[name] = mark
            there.add(name)
    return Files(changed, frozenset(there))


def write_files(folder: Path, files: Files) -> None:
    """Bring a folder to where another stands; the summary, which marks a run as finished, comes last.

    Raises:
        StorageError: if something cannot be written.
    """
    for name in sorted(files.changed, key=lambda name: (name == "summary.json", name)):
        path = folder / name
        make_folder(path.parent)
        write_atomically(path, files.changed[name])
    for old in folder_files(folder, {}).all - files.all:
        remove_file(folder / old)
