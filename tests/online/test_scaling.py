"""Running standardization."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from perdure.online.scaling import LARGEST_SCALED, include, no_moments, standardized


def learned(rows):
    """Return the moments of some rows."""
    moments, scaled = no_moments(rows.shape[1]), jnp.ones(rows.shape[1], bool)
    for row in rows:
        moments = jax.jit(include)(moments, jnp.asarray(row, jnp.float32), scaled)
    return moments


@given(arrays(np.float32, (12, 2), elements=st.floats(-1000, 1000, width=32)))
def test_moments_are_those_of_all_rows_at_once(rows):
    moments = learned(rows)
    np.testing.assert_allclose(moments.mean, rows.mean(axis=0), rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(moments.variance, rows.var(axis=0), rtol=1e-2, atol=0.1)


def test_missing_values_do_not_count_and_become_the_mean():
    rows = np.asarray([[1.0], [np.nan], [3.0]])
    moments = learned(rows)
    assert (moments.n.item(), moments.mean.item(), moments.variance.item()) == (2, 2, 1)
    assert standardized(moments, jnp.asarray([jnp.nan]), jnp.ones(1, bool)) == 0


def test_early_rows_and_constant_columns_are_harmless():
    one = jnp.ones(1, bool)
    assert standardized(no_moments(1), jnp.asarray([1e30]), one) == 0
    assert standardized(learned(np.asarray([[5.0]])), jnp.asarray([9.0]), one) == 1
    assert standardized(learned(np.full((9, 1), 7.0)), jnp.asarray([7.0]), one) == 0


@pytest.mark.parametrize("value", [1e38, -1e38])
def test_huge_values_are_clipped(value):
    moments = learned(np.random.default_rng(0).normal(size=(400, 1)))
    z = standardized(moments, jnp.asarray([value], jnp.float32), jnp.ones(1, bool))
    assert np.abs(z) == LARGEST_SCALED


def test_flags_stay_as_they_are():
    row = jnp.asarray([1.0, jnp.nan])
    np.testing.assert_array_equal(standardized(no_moments(2), row, jnp.zeros(2, bool)), [1, 0])
