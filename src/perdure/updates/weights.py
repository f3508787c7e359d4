"""Weights of the examples in a batch."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def equal_weights(mask: Bool[Array, " batch"]) -> Float[Array, " batch"]:
    """Return weights that make a weighted sum the mean over the examples that count; zeros if none does."""
    return jnp.where(mask, 1 / jnp.sum(mask), 0.0)
