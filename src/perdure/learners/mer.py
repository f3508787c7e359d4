"""Meta-Experience Replay (Riemer et al. 2019): replay whose gradients are made to agree.

All three algorithms visit the arriving example and memories one after another by SGD and then go only part of
the way there, a Reptile step. They differ in where the arriving example stands and in which steps are
interpolated.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from perdure.core import Example
from perdure.learners.hyperparameters import count, rate
from perdure.learners.replay import Draws, ReplayLearner, gather_batches, move_arriving
from perdure.memory import Reservoir
from perdure.updates.reptile import reptile_step
from perdure.updates.sequential import meta_steps


class MER(ReplayLearner):
    """Meta-Experience Replay (Riemer et al. 2019, Algorithm 1).

    For each of `batches_per_example` batches: SGD on the arriving example, then on each memory drawn, then a
    Reptile step with `beta`. After the batches a Reptile step with `gamma` from where they began.
    """

    beta: float | Float[Array, ""] = rate("within-batch meta-rate β, of the Reptile step after each batch")
    gamma: float | Float[Array, ""] = rate("across-batch meta-rate γ, of the Reptile step after all batches")
    batches_per_example: int = count("batches replayed with each arriving example (s)")

    def n_batches(self) -> int:
        """Return `batches_per_example`."""
        return self.batches_per_example

    def update(self, model: PyTree, memory: Reservoir, example: Example, draws: Draws) -> PyTree:
        """Learn batch after batch, then take the across-batch Reptile step."""
        first = jnp.zeros((), jnp.int32)
        after = _learn_batches(self, model, memory, example, draws.slots, first, 1.0, self.beta)
        return reptile_step(model, after, self.gamma)


class MERAlgorithm6(ReplayLearner):
    """Meta-Experience Replay with one level of Reptile steps (Riemer et al. 2019, Algorithm 6).

    For each batch: SGD on each memory drawn, the arriving example last, then a Reptile step with `gamma`.
    """

    gamma: float | Float[Array, ""] = rate("meta-rate γ of the Reptile step after each batch")
    batches_per_example: int = count("batches replayed with each arriving example (s)", default=1)

    def n_batches(self) -> int:
        """Return `batches_per_example`."""
        return self.batches_per_example

    def update(self, model: PyTree, memory: Reservoir, example: Example, draws: Draws) -> PyTree:
        """Learn batch after batch."""
        last = jnp.asarray(self.replay_batch_size, jnp.int32)
        return _learn_batches(self, model, memory, example, draws.slots, last, 1.0, self.gamma)


class MERAlgorithm7(ReplayLearner):
    """Meta-Experience Replay with a higher rate for the arriving example (Riemer et al. 2019, Algorithm 7).

    One batch: the arriving example at a random place among the memories drawn, its loss multiplied by
    `current_example_weight`; SGD on one after another, then a Reptile step with `gamma`. The very first
    example of the stream only enters the memory.
    """

    gamma: float | Float[Array, ""] = rate("meta-rate γ of the Reptile step after the batch")
    current_example_weight: float | Float[Array, ""] = rate("factor s of the arriving example's loss")

    def n_batches(self) -> int:
        """Return 1."""
        return 1

    def update(self, model: PyTree, memory: Reservoir, example: Example, draws: Draws) -> PyTree:
        """Learn the batch, unless the memory is empty."""
        weight = jnp.where(memory.seen > 0, self.current_example_weight, 0.0)
        return _learn_batches(self, model, memory, example, draws.slots, draws.position, weight, self.gamma)


def _learn_batches(
    learner: ReplayLearner,
    model: PyTree,
    memory: Reservoir,
    example: Example,
    slots: Int[Array, "batches replay"],
    position: Int[Array, ""],
    weight: float | Float[Array, ""],
    meta_rate: float | Float[Array, ""],
) -> PyTree:
    """Return the model after SGD on each batch, one example at a time, each followed by a Reptile step.

    Args:
        learner: gives the learning rate.
        model: weights before the batches.
        memory: what the slots refer to.
        example: the arriving example, part of every batch.
        slots: memories of each batch.
        position: place of the arriving example in every batch.
        weight: factor of the arriving example's loss.
        meta_rate: rate of the Reptile step after each batch.
    """
    batches = move_arriving(gather_batches(memory, example, slots), position)
    weights = jnp.where(batches.arriving, weight, jnp.where(batches.counts, 1.0, 0.0))
    rates = learner.learning_rate * weights
    return meta_steps(model, batches.examples.x, batches.examples.y, rates, meta_rate)
