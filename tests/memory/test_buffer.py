"""The buffer: which slots are written and drawn, also after more examples than an integer counts."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from perdure.core import Example
from perdure.memory.buffer import (
    Buffer,
    capacity,
    counted,
    draw_distinct_slots,
    draw_slot,
    draw_slots,
    draw_slots_in_turn,
    drawn_mask,
    empty_buffer,
    filled,
    first_slot,
    period,
    recall,
    ring_slot,
    store,
    store_in_turn,
)
from tests.conftest import first_short
from tests.memory.examples import UNLIKELY, numbered

STREAMS, LENGTH, SIZE = 20_000, 60, 7
KEY = jax.random.key(0)


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


def test_slots_have_the_shapes_and_dtypes_of_the_example():
    example = Example(np.ones((2, 3), np.uint8), np.asarray(1, np.int32), np.asarray(4, np.int32))
    memory = empty_buffer(example, 5)
    assert memory.examples.x.shape == (5, 2, 3)
    assert memory.examples.x.dtype == jnp.uint8
    assert memory.examples.y.shape == memory.examples.task.shape == (5,)
    assert memory.examples.y.dtype == memory.examples.task.dtype == jnp.int32
    assert memory.seen.dtype == memory.periods.dtype == jnp.int32
    assert not any(leaf.any() for leaf in jax.tree.leaves(memory))


@pytest.mark.parametrize(
    ("slots", "mask"),
    [([2, 0, 2, 9, 2], [True] * 5), ([2, 0, 2, 9, 2], [True] * 3 + [False] * 2), ([1, 1, 1, 1, 1], [False] * 5)],
    ids=["all", "the first ones", "none"],
)
def test_storing_in_turn_equals_storing_one_after_another(slots, mask):
    examples = jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(numbered, range(7, 12)))
    start = stored(3, [0, 1])
    together = store_in_turn(start, examples, jnp.asarray(slots, jnp.int32), jnp.asarray(mask))
    expected = start
    for n, slot in enumerate(slots):
        if mask[n]:
            expected = store(expected, numbered(7 + n), jnp.asarray(slot, jnp.int32))
    jax.tree.map(np.testing.assert_array_equal, together, expected)


def test_slots_drawn_in_turn_fill_the_memory_in_order_and_then_keep_each_example_equally_likely():
    size, n = 3, 8
    slots = jax.vmap(lambda key: draw_slots_in_turn(with_seen(size, 1), n, key))(jax.random.split(KEY, 4000))
    np.testing.assert_array_equal(slots[:, :2], np.broadcast_to([1, 2], (4000, 2)))
    kept = (np.asarray(slots[:, 2:]) < size).sum(axis=0)
    expected = size / np.arange(4, 4 + n - 2)
    assert all(stats.binomtest(int(it), 4000, p).pvalue > UNLIKELY for it, p in zip(kept, expected, strict=True))


@pytest.mark.parametrize("left", [0, 1, 5])
def test_counting_passes_from_one_period_to_the_next(left):
    memory = with_seen(3, period(with_seen(3, 0)) - 3 + left - 2)
    at_once, one_by_one = counted(memory, 4), memory
    for _ in range(4):
        one_by_one = counted(one_by_one, 1)
    assert (at_once.seen, at_once.periods) == (one_by_one.seen, one_by_one.periods)
    assert int(at_once.periods) == int(left >= 1)
