"""Running a learner over a benchmark."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax

from perdure.core import Learner
from perdure.execution.drive import Driving, drive
from perdure.execution.loggers.observers import make_loggers
from perdure.execution.progress import Watch, say
from perdure.execution.warnings import warn
from perdure.experiments.supervised.defaults import as_json, note_of_defaults, stream_typed
from perdure.experiments.supervised.job import LearnerJob
from perdure.experiments.supervised.result import Result, result_of, warn_of_no_gradients, write_record
from perdure.experiments.supervised.spec import Evaluation, MakeModel, RunSpec, run_spec
from perdure.learners.catalog import learner_name
from perdure.learners.gdumb import GDumb
from perdure.machine.process import peak_memory
from perdure.memory.buffer import BalancedBuffer
from perdure.named import resume_command
from perdure.records.folder import RunFolder, check_folder, own_folder
from perdure.records.requested import DEFAULTS, REQUEST
from perdure.storage.files import write_json
from perdure.streams.benchmark import Benchmark
from perdure.streams.catalog import BenchmarkRecipe
from perdure.updates.losses import CrossEntropyWithinTask

CHECKPOINT_SECONDS = 30.0
"""Time between two checkpoints unless told otherwise."""


def run(
    learner: Learner[Any],
    benchmark: Benchmark | Callable[[int], Benchmark],
    *,
    seeds: int | Sequence[int] = 1,
    model: MakeModel | None = None,
    evaluation: Evaluation = "needed",
    alignment: bool = False,
    evaluate_every: int | None = None,
    evaluate_on: int | None = None,
    folder: Path | str | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    previous: bool = False,
    progress: bool | Watch = True,
    loggers: Sequence[Any] = (),
) -> Result:
    """Let a learner learn a benchmark's stream once, example by example, and measure what it retains.

    All seeds run in one compiled program, side by side if the learner is `vectorized`. A seed fixes the stream, the
    initial weights and the draws, each through a key of its own, so learners with the same seed see the same stream.

    Args:
        learner: method and hyper-parameters.
        benchmark: makes the benchmark of a seed; or one benchmark, the same stream for every seed.
        seeds: how many (0, 1, …), or which ones.
        model: makes the network from one example, the number of outputs and a key; None for the benchmark's default.
        evaluation: "needed" tests each task just after it is learned and all tasks at the end, enough for
            retained accuracy, learning accuracy and backward transfer; "full" tests all tasks before training
            and after each task, for forward transfer and forgetting too.
        alignment: log how the gradients on each example and on a random past one agree: their dot product before and
            after the update, and their cosine.
        evaluate_every: examples between two evaluations within tasks, for metrics over time; None evaluates only at
            the ends of tasks.
        evaluate_on: test examples of each task that count in evaluations within tasks, drawn at random once per seed;
            None for all. What is measured at the ends of tasks does not change.
        folder: where the record and checkpoints go; a run that is unfinished there resumes from its last
            checkpoint and ends bit-identical to an uninterrupted one; a finished one is read. None keeps nothing.
        checkpoint_seconds: time between two checkpoints.
        previous: if the newest checkpoint is damaged, resume from the one before.
        progress: show a progress bar; or a function to which progress is reported.
        loggers: what is told how the run proceeds: names among csv, jsonl, tensorboard, mlflow and wandb, or own
            objects (docs/loggers.md). A logger that fails is left out, and the run continues.

    Raises:
        TypeError: if an argument is of the wrong kind, the learner does not keep the contract of `Learner`, or a part
            of learner, model or benchmark cannot be described in the record.
        ValueError: if seeds are missing, negative or repeated, the seeds' benchmarks differ in more than the lengths of
            tasks, the learner needs task numbers that the benchmark hides, or the model does not fit the examples.
        DivergedError: if a loss or weight is NaN or infinite; earlier checkpoints remain.
        InterruptedRunError: after Ctrl-C, SIGTERM or SIGHUP, with a checkpoint written if there is a folder.
        ResultsError: if the folder holds a run of another configuration, or of code that has changed.
        FolderInUseError: if another process owns the folder.
        CheckpointError: if the newest checkpoint is damaged.
        StorageError: if the record or a checkpoint cannot be written.
    """
    spec = run_spec(
        learner,
        benchmark,
        seeds=seeds,
        model=model,
        evaluation=evaluation,
        alignment=alignment,
        evaluate_every=evaluate_every,
        evaluate_on=evaluate_on,
    )
    if spec.defaults is not None:
        warn(_note(spec))
    how = Driving(
        checkpoint_seconds=checkpoint_seconds,
        previous=previous,
        progress=progress,
        loggers=make_loggers(loggers, folder=folder),
    )
    return run_of(spec, how, None if folder is None else Path(folder))


Begin = Callable[[RunFolder, LearnerJob], int]
"""Brings a run's folder to where a job begins, and returns the peak memory in bytes of what did so."""


def run_of(spec: RunSpec, how: Driving, folder: Path | None, *, begin: Begin | None = None) -> Result:
    """Do or resume the run of a specification, in a folder or in memory only; see `run`.

    Args:
        spec: what to do.
        how: how to drive it.
        folder: where; None keeps nothing.
        begin: does what is to be done first in the folder.
    """
    if folder is not None:
        check_folder(folder, spec.config)  # before anything is computed
    job = LearnerJob(spec)
    _warn_of_small_memory(job)
    _warn_of_masked_loss(job)
    _warn_of_late_training(job)
    if folder is None:
        result = result_of(job, drive(job, how), from_record=False)
    else:
        result = _run_in_folder(spec, job, how, folder, begin)
    warn_of_no_gradients(result)
    return result


def _run_in_folder(spec: RunSpec, job: LearnerJob, how: Driving, folder: Path, begin: Begin | None) -> Result:
    with own_folder(folder, spec.config) as home:
        home.begin(job.label, job.streams.checksums())
        if request := _request(spec):
            write_json(folder / REQUEST, request)
        peak = 0 if begin is None else begin(home, job)
        was_finished = home.finished and home.has_checkpoint  # which holds the states
        costs = drive(job, how.in_folder(home, _resume_command(spec, folder)))
        result = result_of(job, costs, from_record=was_finished)
        if was_finished:
            say(f"these figures are those of the finished run in {folder}; delete it to run again", show=how.progress)
        elif home.is_there():
            write_record(home, result, max(peak, peak_memory()))
        return result


def _note(spec: RunSpec) -> str:
    assert spec.defaults is not None
    cls, name = type(spec.learner), learner_name(spec.learner)
    if isinstance(spec.benchmark, BenchmarkRecipe):
        stream = stream_typed(spec.benchmark.name, spec.benchmark.options)
        return note_of_defaults(cls, name, stream, spec.defaults)
    stream = getattr(spec.benchmark, "name", "this stream")
    return note_of_defaults(cls, name, stream, spec.defaults, can_be_typed=False)


def _request(spec: RunSpec) -> dict[str, Any]:
    return {**spec.typed, **({} if spec.defaults is None else {DEFAULTS: as_json(spec.defaults)})}


def _resume_command(spec: RunSpec, folder: Path) -> str:
    where_data_are = [] if spec.data_folder is None else ["--data-dir", str(spec.data_folder)]
    return resume_command(folder, *where_data_are)


def _warn_of_small_memory(job: LearnerJob) -> None:
    parts = jax.tree.leaves(job.progress.state, is_leaf=lambda part: isinstance(part, BalancedBuffer))
    sizes = [part.labels.shape[-1] for part in parts if isinstance(part, BalancedBuffer)]
    n_classes = job.streams.first.n_outputs
    if sizes and min(sizes) < n_classes:
        warn(
            f"the memory of {learner_name(job.learner)} is balanced over classes, but its {min(sizes)} slots cannot "
            f"hold one example of each of {n_classes} classes; give it a memory_size of at least {n_classes}, better "
            "several times as many"
        )


def _warn_of_late_training(job: LearnerJob) -> None:
    learner, first = job.learner, job.streams.first
    if isinstance(learner, GDumb) and learner.retrain_every > first.task_ends[0]:
        first_end, last_end = first.task_ends[0], first.task_ends[-1]
        tests = "all tests are" if learner.retrain_every > last_end else f"the tests after {first_end:,} examples are"
        warn(
            f"gdumb trains after every {learner.retrain_every:,} examples, but the first task of {first.name} ends "
            f"after {first_end:,} and the last after {last_end:,}: {tests} of a network that has not been trained; "
            f"give retrain_every a divisor of {first_end:,}"
        )


def _warn_of_masked_loss(job: LearnerJob) -> None:
    learner, first = job.learner, job.streams.first
    if isinstance(getattr(learner, "loss", None), CrossEntropyWithinTask) and first.class_tasks is None:
        warn(
            f"the loss of {learner_name(learner)} masks the outputs of other tasks, but {first.name} masks none when "
            "it tests: outputs are compared that were never learned against each other; leave out the loss, or choose "
            "scenario='task'"
        )
