"""Multi-layer perceptron, the network of the MNIST experiments."""

from __future__ import annotations

import math
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from perdure.core import Example
from perdure.models.narrowing import narrowed_width


class MLP(eqx.Module):
    """Multi-layer perceptron with ReLU between its layers.

    Weights start uniform in ±sqrt(6 / (fan in + fan out)) (Glorot & Bengio 2010), biases at zero. The default
    hidden layers, 100 and 100, are those of the MNIST experiments of Lopez-Paz & Ranzato (2017, section 4).
    """

    layers: tuple[eqx.nn.Linear, ...]

    def __init__(self, in_size: int, out_size: int, hidden_sizes: Sequence[int] = (100, 100), *, key: PRNGKeyArray):
        """Draw the weights.

        Args:
            in_size: number of values in one input, whatever its shape.
            out_size: number of outputs.
            hidden_sizes: units of each hidden layer; none for a linear model.
            key: random key for the weights.

        Raises:
            ValueError: if a size is below 1.
        """
        sizes = [in_size, *hidden_sizes, out_size]
        if min(sizes) < 1:
            raise ValueError(f"an MLP of sizes {sizes} was requested, expected every size ≥ 1")
        keys = jax.random.split(key, len(sizes) - 1)
        self.layers = tuple(
            glorot_linear(fan_in, fan_out, layer_key)
            for fan_in, fan_out, layer_key in zip(sizes[:-1], sizes[1:], keys, strict=True)
        )

    def __call__(self, x: Float[Array, ...]) -> Float[Array, " outputs"]:
        """Return the logits of one input of any shape that has `in_size` values.

        Raises:
            ValueError: if the input has another number of values.
        """
        first = self.layers[0]
        if x.size != first.in_features:
            raise ValueError(
                f"the input has shape {x.shape} ({x.size} values), the model expects {first.in_features} values; "
                f"build the model with in_size={x.size} or give it inputs of its size"
            )
        return self.above_first(first(x.ravel()))

    def above_first(self, pre_activation: Float[Array, " hidden"]) -> Float[Array, " outputs"]:
        """Return the logits, given the first layer's output before its ReLU."""
        for layer in self.layers[1:]:
            pre_activation = layer(jax.nn.relu(pre_activation))
        return pre_activation

    def narrowed(self, n: int, key: PRNGKeyArray) -> MLP:
        """Return a fresh perceptron with `n` times fewer units in each hidden layer, at least 1 (see `Narrowable`)."""
        out_size = self.layers[-1].weight.shape[0]
        in_size, *hidden_sizes = (layer.weight.shape[1] for layer in self.layers)
        return MLP(in_size, out_size, [narrowed_width(size, n) for size in hidden_sizes], key=key)


def glorot_linear(fan_in: int, fan_out: int, key: PRNGKeyArray) -> eqx.nn.Linear:
    """Return a linear layer, weights uniform in ±sqrt(6 / (fan in + fan out)) and biases zero."""
    bound = (6 / (fan_in + fan_out)) ** 0.5
    layer = eqx.nn.Linear(fan_in, fan_out, key=key)
    weight = jax.random.uniform(key, (fan_out, fan_in), minval=-bound, maxval=bound)
    return eqx.tree_at(lambda it: (it.weight, it.bias), layer, (weight, jnp.zeros(fan_out)))


def benchmark_mlp(
    example: Example, n_outputs: int, key: PRNGKeyArray, *, hidden_sizes: Sequence[int] = (100, 100)
) -> MLP:
    """Return the perceptron of the MNIST experiments for inputs like `example.x`, or one of other hidden layers."""
    return MLP(math.prod(jnp.shape(example.x)), n_outputs, hidden_sizes, key=key)
