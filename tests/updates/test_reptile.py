from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.models import Statistics
from perdure.updates.reptile import reptile_step

# Without subnormal numbers: compiled code rounds them to zero.
weights = st.lists(st.floats(-100, 100, width=32, allow_subnormal=False), min_size=3, max_size=3).map(
    lambda it: jnp.asarray(it, jnp.float32)
)
rates = st.floats(0, 2, width=32)


def test_goes_part_of_the_way():
    before = {"weight": jnp.asarray([[1.0, 2.0]]), "bias": jnp.asarray([0.0])}
    after = {"weight": jnp.asarray([[3.0, -2.0]]), "bias": jnp.asarray([8.0])}
    stepped = reptile_step(before, after, 0.25)
    np.testing.assert_array_equal(stepped["weight"], [[1.5, 1.0]])
    np.testing.assert_array_equal(stepped["bias"], [2.0])


@pytest.mark.parametrize("rate", [0.25, np.float32(0.25), "traced"])
def test_the_rate_may_be_a_number_or_an_array(rate):
    rate = jnp.asarray(0.25) if rate == "traced" else float(rate)
    np.testing.assert_array_equal(reptile_step(jnp.asarray([4.0]), jnp.asarray([0.0]), rate), [3.0])


@given(before=weights, after=weights)
def test_a_rate_of_zero_stays(before, after):
    np.testing.assert_array_equal(reptile_step(before, after, 0.0), before)


@given(before=weights, after=weights)
def test_a_rate_of_one_arrives(before, after):
    np.testing.assert_allclose(reptile_step(before, after, 1.0), after, rtol=0, atol=1e-4)


@given(here=weights, rate=rates)
def test_where_sgd_has_not_moved_there_is_nowhere_to_go(here, rate):
    np.testing.assert_array_equal(reptile_step(here, here, rate), here)


@given(before=weights, after=weights, rate=rates)
def test_the_step_is_the_rate_times_the_way(before, after, rate):
    way = np.asarray(after, np.float64) - np.asarray(before, np.float64)
    np.testing.assert_allclose(reptile_step(before, after, rate), before + rate * way, rtol=0, atol=1e-3)


def test_trees_of_different_structure_are_refused():
    with pytest.raises(ValueError, match="b"):
        reptile_step({"a": jnp.ones(1)}, {"b": jnp.ones(1)}, 0.5)


def test_running_statistics_are_interpolated_and_integers_taken_from_where_sgd_led():
    before = {"statistics": Statistics(jnp.asarray([1.0]), jnp.asarray([2.0])), "steps": jnp.asarray(3, jnp.int32)}
    after = {"statistics": Statistics(jnp.asarray([5.0]), jnp.asarray([0.0])), "steps": jnp.asarray(9, jnp.int32)}
    stepped = reptile_step(before, after, 0.25)
    np.testing.assert_array_equal(stepped["statistics"].mean, [2.0])
    np.testing.assert_array_equal(stepped["statistics"].variance, [1.5])
    assert stepped["steps"].dtype == jnp.int32
    assert stepped["steps"] == 9
