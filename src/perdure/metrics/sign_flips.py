"""How likely paired differences as large as those measured are if neither method is better."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

MAX_ENUMERATED = 12
"""Most differences of which all 2ⁿ signs are enumerated."""
N_SAMPLES = 9_999
"""Signs that are drawn beyond that."""
_ROUNDING = 1e-9
"""Share of the largest possible sum by which equal sums may differ, since they are summed in another order."""


def sign_flip_p_value(differences: Sequence[float]) -> float:
    """Return the two-sided p-value of the mean of paired differences, 0..1, by the permutation test of their signs.

    If neither of two methods is better, each difference is as likely with the opposite sign. The p-value is the share
    of all 2ⁿ choices of signs whose mean lies at least as far from zero as the measured one, so at least 2/2ⁿ. Beyond
    `MAX_ENUMERATED` differences, `N_SAMPLES` choices are drawn, the same every time, and the measured one counts as one
    more.

    Args:
        differences: one per seed; the p-value is NaN if there are none, or one is NaN.

    Source: Fisher, The Design of Experiments, 1935, section 21; Phipson & Smyth, Permutation P-values Should Never Be
    Zero, 2010, for the drawn signs.
    """
    sample = np.asarray(differences, float)
    n = len(sample)
    if n == 0 or np.isnan(sample).any():
        return float("nan")
    least = abs(sample.sum()) - _ROUNDING * np.abs(sample).sum()
    if n <= MAX_ENUMERATED:
        return float(np.mean(np.abs(_all_signs(n) @ sample) >= least))
    signs = np.random.default_rng(0).choice([-1.0, 1.0], size=(N_SAMPLES, n))
    n_extreme = np.count_nonzero(np.abs(signs @ sample) >= least)
    return (1 + n_extreme) / (1 + N_SAMPLES)


def _all_signs(n: int) -> Float64[np.ndarray, "choices n"]:
    """Return the 2ⁿ choices of n signs."""
    return 1.0 - 2.0 * (np.arange(2**n)[:, None] >> np.arange(n) & 1)
