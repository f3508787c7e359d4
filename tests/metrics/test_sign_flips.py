"""The permutation test of signs, against enumeration by hand and against SciPy."""

import math

import numpy as np
import pytest
from scipy.stats import permutation_test

from perdure.metrics.sign_flips import MAX_ENUMERATED, N_SAMPLES, sign_flip_p_value

_ALL = 1_000_000
"""More than there are assignments of signs, so that SciPy enumerates them."""


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ([0.3], 1.0),  # +, −: both as far from zero
        ([0.1, 0.1], 0.5),  # ++ and −− of four
        ([1.0, 2.0, 3.0], 0.25),  # +++ and −−− of eight
        ([-1.0, -2.0, -3.0], 0.25),
        ([1.0, 2.0, -1.0], 0.75),  # sums ±4 twice, ±2 twice each, 0 twice: |sum| ≥ 2 in six of eight
        ([0.0, 0.0, 0.0], 1.0),
        ([0.1] * 5, 2 / 32),
    ],
)
def test_the_p_value_is_the_share_of_signs_that_go_as_far(differences, p):
    assert sign_flip_p_value(differences) == pytest.approx(p, abs=1e-15)


@pytest.mark.parametrize("n", [2, 5, 9, MAX_ENUMERATED])
def test_it_is_that_of_scipy(n):
    values = np.random.default_rng(n).normal(0.4, 1.0, n)
    expected = permutation_test((values,), np.mean, permutation_type="samples", n_resamples=_ALL)
    assert sign_flip_p_value(values.tolist()) == pytest.approx(expected.pvalue, abs=1e-12)


def test_sums_in_another_order_are_equal_sums():
    """0.1 + 0.2 + 0.3 and their like differ in the last digit with the order; ties must not depend on it."""
    assert sign_flip_p_value([0.1, 0.2, 0.3, -0.6]) == 1.0


def test_many_seeds_are_sampled_near_the_exact_value_and_alike_every_time():
    values = np.random.default_rng(0).normal(0.5, 1.0, 14)
    exact = float(permutation_test((values,), np.mean, permutation_type="samples", n_resamples=_ALL).pvalue)
    found = sign_flip_p_value(values.tolist())
    assert found == pytest.approx(exact, abs=4 * (exact / N_SAMPLES) ** 0.5)
    assert found == sign_flip_p_value(values.tolist())


def test_a_drawn_p_value_is_never_zero():
    assert sign_flip_p_value([1.0] * 40) == 1 / (1 + N_SAMPLES)


@pytest.mark.parametrize("differences", [[], [0.1, math.nan]])
def test_without_differences_there_is_none(differences):
    assert math.isnan(sign_flip_p_value(differences))
