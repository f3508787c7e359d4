"""Keeping a network's answers as they were."""

from __future__ import annotations

import jax
import optax
from jaxtyping import Array, Float


def distillation(logits: Float[Array, " outputs"], before: Float[Array, " outputs"]) -> Float[Array, ""]:
    """Return the Kullback–Leibler divergence of softmax(logits) from softmax(before), in nats (Hinton et al. 2015)."""
    return optax.losses.kl_divergence_with_log_targets(jax.nn.log_softmax(logits), jax.nn.log_softmax(before))
