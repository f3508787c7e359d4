"""Evaluation within tasks: accuracy on all tasks seen so far, and of each class, after every n examples."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from perdure.experiments.supervised.program import Evaluator
from perdure.experiments.supervised.streams import SeedStreams
from perdure.records.over_time import AccuracyOverTime
from perdure.streams.benchmark import LabelledSet
from perdure.streams.tasks import named_rng


class Sampling(NamedTuple):
    """When a run is evaluated within tasks, and on how much."""

    every: int
    """Examples between two evaluations; the ends of tasks are evaluated too."""
    test_examples: int | None = None
    """Test examples of each task, drawn at random once per seed; None for all."""


@dataclass(frozen=True)
class EvaluationOverTime:
    """Evaluates the seeds of a run at the positions that a sampling asks for."""

    sampling: Sampling
    streams: SeedStreams

    @cached_property
    def positions(self) -> Int64[np.ndarray, " evaluations"]:
        """Positions at which there is an evaluation, in ascending order."""
        ends = np.concatenate([it.task_ends for it in self.streams.benchmarks])
        return np.union1d(np.arange(self.sampling.every, ends.max(), self.sampling.every), ends).astype(np.int64)

    def start(self) -> AccuracyOverTime:
        """Return what there is before the first evaluation.

        Raises:
            ValueError: if there is nothing to evaluate on, or targets drawn for it are all the same, so that R² is
                undefined.
        """
        shape = (len(self.streams.seeds), len(self.positions))
        first = self.streams.first
        if not len(first.test):
            raise ValueError(
                f"evaluate_every = {self.sampling.every} is given, but {first.name} has no test sets; leave it out: "
                "prequential accuracy is measured on every example as it comes"
            )
        if first.regression and self.sampling.test_examples is not None:
            self._check_varied()
        n_classes = 0 if first.regression else first.n_outputs
        return AccuracyOverTime(
            self.positions, np.full((*shape, len(first.test)), np.nan), np.full((*shape, n_classes), np.nan)
        )

    def evaluate(self, evaluator: Evaluator, states: Any, position: int, found: AccuracyOverTime) -> None:
        """Fill in the evaluation at a position, if there is one.

        Args:
            evaluator: of the run's learner.
            states: leaves (seeds, ...).
            position: examples learned from.
            found: what is filled in.
        """
        place = int(np.searchsorted(self.positions, position))
        if place == len(self.positions) or self.positions[place] != position:
            return
        for seed, benchmark in enumerate(self.streams.benchmarks):
            if position > benchmark.task_ends[-1]:  # the stream of this seed has ended
                continue
            seen = np.flatnonzero(np.concatenate([[0], benchmark.task_ends[:-1]]) < position)
            right = [self._measure(evaluator, states, seed, int(task), place, found) for task in seen]
            if found.of_classes.shape[2]:
                found.of_classes[seed, place] = self._class_accuracy(seed, seen.tolist(), right)

    def _measure(
        self, evaluator: Evaluator, states: Any, seed: int, task: int, place: int, found: AccuracyOverTime
    ) -> Any:
        """Fill in the accuracy on a task, and return which of its tests were right; nothing for regression."""
        test, told = self._test(seed, task), 0 if self.streams.first.hides_tasks else task
        if self.streams.first.regression:
            found.accuracy[seed, place, task] = evaluator.score(states, seed, told, test)
            return None
        right = evaluator.right(states, seed, told, test)
        found.accuracy[seed, place, task] = float(np.mean(right))
        return right

    def _class_accuracy(self, seed: int, tasks: list[int], right: list[np.ndarray]) -> Float64[np.ndarray, " classes"]:
        labels = np.concatenate([self._test(seed, task).y for task in tasks])
        n_classes = self.streams.first.n_outputs
        shown = np.bincount(labels, minlength=n_classes)
        known = np.bincount(labels, np.concatenate(right), minlength=n_classes)
        return np.where(shown > 0, known / np.maximum(shown, 1), np.nan)

    def _test(self, seed: int, task: int) -> LabelledSet:
        if self.sampling.test_examples is None:
            return self.streams.benchmarks[seed].test[task]
        return self._samples[seed, task]

    def _check_varied(self) -> None:
        for (place, task), sample in self._samples.items():
            if (sample.y == sample.y[:1]).all():
                raise ValueError(
                    f"evaluate_on = {self.sampling.test_examples}, but the targets drawn for task {task} and seed "
                    f"{self.streams.seeds[place]} are all the same, and R² divides by their variance; give it more, or "
                    "leave it out to test on all"
                )

    @cached_property
    def _samples(self) -> dict[tuple[int, int], LabelledSet]:
        """Samples of the test sets by place of the seed and task, made once, as whole sets may not be."""
        return {
            (place, task): _sample(test, seed, task, self.sampling.test_examples or len(test.y))
            for place, (seed, benchmark) in enumerate(zip(self.streams.seeds, self.streams.benchmarks, strict=True))
            for task, test in enumerate(benchmark.test)
        }


def _sample(test: LabelledSet, seed: int, task: int, n: int) -> LabelledSet:
    """Return n examples of a test set, all if it has no more."""
    if n >= len(test.y):
        return test
    rng = named_rng(seed, f"evaluation over time/{task}")
    chosen = np.sort(rng.choice(len(test.y), n, replace=False))
    return LabelledSet(test.x[chosen], test.y[chosen])
