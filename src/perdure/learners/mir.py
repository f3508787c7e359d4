"""Maximally interfered retrieval: of the memories drawn, those are replayed that the next step would harm most."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from perdure.core import Example
from perdure.learners.batch_replay import BatchReplayLearner, mean_loss_gradient
from perdure.learners.defaults import with_defaults
from perdure.learners.hyperparameters import integer
from perdure.learners.replay import Replay, ReplayState
from perdure.updates.gradient import predict_batch, sgd_step, weighted_gradient
from perdure.updates.losses import or_cross_entropy


@with_defaults
class MIR(BatchReplayLearner[ReplayState]):
    """Experience replay with maximally interfered retrieval (Aljundi et al. 2019, arXiv 1908.04742, Algorithm 1).

    Memories are drawn as candidates, no one twice. A step of plain SGD on the arriving example alone is tried; those
    candidates are replayed whose loss it would raise most. Then one step on the mean loss over the arriving example and
    them, from where the tried step began. The released code adds the mean loss of memories to that of what arrives.
    """

    candidates: int = integer("memories drawn, of which replay_batch_size are replayed")

    def replay(self) -> Replay:
        """Return the memory's rules."""
        return Replay(self.memory_size, self.candidates, replacement=False)

    def remembered(self, example: Example, outputs: Float[Array, " outputs"]) -> Example:
        """Return the example."""
        return example

    def init(self, model: PyTree, example: Example, key: PRNGKeyArray) -> ReplayState:
        """Return the state before the first example."""
        return self.start(model, example)

    def update(
        self, state: ReplayState, batch: Example, slots: Int[Array, "1 candidates"]
    ) -> tuple[ReplayState, Float[Array, ""]]:
        """Return the state after one step on a batch, leaves (n, ...), and memories; and their mean loss."""
        candidates, mask = jax.tree.map(lambda leaf: leaf[0], self.replay().recall(state.memory, slots))
        score = jnp.where(mask, self.interference(state.model, batch, candidates), -jnp.inf)
        _, worst = jax.lax.top_k(score, min(self.replay_batch_size, len(score)))
        memories = jax.tree.map(lambda leaf: leaf[worst], candidates)
        gradient = mean_loss_gradient(state.model, batch, memories, mask[worst], or_cross_entropy(self.loss))
        return ReplayState(*self.step(gradient, state.optimizer), state.memory), gradient.loss

    def interference(self, model: PyTree, batch: Example, candidates: Example) -> Float[Array, " candidates"]:
        """Return by how much the loss on each candidate would rise by a step on the batch alone."""
        loss = or_cross_entropy(self.loss)
        gradient = weighted_gradient(model, batch.x, batch.y, jnp.full(len(batch.y), 1 / len(batch.y)), loss)
        tried = sgd_step(gradient.model, gradient.grads, self.learning_rate)
        after, before = (jax.vmap(loss)(predict_batch(it, candidates.x), candidates.y) for it in (tried, model))
        return after - before
