"""The Reptile meta-update."""

from __future__ import annotations

import jax
from jaxtyping import Array, Float, PyTree

from perdure.core import Rate


def reptile_step(
    before: PyTree[Float[Array, ...]], after: PyTree[Float[Array, ...]], rate: Rate
) -> PyTree[Float[Array, ...]]:
    """Return ``before + rate · (after − before)``: part of the way to where SGD has led.

    To first order this raises the dot products between the gradients of the examples that SGD visited in
    between (Nichol, Achiam & Schulman 2018, section 5.1).

    Args:
        before: weights before SGD on one example after another.
        after: weights after it.
        rate: meta-rate ≥ 0; 1 keeps the weights that SGD has reached.
    """
    return jax.tree.map(lambda old, new: old + rate * (new - old), before, after)
