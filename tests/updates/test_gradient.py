from __future__ import annotations

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from perdure.models import MLP
from perdure.updates.gradient import (
    TrainState,
    example_gradient,
    example_loss,
    init_train_state,
    optimizer_step,
    predict_batch,
    sgd_step,
    weighted_gradient,
)
from perdure.updates.losses import mean_squared_error


def linear(x):
    """A model of two outputs without weights: its logits are (sum of x, 0)."""
    return jnp.stack([jnp.sum(x), jnp.zeros((), x.dtype)])


def random_batch(seed, n, d=4):
    rng = np.random.default_rng(seed)
    return jnp.asarray(rng.normal(size=(n, d))), jnp.asarray(rng.integers(0, 3, n), jnp.int32)


def network():
    return MLP(4, 3, (5, 2), key=jax.random.key(0))


example_of = jax.jit(example_gradient)
batch_of = jax.jit(weighted_gradient)
step = jax.jit(optimizer_step, static_argnums=2)


def same(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


def close(one, other):
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-12, atol=1e-14), one, other)


def test_weighted_loss_by_hand():
    # Logits (z, 0): the loss is log(1 + e^−z) for class 0 and log(1 + e^z) for class 1.
    x = jnp.asarray([[1.0, 1.0], [0.5, -0.5], [-3.0, 0.0]])
    y = jnp.asarray([0, 1, 1], jnp.int32)
    losses = [np.log1p(np.exp(-2)), np.log(2), np.log1p(np.exp(-3))]
    expected = 0.5 * losses[0] + 2 * losses[1] + 0 * losses[2]
    assert weighted_gradient(linear, x, y, jnp.asarray([0.5, 2.0, 0.0])).loss == pytest.approx(expected, rel=1e-6)
    mean = weighted_gradient(linear, x, y, jnp.full(3, 1 / 3)).loss
    assert mean == pytest.approx(np.mean(losses), rel=1e-6)


def test_pixels_are_scaled_before_the_model_sees_them():
    pixels = jnp.asarray([[51, 0], [255, 255]], jnp.uint8)
    np.testing.assert_allclose(predict_batch(linear, pixels), [[0.2, 0], [2, 0]], rtol=1e-6)
    y = jnp.asarray([1, 0], jnp.int32)
    assert example_loss(linear, pixels[1], y[1]) == pytest.approx(np.log1p(np.exp(-2)), rel=1e-6)
    assert example_gradient(linear, pixels[1], y[1]).loss == pytest.approx(np.log1p(np.exp(-2)), rel=1e-6)
    summed = weighted_gradient(linear, pixels, y, jnp.ones(2)).loss
    assert summed == pytest.approx(np.log1p(np.exp(0.2)) + np.log1p(np.exp(-2)), rel=1e-6)


def test_one_example_is_a_batch_of_one(x64):
    x, y = random_batch(0, 1)
    alone = example_of(network(), x[0], y[0])
    assert float(alone.loss) == pytest.approx(float(example_loss(network(), x[0], y[0])), rel=1e-12)
    close(alone, batch_of(network(), x, y, jnp.ones(1)))
    same(alone.model, network())


@pytest.mark.parametrize("loss", [None, mean_squared_error])
def test_gradient_equals_finite_differences(loss, x64):
    x, y = random_batch(1, 6)
    options = {}
    if loss is not None:
        options["loss"], y = loss, jnp.asarray(np.random.default_rng(5).normal(size=(6, 3)))
    weights = jnp.asarray(np.random.default_rng(2).uniform(0, 1, 6))
    leaves, structure = jax.tree.flatten(network())

    @jax.jit
    def gradient(*leaves):
        return weighted_gradient(jax.tree.unflatten(structure, leaves), x, y, weights, **options)

    slopes = jax.tree.leaves(gradient(*leaves).grads)
    rng, step = np.random.default_rng(3), 1e-6
    for _ in range(10):
        ways = [rng.normal(size=leaf.shape) for leaf in leaves]
        ahead, behind = (
            gradient(*(leaf + sign * step * way for leaf, way in zip(leaves, ways, strict=True))).loss
            for sign in (1, -1)
        )
        along = sum(np.sum(grads * way) for grads, way in zip(slopes, ways, strict=True))
        assert (ahead - behind) / (2 * step) == pytest.approx(float(along), rel=1e-6, abs=1e-8)


def test_the_loss_given_is_the_one_that_is_taken():
    def outputs_sum(outputs, y):
        return jnp.sum(outputs) * y

    x, y = jnp.ones((2, 3)), jnp.asarray([2.0, 5.0])
    assert example_loss(linear, x[0], y[0], outputs_sum) == 6
    assert example_gradient(linear, x[0], y[0], outputs_sum).loss == 6
    assert weighted_gradient(linear, x, y, jnp.asarray([1.0, 0.5]), outputs_sum).loss == 6 + 7.5


def test_descend_subtracts_rate_times_gradient():
    model = {"weight": jnp.asarray([1.0, -2.0]), "bias": jnp.asarray(4.0)}
    grads = {"weight": jnp.asarray([2.0, 4.0]), "bias": jnp.asarray(-8.0)}
    for rate in (0.25, jnp.asarray(0.25)):
        after = sgd_step(model, grads, rate)
        np.testing.assert_array_equal(after["weight"], [0.5, -3.0])
        assert after["bias"] == 6
    np.testing.assert_array_equal(sgd_step(model, grads, 0.0)["weight"], model["weight"])


def test_leaves_without_gradients_stay_as_they_are():
    model = {"weight": jnp.asarray([1.0]), "count": jnp.asarray(7, jnp.int32)}
    after = sgd_step(model, {"weight": jnp.asarray([2.0]), "count": None}, 0.5)
    assert after == {"weight": jnp.asarray([0.0]), "count": 7}


# --- optimizers


class Numbered(eqx.Module):
    """A model with a leaf that is no weight."""

    network: MLP
    number: jax.Array

    def __call__(self, x):
        return self.network(x)


def test_integers_of_a_model_are_not_differentiated_and_no_optimizer_sees_them():
    model, adam = Numbered(network(), jnp.asarray(7, jnp.int32)), optax.adam(0.1)
    x, y = random_batch(0, 1)
    start, gradient = init_train_state(model, adam), example_of(model, x[0], y[0])
    assert gradient.grads.number is None
    after = step(gradient, start.optimizer, adam)
    assert after.model.number.dtype == jnp.int32
    assert after.model.number == 7
    n_weights = len(jax.tree.leaves(network()))
    assert len(jax.tree.leaves(start.optimizer)) == 1 + 2 * n_weights  # a counter, and two moments of each weight


@pytest.mark.parametrize("transformation", [optax.sgd(0.1), optax.adam(0.1), optax.sgd(0.1, momentum=0.9)])
def test_an_optimizers_state_is_all_arrays_and_keeps_its_form(transformation):
    x, y = random_batch(0, 1)
    start = init_train_state(network(), transformation)
    same(start.model, network())
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(start))
    after = step(example_of(network(), x[0], y[0]), start.optimizer, transformation)
    assert isinstance(after, TrainState)
    forms = [jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), it) for it in (start, after)]
    assert forms[0] == forms[1]


def test_plain_sgd_is_a_descent():
    x, y = random_batch(0, 3)
    gradient = batch_of(network(), x, y, jnp.full(3, 1 / 3))
    start = init_train_state(network(), optax.sgd(0.1))
    after = step(gradient, start.optimizer, optax.sgd(0.1))
    same(after.model, sgd_step(network(), gradient.grads, 0.1))


def test_momentum_by_hand(x64):
    model, slopes = {"w": jnp.asarray(1.0)}, [2.0, -1.0, 4.0]
    transformation = optax.sgd(0.1, momentum=0.5)
    now, weight, velocity = init_train_state(model, transformation), 1.0, 0.0
    example = example_gradient(lambda x: jnp.zeros(2), jnp.zeros(1), jnp.asarray(0, jnp.int32))
    for grads in slopes:
        gradient = example._replace(grads={"w": jnp.asarray(grads)}, model=now.model)
        now = step(gradient, now.optimizer, transformation)
        velocity = 0.5 * velocity + grads
        weight -= 0.1 * velocity
        assert float(now.model["w"]) == pytest.approx(weight, rel=1e-12)


# --- models with running statistics


def by_hand(model, x, y, weights):
    """Return loss and gradient of the weighted cross entropy, and the statistics after it, in NumPy."""
    x, weight = np.asarray(x), np.asarray(model.weight)
    mean, variance = x.mean(axis=(0, 1)), x.var(axis=(0, 1))
    rows = ((x - mean) / np.sqrt(variance + 0.1)).reshape(len(x), -1)
    logits = rows @ weight.T
    likely = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    loss = -np.sum(weights * np.log(likely[np.arange(len(y)), y]))
    grads = ((likely - np.eye(3)[y]) * weights[:, None]).T @ rows
    moved = [0.9 * np.asarray(old) + 0.1 * new for old, new in zip(statistics(model), (mean, variance), strict=True)]
    return loss, grads, moved


def statistics(model):
    return model.statistics.mean, model.statistics.variance


def test_training_normalises_with_the_batch_and_moves_the_running_statistics(normalizing):
    rng = np.random.default_rng(0)
    x, y, weights = rng.normal(size=(5, 4, 2)), np.asarray([0, 2, 1, 1, 2], np.int32), rng.uniform(0, 1, 5)
    batch = batch_of(normalizing, jnp.asarray(x), jnp.asarray(y), jnp.asarray(weights))
    alone = example_of(normalizing, jnp.asarray(x[3]), jnp.asarray(y[3]))
    for found, expected in (
        (batch, by_hand(normalizing, x, y, weights)),
        (alone, by_hand(normalizing, x[3:4], y[3:4], np.ones(1))),
    ):
        assert float(found.loss) == pytest.approx(expected[0], rel=1e-12)
        np.testing.assert_allclose(found.grads.weight, expected[1], rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(statistics(found.model), expected[2], rtol=1e-12)
        same(found.model.weight, normalizing.weight)


def test_predicting_normalises_with_the_running_statistics_and_moves_nothing(normalizing):
    x = np.random.default_rng(0).normal(size=(5, 4, 2))
    mean, variance = map(np.asarray, statistics(normalizing))
    expected = ((x - mean) / np.sqrt(variance + 0.1)).reshape(5, 8) @ np.asarray(normalizing.weight).T
    np.testing.assert_allclose(predict_batch(normalizing, x), expected, rtol=1e-12)
    label = jnp.asarray(1, jnp.int32)
    loss = np.log(np.exp(expected[0]).sum()) - expected[0, 1]
    assert float(example_loss(normalizing, x[0], label)) == pytest.approx(loss, rel=1e-12)


def test_running_statistics_are_not_differentiated(normalizing):
    x, y = jnp.asarray(np.random.default_rng(0).normal(size=(4, 2))), jnp.asarray(1, jnp.int32)
    gradient = example_of(normalizing, x, y)
    assert (gradient.grads.statistics.mean, gradient.grads.statistics.variance) == (None, None)
    for rate in (0.5, 0.0):
        same(statistics(sgd_step(gradient.model, gradient.grads, rate)), statistics(gradient.model))
    adam = optax.adam(0.5)
    start = init_train_state(normalizing, adam)
    assert {leaf.shape for leaf in jax.tree.leaves(start.optimizer)} == {(), normalizing.weight.shape}
    after = step(gradient, start.optimizer, adam)
    same(statistics(after.model), statistics(gradient.model))
    assert (after.model.weight != normalizing.weight).all()
