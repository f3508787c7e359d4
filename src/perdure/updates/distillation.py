"""Keeping a network's answers as they were."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from perdure.updates.losses import within_task


def distillation(logits: Float[Array, " outputs"], before: Float[Array, " outputs"]) -> Float[Array, ""]:
    """Return the Kullback–Leibler divergence of softmax(logits) from softmax(before), in nats (Hinton et al. 2015)."""
    return optax.losses.kl_divergence_with_log_targets(jax.nn.log_softmax(logits), jax.nn.log_softmax(before))


def distillation_within_tasks(
    logits: Float[Array, " outputs"],
    before: Float[Array, " outputs"],
    class_tasks: tuple[int, ...],
    tasks: Bool[Array, " tasks"],
) -> Float[Array, ""]:
    """Return the sum over some tasks of the divergence among the classes of the task, in nats.

    Args:
        logits: of the network.
        before: logits that it is to keep.
        class_tasks: for each output the task that it belongs to.
        tasks: which of the tasks count.
    """

    def of_task(task: Int[Array, ""]) -> Float[Array, ""]:
        return distillation(within_task(logits, class_tasks, task), within_task(before, class_tasks, task))

    return jnp.sum(jnp.where(tasks, jax.vmap(of_task)(jnp.arange(len(tasks), dtype=jnp.int32)), 0))
