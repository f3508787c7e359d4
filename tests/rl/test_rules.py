"""Checks of the parameters of levels, and random draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perdure.rl.games.rules import check_positive, draw_below, whole_number


@pytest.mark.parametrize("value", ["fast", None, True, 1j])
def test_refuses_what_is_not_a_number(value):
    with pytest.raises(TypeError, match=r"speed = .* is of type \w+, expected a number > 0 pixels"):
        check_positive("speed", value, "pixels")


@pytest.mark.parametrize("value", ["80", None, True, 80.0])
def test_refuses_what_is_not_a_whole_number(value):
    with pytest.raises(TypeError, match=r"gap = .* is of type \w+, expected a whole number ≥ 1"):
        whole_number("gap", value, 1)


def test_takes_numbers_of_numpy():
    assert whole_number("gap", np.int64(80), 1).dtype == jnp.int32
    check_positive("speed", np.float64(0.1), "")
    check_positive("speed", 1, "")


@pytest.mark.parametrize("n", [1, 84, 256])
def test_draws_are_uniform_and_below(n):
    drawn = draw_below(jax.random.key(n), (1000 * n,), n)
    counts = np.bincount(drawn, minlength=n)
    assert len(counts) == n
    assert ((counts - 1000) ** 2 / 1000).sum() <= n + 5 * np.sqrt(2 * n)
