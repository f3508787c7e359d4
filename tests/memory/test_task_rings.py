"""Ring buffers, one for each task: what they keep, and draws from earlier tasks."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from perdure.core import Example
from perdure.memory.buffer import LARGEST_COUNT
from perdure.memory.task_rings import draw_past, empty_rings, ring, store_in_ring
from tests.memory.examples import UNLIKELY, numbered


def ring_example(n, task):
    """Return the n-th example of a stream, recognisable in every leaf but its task."""
    return numbered(n)._replace(task=jnp.asarray(task, jnp.int32))


def rings_of(n_tasks, size, tasks):
    """Return rings that were shown examples 0, 1, 2, … of these tasks."""
    memory = empty_rings(numbered(0), n_tasks, size)
    for n, task in enumerate(tasks):
        memory = store_in_ring(memory, ring_example(n, task))
    return memory


@settings(max_examples=30, deadline=None)
@given(size=st.integers(1, 4), tasks=st.lists(st.integers(0, 2), max_size=12))
def test_each_ring_holds_the_last_examples_of_its_task(size, tasks):
    memory = rings_of(3, size, tasks)
    np.testing.assert_array_equal(memory.seen, [tasks.count(task) for task in range(3)])
    for task in range(3):
        last = [n for n, it in enumerate(tasks) if it == task][-size:]
        examples, held = ring(memory, jnp.asarray(task))
        assert sorted(examples.y[held].tolist()) == last
        np.testing.assert_array_equal(examples.x[held][:, 1], 2 * examples.y[held])
        np.testing.assert_array_equal(examples.task[held], np.full(len(last), task))
        np.testing.assert_array_equal(held, np.arange(size) < len(last))


def test_a_full_ring_replaces_its_oldest_example():
    memory = rings_of(2, 3, [0, 1, 1, 1, 1, 0])
    np.testing.assert_array_equal(memory.examples.y, [[0, 5, 0], [4, 2, 3]])


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_the_ring_of_a_task_goes_round_at_any_count(size):
    rings = empty_rings(numbered(0), 2, size)
    last = LARGEST_COUNT // size * size
    rings = rings._replace(seen=jnp.asarray([5, last - 2], jnp.int32))
    for n in range(last - 2, last + 4):
        rings = store_in_ring(rings, ring_example(n % 1000, 1))
        examples, held = ring(rings, jnp.asarray(1))
        assert examples.y[n % size] == n % 1000
        assert held.all()
    assert rings.seen[0] == 5
    assert size <= rings.seen[1] <= size + 4


def test_rings_have_the_shapes_and_dtypes_of_the_example():
    example = Example(np.ones((2, 3), np.uint8), np.asarray(1, np.int32), np.asarray(4, np.int32))
    memory = empty_rings(example, 7, 5)
    assert [leaf.shape for leaf in memory.examples] == [(7, 5, 2, 3), (7, 5), (7, 5)]
    assert [leaf.dtype for leaf in memory.examples] == [jnp.uint8, jnp.int32, jnp.int32]
    assert not any(leaf.any() for leaf in jax.tree.leaves(memory))


def test_rings_side_by_side_with_one_task_for_all_equal_rings_alone():
    alone = [rings_of(2, 2, tasks) for tasks in ([0, 1, 1], [1, 1, 1])]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *alone)
    axes: Any = (0, 0, None)
    examples = jax.tree.map(lambda *leaves: jnp.stack(leaves), numbered(8), numbered(9))._replace(task=jnp.asarray(1))
    together = jax.vmap(store_in_ring, in_axes=(0, Example(*axes)))(stacked, examples)
    for n, memory in enumerate(alone):
        expected = store_in_ring(memory, ring_example(8 + n, 1))
        jax.tree.map(lambda a, b, n=n: np.testing.assert_array_equal(a[n], b), together, expected)


@pytest.fixture(scope="module")
def uneven_rings():
    """Rings of three: of task 0 they hold examples 0 and 1, of task 1 none, of task 2 the last of seven."""
    return rings_of(4, 3, [0, 0, *[2] * 7, 3])


@pytest.mark.parametrize(("task", "expected"), [(1, [0, 1]), (2, [0, 1]), (3, [0, 1, 6, 7, 8])])
def test_draws_from_the_past_are_uniform_over_what_earlier_rings_hold(uneven_rings, task, expected):
    drawn = draw_past(uneven_rings, jnp.asarray(task), 20_000, jax.random.key(task))
    values, counts = np.unique(np.asarray(drawn.y).reshape(2, -1).T @ [100, 1], return_counts=True)
    pairs = sorted(100 * one + other for one in expected for other in expected)
    np.testing.assert_array_equal(values, pairs)
    assert stats.chisquare(counts).pvalue > UNLIKELY
    np.testing.assert_array_equal(drawn.x[:, 1], 2 * drawn.y)
    np.testing.assert_array_equal(drawn.task, np.where(drawn.y < 2, 0, 2))


def test_draws_without_a_past_are_finite_and_of_the_right_shape(uneven_rings):
    drawn = draw_past(uneven_rings, jnp.asarray(0), 4, jax.random.key(0))
    assert drawn.x.shape == (4, 2)
    assert np.isfinite(drawn.x).all()
