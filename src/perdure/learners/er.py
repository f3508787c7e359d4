"""Experience replay: one SGD step on the arriving example and memories drawn from a reservoir."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from perdure.core import Rate
from perdure.learners.replay import Batch, ReplayLearner
from perdure.updates.gradient import descend, weighted_loss


class ER(ReplayLearner):
    """Experience replay with a reservoir (Riemer et al. 2019, Algorithm 4).

    One SGD step on the mean loss over the arriving example and the memories drawn.
    """

    def n_batches(self) -> int:
        """Return 1."""
        return 1

    def update(self, model: PyTree, batches: Batch, position: Int[Array, ""]) -> PyTree:
        """Take one SGD step on the mean loss."""
        return _step(model, batches, mean_weights, self.learning_rate)


class ERAlgorithm5(ReplayLearner):
    """Experience replay balanced over tasks (Riemer et al. 2019, Algorithm 5).

    One SGD step on the sum, over the tasks present among the arriving example and the memories drawn, of the
    mean loss on that task's examples.
    """

    needs_task = True

    def n_batches(self) -> int:
        """Return 1."""
        return 1

    def update(self, model: PyTree, batches: Batch, position: Int[Array, ""]) -> PyTree:
        """Take one SGD step on the sum of the tasks' mean losses."""
        return _step(model, batches, task_weights, self.learning_rate)


def mean_weights(batch: Batch) -> Float[Array, " k"]:
    """Return weights that make the weighted loss the mean over the examples that count."""
    return jnp.where(batch.counts, 1 / jnp.sum(batch.counts), 0.0)


def task_weights(batch: Batch) -> Float[Array, " k"]:
    """Return weights that make the weighted loss the sum over tasks of their mean losses."""
    same_task = batch.examples.task[:, None] == batch.examples.task[None]
    # An absent memory may be alone with its task number: at least 1 keeps its weight from being 0 / 0.
    present = jnp.maximum(jnp.sum(same_task & batch.counts[None], axis=1), 1)
    return jnp.where(batch.counts, 1 / present, 0.0)


def _step(
    model: PyTree,
    batches: Batch,
    weights: Callable[[Batch], Float[Array, " k"]],
    learning_rate: Rate,
) -> PyTree:
    """Return the model after one SGD step on the weighted loss of the only batch."""
    batch = jax.tree.map(lambda leaf: leaf[0], batches)
    gradient = jax.grad(weighted_loss)(model, batch.examples.x, batch.examples.y, weights(batch))
    return descend(model, gradient, learning_rate)
