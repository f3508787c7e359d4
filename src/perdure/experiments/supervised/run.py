"""Running a learner over a benchmark: seeds side by side, the stream in chunks, evaluation, progress, checkpoints."""

from __future__ import annotations

import shlex
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Float64

from perdure.core import Learner, PerdureWarning
from perdure.execution.compilation import finite
from perdure.execution.progress import Watch, run_progress
from perdure.experiments.supervised.program import (
    Advance,
    Alignment,
    Evaluator,
    Keys,
    Log,
    Progress,
    Snapshot,
    named_keys,
    start_state,
)
from perdure.experiments.supervised.spec import (
    Evaluation,
    MakeModel,
    Session,
    benchmarks_of_seeds,
    check_arguments,
    chosen_seeds,
    data_folder,
    default_model,
    describe_run,
    prepare,
)
from perdure.learners.catalog import learner_name
from perdure.machine.process import peak_memory
from perdure.machine.signals import InterruptedRunError, StopRequests
from perdure.metrics.transfer import Statistic, mean_and_interval, metrics_over_seeds
from perdure.records import run as results
from perdure.records.measurements import alignment_curves, write_accuracy, write_alignment
from perdure.storage.checkpoints import load_checkpoint, save_checkpoint
from perdure.streams.benchmark import Benchmark

_CHUNK_SECONDS = 1.0  # between two looks at the clock, at stop requests and at the losses
_FIRST_CHUNK = 20


class DivergedError(ArithmeticError):
    """Training has reached NaN or infinity."""


@dataclass(frozen=True)
class Result:
    """What a run has measured."""

    learner: Learner[Any]
    seeds: tuple[int, ...]
    accuracy: Float64[np.ndarray, "seeds rows tasks"]
    """Accuracy matrices, as in `perdure.metrics.transfer`; NaN where not evaluated."""
    metrics: dict[str, Statistic]
    """`retained_accuracy` and the others as fractions; gradient alignments if asked for."""
    losses: Float[np.ndarray, "seeds N"]
    """Loss on each arriving example before its update."""
    alignments: Alignment | None
    """Gradient alignment at each example, leaves (seeds, N); None if not asked for."""
    states: Any
    """Final states, leaves (seeds, ...)."""
    training_seconds: float
    """Time spent learning, all seeds together."""
    compile_seconds: float


def run(
    learner: Learner[Any],
    benchmark: Benchmark | Callable[[int], Benchmark],
    *,
    seeds: int | Sequence[int] = 1,
    model: MakeModel | None = None,
    evaluation: Evaluation = "needed",
    alignment: bool = False,
    folder: Path | str | None = None,
    checkpoint_seconds: float = 30.0,
    previous: bool = False,
    progress: bool | Watch = True,
) -> Result:
    """Let a learner learn a benchmark's stream once, example by example, and measure what it retains.

    All seeds run in one compiled program, side by side if the learner is `vectorized`. A seed fixes the stream, the
    initial weights and the draws, each through a key of its own, so learners with the same seed see the same stream.

    Args:
        learner: method and hyper-parameters.
        benchmark: makes the benchmark of a seed; or one benchmark, the same stream for every seed.
        seeds: how many (0, 1, …), or which ones.
        model: makes the network from one example, the number of outputs and a key; None for the network that the
            benchmark is usually learned with.
        evaluation: "needed" tests each task just after it is learned and all tasks at the end, enough for
            retained accuracy, learning accuracy and backward transfer; "full" tests all tasks before training
            and after each task, for forward transfer and forgetting too.
        alignment: log how the gradients on each example and on a random past one agree: their dot product before and
            after the update, and their cosine.
        folder: where the record and checkpoints go; a run that is unfinished there goes on from its last
            checkpoint and ends bit-identical to an uninterrupted one. None keeps nothing on disk.
        checkpoint_seconds: time between two checkpoints.
        previous: if the newest checkpoint is damaged, go on from the one before.
        progress: show a progress bar; or a function that is told how the run goes on.

    Raises:
        TypeError: if an argument is of the wrong kind, or the learner does not keep the contract of `Learner`.
        ValueError: if seeds are missing, negative or repeated, the seeds' benchmarks differ in shape, or the model does
            not fit the examples.
        DivergedError: if a loss or weight is NaN or infinite; earlier checkpoints remain.
        InterruptedRunError: after Ctrl-C or SIGTERM, with a checkpoint written if there is a folder.
        ResultsError: if the folder holds a run of another configuration.
        CheckpointError: if the newest checkpoint is damaged.
        StorageError: if the record or a checkpoint cannot be written.
    """
    check_arguments(learner, benchmark, model, evaluation, checkpoint_seconds, named=folder is not None)
    model = model or default_model(benchmark)
    chosen = chosen_seeds(seeds)
    benchmarks = benchmarks_of_seeds(benchmark, chosen)
    if learner.needs_task and benchmarks[0].hides_tasks:
        warnings.warn(
            f"{learner_name(learner)} reads task numbers, which {benchmarks[0].name} hides: its figures tell what it "
            "does when it is told the tasks; compare it with learners that are told them too",
            PerdureWarning,
            stacklevel=2,
        )
    session = Session(
        learner=jax.tree.map(jnp.asarray, prepare(learner, benchmarks[0])),
        benchmarks=benchmarks,
        seeds=chosen,
        shared_stream=isinstance(benchmark, Benchmark),
        evaluation=evaluation,
        checkpoint_seconds=checkpoint_seconds,
        show_progress=progress,
        folder=None if folder is None else Path(folder),
        data_folder=data_folder(benchmark),
    )
    config = describe_run(learner, benchmark, chosen, model, evaluation, alignment)
    snapshot = _first_snapshot(session, model, alignment)
    if session.folder is not None:
        snapshot = _open(session, config, snapshot, previous=previous)
    if snapshot.position < session.length:
        snapshot = _learn(session, snapshot)
    result = _result(session, learner, snapshot)
    if session.folder is not None and not results.RunRecord.load(session.folder).finished:
        _write_record(session.folder, session, result)
    _warn_of_no_gradients(result)
    return result


def _warn_of_no_gradients(result: Result) -> None:
    """Warn if gradient alignment was logged and is 0 throughout, which is no measurement."""
    if result.alignments is None:
        return
    before = np.asarray(result.alignments.before)[:, 1:]
    if before.size and not before.any():
        warnings.warn(
            f"the gradient alignment of {learner_name(result.learner)} is 0 at every example: what it predicts for an "
            "arriving example does not depend on its weights, or not differentiably; leave its alignment out of "
            "comparisons",
            PerdureWarning,
            stacklevel=3,
        )


def _first_snapshot(session: Session, make_model: MakeModel, alignment: bool) -> Snapshot:
    """Return the run before its first example."""
    keys = jax.vmap(named_keys)(jnp.asarray(session.seeds))
    n_outputs = session.benchmarks[0].n_outputs
    example = session.first_example

    def start(keys: Keys) -> Progress:
        state = start_state(session.learner, make_model, example, n_outputs, keys)
        empty = jnp.full(session.length, jnp.nan)
        return Progress(state, Log(empty, Alignment(empty, empty, empty) if alignment else None))

    n_tasks = len(session.task_ends)
    accuracy = np.full((len(session.seeds), n_tasks + 1, n_tasks), np.nan)
    return Snapshot(0, jax.jit(jax.vmap(start))(keys), keys, accuracy, 0.0, 0.0)


def _open(session: Session, config: dict[str, Any], first: Snapshot, *, previous: bool) -> Snapshot:
    """Make the folder this run's, and return where the run stands there."""
    assert session.folder is not None
    results.open_folder(session.folder, config)
    snapshot = load_checkpoint(_checkpoints(session.folder), first, previous=previous)
    if snapshot is None:
        device = str(jax.devices()[0].device_kind)
        results.write_environment(session.folder, device, session.checksums())
        results.append_log(session.folder, f"started: {session.label}")
        return first
    results.check_data(session.folder, session.checksums())
    results.append_log(session.folder, f"went on from example {snapshot.position}")
    return snapshot


def _checkpoints(folder: Path) -> Path:
    return folder / "checkpoints"


def _learn(session: Session, snapshot: Snapshot) -> Snapshot:
    """Return the snapshot after the last example."""
    evaluator = Evaluator(session.learner, session.benchmarks[0].class_tasks)
    with (
        StopRequests() as stop,
        run_progress(session.label, snapshot.position, session.length, show=session.show_progress) as bar,
    ):
        if snapshot.position == 0 and session.evaluation == "full":
            _evaluate(session, evaluator, snapshot, row=0)
        began = time.perf_counter()
        advance = Advance(
            session.learner, snapshot.progress, session.stream, snapshot.keys, shared_stream=session.shared_stream
        )
        seconds = snapshot.compile_seconds + time.perf_counter() - began
        snapshot = snapshot._replace(compile_seconds=seconds)
        chunk, saved = _FIRST_CHUNK, time.monotonic()
        while snapshot.position < session.length:
            before = snapshot
            snapshot = _learn_chunk(session, advance, snapshot, chunk)
            speed = (snapshot.position - before.position) / (snapshot.training_seconds - before.training_seconds)
            chunk = max(1, int(speed * _CHUNK_SECONDS))
            finished_tasks = np.flatnonzero(session.task_ends == snapshot.position)
            signal_number = stop.received if snapshot.position < session.length else None
            saving = time.monotonic() - saved > session.checkpoint_seconds or snapshot.position == session.length
            if len(finished_tasks) or signal_number is not None or saving:
                snapshot = snapshot._replace(progress=advance.progress)
            if len(finished_tasks):
                _evaluate(session, evaluator, snapshot, row=int(finished_tasks[-1]) + 1)
            bar.update(snapshot.position, speed, _learning_accuracy_so_far(snapshot))
            if signal_number is not None:
                raise _interrupted(session, snapshot, signal_number)
            if saving:
                _save(session, snapshot)
                saved = time.monotonic()
    return snapshot


def _learn_chunk(session: Session, advance: Advance, snapshot: Snapshot, chunk: int) -> Snapshot:
    """Return the snapshot after `chunk` more examples, or up to the end of the task, its progress still to be asked."""
    start = snapshot.position
    task_end = session.task_ends[np.searchsorted(session.task_ends, start, side="right")]
    stop = min(start + chunk, int(task_end))
    began = time.perf_counter()
    losses = advance(start, stop)
    seconds = snapshot.training_seconds + time.perf_counter() - began
    _check_losses(session, losses, start)
    return snapshot._replace(position=stop, training_seconds=seconds)


def _check_losses(session: Session, losses: Float[np.ndarray, "seeds chunk"], start: int) -> None:
    bad = np.argwhere(~np.isfinite(losses.T))
    if len(bad):
        n, seed = bad[0]
        raise _diverged(session, int(seed), f"the loss is {losses[seed, n]} at example {start + n:,}")


def _diverged(session: Session, seed: int, what: str) -> DivergedError:
    message = f"training diverged: {what} (seed {session.seeds[seed]}); lower the rates"
    if session.folder is not None:
        results.append_log(session.folder, message)
        if list(_checkpoints(session.folder).glob("*")):
            message += f". Checkpoints written before stay in {_checkpoints(session.folder)}"
    return DivergedError(message)


def _save(session: Session, snapshot: Snapshot) -> None:
    """Write a checkpoint, if the weights are sound and the run has a folder."""
    sound = finite(snapshot.progress.state)
    if not sound.all():
        where = f"a weight is not finite after example {snapshot.position - 1:,}"
        raise _diverged(session, int(np.argmin(sound)), where)
    if session.folder is not None:
        save_checkpoint(_checkpoints(session.folder), snapshot)


def _interrupted(session: Session, snapshot: Snapshot, signal_number: int) -> InterruptedRunError:
    where = f"stopped at example {snapshot.position:,} of {session.length:,}"
    if session.folder is None:
        return InterruptedRunError(f"{where}; nothing is kept of a run without a folder", signal_number)
    _save(session, snapshot)
    results.append_log(session.folder, where)
    where_data_are = [] if session.data_folder is None else ["--data-dir", str(session.data_folder)]
    command = shlex.join(["perdure", "resume", str(session.folder), *where_data_are])
    how = f"go on with `{command}`, or from Python with the same call"
    return InterruptedRunError(f"{where}; {how}", signal_number)


def _evaluate(session: Session, evaluator: Evaluator, snapshot: Snapshot, row: int) -> None:
    """Fill the entries of a row of the accuracy matrices that the evaluation asks for."""
    n_tasks = len(session.task_ends)
    whole_row = session.evaluation == "full" or row == n_tasks
    for seed, benchmark in enumerate(session.benchmarks):
        for task in range(n_tasks) if whole_row else [row - 1]:
            snapshot.accuracy[seed, row, task] = evaluator.score(
                snapshot.progress.state, seed, task, benchmark.test[task]
            )


def _learning_accuracy_so_far(snapshot: Snapshot) -> float | None:
    just_learned = np.diagonal(snapshot.accuracy[:, 1:], axis1=1, axis2=2)
    known = just_learned[~np.isnan(just_learned)]
    return float(known.mean()) if known.size else None


def _result(session: Session, learner: Learner[Any], snapshot: Snapshot) -> Result:
    log = jax.tree.map(np.asarray, snapshot.progress.log)
    metrics = metrics_over_seeds(snapshot.accuracy)
    if log.alignment is not None:
        for name, values in zip(results.ALIGNMENTS, log.alignment, strict=True):
            metrics[name] = mean_and_interval(_means_over_learning(values))
    return Result(
        learner=learner,
        seeds=session.seeds,
        accuracy=snapshot.accuracy,
        metrics=metrics,
        losses=log.loss,
        alignments=log.alignment,
        states=snapshot.progress.state,
        training_seconds=snapshot.training_seconds,
        compile_seconds=snapshot.compile_seconds,
    )


def _means_over_learning(values: Float[np.ndarray, "seeds N"]) -> list[float]:
    """Return each seed's mean over learning; the first example has no past and does not count."""
    return [float(seed[1:].mean(dtype=np.float64)) if len(seed) > 1 else np.nan for seed in values]


def _write_record(folder: Path, session: Session, result: Result) -> None:
    write_accuracy(folder, session.seeds, result.accuracy)
    if result.alignments is not None:
        write_alignment(folder, session.seeds, alignment_curves(*map(np.asarray, result.alignments)))
    results.append_log(folder, f"finished: {result.training_seconds:.1f} s of training")
    summary = results.Summary(
        result.metrics, result.training_seconds, result.compile_seconds, peak_memory(), session.length
    )
    results.write_summary(folder, summary)
