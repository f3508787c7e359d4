"""The Reptile meta-update."""

from __future__ import annotations

from typing import TypeVar

import equinox as eqx
import jax
from jaxtyping import PyTree

from perdure.core import Rate

Model = TypeVar("Model", bound=PyTree)


def reptile_step(before: Model, after: Model, rate: Rate) -> Model:
    """Return ``before + rate · (after − before)``: part of the way to where SGD has led.

    To first order this raises the dot products between the gradients of the examples that SGD visited in
    between (Nichol, Achiam & Schulman 2018, section 5.1).

    Args:
        before: model before SGD on one example after another.
        after: model after it. Float leaves are interpolated, running statistics among them; others are taken from here.
        rate: meta-rate ≥ 0; 1 keeps the weights that SGD has reached.
    """
    return jax.tree.map(lambda old, new: old + rate * (new - old) if eqx.is_inexact_array(new) else new, before, after)
