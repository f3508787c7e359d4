"""Losses, their gradients, and plain gradient descent."""

from __future__ import annotations

from typing import TypeVar

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Integer, PyTree

from perdure.core import AnyArray, Rate, as_features

Model = TypeVar("Model", bound=PyTree)


def cross_entropy(logits: Float[Array, "*batch outputs"], y: Integer[AnyArray, "*batch"]) -> Float[Array, "*batch"]:
    """Return −log softmax(logits)[y], in nats."""
    return optax.softmax_cross_entropy_with_integer_labels(logits, y)


def predict_batch(model: PyTree, x: AnyArray) -> Float[Array, "batch outputs"]:
    """Return the model's logits for inputs x: (batch, ...), pixels or floats."""
    return jax.vmap(model)(as_features(x))


def weighted_loss(
    model: PyTree, x: AnyArray, y: Integer[AnyArray, " batch"], weights: Float[Array, " batch"]
) -> Float[Array, ""]:
    """Return Σ weightᵢ · loss(xᵢ, yᵢ) over a batch; weights 1/n make it the mean loss."""
    return jnp.sum(weights * cross_entropy(predict_batch(model, x), y))


def example_loss(model: PyTree, x: AnyArray, y: Integer[AnyArray, ""]) -> Float[Array, ""]:
    """Return the loss on one example."""
    return cross_entropy(model(as_features(x)), y)


def descend(model: Model, gradient: Model, rate: Rate) -> Model:
    """Return ``weights − rate · gradient``: one step of plain SGD."""
    return jax.tree.map(lambda weight, slope: weight - rate * slope, model, gradient)
