"""The convolutional network of the Omniglot experiments."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from perdure.core import Example
from perdure.models import BatchModel, ConvNet, omniglot_convnet

pytestmark = pytest.mark.long

KEY = jax.random.key(0)


def outputs_by_the_formula(model, x):
    for filters, bias in zip(model.filters, model.biases, strict=True):
        x = jax.lax.conv_general_dilated(x, jnp.transpose(filters, (3, 2, 0, 1)), (1, 1), "SAME")
        x = jax.nn.relu(x + bias.reshape(1, -1, 1, 1))
        x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
    return model.head.weight @ jnp.moveaxis(x[0], 0, -1).ravel() + model.head.bias


@pytest.mark.parametrize("shape", [(1, 28, 28), (2, 33, 17)])
def test_outputs_are_those_of_the_formula(shape, x64):
    rng = np.random.default_rng(0)
    model = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), ConvNet(shape, 5, 3, key=KEY))
    x = jnp.asarray(rng.normal(size=shape))
    expected = jax.jit(outputs_by_the_formula)(model, x[None])
    np.testing.assert_allclose(jax.jit(ConvNet.__call__)(model, x), expected, rtol=1e-10)


def test_a_single_channel_may_be_left_out():
    x = jnp.linspace(0.0, 1.0, 256).reshape(16, 16)
    one, other = ConvNet((16, 16), 5, 2, key=KEY), ConvNet((1, 16, 16), 5, 2, key=KEY)
    assert one.input_shape == other.input_shape == (1, 16, 16)
    outputs = jax.jit(ConvNet.__call__)
    np.testing.assert_array_equal(outputs(one, x), outputs(other, x[None]))


def test_the_omniglot_network_has_64_filters_a_layer_and_no_batch_normalisation():
    example = Example(np.zeros((28, 28), np.uint8), np.asarray(0, np.int32), np.asarray(0, np.int32))
    model = omniglot_convnet(example, 1623, KEY)
    assert [filters.shape for filters in model.filters] == [(3, 3, 1, 64)] + 3 * [(3, 3, 64, 64)]
    assert model.head.weight.shape == (1623, 64)
    assert not isinstance(model, BatchModel)
    assert {leaf.dtype for leaf in jax.tree.leaves(model)} == {jnp.dtype(jnp.float32)}


def test_filters_start_normal_with_he_variance_and_biases_at_zero():
    model = ConvNet((28, 28), 10, 16, key=KEY)
    for filters, bias in zip(model.filters, model.biases, strict=True):
        deviation = np.sqrt(2 / (9 * filters.shape[2]))
        assert stats.kstest(np.ravel(filters), stats.norm(0, deviation).cdf).pvalue > 1e-3
        np.testing.assert_array_equal(bias, np.zeros(16))
    bound = np.sqrt(6 / (16 + 10))
    assert stats.kstest(np.ravel(model.head.weight), stats.uniform(-bound, 2 * bound).cdf).pvalue > 1e-3
    np.testing.assert_array_equal(model.head.bias, np.zeros(10))
    assert not np.array_equal(model.filters[1], model.filters[2])


@pytest.mark.parametrize("shape", [(784,), (15, 28), (28, 15), (0, 28, 28), (1, 1, 28, 28)])
def test_refuses_inputs_that_are_no_images_or_too_small(shape):
    with pytest.raises(ValueError, match=r"expects images of shape .* at least 16 high and wide") as error:
        ConvNet(shape, 5, key=KEY)
    assert f"inputs of shape {shape} were given" in str(error.value)


@pytest.mark.parametrize(("n_outputs", "width"), [(0, 64), (5, 0)])
def test_refuses_sizes_below_one(n_outputs, width):
    with pytest.raises(ValueError, match=f"{n_outputs} outputs and {width} filters was requested, expected at least 1"):
        ConvNet((28, 28), n_outputs, width, key=KEY)


def test_refuses_an_image_of_another_shape():
    with pytest.raises(ValueError, match=r"shape \(30, 28\), the model expects \(1, 28, 28\)"):
        ConvNet((28, 28), 5, 4, key=KEY)(jnp.zeros((30, 28)))
