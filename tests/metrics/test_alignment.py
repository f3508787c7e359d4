from __future__ import annotations

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

from perdure.core import Example
from perdure.learners.er import ER
from perdure.learners.online import Online, OnlineState
from perdure.learners.replay import ReplayState
from perdure.memory.buffer import empty_buffer
from perdure.metrics.alignment import gradient_alignment, gradient_cosine
from perdure.models import MLP, Statistics
from perdure.updates.gradient import example_loss, init_train_state
from perdure.updates.losses import mean_squared_error

LEARNER = Online(learning_rate=0.1)

pytestmark = pytest.mark.usefixtures("x64")


def example(n, label=None):
    x = jnp.asarray(np.random.default_rng(n).normal(size=4))
    return Example(x, jnp.asarray(n % 3 if label is None else label, jnp.int32), jnp.asarray(0, jnp.int32))


@functools.cache
def network():
    return MLP(4, 3, (5, 4), key=jax.random.key(0))


@jax.jit
def alignment(learner, model, arriving, past):
    return gradient_alignment(learner, OnlineState(*init_train_state(model, optax.sgd(0.1))), arriving, past)


@jax.jit
def cosine(learner, model, arriving, past):
    return gradient_cosine(learner, OnlineState(*init_train_state(model, optax.sgd(0.1))), arriving, past)


@jax.jit
def flat_gradient(model, example):
    return ravel_pytree(jax.grad(example_loss)(model, example.x, example.y))[0]


@pytest.mark.parametrize(("one", "other"), [(0, 1), (2, 7), (5, 5)])
def test_is_the_dot_product_of_all_gradients(one, other):
    expected = np.dot(flat_gradient(network(), example(one)), flat_gradient(network(), example(other)))
    assert float(alignment(LEARNER, network(), example(one), example(other))) == pytest.approx(expected, rel=1e-12)


def test_is_what_one_small_step_on_the_one_takes_from_the_loss_on_the_other():
    """For a small rate, loss(other) after − before = −rate · alignment (Riemer et al. 2019, section 2)."""
    arriving, past, rate = example(0), example(4), 1e-5
    flat, restore = ravel_pytree(network())
    grads = flat_gradient(network(), arriving)
    loss = jax.jit(lambda weights: example_loss(restore(weights), past.x, past.y))
    change = float(loss(flat - rate * grads) - loss(flat + rate * grads))
    assert -change / (2 * rate) == pytest.approx(float(alignment(LEARNER, network(), arriving, past)), rel=1e-6)


def test_an_example_helps_itself():
    grads = flat_gradient(network(), example(3))
    aligned = float(alignment(LEARNER, network(), example(3), example(3)))
    assert aligned > 0
    assert aligned == pytest.approx(float(np.sum(np.square(grads))), rel=1e-12)


def test_the_same_input_under_another_label_interferes():
    # Without weights all classes are as likely: δ = 1/3 − onehot, and δ₀ · δ₁ = 3/9 − 2/3 = −1/3 on the last bias,
    # the only layer that anything reaches.
    model = jax.tree.map(jnp.zeros_like, network())
    assert float(alignment(LEARNER, model, example(0, 0), example(0, 1))) == pytest.approx(-1 / 3, rel=1e-12)
    assert float(alignment(LEARNER, model, example(0, 0), example(0, 0))) == pytest.approx(2 / 3, rel=1e-12)


def test_is_symmetric():
    forth = alignment(LEARNER, network(), example(0), example(4))
    back = alignment(LEARNER, network(), example(4), example(0))
    assert float(forth) == pytest.approx(float(back), rel=1e-12)


def test_is_a_matter_of_the_model_alone():
    learner = ER(learning_rate=0.7, memory_size=3, replay_batch_size=1)
    state = ReplayState(*init_train_state(network(), optax.sgd(0.7)), empty_buffer(example(0), 3))
    with_memory = gradient_alignment(learner, state, example(0), example(4))
    assert float(with_memory) == pytest.approx(float(alignment(LEARNER, network(), example(0), example(4))), rel=1e-12)


def test_is_that_of_the_loss_that_the_learner_makes_small():
    target = {0: np.asarray([0.5, -1.0, 2.0]), 4: np.asarray([1.0, 0.0, -0.5])}
    arriving, past = (example(n)._replace(y=jnp.asarray(y)) for n, y in target.items())
    grads = jax.jit(jax.grad(lambda model, it: example_loss(model, it.x, it.y, mean_squared_error)))
    one, other = (ravel_pytree(grads(network(), it))[0] for it in (arriving, past))
    learner = Online(learning_rate=0.1, loss=mean_squared_error)
    assert float(alignment(learner, network(), arriving, past)) == pytest.approx(float(one @ other), rel=1e-12)


class Counted(eqx.Module):
    """A network with a leaf that is no weight, and running statistics."""

    network: MLP
    number: jax.Array
    statistics: Statistics

    def __call__(self, x):
        return self.network(x) * self.statistics.mean


def test_is_taken_over_weights_alone():
    ones = jnp.ones(3)
    counted = Counted(network(), jnp.asarray(3, jnp.int32), Statistics(ones, ones))
    expected = float(alignment(LEARNER, network(), example(0), example(4)))
    assert float(alignment(LEARNER, counted, example(0), example(4))) == pytest.approx(expected, rel=1e-12)


def test_pixels_count_as_fractions():
    pixels = np.asarray([0, 51, 102, 255], np.uint8)
    past = example(4)
    of_pixels = alignment(LEARNER, network(), example(0)._replace(x=jnp.asarray(pixels)), past)
    of_floats = alignment(LEARNER, network(), example(0)._replace(x=jnp.asarray(pixels / 255)), past)
    assert float(of_pixels) == pytest.approx(float(of_floats), rel=1e-12)


@pytest.mark.parametrize(("one", "other"), [(0, 1), (2, 7), (0, 4)])
def test_the_cosine_is_the_dot_product_of_the_gradients_at_length_one(one, other):
    slopes = [np.asarray(flat_gradient(network(), example(n))) for n in (one, other)]
    expected = np.dot(*(grads / np.linalg.norm(grads) for grads in slopes))
    assert float(cosine(LEARNER, network(), example(one), example(other))) == pytest.approx(expected, rel=1e-12)


def test_the_cosine_of_an_example_with_itself_is_one_and_with_other_labels_by_hand():
    assert float(cosine(LEARNER, network(), example(3), example(3))) == pytest.approx(1, rel=1e-12)
    model = jax.tree.map(jnp.zeros_like, network())
    assert float(cosine(LEARNER, model, example(0, 0), example(0, 1))) == pytest.approx(-1 / 2, rel=1e-12)


def test_the_cosine_with_a_gradient_that_vanishes_is_zero():
    certain = jax.tree.map(jnp.zeros_like, network())
    bias = jnp.asarray([2000.0, 0.0, 0.0])
    certain = eqx.tree_at(lambda it: it.layers[-1].bias, certain, bias)
    assert float(cosine(LEARNER, certain, example(0, 0), example(1, 1))) == 0
