"""A perceptron that classifies by the angle between features and a vector for each class."""

from __future__ import annotations

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from perdure.models.mlp import MLP

SCALE = 10.0
"""Logit of a class whose vector points where the features do."""
_EPSILON = 1e-5


class CosineMLP(eqx.Module):
    """Multi-layer perceptron whose logits are 10 times the cosine of its features and each class's vector.

    The logits of classes seen long ago and of new ones are then of one size. Both vectors are divided by their length
    plus 1e-5; there is no bias. Class vectors start uniform in ±1/sqrt(features), the layers below as an `MLP` does.

    Source: the classifier of ER-ACE (Caccia et al. 2022, "New Insights on Reducing Abrupt Representation Change in
    Online Continual Learning", arXiv 2104.05025, released code).
    """

    features: MLP
    """From an input to the features before their ReLU."""
    weight: Float[Array, "outputs features"]
    """The vector of each class."""

    def __init__(self, in_size: int, out_size: int, hidden_sizes: Sequence[int] = (100, 100), *, key: PRNGKeyArray):
        """Draw the weights.

        Args:
            in_size: number of values in one input, whatever its shape.
            out_size: number of classes.
            hidden_sizes: units of each hidden layer, at least one; the last are the features.
            key: random key for the weights.

        Raises:
            ValueError: if a size is below 1, or there is no hidden layer.
        """
        if not hidden_sizes or out_size < 1:
            raise ValueError(
                f"a CosineMLP of {out_size} classes and hidden layers {list(hidden_sizes)} was requested, expected at "
                "least one class and one hidden layer, whose units are the features"
            )
        features_key, weight_key = jax.random.split(key)
        *lower, n_features = hidden_sizes
        self.features = MLP(in_size, n_features, lower, key=features_key)
        bound = n_features**-0.5
        self.weight = jax.random.uniform(weight_key, (out_size, n_features), minval=-bound, maxval=bound)

    def __call__(self, x: Float[Array, ...]) -> Float[Array, " outputs"]:
        """Return the logits of one input of any shape that has `in_size` values."""
        return SCALE * _shortened(self.weight) @ _shortened(jax.nn.relu(self.features(x)))


def _shortened(vectors: Float[Array, "*vectors d"]) -> Float[Array, "*vectors d"]:
    """Return vectors divided by their length plus 1e-5; where all units are off, both value and derivative are 0."""
    square = jnp.sum(vectors**2, axis=-1, keepdims=True)
    length = jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)
    return vectors / (length + _EPSILON)
