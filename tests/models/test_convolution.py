"""Convolution and pooling against XLA's own."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perdure.models import convolution
from perdure.models.convolution import convolve, max_pool


@pytest.fixture(autouse=True, params=[1, 2], ids=["one core", "two cores"])
def cores(request, monkeypatch):
    """Let convolutions find as many cores, on which their derivatives depend."""
    monkeypatch.setattr(convolution, "usable_cpus", lambda: request.param)
    jax.clear_caches()


def xla_convolve(x, weight, stride, margin=None):
    margin = weight.shape[0] // 2 if margin is None else margin
    return jax.lax.conv_general_dilated(
        x, weight, (stride, stride), [(margin, margin)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


@partial(jax.jit, static_argnums=(0, 3, 4))
def outputs_and_gradients(form, x, weight, stride, margin=None):
    outputs, pulled = jax.vjp(lambda x, weight: form(x, weight, stride, margin), x, weight)
    return outputs, pulled(jnp.cos(outputs))


@pytest.mark.parametrize(
    ("height", "width", "side", "stride", "margin"),
    [
        (6, 4, 3, 1, None),
        (6, 5, 3, 2, None),
        (7, 8, 1, 2, None),
        (1, 2, 3, 1, None),
        (9, 5, 5, 3, None),
        (5, 6, 3, 1, 0),
        (5, 6, 4, 1, 0),
        (4, 3, 4, 1, 3),
        (4, 3, 3, 1, 3),
        (9, 14, 4, 2, 0),
        (11, 13, 6, 3, 0),
        (8, 11, 3, 3, 1),
        (12, 15, 8, 4, 2),
    ],
)
def test_convolution_and_its_gradients_are_those_of_xla(height, width, side, stride, margin, x64):
    rng = np.random.default_rng(0)
    x, weight = (jnp.asarray(rng.normal(size=shape)) for shape in ((2, height, width, 3), (side, side, 3, 4)))
    ours, theirs = (outputs_and_gradients(form, x, weight, stride, margin) for form in (convolve, xla_convolve))
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-11)


def test_the_derivative_of_a_derivative_is_that_of_xla(x64):
    rng = np.random.default_rng(1)
    x, weight = (jnp.asarray(rng.normal(size=shape)) for shape in ((2, 5, 6, 3), (3, 3, 3, 4)))

    def slope(form, x, weight):
        by_image, by_weight = jax.grad(lambda x, w: jnp.sin(form(x, w, 1)).sum(), (0, 1))(x, weight)
        return (by_image**3).sum() + (by_weight**3).sum()

    ours, theirs = (jax.grad(partial(slope, form), (0, 1))(x, weight) for form in (convolve, xla_convolve))
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11)


def test_networks_side_by_side_have_the_gradients_of_each_alone(x64):
    rng = np.random.default_rng(2)
    x, weights = (jnp.asarray(rng.normal(size=shape)) for shape in ((2, 5, 6, 3), (3, 3, 3, 3, 4)))
    side_by_side = jax.vmap(lambda weight: outputs_and_gradients(convolve, x, weight, 1))(weights)
    alone = [outputs_and_gradients(xla_convolve, x, weight, 1) for weight in weights]
    for one, other in zip(jax.tree.leaves(side_by_side), zip(*map(jax.tree.leaves, alone), strict=True), strict=True):
        np.testing.assert_allclose(one, jnp.stack(other), rtol=0, atol=1e-11)


@pytest.mark.parametrize(("height", "width"), [(4, 6), (5, 7), (2, 2)])
def test_pooling_takes_the_largest_of_each_window_and_drops_an_odd_edge(height, width):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, height, width, 3)), jnp.float32)
    expected = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    np.testing.assert_array_equal(max_pool(x), expected)


def test_one_image_needs_no_batch_axis():
    rng = np.random.default_rng(0)
    x, weight = (jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in ((6, 4, 2), (3, 3, 2, 5)))
    np.testing.assert_allclose(convolve(x, weight), convolve(x[None], weight)[0], rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(max_pool(x), max_pool(x[None])[0])
