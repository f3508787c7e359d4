"""Bootstrap intervals, as the meta-learning papers report them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.stats import bootstrap

RESAMPLES = 1000


class Interval(NamedTuple):
    """A mean with its 95 % interval; the interval is NaN for a single value or if one is not finite."""

    mean: float
    low: float
    high: float


def bootstrap_mean(values: Float[np.ndarray, " runs"]) -> Interval:
    """Return the mean over runs and its 95 % percentile interval from 1,000 resamples, the same every time.

    Raises:
        ValueError: if there are no values.
    """
    if len(values) == 0:
        raise ValueError("no values were given, expected one a run; give at least one")
    mean = float(np.mean(values, dtype=np.float64))
    if len(values) == 1 or not np.isfinite(values).all():  # a run may have diverged
        return Interval(mean, np.nan, np.nan)
    if np.ptp(values) == 0:  # all resamples are alike, which SciPy warns of
        return Interval(mean, mean, mean)
    found = bootstrap((values,), np.mean, n_resamples=RESAMPLES, method="percentile", rng=np.random.default_rng(0))
    return Interval(mean, float(found.confidence_interval.low), float(found.confidence_interval.high))
