"""The replay buffer on its own: examples of any form offered in batches, and samples of them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from perdure.learn import capacity, empty_buffer, filled, offer, sample
from tests.memory.examples import UNLIKELY

KEY = jax.random.key(0)
OFFER, SAMPLE = jax.jit(offer), jax.jit(sample, static_argnums=1)


def texts(numbers):
    """Return examples as a language model has them, recognisable in every leaf."""
    numbers = jnp.asarray(numbers, jnp.int32)
    return {"tokens": jnp.stack([numbers, 2 * numbers, 3 * numbers], axis=-1), "weight": numbers.astype(jnp.float32)}


def after(size, batches, key):
    """Return a memory of `size` slots after batches of numbered examples of these lengths."""
    memory, n = empty_buffer(texts(0), size), 0
    for place, length in enumerate(batches):
        memory = OFFER(memory, texts(np.arange(n, n + length)), jax.random.fold_in(key, place))
        n += length
    return memory


@settings(max_examples=12)
@given(
    size=st.sampled_from([1, 4, 9]), batches=st.lists(st.sampled_from([1, 2, 6]), max_size=5), seed=st.integers(0, 1000)
)
def test_it_holds_different_examples_that_were_offered(size, batches, seed):
    memory = after(size, batches, jax.random.key(seed))
    n = sum(batches)
    held = int(filled(memory))
    assert held == min(size, n)
    assert capacity(memory) == size
    numbers = np.asarray(memory.examples["weight"])[:held]
    assert len(set(numbers)) == held
    assert set(numbers) <= set(range(n))
    expected = texts(numbers)
    np.testing.assert_array_equal(memory.examples["tokens"][:held], expected["tokens"])


@pytest.mark.parametrize("batches", [[5, 5, 5, 5], [1] * 20, [20]])
def test_each_example_is_held_with_the_same_probability(batches):
    runs, size, n = 3000, 4, sum(batches)
    memories = jax.jit(jax.vmap(lambda key: after(size, batches, key)))(jax.random.split(KEY, runs))
    counts = np.bincount(np.asarray(memories.examples["weight"]).astype(int).ravel(), minlength=n)
    assert stats.chisquare(counts).pvalue > UNLIKELY


@settings(max_examples=12)
@given(size=st.sampled_from([1, 5]), n_offered=st.sampled_from([0, 3, 7]), n=st.sampled_from([1, 4, 8]))
def test_a_sample_holds_different_examples_and_says_which_count(size, n_offered, n):
    memory = after(size, [n_offered] if n_offered else [], KEY)
    examples, counts = SAMPLE(memory, n, jax.random.key(n))
    assert examples["tokens"].shape == (n, 3)
    drawn = np.asarray(examples["weight"])[np.asarray(counts)]
    assert len(drawn) == min(n, size, n_offered)
    assert len(set(drawn)) == len(drawn)
    assert set(drawn) <= set(np.asarray(memory.examples["weight"])[: int(filled(memory))])


def test_samples_are_uniform():
    memory = after(10, [10], KEY)
    draw = jax.jit(jax.vmap(lambda key: sample(memory, 3, key)[0]["weight"]))
    drawn = np.asarray(draw(jax.random.split(KEY, 3000))).astype(int)
    assert stats.chisquare(np.bincount(drawn.ravel(), minlength=10)).pvalue > UNLIKELY


def test_leaves_of_different_lengths_are_refused():
    memory = empty_buffer({"x": jnp.zeros(2), "y": jnp.zeros(())}, 3)
    with pytest.raises(ValueError, match=r"the leaves hold \[2, 4\] examples, expected the same number"):
        offer(memory, {"x": jnp.zeros((4, 2)), "y": jnp.zeros(2)}, KEY)
