"""GSS-Greedy: a memory of examples whose gradients point in different directions."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from perdure.core import AnyArray, Example, Info, Rate
from perdure.learners.batch_replay import mean_loss_gradient
from perdure.learners.defaults import with_defaults
from perdure.learners.hyperparameters import integer, loss_field, optimizer_field, rate
from perdure.learners.network import NetworkLearner
from perdure.learners.replay import ReplayState
from perdure.memory.buffer import Buffer, capacity, draw_distinct_slots, drawn_mask, empty_buffer, filled, recall, store
from perdure.updates.gradient import (
    Optimizer,
    example_gradient,
    init_train_state,
    optimizer_step,
    or_sgd,
    predict_one,
)
from perdure.updates.losses import Loss, or_cross_entropy

FIRST_SCORE = 0.1
"""Of the first example, which has nothing to be compared with (released code)."""


class Scored(NamedTuple):
    """What is stored of an example."""

    example: Example
    score: Float[Array, "*slots"]
    """When it came, 1 plus the largest cosine of its gradient and those of memories, from 0 to 2."""


class GSSDraws(NamedTuple):
    """Everything random in one observation."""

    slots: Int[Array, " k"]
    """Memory slots replayed; those past the number of filled slots do not count."""
    compared: Int[Array, " n"]
    """Memory slots whose gradients are compared with that of the arriving example; the same holds of them."""
    chosen: Float[Array, ""]
    """Uniform in [0, 1): which memory may be replaced."""
    replaced: Float[Array, ""]
    """Uniform in [0, 1): whether it is."""


@with_defaults
class GSSGreedy(NetworkLearner[ReplayState]):
    """Gradient-based sample selection, greedy (Aljundi et al. 2019, arXiv 1903.08671, Algorithm 2).

    After one step on the mean loss over the arriving example and memories, the example's score is 1 plus the largest
    cosine of its gradient and those of memories drawn. While there is room it is stored with its score. Then only an
    example with a score below 1, whose gradient points away from all of these, may replace a memory: one is chosen with
    a probability proportional to its score C, and replaced with probability ``C / (C + score)``.
    """

    needs_task: ClassVar[bool] = False

    learning_rate: Rate = rate("learning rate of SGD")
    memory_size: int = integer("number of examples that the memory holds")
    replay_batch_size: int = integer("memories replayed with each example")
    compared: int = integer("memories whose gradients are compared with that of each example (n)")
    loss: Loss | None = loss_field()
    optimizer: Optimizer | None = optimizer_field()

    def init(self, model: PyTree, example: Example, key: PRNGKeyArray) -> ReplayState:
        """Return the state before the first example."""
        start = init_train_state(model, or_sgd(self.optimizer)(self.learning_rate))
        return ReplayState(*start, empty_buffer(Scored(example, jnp.zeros(())), self.memory_size))

    def draw(self, memory: Buffer, key: PRNGKeyArray) -> GSSDraws:
        """Draw all that one observation leaves to chance."""
        keys = jax.random.split(key, 4)
        slots, compared = (
            draw_distinct_slots(memory, (1, min(n, self.memory_size)), key)[0]
            for n, key in zip((self.replay_batch_size, self.compared), keys[:2], strict=True)
        )
        return GSSDraws(slots, compared, jax.random.uniform(keys[2]), jax.random.uniform(keys[3]))

    def observe(self, state: ReplayState, example: Example, key: PRNGKeyArray) -> tuple[ReplayState, Info]:
        """Take one step on the example and memories, then offer it to the memory."""
        return self.observe_with(state, example, self.draw(state.memory, key))

    def observe_with(self, state: ReplayState, example: Example, draws: GSSDraws) -> tuple[ReplayState, Info]:
        """`observe` with the draws given."""
        outputs = predict_one(state.model, example.x)
        after, total = self.update(state, jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], example), draws.slots)
        info = Info(or_cross_entropy(self.loss)(outputs, example.y), outputs, {"total_loss": total})
        return self.offer(after, example, draws), info

    def update(self, state: ReplayState, batch: Example, slots: Int[Array, " k"]) -> tuple[ReplayState, Array]:
        """Return the state after one step on a batch, leaves (n, ...), and memories; and their mean loss."""
        memories, mask = recall(state.memory, slots).example, drawn_mask(state.memory, len(slots))
        gradient = mean_loss_gradient(state.model, batch, memories, mask, or_cross_entropy(self.loss))
        after = optimizer_step(gradient, state.optimizer, or_sgd(self.optimizer)(self.learning_rate))
        return ReplayState(*after, state.memory), gradient.loss

    def offer(self, state: ReplayState, example: Example, draws: GSSDraws) -> ReplayState:
        """Return the state with the example in its memory, if there is room or it replaces another."""
        memory = state.memory
        compared, mask = recall(memory, draws.compared).example, drawn_mask(memory, len(draws.compared))
        largest = jnp.max(self.cosines(state.model, example, compared), where=mask, initial=-1)
        score = jnp.where(filled(memory) > 0, 1 + largest, FIRST_SCORE)
        ends = jnp.cumsum(memory.examples.score)
        chosen = jnp.searchsorted(ends, draws.chosen * ends[-1], side="right").astype(jnp.int32)
        held = memory.examples.score.at[chosen].get(mode="clip")
        is_replaced = (score < 1) & (draws.replaced * (held + score) < held)
        slot = jnp.where(is_replaced, chosen, capacity(memory))
        slot = jnp.where(filled(memory) < capacity(memory), filled(memory), slot)
        return state._replace(memory=store(memory, Scored(example, score), slot))

    def cosines(self, model: PyTree, example: Example, others: Example) -> Float[Array, " n"]:
        """Return the cosine of an example's gradient and those of others, leaves (n, ...); 0 where one vanishes."""

        def direction(x: AnyArray, y: AnyArray) -> Float[Array, " p"]:
            flat, _ = ravel_pytree(example_gradient(model, x, y, or_cross_entropy(self.loss)).grads)
            length = jnp.linalg.norm(flat)
            return flat / jnp.where(length > 0, length, 1)

        return jax.vmap(direction)(others.x, others.y) @ direction(example.x, example.y)

    def answering(self, state: ReplayState) -> PyTree:
        """Return the network."""
        return state.model
