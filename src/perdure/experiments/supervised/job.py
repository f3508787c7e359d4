"""A learner on a benchmark as a job: seeds side by side, the stream in stretches, tested at the end of each task."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float64, Int

from perdure.core import Learner
from perdure.execution.available import check_fits
from perdure.execution.compilation import bytes_of, finite
from perdure.execution.job import DivergedError, Job
from perdure.execution.warnings import warn
from perdure.experiments.supervised.over_time import EvaluationOverTime
from perdure.experiments.supervised.program import (
    Advance,
    Alignment,
    Evaluator,
    Keys,
    Log,
    Progress,
    named_keys,
    start_state,
)
from perdure.experiments.supervised.spec import RunSpec, prepare
from perdure.experiments.supervised.streams import SeedStreams
from perdure.learners.catalog import learner_name
from perdure.metrics.transfer import metrics_over_seeds
from perdure.records.over_time import AccuracyOverTime
from perdure.streams.benchmark import Benchmark, input_range


class LearnerSnapshot(NamedTuple):
    """All that learning from a stream changes, and the keys of its chance."""

    progress: Progress
    """States and log of all seeds, leaves (seeds, ...)."""
    keys: Keys
    """Random keys of all seeds, leaves (seeds,)."""
    accuracy: Float64[np.ndarray, "seeds rows tasks"]
    """Accuracy matrices so far, as in `perdure.metrics.transfer`."""
    over_time: AccuracyOverTime | None
    """Accuracy within tasks so far; None if it was not requested."""


class LearnerJob(Job):
    """A run of a learner."""

    unit: ClassVar[str] = "examples"
    first_stretch = 20

    def __init__(self, spec: RunSpec):
        """Make the streams and the states before the first example, all checked.

        Raises:
            TypeError: if the learner does not keep the contract of `Learner`.
            ValueError: if the seeds' benchmarks differ in shape, or the model does not fit the examples.
        """
        self.streams = SeedStreams.of(spec.benchmark, spec.seeds)
        self.learner: Learner[Any] = prepare(spec.learner, *self.streams.benchmarks)
        _check_measured(spec, self.learner, self.streams.first)
        self.label = self.streams.label(learner_name(spec.learner))
        self.length = self.streams.length
        self.position = 0
        n_tasks = self.streams.first.n_tasks
        self.accuracy = np.full((len(spec.seeds), n_tasks + 1, n_tasks), np.nan)
        self.evaluation_over_time = None if spec.sampling is None else EvaluationOverTime(spec.sampling, self.streams)
        self.over_time = None if self.evaluation_over_time is None else self.evaluation_over_time.start()
        self._traced = jax.device_put(self.learner)
        self._loss = math.nan
        """Mean of the last stretch."""
        self._is_full = spec.evaluation == "full"
        self._keys, self._progress = self._start(spec)
        self._advance: Advance | None = None
        self._evaluator = Evaluator(self._traced, self.streams.first.class_tasks)

    @property
    def boundaries(self) -> Sequence[int]:
        """The ends of the tasks, the beginning if all tasks are tested before it, and evaluations within tasks."""
        within = () if self.evaluation_over_time is None else self.evaluation_over_time.positions
        ends = np.unique(self.streams.task_ends)
        return sorted({*([0] if self._is_full else []), *map(int, ends), *map(int, within)})

    @property
    def ended(self) -> bool:
        """Has all of the stream been learned?"""
        return self.position >= self.length

    @property
    def progress(self) -> Progress:
        """States and log of all seeds, leaves (seeds, ...); advancing consumes them."""
        return self._progress if self._advance is None else self._advance.progress

    def compile(self) -> None:
        """Compile learning."""
        self._advance = Advance(
            self._traced,
            self._progress,
            self.streams.stream,
            self._keys,
            shared_stream=self.streams.shared,
            lengths=self.streams.lengths.astype(np.int32) if self.streams.are_padded else None,
            class_tasks=self.streams.first.class_tasks,
        )

    def advance(self, stop: int) -> None:
        """Learn from the examples up to `stop`."""
        assert self._advance is not None
        losses = self._advance(self.position, stop)
        self._loss = float(np.nanmean(losses)) if np.isfinite(losses).any() else math.nan
        bad = np.argwhere(~np.isfinite(losses.T) & (self.position < self.streams.lengths))
        if len(bad):
            n, seed = bad[0]
            raise self._diverged(int(seed), f"the loss is {losses[seed, n]} at example {self.position + n:,}")
        self.position = stop

    def evaluate(self) -> None:
        """Measure what there is to measure at this position: tasks at their ends, and whatever is within tasks."""
        if self.evaluation_over_time is not None and self.over_time is not None:
            state = self.progress.state
            self.evaluation_over_time.evaluate(self._evaluator, state, self.position, self.over_time)
        self._fill_rows()

    def _fill_rows(self) -> None:
        """Fill the entries that the evaluation asks for, of the rows of seeds that have just ended a task."""
        state = self.progress.state
        for seed, row in self._rows_ended():
            benchmark = self.streams.benchmarks[seed]
            whole_row = self._is_full or row == benchmark.n_tasks
            tasks = range(benchmark.n_tasks) if whole_row else [row - 1]
            self.accuracy[seed, row, tasks] = self._scores(state, seed, benchmark, tasks)

    def _rows_ended(self) -> Iterator[tuple[int, int]]:
        """Yield each seed that has just ended a task, or has not begun, and the row of the accuracies measured then."""
        for seed, ends in enumerate(self.streams.task_ends):
            if not self.position or self.position in ends:
                yield seed, int(np.searchsorted(ends, self.position, side="right"))

    def _scores(self, state: Any, seed: int, benchmark: Benchmark, tasks: Sequence[int]) -> list[float]:
        """Return how well one seed does on the test sets of some tasks; NaN where there are none."""
        if not len(benchmark.test):
            return [math.nan] * len(tasks)
        if benchmark.has_one_test and not self.learner.needs_task:
            return [self._evaluator.score(state, seed, 0, benchmark.test[0])] * len(tasks)
        known = not benchmark.hides_tasks
        return [self._evaluator.score(state, seed, task if known else 0, benchmark.test[task]) for task in tasks]

    def check(self) -> None:
        """Check that all weights are finite."""
        sound = finite(self.progress.state)
        if not sound.all():
            raise self._diverged(int(np.argmin(sound)), f"a weight is not finite after example {self.position - 1:,}")

    def snapshot(self) -> LearnerSnapshot:
        """Return states, log, keys and accuracies."""
        return LearnerSnapshot(self.progress, self._keys, self.accuracy, self.over_time)

    def restore(self, snapshot: LearnerSnapshot, position: int) -> None:
        """Go to a position."""
        self._progress, self._keys, self.accuracy, self.over_time = snapshot
        self.position = position

    def report(self) -> str:
        """Return the mean accuracy on each task just after it was learned, so far."""
        just_learned = np.diagonal(self.accuracy[:, 1:], axis1=1, axis2=2)
        known = just_learned[~np.isnan(just_learned)]
        return f"accuracy so far {100 * float(known.mean()):.1f} %" if known.size else ""

    def progress_values(self) -> dict[str, float]:
        """Return the mean loss, over the seeds and the examples of the last stretch."""
        return {"training/loss": self._loss}

    def evaluation_values(self) -> dict[str, float]:
        """Return, as means over seeds, the accuracy on each task tested at this position, and the known metrics."""
        tested = np.full((self.accuracy.shape[0], self.accuracy.shape[2]), np.nan)
        for seed, row in self._rows_ended():
            tested[seed] = self.accuracy[seed, row]
        metrics = {f"metrics/{name}": it.mean for name, it in metrics_over_seeds(self.accuracy).items()}
        if self.over_time is not None and (place := np.flatnonzero(self.over_time.positions == self.position)).size:
            now = self.over_time.accuracy[:, place[0]]
            metrics["accuracy/tasks-seen"] = _known_mean(now)
            tested = np.where(np.isnan(now), tested, now)
        return {f"accuracy/task-{task}": _known_mean(it) for task, it in enumerate(tested.T)} | metrics

    def _start(self, spec: RunSpec) -> tuple[Keys, Progress]:
        """Return each seed's keys, and the states before the first example."""
        example, n_outputs = self.streams.first_example, self.streams.first.n_outputs

        def start(seed: Int[Array, ""]) -> tuple[Keys, Progress]:
            keys = named_keys(seed)
            state = start_state(self._traced, spec.model, example, n_outputs, keys)
            empty = jnp.full(self.length, jnp.nan)
            log = Log(
                loss=empty,
                correct=None if self.streams.first.regression or self.learner.costly_outputs else empty,
                alignment=Alignment(empty, empty, empty) if spec.alignment else None,
            )
            return keys, Progress(state, log)

        seeds = np.asarray(spec.seeds)
        program = jax.jit(jax.vmap(start)).lower(seeds)
        check_fits(
            f"{learner_name(self.learner)} with its network and memory",
            bytes_of(program.out_info),
            len(seeds),
            "use fewer hidden units, a smaller memory, or fewer seeds at a time",
        )
        return program.compile()(seeds)

    def _diverged(self, seed: int, what: str) -> DivergedError:
        inputs = input_range(self.streams.benchmarks[seed])
        return DivergedError(f"{what} (seed {self.streams.seeds[seed]}); lower the rates; {inputs}")


def _known_mean(values: Float64[np.ndarray, "..."]) -> float:
    """Return the mean of the values that are not NaN; NaN if there are none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else math.nan


def _check_measured(spec: RunSpec, learner: Learner[Any], first: Benchmark) -> None:
    """Refuse tests of tasks that have none, and warn if nothing at all will be measured.

    Raises:
        ValueError: if there are no test sets, and all are to be tested after each task.
    """
    if len(first.test):
        return
    if spec.evaluation == "full":
        raise ValueError(
            f"all tasks are to be tested after each one (evaluation='full', or --full-matrix), but {first.name} has no "
            "test sets; leave it out: prequential accuracy is measured on every example as it comes"
        )
    if learner.costly_outputs:
        name = learner_name(learner)
        warn(
            f"nothing will be measured: {first.name} has no test sets, and {name} does not answer each example before "
            "it learns it, since it finds its weights only when it is tested; give test sets, as tests='task' where "
            "the data have some, or choose a learner with a network"
        )
