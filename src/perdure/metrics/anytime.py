"""Metrics over time: how a learner does at any moment of its stream, not only at the ends of tasks.

All functions take `positions` (evaluations,), the examples learned from at each evaluation, ascending and from 1 on,
the last one the end of the stream; and `accuracy` (evaluations, T), fractions 0..1 on the tests of each task, NaN where
no example of the task had been learned yet. For regression the entries are R², at most 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64, Int

from perdure.metrics.transfer import Statistic, mean_and_interval

Positions = Int[np.ndarray, " evaluations"]
TaskAccuracy = Float64[np.ndarray, "evaluations tasks"]


def accuracy_on_tasks_seen(accuracy: TaskAccuracy) -> Float64[np.ndarray, " evaluations"]:
    """Return at each evaluation the mean over the tasks that have begun.

    Raises:
        ValueError: if no task has begun at one of the evaluations.
    """
    if (np.isnan(accuracy).all(axis=1)).any():
        raise ValueError("an evaluation has no accuracy at all, expected one of each task that has begun")
    return np.nanmean(accuracy, axis=1)


def average_anytime_accuracy(positions: Positions, accuracy: TaskAccuracy) -> float:
    """Return the mean over the stream of the accuracy on the tasks seen so far, 0..1.

    An evaluation stands for the examples since the one before it. Where evaluations lie equally far apart that is
    their plain mean.

    Source: Caccia et al. 2022, "New Insights on Reducing Abrupt Representation Change in Online Continual Learning",
    arXiv 2104.05025 (AAA); the area under the curve of accuracy in Koh et al. 2022, "Online Continual Learning on
    Class Incremental Blurry Task Configuration with Anytime Inference", arXiv 2110.10031 (A_AUC), divided by the
    length of the stream.

    Raises:
        ValueError: as `accuracy_on_tasks_seen`.
    """
    return float(np.average(accuracy_on_tasks_seen(accuracy), weights=np.diff(positions, prepend=0)))


def minimum_accuracies(
    positions: Positions, accuracy: TaskAccuracy, task_ends: Sequence[int]
) -> Float64[np.ndarray, " earlier"]:
    """Return of each task but the last the lowest accuracy at any evaluation after its own end, (T − 1,)."""
    return np.array([accuracy[positions > end, task].min() for task, end in enumerate(task_ends[:-1])])


def average_minimum_accuracy(positions: Positions, accuracy: TaskAccuracy, task_ends: Sequence[int]) -> float:
    """Return min-ACC, the mean of `minimum_accuracies`, 0..1; NaN with one task, which nothing follows.

    Source: De Lange, van de Ven & Tuytelaars 2023, "Continual evaluation for lifelong learning: Identifying the
    stability gap", arXiv 2205.13452, section 3.
    """
    if len(task_ends) < 2:
        return float("nan")
    return float(np.mean(minimum_accuracies(positions, accuracy, task_ends)))


def worst_case_accuracy(positions: Positions, accuracy: TaskAccuracy, task_ends: Sequence[int]) -> float:
    """Return WC-ACC = A / T + (1 − 1/T) · min-ACC, 0..1, with A the accuracy on the last task at the end.

    Source: De Lange, van de Ven & Tuytelaars 2023, arXiv 2205.13452, section 3.
    """
    n_tasks, last = len(task_ends), float(accuracy[-1, -1])
    if n_tasks == 1:
        return last
    lowest = average_minimum_accuracy(positions, accuracy, task_ends)
    return last / n_tasks + (1 - 1 / n_tasks) * lowest


def stability_gap(positions: Positions, accuracy: TaskAccuracy, task_ends: Sequence[int]) -> float:
    """Return how far the tasks but the last have recovered at the end from their lowest accuracy, 0..1, a mean.

    It is what was forgotten for a while only: accuracy at the end less `minimum_accuracies`. NaN with one task.

    Source: the phenomenon is that of De Lange, van de Ven & Tuytelaars 2023, arXiv 2205.13452; this figure is ours.
    """
    if len(task_ends) < 2:
        return float("nan")
    return float(np.mean(accuracy[-1, :-1] - minimum_accuracies(positions, accuracy, task_ends)))


ANYTIME = ("average_anytime_accuracy", "average_minimum_accuracy", "worst_case_accuracy", "stability_gap")
"""The metrics over time by name, in the order in which they are reported."""


def anytime_over_seeds(
    positions: Positions,
    accuracy: Float64[np.ndarray, "seeds evaluations tasks"],
    task_ends: Int[np.ndarray, "seeds tasks"],
) -> dict[str, Statistic]:
    """Return every metric of `ANYTIME` by name, over the seeds; a seed's stream may end before the last evaluation."""
    of_ends = (average_minimum_accuracy, worst_case_accuracy, stability_gap)
    per_seed = []
    for one, ends in zip(accuracy, task_ends.tolist(), strict=True):
        at, its = positions[positions <= ends[-1]], one[positions <= ends[-1]]
        per_seed.append((average_anytime_accuracy(at, its), *(metric(at, its, ends) for metric in of_ends)))
    return {name: mean_and_interval(values) for name, values in zip(ANYTIME, zip(*per_seed, strict=True), strict=True)}
