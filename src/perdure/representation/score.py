"""How right a head's answers are."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float


def score(outputs: Float[Array, "n outputs"], y: Any) -> Float[Array, ""]:
    """Return the share of labels that the largest outputs hit; for targets the mean squared error."""
    if jnp.issubdtype(y.dtype, jnp.floating):
        return jnp.mean((outputs - y) ** 2)
    return jnp.mean((jnp.argmax(outputs, axis=1) == y).astype(outputs.dtype))
