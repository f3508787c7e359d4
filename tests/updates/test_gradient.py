from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import log_softmax

from perdure.models import MLP
from perdure.updates.gradient import cross_entropy, descend, example_loss, predict_batch, weighted_loss


def linear(x):
    """A model of two outputs without weights: its logits are (sum of x, 0)."""
    return jnp.stack([jnp.sum(x), jnp.zeros((), x.dtype)])


def random_batch(seed, n, d=4):
    rng = np.random.default_rng(seed)
    return jnp.asarray(rng.normal(size=(n, d))), jnp.asarray(rng.integers(0, 3, n), jnp.int32)


@settings(max_examples=50, deadline=None)
@given(logits=arrays(np.float32, (6, 5), elements=st.floats(-1e4, 1e4, width=32)))
def test_cross_entropy_is_minus_log_softmax(logits):
    y = jnp.asarray([0, 1, 2, 3, 4, 2], jnp.int32)
    expected = -log_softmax(logits.astype(np.float64), axis=1)[np.arange(6), y]
    # The loss is a difference of numbers as large as the logits, and rounded as they are.
    rounding = 1e-6 * max(1, float(np.abs(logits).max()))
    np.testing.assert_allclose(cross_entropy(jnp.asarray(logits), y), expected, rtol=1e-6, atol=rounding)


def test_cross_entropy_of_a_guess_among_n_is_log_n():
    assert cross_entropy(jnp.zeros(10), jnp.asarray(3, jnp.int32)) == pytest.approx(np.log(10))


def test_weighted_loss_by_hand():
    # Logits (z, 0): the loss is log(1 + e^−z) for class 0 and log(1 + e^z) for class 1.
    x = jnp.asarray([[1.0, 1.0], [0.5, -0.5], [-3.0, 0.0]])
    y = jnp.asarray([0, 1, 1], jnp.int32)
    losses = [np.log1p(np.exp(-2)), np.log(2), np.log1p(np.exp(-3))]
    expected = 0.5 * losses[0] + 2 * losses[1] + 0 * losses[2]
    assert weighted_loss(linear, x, y, jnp.asarray([0.5, 2.0, 0.0])) == pytest.approx(expected, rel=1e-6)
    mean = weighted_loss(linear, x, y, jnp.full(3, 1 / 3))
    assert mean == pytest.approx(np.mean(losses), rel=1e-6)


def test_pixels_are_scaled_before_the_model_sees_them():
    pixels = jnp.asarray([[51, 0], [255, 255]], jnp.uint8)
    np.testing.assert_allclose(predict_batch(linear, pixels), [[0.2, 0], [2, 0]], rtol=1e-6)
    loss = example_loss(linear, pixels[1], jnp.asarray(0, jnp.int32))
    assert loss == pytest.approx(np.log1p(np.exp(-2)), rel=1e-6)


def test_example_loss_is_the_loss_of_a_batch_of_one(x64):
    model = MLP(4, 3, (5,), key=jax.random.key(0))
    x, y = random_batch(0, 1)
    assert example_loss(model, x[0], y[0]) == pytest.approx(float(weighted_loss(model, x, y, jnp.ones(1))), rel=1e-12)


def test_gradient_equals_finite_differences(x64):
    model = MLP(4, 3, (5, 2), key=jax.random.key(0))
    x, y = random_batch(1, 6)
    weights = jnp.asarray(np.random.default_rng(2).uniform(0, 1, 6))
    leaves, structure = jax.tree.flatten(model)
    loss = jax.jit(lambda *leaves: weighted_loss(jax.tree.unflatten(structure, leaves), x, y, weights))
    slopes = jax.tree.leaves(jax.jit(jax.grad(weighted_loss))(model, x, y, weights))
    rng, step = np.random.default_rng(3), 1e-6
    for _ in range(10):
        ways = [rng.normal(size=leaf.shape) for leaf in leaves]
        ahead, behind = (
            loss(*(leaf + sign * step * way for leaf, way in zip(leaves, ways, strict=True))) for sign in (1, -1)
        )
        along = sum(np.sum(slope * way) for slope, way in zip(slopes, ways, strict=True))
        assert (ahead - behind) / (2 * step) == pytest.approx(float(along), rel=1e-6, abs=1e-8)


def test_descend_subtracts_rate_times_gradient():
    model = {"weight": jnp.asarray([1.0, -2.0]), "bias": jnp.asarray(4.0)}
    slope = {"weight": jnp.asarray([2.0, 4.0]), "bias": jnp.asarray(-8.0)}
    for rate in (0.25, jnp.asarray(0.25)):
        after = descend(model, slope, rate)
        np.testing.assert_array_equal(after["weight"], [0.5, -3.0])
        assert after["bias"] == 6
    np.testing.assert_array_equal(descend(model, slope, 0.0)["weight"], model["weight"])
