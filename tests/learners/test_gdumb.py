"""GDumb: its memory against its law, and its trainings against plain loops."""

from __future__ import annotations

import functools
from itertools import permutations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perdure.core import Example
from perdure.learners.gdumb import GDumb
from perdure.memory.buffer import empty_balanced_buffer, filled, greedy_slot, store_greedy
from perdure.updates.gradient import predict_batch, sgd_step
from perdure.updates.losses import cross_entropy
from tests.learners.small_stream import KEY, assert_close, example, learned, network, observe


def gdumb(**changes):
    values = {"learning_rate": 0.1, "memory_size": 5, "epochs": 3, "batch_size": 5, "retrain_every": 4}
    return GDumb(**{**values, **changes})


@functools.partial(jax.jit, static_argnums=1)
def greedy(labels, size, key):
    """Return what a greedy memory holds after each example: its numbers (N, size) and how many count (N,)."""

    def step(memory, place):
        slot = greedy_slot(memory, labels[place], jax.random.fold_in(key, place))
        memory = store_greedy(memory, (place,), labels[place], slot)
        return memory, (memory.examples[0], filled(memory), memory.stored)

    start = empty_balanced_buffer((jnp.zeros((), jnp.int32),), size, 4)
    return jax.lax.scan(step, start, jnp.arange(len(labels), dtype=jnp.int32))[1]


@pytest.mark.parametrize("seed", range(3))
def test_the_memory_holds_of_each_class_what_the_algorithm_tells(seed):
    """Whichever example of a largest class goes, the numbers of each class follow from the labels; so do free slots."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([rng.choice(4, 40, p=[0.6, 0.3, 0.1, 0.0]), np.full(10, 3)]).astype(np.int32)
    numbers, n_held, stored = greedy(jnp.asarray(labels), 12, jax.random.key(seed))
    counts = np.zeros(4, int)
    held = []
    for n, label in enumerate(labels):
        n_seen = len(set(labels[: n + 1]))
        before, held = held, numbers[n, : n_held[n]].tolist()
        own = np.bincount(labels[held], minlength=4)
        np.testing.assert_array_equal(own, stored[n])
        if counts[label] < 12 / n_seen:
            assert set(held) - set(before) == {n}
            if counts.sum() == 12:
                (gone,) = set(before) - set(held)
                assert counts[labels[gone]] == counts.max()
            else:
                assert len(held) == len(before) + 1
        else:
            assert held == before
        counts = own
    assert counts.sum() == 12
    assert counts[3] == 3


def test_replaced_examples_are_drawn_uniformly():
    labels = jnp.asarray([0] * 6 + [1], jnp.int32)
    numbers, *_ = jax.vmap(lambda key: greedy(labels, 6, key))(jax.random.split(KEY, 3000))
    gone = np.asarray([sorted(set(range(6)) - set(row))[0] for row in numbers[:, -1].tolist()])
    frequencies = np.bincount(gone, minlength=6) / 3000
    np.testing.assert_allclose(frequencies, 1 / 6, atol=4.5 * np.sqrt(5 / 36 / 3000))


@pytest.mark.parametrize("n", [4, 8])
def test_a_training_is_gradient_descent_on_the_memory_from_the_initial_weights(n):
    """With batches that hold the whole memory no order matters."""
    state = learned(gdumb(), n)
    held = jax.tree.map(lambda leaf: leaf[: min(n, 5)], state.memory.examples)
    step = jax.jit(jax.grad(lambda model: cross_entropy(predict_batch(model, held.x), held.y).mean()))
    expected = network()
    for _ in range(3):
        expected = sgd_step(expected, step(expected), 0.1)
    assert_close(state.model, expected)


def test_between_trainings_it_answers_as_after_the_last():
    before, after = learned(gdumb(), 4), learned(gdumb(), 7)
    assert_close(after.model, before.model, rtol=0, atol=0)
    np.testing.assert_array_equal(learned(gdumb(), 3).model.layers[0].weight, network().layers[0].weight)


def test_a_training_does_not_depend_on_those_before():
    """Whatever the network that answered, the next training ends at the same weights."""
    learner = gdumb()
    state = learned(learner, 7)
    other = state._replace(model=jax.tree.map(lambda leaf: leaf + 1, state.model))
    one, two = (observe(learner, it, example(7), KEY)[0].model for it in (state, other))
    assert_close(one, two, rtol=0, atol=0)


class Product(eqx.Module):
    """A network whose output is its weight times the input."""

    weight: jax.Array

    def __call__(self, x):
        return self.weight * x


def possible_passes(values, batch_size):
    """Return the sums of the means of batches, for all orders of the values."""
    starts = range(batch_size, len(values), batch_size)
    return [sum(part.mean() for part in np.split(np.asarray(order), starts)) for order in permutations(values)]


@pytest.mark.parametrize(("batch_size", "held"), [(1, 5), (2, 1), (2, 3), (2, 5), (3, 5), (8, 4)])
def test_each_pass_visits_each_memory_once(batch_size, held):
    """With a loss whose gradient is the input, whatever the weight, a pass subtracts the sum of its batches' means."""
    learner = gdumb(batch_size=batch_size, epochs=1, loss=lambda outputs, y: outputs[0], learning_rate=1.0)
    zeros = jnp.zeros(5, jnp.int32)
    values = jnp.asarray([1.0, 3.0, 9.0, 27.0, 81.0])
    memory = empty_balanced_buffer(Example(values[:1], zeros[0], zeros[0]), 5, 1)
    memory = memory._replace(examples=Example(values[:, None], zeros, zeros), seen=jnp.asarray(held, jnp.int32))
    train = jax.jit(lambda key: learner.trained(Product(jnp.zeros(1)), memory, key).weight[0])
    found = np.asarray([-train(jax.random.key(seed)) for seed in range(8)])
    possible = np.asarray(possible_passes(values[:held].tolist(), batch_size))
    assert (np.abs(found[:, None] - possible[None]).min(axis=1) < 1e-3).all()
    assert (np.ptp(found) > 1e-3) == (np.ptp(possible) > 1e-3), "orders differ where they matter"
