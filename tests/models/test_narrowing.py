"""Narrowed networks keep depth, inputs and outputs."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from perdure.models import MLP, ConvNet, Narrowable, ResNet18


@pytest.mark.parametrize(("n", "hidden"), [(1, (100, 30)), (20, (5, 1)), (7, (14, 4)), (1000, (1, 1))])
def test_perceptron_divides_its_hidden_units_and_keeps_at_least_one(n, hidden):
    model = MLP(6, 3, (100, 30), key=jax.random.key(0)).narrowed(n, jax.random.key(1))
    assert [layer.weight.shape for layer in model.layers] == [(hidden[0], 6), (hidden[1], hidden[0]), (3, hidden[1])]


@pytest.mark.parametrize(("n", "width"), [(1, 64), (20, 3), (65, 1)])
def test_convolutional_network_divides_its_filters(n, width):
    model = jax.eval_shape(lambda key: ConvNet((3, 20, 40), 5, key=key).narrowed(n, key), jax.random.key(0))
    assert model.input_shape == (3, 20, 40)
    assert [filters.shape for filters in model.filters] == [(3, 3, 3, width)] + 3 * [(3, 3, width, width)]
    assert model.head.weight.shape == (5, 2 * width)
    assert isinstance(model, Narrowable)


@pytest.mark.parametrize(("n", "width"), [(1, 20), (7, 2), (21, 1)])
def test_residual_network_divides_its_filters(n, width):
    model = jax.eval_shape(lambda key: ResNet18(3, 5, key=key).narrowed(n, key), jax.random.key(0))
    assert model.stem.filters.shape == (3, 3, 3, width)
    assert model.head.weight.shape == (5, 8 * width)
    assert isinstance(model, Narrowable)


def test_narrowed_weights_are_fresh_and_fixed_by_the_key():
    model = MLP(6, 3, (4,), key=jax.random.key(0))
    once, again, other = (model.narrowed(1, jax.random.key(seed)) for seed in (1, 1, 2))
    for layer in range(2):
        weight = once.layers[layer].weight
        np.testing.assert_array_equal(weight, again.layers[layer].weight)
        assert not np.array_equal(weight, other.layers[layer].weight)
        assert not np.array_equal(weight, model.layers[layer].weight)


def test_refuses_to_narrow_by_less_than_one():
    with pytest.raises(ValueError, match="narrowed by 0, expected a whole number ≥ 1"):
        MLP(6, 3, key=jax.random.key(0)).narrowed(0, jax.random.key(1))


@pytest.mark.long
def test_a_model_is_narrowable_by_its_method_alone():
    assert isinstance(MLP(6, 3, key=jax.random.key(0)), Narrowable)
    assert not isinstance(jax.nn.relu, Narrowable)
