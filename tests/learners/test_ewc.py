from __future__ import annotations

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from perdure.core import Example
from perdure.learners.ewc import EWC, EWCPerExample, empirical_fisher, fisher_information
from perdure.learners.online import Online
from perdure.memory.buffer import Buffer
from perdure.models import MLP
from perdure.updates.gradient import example_gradient, example_loss
from perdure.updates.losses import cross_entropy

RATE, KEPT, STRENGTH = 0.1, 3, 2.5
KEY = jax.random.key(0)

pytestmark = pytest.mark.usefixtures("x64")


def stream_of(tasks):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, len(tasks)).astype(np.int32)
    return Example(rng.normal(size=(len(tasks), 3)), y, np.asarray(tasks, np.int32))


def network():
    return MLP(3, 3, (4,), key=KEY)


def ewc(**changes):
    return EWC(**{"learning_rate": RATE, "fisher_examples": KEPT, "strength": STRENGTH, **changes})


@functools.partial(jax.jit, static_argnums=0)
def observe(learner, state, example):
    return learner.observe(state, example, KEY)


def states_along(learner, stream):
    """Return the states before the first example and after each."""
    states = [learner.init(network(), at(stream, 0), KEY)]
    for n in range(len(stream.y)):
        states.append(observe(learner, states[-1], at(stream, n))[0])
    return states


def at(tree, n):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf[n]), tree)


def flat(tree):
    return np.asarray(ravel_pytree(tree)[0])


def mean_gradient(model, stream, rows):
    """Return the flat gradient of the mean loss over some examples of the stream."""

    def loss(model):
        losses = jax.vmap(lambda x, y: example_loss(model, x, y))(jnp.asarray(stream.x[rows]), stream.y[rows])
        return losses.mean()

    return flat(jax.grad(loss)(model))


@pytest.mark.long
def test_the_step_is_down_the_loss_and_the_penalty():
    """The penalty's part of the step is the finite difference of strength · Σ F (θ − θ*)², task by task."""
    stream = stream_of([0] * 4 + [1] * 4 + [2] * 4)
    states = states_along(ewc(), stream)
    ends = [4, 8]
    kept = [slice(0, KEPT), slice(4, 4 + KEPT)]
    anchors = [flat(states[end].model) for end in ends]
    fishers = [mean_gradient(states[end].model, stream, rows) ** 2 for end, rows in zip(ends, kept, strict=True)]

    def penalty(weights):
        pairs = zip(fishers, anchors, strict=True)
        return STRENGTH * sum(np.sum(fisher * (weights - anchor) ** 2) for fisher, anchor in pairs)

    for n in range(9, 12):
        weights = flat(states[n].model)
        grads = (weights - flat(states[n + 1].model)) / RATE
        of_loss = flat(example_gradient(states[n].model, *at(stream, n)[:2]).grads)
        nudges = 1e-3 * np.eye(len(weights))  # a parabola: central differences are exact
        differences = [(penalty(weights + nudge) - penalty(weights - nudge)) / 2e-3 for nudge in nudges]
        np.testing.assert_allclose(grads - of_loss, differences, rtol=0, atol=1e-11)
        assert np.abs(differences).max() > 1e-4


@pytest.mark.long
def test_without_strength_it_is_online_learning():
    """Bit for bit, operation by operation; compiled programs may round differently."""
    stream = stream_of([0, 0, 1, 1])
    learner, online = ewc(strength=0.0), Online(RATE)
    mine, plain = learner.init(network(), at(stream, 0), KEY), online.init(network(), at(stream, 0), KEY)
    for n in range(4):
        mine, _ = learner.observe(mine, at(stream, n), KEY)
        plain, _ = online.observe(plain, at(stream, n), KEY)
        np.testing.assert_array_equal(flat(mine.model), flat(plain.model))
    assert flat(mine.consolidation).any()


def test_in_the_first_task_strength_does_not_matter():
    stream = stream_of([0] * 6)
    weak, strong = (flat(states_along(ewc(strength=it), stream)[-1].model) for it in (0.0, 100.0))
    np.testing.assert_array_equal(weak, strong)


@pytest.mark.parametrize("held", [1, 2, 3])
def test_fisher_information_of_softmax_regression_has_a_closed_form(held):
    """The gradient of the mean cross entropy is mean (p − e_y) xᵀ over the examples held, and no others."""
    stream = stream_of([0] * 3)
    model = eqx.nn.Linear(3, 3, key=KEY)
    memory = Buffer(jax.tree.map(jnp.asarray, stream), jnp.asarray(held, jnp.int32), jnp.zeros((), jnp.int32))
    information = jax.jit(lambda: fisher_information(model, memory, cross_entropy))()
    x, y = jnp.asarray(stream.x[:held]), stream.y[:held]
    errors = np.asarray(jax.nn.softmax(jax.vmap(model)(x))) - np.eye(3)[y]
    np.testing.assert_allclose(information.weight, (errors.T @ x / held) ** 2, rtol=1e-12)
    np.testing.assert_allclose(information.bias, errors.mean(axis=0) ** 2, rtol=1e-12)


@pytest.mark.parametrize("held", [1, 2, 3])
def test_the_empirical_fisher_information_of_softmax_regression_has_a_closed_form(held):
    """The gradient on one example is (p − e_y) xᵀ; its square is averaged over the examples held, and no others."""
    stream = stream_of([0] * 3)
    model = eqx.nn.Linear(3, 3, key=KEY)
    memory = Buffer(jax.tree.map(jnp.asarray, stream), jnp.asarray(held, jnp.int32), jnp.zeros((), jnp.int32))
    information = jax.jit(lambda: empirical_fisher(model, memory, cross_entropy))()
    x, y = jnp.asarray(stream.x[:held]), stream.y[:held]
    squares = (np.asarray(jax.nn.softmax(jax.vmap(model)(x))) - np.eye(3)[y]) ** 2
    np.testing.assert_allclose(information.weight, squares.T @ x**2 / held, rtol=1e-12)
    np.testing.assert_allclose(information.bias, squares.mean(axis=0), rtol=1e-12)


def test_of_one_example_both_estimates_are_the_same_and_of_more_the_empirical_one_is_larger():
    """The mean of squares is the square of the mean plus the variance over examples."""
    stream = stream_of([0] * 3 + [1])
    for kept in (1, 3):
        learners = (kind(RATE, kept, STRENGTH) for kind in (EWC, EWCPerExample))
        squared, empirical = (flat(states_along(it, stream)[-1].consolidation.stiffness) for it in learners)
        if kept == 1:
            np.testing.assert_allclose(empirical, squared, rtol=1e-12)
        else:
            assert (empirical - squared >= -1e-15).all()
            assert (empirical > 1.01 * squared).any()


def test_the_first_examples_of_each_task_are_kept():
    stream = stream_of([0] * 5 + [1] * 2 + [2] * 4)
    states = states_along(ewc(), stream)
    for n, expected in [(1, [0]), (5, [0, 1, 2]), (6, [5]), (7, [5, 6]), (11, [7, 8, 9])]:
        memory = states[n].memory
        np.testing.assert_array_equal(memory.examples.x[: len(expected)], stream.x[expected])
        assert min(memory.seen, KEPT) == len(expected)
        assert states[n].task == stream.task[n - 1]


def test_a_task_shorter_than_what_is_kept_counts_with_what_it_has():
    stream = stream_of([0] * 5 + [1] * 2 + [2])
    states = states_along(ewc(), stream)
    added = flat(states[8].consolidation.stiffness) - flat(states[7].consolidation.stiffness)
    expected = mean_gradient(states[7].model, stream, slice(5, 7)) ** 2
    np.testing.assert_allclose(added, expected, rtol=0, atol=1e-14)


def test_a_stream_may_begin_with_any_task():
    stream = stream_of([2, 2, 0])
    states = states_along(ewc(), stream)
    assert not flat(states[2].consolidation).any()
    assert flat(states[3].consolidation).any()
