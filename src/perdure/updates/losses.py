"""Losses: functions of one example's outputs and its label or target, to be made small by learning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Integer

from perdure.core import AnyArray

Loss = Callable[[Float[Array, " outputs"], Any], Float[Array, ""]]
"""From the outputs for one example and its `y`, an array or a tuple of arrays, to how wrong they are.

Differentiable in the outputs.
"""

MASKED = -1e11
"""Logit of a class that is out of the question (Lopez-Paz & Ranzato 2017, released code)."""


def cross_entropy(logits: Float[Array, "*batch outputs"], y: Integer[AnyArray, "*batch"]) -> Float[Array, "*batch"]:
    """Return −log softmax(logits)[y], in nats."""
    return optax.softmax_cross_entropy_with_integer_labels(logits, y)


def or_cross_entropy(loss: Loss | None) -> Loss:
    """Return the loss, or cross entropy if it is None: if neither a learner's user nor a benchmark has chosen one."""
    return cross_entropy if loss is None else loss


def mean_squared_error(
    values: Float[Array, "*batch outputs"], y: Float[AnyArray, "*batch outputs"]
) -> Float[Array, "*batch"]:
    """Return the mean over outputs of (value − y)²."""
    return jnp.mean((values - y) ** 2, axis=-1)


def huber_loss(values: Float[Array, "*batch outputs"], y: Float[AnyArray, "*batch outputs"]) -> Float[Array, "*batch"]:
    """Return the mean over outputs of (value − y)² / 2 up to an error of 1, and |value − y| − 1/2 beyond.

    Its gradient is at most 1, so that a target far outside all before it does not throw the weights away.

    Source: Huber (1964), "Robust Estimation of a Location Parameter".
    """
    return jnp.mean(optax.losses.huber_loss(values, jnp.asarray(y)), axis=-1)


@dataclass(frozen=True)
class CrossEntropyWithinTask:
    """Cross entropy over the classes of the label's own task; the logits of all others are masked.

    Source: the protocol of Lopez-Paz & Ranzato 2017, section 5.1, for Incremental CIFAR-100.
    """

    class_tasks: tuple[int, ...]
    """For each output, the task that it belongs to."""

    def __call__(self, logits: Float[Array, " outputs"], y: Integer[AnyArray, ""]) -> Float[Array, ""]:
        """Return −log softmax(masked logits)[y], in nats."""
        return cross_entropy(within_task(logits, self.class_tasks, jnp.asarray(self.class_tasks, jnp.int32)[y]), y)


def within_task(
    logits: Float[Array, "*batch outputs"], class_tasks: tuple[int, ...], task: Integer[AnyArray, ""]
) -> Float[Array, "*batch outputs"]:
    """Return the logits with those of other tasks' classes at `MASKED`."""
    own = jnp.asarray(class_tasks, jnp.int32) == jnp.asarray(task, jnp.int32)
    return jnp.where(own, logits, jnp.asarray(MASKED, logits.dtype))
