"""Losses and optimizers other than the published ones."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from perdure.core import Example
from perdure.learners.er import ER, ERAlgorithm5
from perdure.learners.mer import MER, MERAlgorithm6, MERAlgorithm7
from perdure.learners.online import Online
from perdure.learners.replay import Draws
from perdure.models import MLP
from perdure.updates.losses import cross_entropy, mean_squared_error

RATE = 0.05
REPLAY: dict[str, Any] = {"learning_rate": RATE, "memory_size": 4, "replay_batch_size": 3}
N = 7
NOT_STORED = 99

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("x64")]

MERS = {
    "1": functools.partial(MER, **REPLAY, beta=0.3, gamma=0.6, batches_per_example=2),
    "6": functools.partial(MERAlgorithm6, **REPLAY, gamma=0.3, batches_per_example=2),
    "7": functools.partial(MERAlgorithm7, **REPLAY, gamma=0.3, current_example_weight=2.0),
}
EVERY = {
    "online": functools.partial(Online, learning_rate=RATE),
    "er": functools.partial(ER, **REPLAY),
    "er-algorithm-5": functools.partial(ERAlgorithm5, **REPLAY),
    **MERS,
}


def stream(regression=False):
    rng = np.random.default_rng(0)
    x, y = jnp.asarray(rng.normal(size=(N, 3))), jnp.asarray(rng.integers(0, 4, N), jnp.int32)
    if regression:
        y = jnp.asarray(rng.normal(size=(N, 4)))
    return Example(x, y, jnp.asarray(np.arange(N) // 4, jnp.int32))


@functools.cache
def network():
    return MLP(3, 4, (5, 4), key=jax.random.key(0))


def pick(n, examples):
    return jax.tree.map(lambda leaf: leaf[n], examples)


def start_of(learner, examples):
    return learner.init(network(), pick(0, examples), jax.random.key(0))


@jax.jit
def learn(learner, state, examples):
    def step(state, numbered):
        n, example = numbered
        return learner.observe(state, example, jax.random.fold_in(jax.random.key(7), n))

    return jax.lax.scan(step, state, (jnp.arange(N), examples))


def learnt(learner, examples):
    return learn(learner, start_of(learner, examples), examples)


def assert_close(one, other, rtol=1e-12):
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=rtol, atol=rtol / 100), one, other)


def by_hand(transformation, batches, loss=cross_entropy):
    """Return the model after steps of optax on the mean loss of each of these batches."""
    model = network()
    state = transformation.init(model)
    update = jax.jit(transformation.update)

    @jax.jit
    def slope_of(model, x, y):
        return jax.grad(lambda model: jnp.mean(jax.vmap(loss)(jax.vmap(model)(x), y)))(model)

    for batch in batches:
        with jax.numpy_dtype_promotion("standard"):
            updates, state = update(slope_of(model, batch.x, batch.y), state)
        model = jax.tree.map(jnp.add, model, updates)
    return model, state


def alone(examples):
    return [jax.tree.map(lambda leaf, n=n: leaf[n : n + 1], examples) for n in range(N)]


# --- Online and ER


@pytest.mark.parametrize("optimizer", [optax.adam, functools.partial(optax.sgd, momentum=0.9)])
@pytest.mark.parametrize("loss", [cross_entropy, mean_squared_error])
def test_online_takes_the_steps_of_optax(optimizer, loss):
    examples = stream(regression=loss is mean_squared_error)
    state, info = learnt(Online(RATE, loss=loss, optimizer=optimizer), examples)
    model, optimizer_state = by_hand(optimizer(RATE), alone(examples), loss)
    assert_close(state.model, model)
    assert_close(jax.tree.leaves(state.optimizer), jax.tree.leaves(optimizer_state))
    first = loss(network()(examples.x[0]), examples.y[0])
    assert float(info.loss[0]) == pytest.approx(float(first), rel=1e-12)


def test_by_default_online_takes_the_steps_of_plain_sgd():
    examples = stream()
    state, _ = learnt(Online(RATE), examples)
    model = network()
    for n in range(N):
        grads = jax.jit(jax.grad(lambda model, x, y: cross_entropy(model(x), y)))(model, *pick(n, examples)[:2])
        model = jax.tree.map(lambda weight, by: weight - RATE * by, model, grads)
    assert_close(state.model, model)
    assert jax.tree.leaves(state.optimizer) == []


@pytest.mark.parametrize("loss", [cross_entropy, mean_squared_error])
def test_er_takes_the_steps_of_optax_on_the_examples_that_count(loss):
    examples = stream(regression=loss is mean_squared_error)
    learner = ER(**REPLAY, loss=loss, optimizer=optax.adam)
    rng, state, batches = np.random.default_rng(3), start_of(learner, examples), []
    observe = jax.jit(lambda *arguments: learner.observe_with(*arguments))
    for n in range(N):  # the first four are stored in order, the others not at all
        held = min(n, 4)
        slots = rng.integers(0, max(held, 1), 3)
        draws = Draws(*(jnp.asarray(it, jnp.int32) for it in (slots[None], 0, n if n < 4 else NOT_STORED)))
        state, _ = observe(state, pick(n, examples), draws)
        batches.append(pick(np.asarray([n, *slots[:held]]), examples))
    model, optimizer_state = by_hand(optax.adam(RATE), batches, loss)
    assert_close(state.model, model)
    assert_close(jax.tree.leaves(state.optimizer), jax.tree.leaves(optimizer_state))


# --- MER


@pytest.mark.parametrize("name", MERS)
@pytest.mark.parametrize("loss", [cross_entropy, mean_squared_error])
def test_plain_sgd_is_the_same_by_either_way(name, loss):
    """`optax.sgd` itself takes the Gram form; under another name it is an optimizer like any other."""
    examples = stream(regression=loss is mean_squared_error)
    fast, general = (
        learnt(MERS[name](loss=loss, optimizer=it), examples) for it in (optax.sgd, functools.partial(optax.sgd))
    )
    assert_close(fast, general)


def adam_steps(state):
    return int(optax.tree.get(state.optimizer, "count"))


def test_optimizers_see_only_the_memories_there_are():
    """Batches of 1, 2, 3 and then 4 examples, two an observation."""
    learner, examples = MERS["1"](optimizer=optax.adam), stream()
    state, observe = start_of(learner, examples), jax.jit(lambda *arguments: learner.observe(*arguments))
    for n, steps in enumerate([2, 6, 12, 20, 28]):
        state, _ = observe(state, pick(n, examples), jax.random.key(n))
        assert adam_steps(state) == steps


def test_an_observation_without_weight_leaves_adam_untouched():
    """Algorithm 7 only stores the very first example."""
    learner, examples = MERS["7"](optimizer=optax.adam), stream()
    state = start_of(learner, examples)
    after, _ = jax.jit(lambda *arguments: learner.observe(*arguments))(state, pick(0, examples), jax.random.key(0))
    jax.tree.map(np.testing.assert_array_equal, (after.model, after.optimizer), (state.model, state.optimizer))


def test_the_arriving_examples_weight_multiplies_its_gradient():
    """It is a factor of the loss, which is not that of the rate for every optimizer."""

    def squared(rate):
        """Moves by the square of the gradient, so that factors of loss and rate differ."""
        return optax.stateless(lambda grads, _: jax.tree.map(lambda by: -rate * by**2, grads))

    examples = stream()
    learner = MERAlgorithm7(**REPLAY, gamma=1.0, current_example_weight=3.0, optimizer=squared)
    memory = start_of(learner, examples).memory
    stored = memory._replace(examples=pick(np.asarray([1, 0, 0, 0]), examples), seen=jnp.asarray(1, jnp.int32))
    state = start_of(learner, examples)._replace(memory=stored)
    draws = Draws(jnp.zeros((1, 3), jnp.int32), jnp.asarray(0, jnp.int32), jnp.asarray(NOT_STORED, jnp.int32))
    after, _ = jax.jit(lambda *arguments: learner.observe_with(*arguments))(state, pick(0, examples), draws)
    model = network()
    for n, weight in ((0, 3.0), (1, 1.0)):
        grads = jax.jit(jax.grad(lambda model, x, y: cross_entropy(model(x), y)))(model, *pick(n, examples)[:2])
        model = jax.tree.map(lambda old, by, w=weight: old - RATE * (w * by) ** 2, model, grads)
    assert_close(after.model, model)


# --- all of them


@pytest.mark.parametrize("name", ["online", "er", "1"])
def test_rates_of_an_optimizer_side_by_side_equal_each_alone(name):
    examples = stream()
    learners = [EVERY[name](learning_rate=rate, optimizer=optax.adam) for rate in (0.01, 0.1)]
    stacked = jax.tree.map(lambda *leaves: jnp.asarray(leaves), *learners)
    together = jax.jit(jax.vmap(learn, in_axes=(0, None, None)))(stacked, start_of(learners[0], examples), examples)
    for place, learner in enumerate(learners):
        assert_close(pick(place, together), learnt(learner, examples), rtol=1e-11)


@pytest.mark.parametrize("name", EVERY)
def test_loss_and_optimizer_are_given_by_name_and_are_no_leaves(name):
    default, other = EVERY[name](), EVERY[name](loss=mean_squared_error, optimizer=optax.adam)
    assert (default.loss, default.optimizer) == (None, None)
    assert (other.loss, other.optimizer) == (mean_squared_error, optax.adam)
    assert jax.tree.leaves(other) == jax.tree.leaves(default)
    assert jax.tree.structure(other) != jax.tree.structure(default)
    too_many = [getattr(default, field) for field in default.__dataclass_fields__]
    with pytest.raises(TypeError, match="positional"):
        type(default)(*too_many)
