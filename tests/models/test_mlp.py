from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from perdure.core import Example
from perdure.models import MLP, benchmark_mlp


def parameters(model):
    return [(np.asarray(layer.weight), np.asarray(layer.bias)) for layer in model.layers]


@pytest.mark.parametrize("hidden_sizes", [(7,), (3, 6, 2)])
def test_logits_are_those_of_the_formula(hidden_sizes, x64):
    rng = np.random.default_rng(0)
    model = jax.tree.map(
        lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), MLP(6, 3, hidden_sizes, key=jax.random.key(0))
    )
    x = jnp.asarray(rng.normal(size=6))
    *hidden, (weight, bias) = parameters(model)
    activation = np.asarray(x)
    for hidden_weight, hidden_bias in hidden:
        activation = np.maximum(hidden_weight @ activation + hidden_bias, 0)
    logits = jax.jit(lambda model, x: model(x))(model, x)
    np.testing.assert_allclose(logits, weight @ activation + bias, rtol=1e-12)
    first_weight, first_bias = parameters(model)[0]
    pre_activation = jnp.asarray(first_weight @ np.asarray(x) + first_bias)
    np.testing.assert_allclose(
        jax.jit(lambda model, a: model.above_first(a))(model, pre_activation), logits, rtol=1e-12
    )


def test_an_input_of_any_shape_is_read_row_by_row():
    model = MLP(12, 2, (3,), key=jax.random.key(0))
    x = jnp.linspace(-1.0, 1.0, 12)
    np.testing.assert_array_equal(model(x.reshape(3, 4)), model(x))
    np.testing.assert_array_equal(model(x.reshape(2, 3, 2)), model(x))


def test_weights_start_uniform_within_the_glorot_bound_and_biases_at_zero():
    sizes = [50, 40, 30, 20]
    model = MLP(50, 20, (40, 30), key=jax.random.key(3))
    for fan_in, fan_out, (weight, bias) in zip(sizes[:-1], sizes[1:], parameters(model), strict=True):
        bound = np.sqrt(6 / (fan_in + fan_out))
        assert weight.shape == (fan_out, fan_in)
        assert np.abs(weight).max() <= bound
        assert stats.kstest(weight.ravel(), stats.uniform(-bound, 2 * bound).cdf).pvalue > 1e-3
        np.testing.assert_array_equal(bias, np.zeros(fan_out))


def test_layers_of_equal_size_start_different_and_a_key_fixes_them():
    first, second, third = parameters(MLP(5, 5, (5, 5), key=jax.random.key(1)))
    assert not np.array_equal(first[0], second[0])
    assert not np.array_equal(second[0], third[0])
    np.testing.assert_array_equal(first[0], parameters(MLP(5, 5, (5, 5), key=jax.random.key(1)))[0][0])
    assert not np.array_equal(first[0], parameters(MLP(5, 5, (5, 5), key=jax.random.key(2)))[0][0])


def test_every_leaf_is_a_float_array():
    leaves = jax.tree.leaves(MLP(4, 2, (3,), key=jax.random.key(0)))
    assert [leaf.shape for leaf in leaves] == [(3, 4), (3,), (2, 3), (2,)]
    assert {leaf.dtype for leaf in leaves} == {jnp.dtype(jnp.float32)}


def test_the_benchmark_network_is_784_100_100_10_for_images():
    example = Example(np.zeros((28, 28), np.uint8), np.asarray(0, np.int32), np.asarray(0, np.int32))
    model = benchmark_mlp(example, 10, jax.random.key(0))
    assert [layer.weight.shape for layer in model.layers] == [(100, 784), (100, 100), (10, 100)]


def test_no_hidden_layer_makes_a_linear_model():
    model = MLP(4, 2, (), key=jax.random.key(0))
    (layer,) = model.layers
    assert layer.bias is not None
    np.testing.assert_allclose(model(jnp.ones(4)), layer.weight.sum(axis=1) + layer.bias, rtol=1e-6)


@pytest.mark.parametrize(("sizes", "shown"), [((0, 2, (3,)), "[0, 3, 2]"), ((4, 2, (3, -1)), "[4, 3, -1, 2]")])
def test_refuses_sizes_that_make_no_perceptron(sizes, shown):
    with pytest.raises(ValueError, match="expected every size ≥ 1") as error:
        MLP(*sizes, key=jax.random.key(0))
    assert f"an MLP of sizes {shown} was requested" in str(error.value)


def test_refuses_an_input_of_another_size():
    model = MLP(4, 2, key=jax.random.key(0))
    with pytest.raises(ValueError, match=r"shape \(2, 3\) \(6 values\), the model expects 4 values; .*in_size=6"):
        model(jnp.zeros((2, 3)))
