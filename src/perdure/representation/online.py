"""Learning online on top of a fixed representation: fresh head, one pass, one batch after another."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from perdure.core import Rate
from perdure.models import MLP
from perdure.updates.gradient import Optimizer, TrainState, init_train_state, optimizer_step, weighted_gradient
from perdure.updates.losses import Loss


def learn_online(
    head: MLP,
    features: Float[Array, "k b d"],
    y: Shaped[Array, "k b ..."],
    rate: Rate,
    optimizer: Optimizer,
    loss: Loss,
) -> MLP:
    """Return the head after a step on each batch, in order.

    Args:
        head: before the first step.
        features: of k batches of b examples.
        y: their labels or targets.
        rate: learning rate.
        optimizer: what takes the steps, such as `optax.adam`.
        loss: of the outputs for one example; a step's is the mean over its batch.
    """
    transformation = optimizer(rate)
    weights = jnp.full(features.shape[1], 1 / features.shape[1], features.dtype)

    def step(now: TrainState, batch: tuple[Any, ...]) -> tuple[TrainState, None]:
        features, y = batch
        gradient = weighted_gradient(now.model, features, y, weights, loss)
        return optimizer_step(gradient, now.optimizer, transformation), None

    return jax.lax.scan(step, init_train_state(head, transformation), (features, y))[0].model
