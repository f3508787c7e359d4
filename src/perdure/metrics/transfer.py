"""Transfer metrics of a run over T tasks, from the accuracies on every task at every task's end.

All functions take the accuracy matrix `accuracy` (T + 1, T), fractions 0..1: row 0 is b, the accuracy on
every task before any training, and row i + 1 is R[i, :], the accuracy on every task after the last example
of task i. NaN marks what was not evaluated; a metric that needs such an entry is itself NaN. For regression
the entries are R² in place of accuracies, at most 1 and without a lower bound, and so have the metrics none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64

Accuracy = Float64[np.ndarray, "rows tasks"]


class Statistic(NamedTuple):
    """A figure over independent seeds. What does not exist (a spread over one seed, say) is NaN."""

    mean: float
    std: float
    """Standard deviation of the sample (divisor n − 1)."""
    ci95: float
    """Half width of the 95 % confidence interval of the mean, Student's t with n − 1 degrees of freedom."""
    per_seed: tuple[float, ...]


def retained_accuracy(accuracy: Accuracy) -> float:
    """Return RA = mean_j R[T−1, j]: what is known of all the tasks at the end, 0..1.

    Source: Riemer et al. 2019, section 4; the average accuracy of Lopez-Paz & Ranzato 2017, equation 2.

    Raises:
        ValueError: if `accuracy` is not (T + 1, T) with T ≥ 1, or an entry is above 1 or infinite.
    """
    return float(np.mean(_trained(accuracy)[-1]))


def learning_accuracy(accuracy: Accuracy) -> float:
    """Return LA = mean_j R[j, j]: what is known of each task just after it was learned, 0..1.

    Source: Riemer et al. 2019, section 4.

    Raises:
        ValueError: as `retained_accuracy`.
    """
    return float(np.mean(np.diagonal(_trained(accuracy))))


def backward_transfer(accuracy: Accuracy) -> float:
    """Return BTI = RA − LA = mean_j (R[T−1, j] − R[j, j]), −1..1; negative where learning interferes.

    The mean is over all T tasks, the last one's zero included.

    Source: Riemer et al. 2019, section 4 (backward transfer and interference).

    Raises:
        ValueError: as `retained_accuracy`.
    """
    trained = _trained(accuracy)
    return float(np.mean(trained[-1] - np.diagonal(trained)))


def forward_transfer(accuracy: Accuracy) -> float:
    """Return FWT = (1/T) Σ_{j≥1} (R[j−1, j] − b[j]), −1..1: what earlier tasks taught about later ones.

    The sum has T − 1 terms and is divided by T: the first task, which nothing precedes, counts as zero.

    Source: Lopez-Paz & Ranzato 2017, equation 4; divided by T as the released code does.

    Raises:
        ValueError: as `retained_accuracy`.
    """
    before_own_task = np.diagonal(_trained(accuracy), offset=1)
    return float(np.sum(before_own_task - accuracy[0, 1:]) / accuracy.shape[1])


def forgetting(accuracy: Accuracy) -> float:
    """Return the mean over all tasks j but the last of max_{i<T−1} R[i, j] − R[T−1, j], −1..1.

    It needs the whole matrix below row 0, for a task may be known best long after it was learned. With one
    task there is nothing to forget: 0.

    Source: Chaudhry et al. 2018 (Riemannian Walk), section 3.

    Raises:
        ValueError: as `retained_accuracy`.
    """
    trained = _trained(accuracy)
    if len(trained) == 1:
        return 0.0
    earlier = trained[:-1, :-1]
    return float(np.mean(np.max(earlier, axis=0) - trained[-1, :-1]))


METRICS = {
    "retained_accuracy": retained_accuracy,
    "learning_accuracy": learning_accuracy,
    "backward_transfer": backward_transfer,
    "forward_transfer": forward_transfer,
    "forgetting": forgetting,
}
"""The transfer metrics by name, in the order in which they are reported."""


def transfer_metrics(accuracy: Accuracy) -> dict[str, float]:
    """Return every metric of `METRICS` by name; NaN where the entries it needs were not evaluated.

    Raises:
        ValueError: as `retained_accuracy`.
    """
    return {name: metric(accuracy) for name, metric in METRICS.items()}


def metrics_over_seeds(accuracy: Float64[np.ndarray, "seeds rows tasks"]) -> dict[str, Statistic]:
    """Return every metric of `METRICS` by name, over one accuracy matrix a seed.

    Raises:
        ValueError: as `retained_accuracy`.
    """
    per_seed = [transfer_metrics(matrix) for matrix in accuracy]
    return {name: mean_and_interval([seed[name] for seed in per_seed]) for name in METRICS}


def mean_and_interval(values: Sequence[float] | Float[np.ndarray, " seeds"]) -> Statistic:
    """Return mean, standard deviation and 95 % half width over seeds, all NaN if one of the values is.

    With a single value, spread and interval are NaN. The half width is t(0.975; n − 1) · std / √n.

    Raises:
        ValueError: if there are no values.
    """
    if len(values) == 0:
        raise ValueError("no values were given, expected one a seed; give at least one")
    sample = np.asarray(values, float)
    per_seed = tuple(sample.tolist())
    if len(sample) == 1:
        return Statistic(per_seed[0], np.nan, np.nan, per_seed)
    from scipy.special import stdtrit  # here, for it takes as long to import as NumPy, and one seed does without

    std = float(np.std(sample, ddof=1))
    quantile = float(stdtrit(len(sample) - 1, 0.975))
    return Statistic(float(np.mean(sample)), std, quantile * std / len(sample) ** 0.5, per_seed)


def paired_difference(one: Statistic, other: Statistic) -> Statistic:
    """Return the differences of two figures of the same seeds, which share their streams, seed by seed.

    Raises:
        ValueError: if there is not one value of each for each seed.
    """
    if len(one.per_seed) != len(other.per_seed):
        raise ValueError(
            f"there are {len(one.per_seed)} and {len(other.per_seed)} values, expected one of each for each seed; "
            "compare runs of the same seeds"
        )
    return mean_and_interval([a - b for a, b in zip(one.per_seed, other.per_seed, strict=True)])


def _trained(accuracy: Accuracy) -> Float64[np.ndarray, "tasks tasks"]:
    """Return R (T, T), the rows after each task, once the matrix has passed its checks."""
    rows, tasks = accuracy.shape
    if tasks == 0 or rows != tasks + 1:
        raise ValueError(
            f"the accuracy matrix has shape {accuracy.shape}, expected (T + 1, T) with T ≥ 1: "
            "one row before any training and one after each task"
        )
    outside = (accuracy > 1) | np.isinf(accuracy)
    if outside.any():
        row, task = np.argwhere(outside)[0]
        raise ValueError(
            f"the accuracy in row {row} on task {task} is {accuracy[row, task]}, expected a fraction "
            "between 0 and 1, R² of at most 1, or NaN; divide percentages by 100"
        )
    return accuracy[1:]
