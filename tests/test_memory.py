from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from perdure.core import Example
from perdure.memory import (
    LARGEST_COUNT,
    Buffer,
    capacity,
    draw_distinct_slots,
    draw_past,
    draw_slot,
    draw_slots,
    drawn_mask,
    empty_buffer,
    empty_rings,
    exemplar_slots,
    filled,
    first_slot,
    keep_exemplars,
    no_exemplars,
    period,
    plan_exemplars,
    recall,
    ring,
    ring_slot,
    store,
    store_in_ring,
)
from tests.conftest import first_short

STREAMS, LENGTH, SIZE = 20_000, 60, 7
UNLIKELY = 1e-4


def numbered(n):
    """Return the n-th example of a stream, recognisable in every leaf."""
    n = jnp.asarray(n, jnp.int32)
    return Example(jnp.stack([n, 2 * n]).astype(jnp.float32), n, 3 * n)


def stored(size, slots):
    """Return a memory that was offered examples 0, 1, 2, … for `slots`."""
    memory = empty_buffer(numbered(0), size)
    for n, slot in enumerate(slots):
        memory = store(memory, numbered(n), jnp.asarray(slot, jnp.int32))
    return memory


def offered(size, length, key):
    """Offer `length` numbered examples to a memory; return it after each, and the slot drawn for each."""

    def offer(memory, n):
        slot = draw_slot(memory, jax.random.fold_in(key, n))
        memory = store(memory, numbered(n), slot)
        return memory, (memory, slot)

    return jax.lax.scan(offer, empty_buffer(numbered(0), size), jnp.arange(length))[1]


def with_seen(size, seen):
    return empty_buffer(numbered(0), size)._replace(seen=jnp.asarray(seen, jnp.int32))


@pytest.fixture(scope="module")
def positions():
    """Stream positions held at the end by the slots of many memories, (streams, slots)."""
    keys = jax.random.split(jax.random.key(0), STREAMS)
    last = jax.jit(jax.vmap(lambda key: jax.tree.map(lambda leaf: leaf[-1], offered(SIZE, LENGTH, key)[0])))
    memories = last(keys)
    assert (memories.seen == LENGTH).all()
    return np.asarray(memories.examples.y)


@pytest.fixture(scope="module")
def included(positions):
    """Which positions each memory holds, (streams, positions)."""
    held = np.zeros((STREAMS, LENGTH), bool)
    np.put_along_axis(held, positions, True, axis=1)
    return held


def test_no_example_is_held_twice(included):
    assert (included.sum(axis=1) == SIZE).all()


def test_every_position_is_held_with_the_same_probability(included):
    probability = SIZE / LENGTH
    counts = included.sum(axis=0)
    # A memory holds exactly SIZE positions, so their counts are correlated by −1 / (LENGTH − 1).
    variance = STREAMS * probability * (1 - probability) * LENGTH / (LENGTH - 1)
    statistic = np.sum((counts - STREAMS * probability) ** 2) / variance
    assert UNLIKELY < stats.chi2.sf(statistic, LENGTH - 1) < 1 - UNLIKELY


def test_every_pair_of_positions_is_held_together_with_the_same_probability(included):
    probability = SIZE * (SIZE - 1) / (LENGTH * (LENGTH - 1))
    together = included.T.astype(float) @ included
    pairs = together[np.triu_indices(LENGTH, k=1)]
    z = (pairs - STREAMS * probability) / np.sqrt(STREAMS * probability * (1 - probability))
    assert np.abs(z).max() < stats.norm.isf(UNLIKELY / len(pairs))


@pytest.mark.parametrize("slot", range(SIZE))
def test_each_slot_keeps_its_first_example_or_any_later_one(positions, slot):
    """Slot j still holds example j with probability size / n, and each example after the first `size` with 1 / n."""
    expected = np.full(LENGTH, 1 / LENGTH)
    expected[:SIZE] = 0
    expected[slot] = SIZE / LENGTH
    counts = np.bincount(positions[:, slot], minlength=LENGTH)
    possible = expected > 0
    assert counts[~possible].sum() == 0
    assert stats.chisquare(counts[possible], STREAMS * expected[possible]).pvalue > UNLIKELY


@pytest.mark.parametrize("seen", [5, 6, 20])
def test_a_full_memory_draws_each_slot_with_one_over_n_plus_one(seen):
    keys = jax.random.split(jax.random.key(1), 50_000)
    slots = jax.vmap(lambda key: draw_slot(with_seen(5, seen), key))(keys)
    assert slots.dtype == jnp.int32
    counts = np.bincount(np.asarray(slots), minlength=seen + 1)
    assert len(counts) == seen + 1
    assert stats.chisquare(counts).pvalue > UNLIKELY


@pytest.mark.parametrize("size", [1, 4, 9])
def test_fills_in_order_first_and_counts_what_it_has_seen(size):
    program = jax.jit(lambda key: offered(size, 9, key))

    @settings(max_examples=30, deadline=None)
    @given(seed=st.integers(0, 2**32 - 1))
    def check(seed):
        memories, slots = program(jax.random.key(seed))
        np.testing.assert_array_equal(slots[:size], np.arange(size))
        np.testing.assert_array_equal(memories.seen, np.arange(1, 10))
        for length in range(1, size + 1):
            held = np.where(np.arange(size) < length, np.arange(size), 0)
            np.testing.assert_array_equal(memories.examples.y[length - 1], held)
            np.testing.assert_array_equal(memories.examples.x[length - 1], np.stack([held, 2 * held], axis=1))
            np.testing.assert_array_equal(memories.examples.task[length - 1], 3 * held)

    check()


def test_a_memory_larger_than_the_stream_keeps_all_of_it_in_order():
    memory = jax.tree.map(lambda leaf: leaf[-1], offered(50, 20, jax.random.key(0))[0])
    assert capacity(memory) == 50
    assert filled(memory) == memory.seen == 20
    np.testing.assert_array_equal(memory.examples.y, [*range(20), *[0] * 30])


@settings(max_examples=30, deadline=None)
@given(size=st.integers(1, 4), slots=st.lists(st.integers(0, 6), max_size=8))
def test_store_writes_one_slot_and_drops_what_is_out_of_range(size, slots):
    expected = [0] * size
    for n, slot in enumerate(slots):
        if slot < size:
            expected[slot] = n
    memory = stored(size, slots)
    assert memory.seen == len(slots)
    np.testing.assert_array_equal(memory.examples.y, expected)
    np.testing.assert_array_equal(memory.examples.task, [3 * n for n in expected])
    np.testing.assert_array_equal(memory.examples.x, [[n, 2 * n] for n in expected])


def test_store_side_by_side_equals_store_alone():
    memories = jax.tree.map(lambda *leaves: jnp.stack(leaves), stored(3, [0, 1, 2]), stored(3, [0, 0, 0]))
    slots = jnp.asarray([1, 3], jnp.int32)
    together = jax.vmap(store, in_axes=(0, None, 0))(memories, numbered(9), slots)
    np.testing.assert_array_equal(together.examples.y, [[0, 9, 2], [2, 0, 0]])
    np.testing.assert_array_equal(together.seen, [4, 4])


@pytest.mark.parametrize(("size", "seen", "held"), [(9, 5, 5), (5, 5, 5), (4, 100, 4), (6, 1, 1)])
def test_draws_are_uniform_over_the_filled_slots_and_independent(size, seen, held):
    slots = np.asarray(draw_slots(with_seen(size, seen), (20_000, 2), jax.random.key(2)))
    assert slots.dtype == np.int32
    assert slots.min() == 0
    assert slots.max() == held - 1
    if held > 1:
        pairs = np.bincount(slots[:, 0] * held + slots[:, 1], minlength=held**2)
        assert stats.chisquare(pairs).pvalue > UNLIKELY


def test_draws_from_an_empty_memory_are_zeros():
    np.testing.assert_array_equal(draw_slots(with_seen(4, 0), (2, 3), jax.random.key(0)), np.zeros((2, 3)))


@pytest.mark.parametrize(
    ("size", "seen", "draws", "expected"),
    [
        (4, 0, 3, [False, False, False]),
        (4, 2, 3, [True, True, False]),
        (4, 2, 2, [True, True]),
        (4, 99, 3, [True, True, True]),
        (2, 99, 3, [True, True, False]),
    ],
)
def test_as_many_draws_count_as_there_are_examples(size, seen, draws, expected):
    np.testing.assert_array_equal(drawn_mask(with_seen(size, seen), draws), expected)


def test_recall_returns_the_examples_of_the_slots_in_their_order():
    examples = recall(stored(4, [0, 1, 2, 3]), jnp.asarray([[3, 1, 1], [0, 0, 2]], jnp.int32))
    np.testing.assert_array_equal(examples.y, [[3, 1, 1], [0, 0, 2]])
    np.testing.assert_array_equal(examples.x[..., 1], [[6, 2, 2], [0, 0, 4]])
    np.testing.assert_array_equal(examples.task, [[9, 3, 3], [0, 0, 6]])


@pytest.mark.parametrize(("size", "held", "draws"), [(6, 6, 3), (9, 5, 2), (5, 5, 5), (3, 3, 4), (6, 2, 4)])
def test_distinct_draws_are_a_uniform_set_of_filled_slots(size, held, draws):
    drawn = np.asarray(draw_distinct_slots(with_seen(size, held), (20_000, draws), jax.random.key(3)))
    n = min(held, draws)
    sets = np.sort(drawn[:, :n], axis=1)
    assert sets.min() >= 0
    assert sets.max() < held
    assert (np.diff(sets, axis=1) > 0).all(), "no slot twice"
    kinds, kind, counts = np.unique(sets, axis=0, return_inverse=True, return_counts=True)
    assert len(kinds) == math.comb(held, n)
    if len(kinds) > 1:
        assert stats.chisquare(counts).pvalue > UNLIKELY
        neighbours = np.histogram2d(kind[::2].ravel(), kind[1::2].ravel(), bins=len(kinds))[0]
        expected = len(kind) / 2 / len(kinds) ** 2
        assert stats.chisquare(neighbours.ravel(), expected).pvalue > UNLIKELY, "batches are drawn independently"


# --- counts that no integer holds

MANY = [2**24 + 5, 3 * 2**29, 2**31 - 3, 2**31 - 2, 2**31 - 1, 2**31, 2**32 + 5, 2**40]


def after_many(size, n, width=0):
    """Return a memory that has been offered n examples; its slots of width 0 take no space, however many they are."""
    empty = Buffer((jnp.zeros((size, width)),), jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32))
    periods, seen = divmod(n, period(empty))
    return empty._replace(seen=jnp.asarray(seen, jnp.int32), periods=jnp.asarray(periods, jnp.int32))


draw_often = jax.jit(jax.vmap(draw_slot, in_axes=(None, 0)))


@pytest.mark.parametrize("n", first_short(MANY))
@pytest.mark.parametrize("size", [2**23 + 1, 2**24])
def test_at_any_count_each_example_is_kept_with_probability_size_over_n(size, n):
    memory = after_many(size, n)
    keys = jax.random.split(jax.random.key(n % 1000), 500_000)
    slots = np.asarray(draw_often(memory, keys))
    assert slots.dtype == np.int32
    assert slots.min() >= 0
    kept = slots[slots < size]
    assert stats.binomtest(len(kept), len(slots), size / (n + 1)).pvalue > UNLIKELY
    if len(kept) > 20:
        assert stats.kstest(kept / size, "uniform").pvalue > UNLIKELY


@pytest.mark.parametrize("n", [7, 100, 10**6, 2**24 - 1])
def test_up_to_16_million_the_draw_is_a_plain_one(n):
    for seed in range(20):
        key = jax.random.key(seed)
        assert draw_slot(after_many(7, n), key) == jax.random.randint(key, (), 0, n + 1, jnp.int32)


@pytest.mark.parametrize("n", first_short(MANY))
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_at_any_count_a_memory_is_full_and_replayed(size, n):
    memory = after_many(size, n, width=2)
    new = (jnp.ones(2),)
    for offered in range(n, n + 4):
        assert filled(memory) == first_slot(memory) == size
        assert drawn_mask(memory, 3).tolist() == [place < size for place in range(3)]
        drawn = draw_slots(memory, (100,), jax.random.key(0))
        assert (drawn > 0).any() == (size > 1)
        assert ring_slot(memory) == offered % size
        assert int(memory.periods) * period(memory) + int(memory.seen) == offered
        memory = store(memory, new, ring_slot(memory))
        assert memory.seen.dtype == memory.periods.dtype == jnp.int32
    np.testing.assert_array_equal(memory.examples[0][(n + 3) % size], new[0])


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


def test_slots_have_the_shapes_and_dtypes_of_the_example():
    example = Example(np.ones((2, 3), np.uint8), np.asarray(1, np.int32), np.asarray(4, np.int32))
    memory = empty_buffer(example, 5)
    assert memory.examples.x.shape == (5, 2, 3)
    assert memory.examples.x.dtype == jnp.uint8
    assert memory.examples.y.shape == memory.examples.task.shape == (5,)
    assert memory.examples.y.dtype == memory.examples.task.dtype == jnp.int32
    assert memory.seen.dtype == memory.periods.dtype == jnp.int32
    assert not any(leaf.any() for leaf in jax.tree.leaves(memory))


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


@pytest.mark.parametrize(
    ("class_tasks", "task_sizes", "memory_size", "classes", "sizes"),
    [
        ((0, 0, 1, 1, 2, 2), (16, 16, 16), 12, [[0, 1], [2, 3], [4, 5]], [6, 6, 3, 3, 2, 2]),
        ((1, 0, 1, 1), (9, 9), 9, [[1, -1, -1], [0, 2, 3]], [2, 9, 2, 2]),
        ((0, 0, 1), (3, 3), 100, [[0, 1], [2, -1]], [3, 3, 3]),
    ],
    ids=["even", "uneven and out of order", "more room than examples"],
)
def test_a_tasks_classes_share_the_memory_with_all_before(class_tasks, task_sizes, memory_size, classes, sizes):
    plan = plan_exemplars(class_tasks, task_sizes, memory_size)
    np.testing.assert_array_equal(plan.classes, classes)
    np.testing.assert_array_equal(plan.sizes, sizes)
    np.testing.assert_array_equal(plan.starts, [sum(sizes[:label]) for label in range(len(sizes))])


@pytest.mark.parametrize("n", [0, 1, 2])
def test_exemplars_are_kept_in_the_slots_of_their_class(n):
    plan = plan_exemplars((0, 1, 1), (4, 4), 6)
    np.testing.assert_array_equal(plan.sizes, [4, 2, 2])
    memory = no_exemplars(numbered(0), plan)
    memory = keep_exemplars(memory, plan, jnp.asarray(2), jnp.full((4, 2), 3.0), jnp.asarray(2, jnp.int32))
    x = jnp.arange(1.0, 9.0).reshape(4, 2)
    memory = keep_exemplars(memory, plan, jnp.asarray(1), x, jnp.asarray(n, jnp.int32))
    np.testing.assert_array_equal(memory.held, [0, n, 2])
    np.testing.assert_array_equal(memory.x, [*[[0, 0]] * 4, *x[:n], *[[0, 0]] * (2 - n), *[[3, 3]] * 2])
    np.testing.assert_array_equal(exemplar_slots(plan, jnp.asarray(1))[:2], [4, 5])
    assert memory.outputs.shape == (8, 3)
