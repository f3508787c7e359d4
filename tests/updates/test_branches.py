from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.updates.branches import change_where_needed, for_as_many_as, largest_side_by_side, where_needed


def counting_maker():
    """Return a function to make from, and the list that grows each time a compiled program runs it."""
    runs = []

    def make(x):
        jax.debug.callback(lambda: runs.append(1))
        return {"x": 2 * x}

    return make, runs


def finished(result):
    jax.block_until_ready(result)
    jax.effects_barrier()
    return result


@pytest.mark.parametrize(("needed", "expected"), [(True, 6.0), (False, 3.0)])
def test_made_where_needed(needed, expected):
    make, runs = counting_maker()
    program = jax.jit(lambda needed, x: where_needed(needed, lambda: make(x), {"x": x}))
    assert finished(program(jnp.asarray(needed), jnp.asarray(3.0)))["x"] == expected
    assert len(runs) == needed


@pytest.mark.parametrize("needed", [[False, False, False], [True, True, True], [False, True, False]])
def test_side_by_side_made_only_if_some_need_it_and_taken_only_by_those(needed):
    make, runs = counting_maker()
    program = jax.jit(jax.vmap(lambda needed, x: where_needed(needed, lambda: make(x), {"x": x})))
    made = finished(program(jnp.asarray(needed), jnp.arange(1.0, 4.0)))["x"]
    np.testing.assert_array_equal(made, np.arange(1.0, 4.0) * np.where(needed, 2, 1))
    assert len(runs) == any(needed)


@pytest.mark.parametrize("needed", [[False, False, False], [True, True, True], [False, True, False]])
def test_changed_once_if_some_side_by_side_need_it(needed):
    make, runs = counting_maker()

    def doubled_if(needed, x):
        return change_where_needed(
            needed, lambda now: {"x": jnp.where(needed, make(now["x"])["x"], now["x"])}, {"x": x}
        )

    changed = finished(jax.jit(jax.vmap(doubled_if))(jnp.asarray(needed), jnp.arange(1.0, 4.0)))["x"]
    np.testing.assert_array_equal(changed, np.arange(1.0, 4.0) * np.where(needed, 2, 1))
    assert len(runs) == any(needed)


def test_a_loop_side_by_side_makes_when_needed():
    make, runs = counting_maker()

    def loop(start):
        def step(n, x):
            return where_needed((n + start) % 5 == 0, lambda: make(x)["x"], x)

        return jax.lax.fori_loop(0, 10, step, jnp.ones(()))

    np.testing.assert_array_equal(finished(jax.jit(jax.vmap(loop))(jnp.asarray([0, 0, 5]))), [4.0, 4.0, 4.0])
    assert len(runs) == 2


@pytest.mark.long
@settings(max_examples=50)
@given(largest=st.integers(0, 120), least=st.integers(1, 150), data=st.data())
def test_arrays_are_as_large_as_they_must_be_and_not_much_larger(largest, least, data):
    n = data.draw(st.integers(0, largest))
    most = int(for_as_many_as(jnp.asarray(n, jnp.int32), largest, jnp.asarray, jnp.asarray(0), least))
    assert n <= most <= min(largest, max(least, n + math.ceil(largest / 5)))
    assert (most == 0) == (n == 0)


def test_side_by_side_arrays_are_large_enough_for_all_and_none_is_for_those_with_none():
    program = jax.vmap(lambda n: for_as_many_as(n, 10, jnp.asarray, jnp.asarray(-1)))
    np.testing.assert_array_equal(program(jnp.asarray([3, 0, 1])), [4, -1, 4])
    np.testing.assert_array_equal(program(jnp.asarray([0, 0, 0])), [-1, -1, -1])


def test_the_largest_is_over_all_axes_that_are_side_by_side():
    values = jnp.asarray([[1, 5], [7, 2]])
    both = jax.vmap(jax.vmap(largest_side_by_side))(values)
    np.testing.assert_array_equal(both, [[7, 7], [7, 7]])
    assert largest_side_by_side(values[0, 0]) == 1
