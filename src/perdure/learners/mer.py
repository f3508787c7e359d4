"""Meta-Experience Replay (Riemer et al. 2019): replay whose gradients are made to agree.

All three algorithms visit the arriving example and memories one after another by SGD and then go only part of
the way there, a Reptile step. They differ in where the arriving example stands and in which steps are
interpolated.

The published algorithms use plain SGD, whose steps have no memory of their own. Another `optimizer` takes the steps on
single examples in its place: the Reptile steps interpolate the model, while the optimizer's own state (moments, say)
continues through all batches and examples as its steps left it.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Int

from perdure.core import Rate
from perdure.learners.defaults import with_defaults
from perdure.learners.hyperparameters import integer, rate
from perdure.learners.replay import Batch, ReplayLearner, move_arriving
from perdure.updates.gradient import TrainState
from perdure.updates.losses import or_cross_entropy
from perdure.updates.reptile import reptile_step
from perdure.updates.sequential import meta_steps, optimized_meta_steps


@with_defaults
class MER(ReplayLearner):
    """Meta-Experience Replay (Riemer et al. 2019, Algorithm 1).

    For each of `batches_per_example` batches: SGD on the arriving example, then on each memory drawn, then a
    Reptile step with `beta`. After the batches a Reptile step with `gamma` from where they began.
    """

    beta: Rate = rate("within-batch meta-rate β, of the Reptile step after each batch")
    gamma: Rate = rate("across-batch meta-rate γ, of the Reptile step after all batches")
    batches_per_example: int = integer("batches replayed with each arriving example (s)")

    def n_batches(self) -> int:
        """Return `batches_per_example`."""
        return self.batches_per_example

    def update(self, now: TrainState, batches: Batch, position: Int[Array, ""]) -> TrainState:
        """Learn batch after batch, then take the across-batch Reptile step."""
        after = _learn_batches(self, now, batches, self.beta)
        return after._replace(model=reptile_step(now.model, after.model, self.gamma))


@with_defaults
class MERAlgorithm6(ReplayLearner):
    """Meta-Experience Replay with one level of Reptile steps (Riemer et al. 2019, Algorithm 6).

    For each batch: SGD on each memory drawn, the arriving example last, then a Reptile step with `gamma`.
    """

    gamma: Rate = rate("meta-rate γ of the Reptile step after each batch")
    batches_per_example: int = integer("batches replayed with each arriving example (s)", default=1)

    def n_batches(self) -> int:
        """Return `batches_per_example`."""
        return self.batches_per_example

    def update(self, now: TrainState, batches: Batch, position: Int[Array, ""]) -> TrainState:
        """Learn batch after batch."""
        batches = move_arriving(batches, batches.mask.shape[1] - 1)
        return _learn_batches(self, now, batches, self.gamma)


@with_defaults
class MERAlgorithm7(ReplayLearner):
    """Meta-Experience Replay with a higher rate for the arriving example (Riemer et al. 2019, Algorithm 7).

    One batch: the arriving example at a random place among the memories drawn, its loss multiplied by
    `current_example_weight`; SGD on one after another, then a Reptile step with `gamma`. The very first
    example of the stream only enters the memory.
    """

    gamma: Rate = rate("meta-rate γ of the Reptile step after the batch")
    current_example_weight: Rate = rate("factor s of the arriving example's loss")

    def n_batches(self) -> int:
        """Return 1."""
        return 1

    def update(self, now: TrainState, batches: Batch, position: Int[Array, ""]) -> TrainState:
        """Learn the batch, unless the memory is empty."""
        has_memories = batches.mask.sum() > 1
        weight = jnp.where(has_memories, self.current_example_weight, 0.0)
        batches = move_arriving(batches, position)
        return _learn_batches(self, now, batches, self.gamma, weight)


def _learn_batches(
    learner: ReplayLearner, now: TrainState, batches: Batch, meta_rate: Rate, arriving_weight: Rate = 1.0
) -> TrainState:
    """Return model and optimizer after SGD on each batch, one example at a time, each followed by a Reptile step.

    Args:
        learner: whose learning rate, loss and optimizer to use.
        now: model and optimizer before the batches.
        batches: leaves (batches, k, ...), examples in the order in which they are visited.
        meta_rate: of the Reptile step after each batch.
        arriving_weight: factor of the arriving example's loss.
    """
    weights = jnp.where(batches.arriving, arriving_weight, jnp.where(batches.mask, 1.0, 0.0))
    x, y, loss = batches.examples.x, batches.examples.y, or_cross_entropy(learner.loss)
    if learner.optimizer is None:
        model = meta_steps(now.model, x, y, learner.learning_rate * weights, meta_rate, loss)
        return TrainState(model, now.optimizer)
    transformation = learner.optimizer(learner.learning_rate)
    return optimized_meta_steps(now, x, y, weights, meta_rate, transformation, loss)
