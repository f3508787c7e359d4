"""The one loop that drives a run of any kind: stretches, evaluation, progress, stop requests, checkpoints."""

from __future__ import annotations

import math
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

from perdure.execution.job import BrokenOffError, DivergedError, Job
from perdure.execution.loggers.events import RunStart
from perdure.execution.loggers.observers import Observers
from perdure.execution.progress import ProgressUpdate, Watch, job_progress
from perdure.execution.warnings import warn
from perdure.machine.signals import InterruptedRunError, StopRequests
from perdure.records.folder import RunFolder
from perdure.storage.checkpoints import load_checkpoint, save_checkpoint

STRETCH_SECONDS = 1.0
"""Between two looks at the clock and at stop requests."""
STRETCH_COSTS = 2.0
"""A stretch takes at least as many times what the shortest one took."""

_UNMEASURED = "unmeasured"
"""In a checkpoint: the evaluation at its position has failed, for want of something outside."""


@dataclass
class Costs:
    """What a run has taken so far, in seconds."""

    training_seconds: float = 0.0
    """In `advance`."""
    training_cpu_seconds: float = 0.0
    """CPU time of this process meanwhile, all its threads together."""
    compile_seconds: float = 0.0


@dataclass(frozen=True)
class Driving:
    """How a job is to be driven."""

    folder: RunFolder | None = None
    """Where checkpoints go; None keeps nothing."""
    checkpoint_seconds: float = 30.0
    """Time between two checkpoints."""
    previous: bool = False
    """If the newest checkpoint is damaged, resume from the one before?"""
    progress: bool | Watch = True
    """Show a progress bar; or a function to which progress is reported."""
    loggers: Sequence[Any] = ()
    """What is told how the run proceeds, as `perdure.execution.loggers.observers.make_loggers` returns them."""
    resume_command: str = ""
    """What resumes the run, for messages."""

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ValueError: if the time between two checkpoints is negative or not a number.
        """
        if not (isinstance(self.checkpoint_seconds, int | float) and self.checkpoint_seconds >= 0):
            raise ValueError(f"checkpoint_seconds = {self.checkpoint_seconds!r}, expected a number ≥ 0")

    def in_folder(self, folder: RunFolder, resume_command: str) -> Driving:
        """Return the same with a folder, and what resumes the run there."""
        return replace(self, folder=folder, resume_command=resume_command)


def drive(job: Job, how: Driving) -> Costs:
    """Do a job from where its folder has it, or from its beginning, to its end, and return what that took.

    A job that is stopped and driven again ends bit-identical to one that was not.

    Raises:
        DivergedError: if something that was computed is NaN or infinite; earlier checkpoints remain.
        BrokenOffError: if what the job needs from outside fails, with a checkpoint written if there is a folder.
        InterruptedRunError: after a request to stop, with a checkpoint written if there is a folder.
        CheckpointError: if the newest checkpoint is damaged, or not of this job.
        StorageError: if a checkpoint cannot be written.
    """
    costs, is_unmeasured = _restore(job, how)
    if not job.ended or is_unmeasured:
        _Loop(job, how, costs, is_unmeasured).run()
    return costs


def _restore(job: Job, how: Driving) -> tuple[Costs, bool]:
    """Bring the job to where its newest checkpoint has it, and tell whether it has still to be evaluated there."""
    at_start = Costs(), 0 in job.boundaries and not job.ended
    if how.folder is None:
        return at_start
    checkpoint = load_checkpoint(how.folder.checkpoints, job.snapshot(), previous=how.previous)
    if checkpoint is None:
        return at_start
    job.restore(checkpoint.tree, checkpoint.position)
    if not job.ended:
        how.folder.log(f"resumed from position {checkpoint.position:,} of {job.length:,} {job.unit}")
    costs = Costs(**{name: checkpoint.metadata[name] for name in Costs.__dataclass_fields__})
    return costs, checkpoint.metadata.get(_UNMEASURED, False)


class _Loop:
    """A job under way."""

    def __init__(self, job: Job, how: Driving, costs: Costs, is_unmeasured: bool):
        self._job = job
        self._is_unmeasured = is_unmeasured
        """Is it at a boundary without having been evaluated there?"""
        self._how = how
        self._costs = costs
        self._folder = how.folder
        self._saved = time.monotonic()
        self._shortest = math.inf
        """Seconds of the shortest stretch so far."""
        self._observers = Observers(how.loggers)

    def run(self) -> None:
        job = self._job
        with (
            self._observed(),
            StopRequests() as stop,
            job_progress(job.label, job.position, job.length, job.unit, show=self._how.progress) as report,
        ):
            self._compile()
            if self._is_unmeasured:
                self._evaluate()
            stretch = job.first_stretch
            while not job.ended:
                speed = self._stretch(stretch)
                # The shortest stretch tells what one costs at least, such as copying a large state. A stretch must take
                # longer than that, or stretches would become shorter and shorter, and do little but copy.
                stretch = max(1, int(speed * max(STRETCH_SECONDS, STRETCH_COSTS * self._shortest)))
                report(ProgressUpdate(job.position, job.length, speed, job.report()))
                self._notice_a_deleted_folder()
                requested = None if job.ended else stop.received
                if requested is not None or job.ended or self._is_due():
                    self._save()
                if requested is not None:
                    raise self._interrupted(requested)

    def _compile(self) -> None:
        try:
            self._costs.compile_seconds += _times(self._job.compile).wall
        except BrokenOffError as error:
            raise self._broken_off(error) from error

    def _stretch(self, units: int) -> float:
        """Do `units` units, or fewer up to the next boundary, and evaluate there; return units a second."""
        job, start = self._job, self._job.position
        next_boundary = bisect_right(job.boundaries, start)
        due = job.boundaries[next_boundary] if next_boundary < len(job.boundaries) else math.inf
        try:
            times = _times(job.advance, int(min(start + units, due, job.length)))
            self._shortest = min(self._shortest, times.wall)
            self._costs.training_seconds += times.wall
            self._costs.training_cpu_seconds += times.cpu
            self._observers.progress(job.position, job.progress_values)
        except DivergedError as error:
            raise self._diverged(error) from error
        except BrokenOffError as error:
            self._save()
            raise self._broken_off(error) from error
        if job.position == due:
            self._evaluate()
        return (job.position - start) / times.wall

    @contextmanager
    def _observed(self) -> Iterator[None]:
        """Tell the loggers that the run begins, and how it ends."""
        job, folder = self._job, self._folder
        config = {} if folder is None else folder.config
        path = None if folder is None else folder.path
        self._observers.start(RunStart(job.label, job.unit, job.position, job.length, config, path, {}))
        try:
            yield
        except InterruptedRunError:
            self._observers.end("stopped")
            raise
        except BaseException:
            self._observers.end("failed")
            raise
        self._observers.end("finished")

    def _evaluate(self) -> None:
        self._is_unmeasured = True
        try:
            self._job.evaluate()
        except DivergedError as error:
            raise self._diverged(error) from error
        except BrokenOffError as error:
            self._save()
            raise self._broken_off(error) from error
        self._is_unmeasured = False
        self._observers.evaluation(self._job.position, self._job.evaluation_values)

    def _is_due(self) -> bool:
        return self._folder is not None and time.monotonic() - self._saved > self._how.checkpoint_seconds

    def _save(self) -> None:
        """Write a checkpoint, if what there is to keep is sound and the run has a folder."""
        try:
            self._job.check()
        except DivergedError as error:
            raise self._diverged(error) from error
        if self._folder is not None:
            position, snapshot = self._job.position, self._job.snapshot()
            metadata = asdict(self._costs) | {_UNMEASURED: self._is_unmeasured}
            path = save_checkpoint(self._folder.checkpoints, position, snapshot, metadata)
            self._saved = time.monotonic()
            self._observers.checkpoint(position, path)

    def _notice_a_deleted_folder(self) -> None:
        if self._folder is not None and not self._folder.is_there():
            warn(
                f"the folder {self._folder.path} was deleted during the run: nothing more is kept of it, and it "
                "continues in memory only; stop it and start again to keep a record"
            )
            self._folder = None

    def _diverged(self, error: DivergedError) -> DivergedError:
        message = f"training diverged: {error}"
        if self._folder is not None and self._folder.is_there():
            self._folder.log(message)
            if self._folder.has_checkpoint:
                message += f". Checkpoints written before stay in {self._folder.checkpoints}"
        return DivergedError(message)

    def _broken_off(self, error: BrokenOffError) -> BrokenOffError:
        job = self._job
        message = f"{error}; stopped after {job.position:,} of {job.length:,} {job.unit}"
        if self._folder is None:
            return BrokenOffError(f"{message}; nothing is kept of a run without a folder")
        self._folder.log(message)
        return BrokenOffError(f"{message}; resume with `{self._how.resume_command}` when the cause is gone")

    def _interrupted(self, signal_number: int) -> InterruptedRunError:
        job = self._job
        where = f"stopped after {job.position:,} of {job.length:,} {job.unit}"
        if self._folder is None:
            return InterruptedRunError(f"{where}; nothing is kept of a run without a folder", signal_number)
        self._folder.log(where)
        how = f"resume with `{self._how.resume_command}`, or with the call or command that began it"
        return InterruptedRunError(f"{where}; {how}", signal_number)


class _Times(NamedTuple):
    """How long something took, in seconds."""

    wall: float
    cpu: float


def _times(work: Callable[..., Any], *arguments: Any) -> _Times:
    """Do something and return how long it took."""
    began = _Times(time.perf_counter(), time.process_time())
    work(*arguments)
    return _Times(time.perf_counter() - began.wall, time.process_time() - began.cpu)
