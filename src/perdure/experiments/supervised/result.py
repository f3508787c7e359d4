"""What a learner's run has measured, for Python and for its record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Float64, Int

from perdure.core import AnyArray, Learner
from perdure.execution.compilation import bytes_of
from perdure.execution.drive import Costs
from perdure.execution.warnings import warn
from perdure.experiments.supervised.job import LearnerJob
from perdure.experiments.supervised.program import Alignment
from perdure.learners.catalog import learner_name
from perdure.metrics.anytime import anytime_over_seeds
from perdure.metrics.prequential import windowed_means
from perdure.metrics.transfer import Statistic, mean_and_interval, metrics_over_seeds
from perdure.records.folder import RunFolder
from perdure.records.measurements import alignment_curves, write_accuracy, write_alignment
from perdure.records.over_time import AccuracyOverTime, write_over_time
from perdure.records.summary import ALIGNMENTS, PREQUENTIAL, Summary, write_summary
from perdure.shown import Drawing, InShort, Shown, counted, place_of, with_interval


@dataclass(frozen=True, repr=False)
class Result(Shown):
    """What a run has measured."""

    learner: Learner[Any]
    """The one that learned, with the information about its stream and its loss."""
    benchmark: str
    """Name of what it learned."""
    seeds: tuple[int, ...]
    accuracy: Float64[np.ndarray, "seeds rows tasks"]
    """Accuracy matrices, as in `perdure.metrics.transfer`; NaN where not evaluated."""
    metrics: dict[str, Statistic]
    """`retained_accuracy` and the others as fractions; for classes `prequential_accuracy`, each arriving example
    predicted before it was learned; gradient alignments if requested."""
    losses: Float[np.ndarray, "seeds N"]
    """Loss on each arriving example before its update; NaN after the end of a stream that is shorter than others."""
    correct: Float[np.ndarray, "seeds N"] | None
    """Was each arriving example predicted right before its update, 1 or 0? None for numbers. Its mean is
    `metrics["prequential_accuracy"]`; see `prequential_curve`."""
    alignments: Alignment | None
    """Gradient alignment at each example, leaves (seeds, N); None if not requested."""
    over_time: AccuracyOverTime | None
    """Accuracy within tasks; None if it was not requested (`evaluate_every`)."""
    states: Any
    """Final states, leaves (seeds, ...)."""
    training_seconds: float
    """Time spent learning, all seeds together."""
    training_cpu_seconds: float
    """CPU time of the process meanwhile, all its threads together."""
    compile_seconds: float
    from_record: bool = False
    """Was the run finished before, so that all this comes from its folder?"""

    @property
    def state_bytes(self) -> int:
        """Bytes of all that the learner of one seed keeps from one example to the next: weights, memory, sums."""
        return bytes_of(self.states) // len(self.seeds)

    @property
    def title(self) -> str:
        """The run in a few words: "mer on digits-rotations"."""
        return f"{learner_name(self.learner)} on {self.benchmark}"

    def in_short(self) -> InShort:
        """Return title and metrics, as percentages; of numbers, the accuracy is R²."""
        figures = {
            name.replace("_", " "): _in_words(name, it) for name, it in self.metrics.items() if not np.isnan(it.mean)
        }
        seconds = {"training": f"{self.training_seconds:.1f} s"}
        return InShort(f"{self.title}, {counted(len(self.seeds), 'seed')}", figures | seconds)

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for each seed, with its metrics as fractions."""
        return [
            {"seed": seed, **{name: it.per_seed[place] for name, it in self.metrics.items()}}
            for place, seed in enumerate(self.seeds)
        ]

    def drawing(self) -> Drawing:
        """Return what draws accuracy on each task; without test sets, accuracy or loss over the stream."""
        module, title = "perdure.report.figures.results", self.in_short().title
        if not np.isnan(self.accuracy).all():
            return Drawing(module, "accuracy_of_run", (title, self.accuracy))
        if self.correct is not None:
            return Drawing(module, "accuracy_over_examples", (title, np.asarray(self.correct)))
        return Drawing(module, "loss_over_examples", (title, np.asarray(self.losses)))

    def predict(self, x: AnyArray, seed: int | None = None, task: Any = 0) -> Float[np.ndarray, "batch outputs"]:
        """Return what the learner of one seed answers in the end: logits, or values.

        Args:
            x: inputs, (batch, ...), like those that were learned from.
            seed: one of `seeds`; None for the first.
            task: number of the task of the inputs, or of each, (batch,), for learners that need it.

        Raises:
            ValueError: if the run had no such seed.
        """
        place = place_of(seed, self.seeds)
        state = jax.tree.map(lambda leaf: leaf[place], self.states)
        inputs = jnp.asarray(x)
        tasks = jnp.broadcast_to(jnp.asarray(task, jnp.int32), (len(inputs),))
        return np.asarray(eqx.filter_jit(self.learner.predict)(state, inputs, tasks))

    def prequential_curve(self, window: int = 500) -> Float64[np.ndarray, "seeds N"]:
        """Return the accuracy on the last arriving examples, each predicted before it was learned.

        Args:
            window: examples that count, at least 1; at the beginning there are fewer.

        Raises:
            ValueError: if the run learned numbers, or the window is out of range.

        Source: Gama, Sebastião & Rodrigues (2013), "On evaluating stream learning algorithms", Machine Learning 90.
        """
        if self.correct is None:
            raise ValueError("the run learned numbers, which have no accuracy; look at losses")
        return windowed_means(self.correct, window)


def _in_words(name: str, it: Statistic) -> str:
    """Return a metric as text: gradient alignments have no unit, the others are fractions."""
    if name in ALIGNMENTS:
        return with_interval(it.mean, it.ci95, ".3g")
    return with_interval(100 * it.mean, 100 * it.ci95, ".1f", " %")


def result_of(job: LearnerJob, costs: Costs, *, from_record: bool) -> Result:
    """Return what a finished job has measured."""
    log = jax.tree.map(np.asarray, job.progress.log)
    metrics = metrics_over_seeds(job.accuracy)
    if log.correct is not None:
        metrics[PREQUENTIAL] = mean_and_interval(
            [float(it[:n].mean(dtype=np.float64)) for it, n in zip(log.correct, job.streams.lengths, strict=True)]
        )
    if log.alignment is not None:
        for name, values in zip(ALIGNMENTS, log.alignment, strict=True):
            metrics[name] = mean_and_interval(_means_over_learning(values, job.streams.lengths))
    over_time = job.over_time
    if over_time is not None:
        ends = np.stack([it.task_ends for it in job.streams.benchmarks])
        metrics |= anytime_over_seeds(over_time.positions, over_time.accuracy, ends)
    return Result(
        learner=job.learner,
        benchmark=job.streams.first.name,
        seeds=job.streams.seeds,
        accuracy=job.accuracy,
        metrics=metrics,
        losses=log.loss,
        correct=log.correct,
        alignments=log.alignment,
        over_time=over_time,
        states=job.progress.state,
        training_seconds=costs.training_seconds,
        training_cpu_seconds=costs.training_cpu_seconds,
        compile_seconds=costs.compile_seconds,
        from_record=from_record,
    )


def write_record(folder: RunFolder, result: Result, peak_memory_bytes: int) -> None:
    """Write what a run has measured; the summary last, which marks it as finished.

    Args:
        folder: of the run.
        result: what it has measured.
        peak_memory_bytes: of its process, or of the largest of its processes.

    Raises:
        StorageError: if something cannot be written.
    """
    if not np.isnan(result.accuracy).all():  # there are test sets
        write_accuracy(folder.path, result.seeds, result.accuracy)
    if result.alignments is not None:
        curves = alignment_curves(*map(np.asarray, result.alignments))
        write_alignment(folder.path, result.seeds, curves)
    if result.over_time is not None:
        write_over_time(folder.path, result.seeds, result.over_time)
    folder.log(f"finished: {result.training_seconds:.1f} s of training")
    summary = Summary(
        metrics=result.metrics,
        training_seconds=result.training_seconds,
        training_cpu_seconds=result.training_cpu_seconds,
        compile_seconds=result.compile_seconds,
        peak_memory_bytes=peak_memory_bytes,
        examples_seen=round(np.isfinite(result.losses).sum() / len(result.seeds)),
        state_bytes=result.state_bytes,
    )
    write_summary(folder.path, summary)


def warn_of_no_gradients(result: Result) -> None:
    """Warn if gradient alignment was logged and is 0 throughout, which is no measurement."""
    if result.alignments is None:
        return
    before = np.asarray(result.alignments.before)[:, 1:]
    if before.size and not np.nan_to_num(before).any():
        warn(
            f"the gradient alignment of {learner_name(result.learner)} is 0 at every example: what it predicts for an "
            "arriving example does not depend on its weights, or not differentiably; leave its alignment out of "
            "comparisons"
        )


def _means_over_learning(values: Float[np.ndarray, "seeds N"], lengths: Int[np.ndarray, " seeds"]) -> list[float]:
    """Return each seed's mean over learning; the first example has no past and does not count."""
    return [
        float(seed[1:n].mean(dtype=np.float64)) if n > 1 else np.nan for seed, n in zip(values, lengths, strict=True)
    ]
