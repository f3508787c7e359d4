"""Experience replay: one SGD step on the arriving example and memories drawn from a reservoir."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from perdure.learners.defaults import with_defaults
from perdure.learners.replay import Batch, ReplayLearner
from perdure.updates.gradient import TrainState, optimizer_step, or_sgd, weighted_gradient
from perdure.updates.losses import or_cross_entropy
from perdure.updates.weights import equal_weights


@with_defaults
class ER(ReplayLearner):
    """Experience replay with a reservoir (Riemer et al. 2019, Algorithm 4).

    One SGD step on the mean loss over the arriving example and the memories drawn.
    """

    def n_batches(self) -> int:
        """Return 1."""
        return 1

    def update(self, now: TrainState, batches: Batch, position: Int[Array, ""]) -> TrainState:
        """Take one step on the mean loss."""
        return mean_gradient_step(self, now, batches, lambda batch: equal_weights(batch.mask))


@with_defaults
class ERAlgorithm5(ReplayLearner):
    """Experience replay balanced over tasks (Riemer et al. 2019, Algorithm 5).

    One SGD step on the sum, over the tasks present among the arriving example and the memories drawn, of the
    mean loss on that task's examples.
    """

    needs_task = True

    def n_batches(self) -> int:
        """Return 1."""
        return 1

    def update(self, now: TrainState, batches: Batch, position: Int[Array, ""]) -> TrainState:
        """Take one step on the sum of the tasks' mean losses."""
        return mean_gradient_step(self, now, batches, task_weights)


def task_weights(batch: Batch) -> Float[Array, " k"]:
    """Return weights that make the weighted loss the sum over tasks of their mean losses."""
    same_task = batch.examples.task[:, None] == batch.examples.task[None]
    # An absent memory may be alone with its task number: at least 1 keeps its weight from being 0 / 0.
    present = jnp.maximum(jnp.sum(same_task & batch.mask[None], axis=1), 1)
    return jnp.where(batch.mask, 1 / present, 0.0)


def mean_gradient_step(
    learner: ReplayLearner,
    now: TrainState,
    batches: Batch,
    weights: Callable[[Batch], Float[Array, " k"]],
) -> TrainState:
    """Return model and optimizer after one step on the weighted loss of the only batch."""
    batch = jax.tree.map(lambda leaf: leaf[0], batches)
    loss = or_cross_entropy(learner.loss)
    gradient = weighted_gradient(now.model, batch.examples.x, batch.examples.y, weights(batch), loss)
    return optimizer_step(gradient, now.optimizer, or_sgd(learner.optimizer)(learner.learning_rate))
