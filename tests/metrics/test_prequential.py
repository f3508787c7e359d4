"""Figures over the last rows of a stream."""

import math

import numpy as np
import pytest

from perdure.metrics.prequential import ClassScores, NumberScores, windowed_means


def recent(errors, window):
    scores = NumberScores(window=window)
    for it in errors:
        scores.add(0.0, it)
    return scores.curve.values


def at_once(errors, window):
    return windowed_means(np.asarray([errors, errors[::-1]]), window)[0].tolist()


WAYS = pytest.mark.parametrize("recent", [recent, at_once])


@WAYS
def test_an_error_counts_as_long_as_it_is_among_the_last_and_no_longer(recent):
    found = recent([1e17, 1.0, 2.0, 3.0, 1.0, 1.0, 1.0], 3)
    assert found == [1e17, 5e16, (1e17 + 3) / 3, 2.0, 2.0, 5 / 3, 1.0]
    assert recent([math.inf, 1.0, 2.0, 3.0], 2) == [math.inf, math.inf, 1.5, 2.5]
    assert np.isnan(recent([math.nan, 1.0, 2.0, 3.0], 3)).tolist() == [True, True, True, False]


@WAYS
@pytest.mark.parametrize("window", [1, 2, 7, 100, 250, 300])
def test_means_are_those_of_the_last_errors(recent, window):
    errors = np.random.default_rng(window).lognormal(0, 4, 250)
    expected = [errors[max(0, n - window) : n].mean() for n in range(1, 251)]
    np.testing.assert_allclose(recent(errors.tolist(), window), expected, rtol=1e-13)


def test_recent_accuracy_is_exact():
    scores = ClassScores(window=4)
    for n in range(9):
        scores.add("a", "ab"[n % 3 == 0], 0.5)
    assert scores.curve.values == [0.0, 0.5, 2 / 3, 0.5, 0.75, 0.75, 0.5, 0.75, 0.75]
