"""What is learned, what is only carried along, and how batches are normalised."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perdure.models import MLP, BatchModel, BatchNorm, ResNet18, Statistics, split_trainable
from perdure.updates.reptile import reptile_step

KEY = jax.random.key(0)


class Tiny(BatchModel):
    """The mean over the positions of a normalised image."""

    norm: BatchNorm

    def __call__(self, x):
        return self.norm(x, training=False)[0].mean(axis=(0, 1))

    def in_training(self, x, mask=None):
        x, norm = self.norm(x, training=True, mask=mask)
        return x.mean(axis=(1, 2)), Tiny(norm)


def any_norm(rng, channels=3):
    running = Statistics(*(jnp.asarray(rng.random(channels) + 0.5) for _ in range(2)))
    return eqx.tree_at(
        lambda it: (it.scale, it.shift, it.running),
        BatchNorm(channels),
        (*(jnp.asarray(rng.normal(size=channels)) for _ in range(2)), running),
    )


def by_the_formula(layer, x, mean, variance):
    return (x - mean) / np.sqrt(variance + 1e-5) * np.asarray(layer.scale) + np.asarray(layer.shift)


@pytest.mark.parametrize("shape", [(4, 5, 6, 3), (1, 2, 2, 3), (7, 3)], ids=["batch", "one image", "dense"])
def test_training_normalises_with_the_batch_and_moves_the_running_statistics(shape, x64):
    rng = np.random.default_rng(0)
    layer, x = any_norm(rng), rng.normal(size=shape)
    normalised, after = layer(jnp.asarray(x), training=True)
    axes = tuple(range(x.ndim - 1))
    mean, biased, unbiased = x.mean(axes), x.var(axes), x.var(axes, ddof=1)
    np.testing.assert_allclose(normalised, by_the_formula(layer, x, mean, biased), rtol=1e-10)
    np.testing.assert_allclose(after.running.mean, 0.9 * layer.running.mean + 0.1 * mean, rtol=1e-12)
    np.testing.assert_allclose(after.running.variance, 0.9 * layer.running.variance + 0.1 * unbiased, rtol=1e-12)
    np.testing.assert_array_equal(after.scale, layer.scale)
    np.testing.assert_array_equal(after.shift, layer.shift)


@pytest.mark.parametrize("shape", [(4, 5, 6, 3), (7, 3)], ids=["images", "dense"])
def test_only_those_of_a_batch_that_count_make_its_statistics(shape, x64):
    rng = np.random.default_rng(0)
    layer, x = any_norm(rng), jnp.asarray(rng.normal(size=shape))
    mask = jnp.arange(len(x)) % 2 == 0
    some, after = layer(x, training=True, mask=mask)
    alone, expected = layer(x[mask], training=True)
    np.testing.assert_allclose(some[mask], alone, rtol=0, atol=1e-12)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), after, expected)


def test_prediction_normalises_with_the_running_statistics_and_leaves_them(x64):
    rng = np.random.default_rng(0)
    layer, x = any_norm(rng), rng.normal(size=(4, 5, 3))
    normalised, after = layer(jnp.asarray(x), training=False)
    expected = by_the_formula(layer, x, np.asarray(layer.running.mean), np.asarray(layer.running.variance))
    np.testing.assert_allclose(normalised, expected, rtol=1e-12)
    assert after is layer


def test_starts_as_the_identity_up_to_epsilon():
    x = jnp.linspace(-1.0, 1.0, 6).reshape(2, 3)
    np.testing.assert_allclose(BatchNorm(3)(x, training=False)[0], x / np.sqrt(np.float32(1 + 1e-5)), rtol=1e-6)


def test_a_single_image_is_normalised_over_its_own_positions(x64):
    """A batch of one, as in an SGD step of MER: equal images in a batch change nothing, other images do."""
    rng = np.random.default_rng(0)
    layer, image = any_norm(rng), jnp.asarray(rng.normal(size=(1, 4, 4, 3)))
    alone, _ = layer(image, training=True)
    repeated, _ = layer(jnp.concatenate([image, image]), training=True)
    beside, _ = layer(jnp.concatenate([image, image + 1]), training=True)
    np.testing.assert_allclose(repeated[0], alone[0], rtol=1e-10)
    assert np.abs(beside[0] - alone[0]).max() > 0.1


@pytest.mark.parametrize("shape", [(1, 1, 1, 3), (1, 3)])
def test_refuses_one_value_a_channel_when_it_is_traced(shape):
    with pytest.raises(ValueError, match=r"met one value a channel in training, expected at least two"):
        jax.eval_shape(lambda layer, x: layer(x, training=True)[0], BatchNorm(3), jnp.zeros(shape))


def test_one_value_a_channel_can_be_predicted_from():
    np.testing.assert_allclose(BatchNorm(3)(jnp.ones((1, 3)), training=False)[0], np.ones((1, 3)), rtol=1e-5)


@pytest.mark.parametrize("rate", [0.0, 0.25, 1.0])
def test_a_reptile_step_moves_running_statistics_with_the_weights(rate, x64):
    rng = np.random.default_rng(0)
    before = Tiny(any_norm(rng))
    weights, rest = split_trainable(before)

    def loss(weights, x):
        outputs, after = eqx.combine(weights, rest).in_training(x)
        return jnp.sum(outputs**2), split_trainable(after)[1]

    grads, rest_after = jax.grad(loss, has_aux=True)(weights, jnp.asarray(rng.normal(size=(1, 4, 4, 3))))
    after = eqx.combine(jax.tree.map(lambda weight, by: weight - by, weights, grads), rest_after)
    part_way = reptile_step(before, after, rate)
    for one, other, between in zip(*(jax.tree.leaves(it) for it in (before, after, part_way)), strict=True):
        np.testing.assert_allclose(between, one + rate * (other - one), rtol=1e-12)
    moved = part_way.norm.running.mean - before.norm.running.mean
    assert (np.abs(moved).max() > 1e-3) == (rate > 0)


class Mixed(eqx.Module):
    """One leaf of every kind."""

    weight: Any
    count: Any
    numpy_weight: Any
    absent: Any
    running: Any
    network: Any


def mixed():
    running = Statistics(jnp.zeros(2), jnp.ones(2))
    return Mixed(jnp.ones(2), jnp.asarray(3), np.ones(2, np.float32), None, running, MLP(2, 2, (2,), key=KEY))


def test_weights_are_the_float_arrays_outside_statistics():
    model = mixed()
    weights, rest = split_trainable(model)
    assert [leaf is not None for leaf in (weights.weight, weights.numpy_weight)] == [True, True]
    assert (weights.count, weights.absent) == (None, None)
    assert (weights.running.mean, weights.running.variance) == (None, None)
    assert len(jax.tree.leaves(weights)) == 2 + 4
    assert len(jax.tree.leaves(rest)) == 1 + 2
    assert rest.running.mean is model.running.mean


def test_the_parts_combine_to_the_model():
    model = mixed()
    whole = eqx.combine(*split_trainable(model))
    assert jax.tree.structure(whole) == jax.tree.structure(model)
    assert all(one is other for one, other in zip(jax.tree.leaves(whole), jax.tree.leaves(model), strict=True))


def test_a_part_can_be_split_again():
    weights, rest = split_trainable(mixed())
    assert jax.tree.leaves(split_trainable(weights)[1]) == []
    assert jax.tree.leaves(split_trainable(rest)[0]) == []


def test_all_of_a_perceptron_is_learned_and_no_running_statistic_of_a_residual_network():
    assert jax.tree.leaves(split_trainable(MLP(2, 2, (2,), key=KEY))[1]) == []
    weights, rest = split_trainable(jax.tree.map(jnp.zeros_like, jax.eval_shape(lambda: ResNet18(3, 2, 1, key=KEY))))
    assert len(jax.tree.leaves(weights)) == 20 * 3 + 2
    assert len(jax.tree.leaves(rest)) == 20 * 2
