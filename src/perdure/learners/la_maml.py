"""La-MAML, C-MAML and Sync (Gupta et al. 2020): steps down the loss that looking ahead finds, on batches and memories.

All three look several times at each batch. A glance takes the batch in a random order and draws memories. Fast weights,
which start as the weights, learn the batch by SGD, one example after another, and after each example the loss of the
fast weights is taken on the memories and the whole batch. The weights go down the mean of these losses.

The methods differ in their rates. C-MAML has one for the fast weights and one for the weights. Sync learns a rate for
each fast weight, down the same mean loss. La-MAML learns them too, and takes the weights' own step with them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from perdure.core import Example, Info, Rate
from perdure.learners.batches import Batches, Collected
from perdure.learners.defaults import with_defaults
from perdure.learners.hyperparameters import flag, integer, loss_field, rate
from perdure.learners.look_ahead import (
    CMAMLRule,
    Draws,
    LaMAMLRule,
    Memories,
    OuterRule,
    SyncRule,
    Weights,
    draw_for_glances,
    draw_orders,
    gather_outer,
    offer,
    positive,
)
from perdure.learners.network import NetworkLearner
from perdure.memory import Buffer, counted, draw_slots_in_turn, empty_buffer
from perdure.models import MLP
from perdure.updates.branches import change_where_needed
from perdure.updates.gradient import predict_one
from perdure.updates.look_ahead import InnerSteps, OuterBatch, look_ahead
from perdure.updates.look_ahead_perceptron import perceptron_look_ahead
from perdure.updates.losses import Loss, or_cross_entropy


class LookAheadState(NamedTuple):
    """State of a learner that looks ahead."""

    model: PyTree
    rates: PyTree
    """A model of rates, one in place of each trainable weight; None everywhere if no rates are learned."""
    memory: Buffer
    collected: Collected
    """The examples that wait for their batch to be complete."""


class LookAheadLearner(NetworkLearner[LookAheadState]):
    """A learner that learns batches by looking ahead, and offers their examples to a reservoir in the first glance.

    An example that does not complete its batch only waits; it is predicted, and its loss reported, as it arrives.
    Batches cross from one task to the next (`Batches`).

    As in the released code the outer loss is a mean over all inner steps; memories are drawn with replacement; later
    glances can draw the batch's own examples from the memory; a rate at or below zero acts as zero and is no longer
    learned; the gradient by all weights and that by all rates are each shortened to `clip_norm`. The reservoir is a
    uniform sample: it keeps the n-th example with probability memory size / n, there memory size / (n + 1).
    """

    needs_task: ClassVar[bool] = False

    memory_size: int = integer("number of examples that the memory holds")
    replay_batch_size: int = integer("memories drawn for each glance")
    batch_size: int = integer("examples of the stream that are learned together")
    glances: int = integer("times that each batch is learned")
    second_order: bool = flag("differentiate through the inner steps' gradients", False)
    loss: Loss | None = loss_field()

    @abstractmethod
    def rule(self) -> OuterRule:
        """Return where rates come from, and the step that ends a glance."""

    def batches(self) -> Batches:
        """Return how the stream is cut into batches."""
        return Batches(self.batch_size)

    def init(self, model: PyTree, example: Example, key: PRNGKeyArray) -> LookAheadState:
        """Return the state before the first example: an empty memory, and no example that waits."""
        memory, collected = empty_buffer(example, self.memory_size), self.batches().init(example)
        return LookAheadState(*self.rule().start(model), memory, collected)

    def observe(self, state: LookAheadState, example: Example, key: PRNGKeyArray) -> tuple[LookAheadState, Info]:
        """Collect the example, and learn its batch if it completes one."""
        return self._observe(state, example, lambda memory: self.draw(memory, key))

    def observe_with(self, state: LookAheadState, example: Example, draws: Draws) -> tuple[LookAheadState, Info]:
        """`observe` with the draws given; they matter only if the example completes a batch."""
        return self._observe(state, example, lambda _: draws)

    def draw(self, memory: Buffer, key: PRNGKeyArray) -> Draws:
        """Draw all that learning a batch leaves to chance."""
        order_key, slots_key, storing_key = jax.random.split(key, 3)
        later, n_drawn = counted(memory, self.batch_size), min(self.replay_batch_size, self.memory_size)
        return Draws(
            order=draw_orders(jnp.ones(self.batch_size, bool), self.glances, order_key),
            slots=draw_for_glances(memory, later, (self.glances, n_drawn), slots_key),
            stored_in=draw_slots_in_turn(memory, self.batch_size, storing_key),
        )

    def learn(self, now: Weights, batch: Example, orders: Int[Array, "glances batch"], memories: Memories) -> Weights:
        """Return weights and rates after all glances at a batch, leaves (batch, ...)."""

        def step(now: Weights, drawn: tuple[Array, Memories]) -> tuple[Weights, None]:
            order, memories = drawn
            return self.glance(now, jax.tree.map(lambda leaf: leaf[order], batch), memories)[0], None

        return jax.lax.scan(step, now, (orders, memories))[0]

    def glance(self, now: Weights, batch: Example, memories: Memories) -> tuple[Weights, Float[Array, " batch"]]:
        """Return weights and rates after one glance at a batch in its order, and the outer loss of each inner step."""
        n, loss, rates = self.batch_size, or_cross_entropy(self.loss), positive(self.rule().inner_rates(now))
        examples, weights = gather_outer(batch, jnp.ones(n, bool), memories)
        if isinstance(now.model, MLP) and not self.second_order:
            found = perceptron_look_ahead(now.model, rates, examples.x, examples.y, weights, n, loss)
        else:
            inner_x, inner_y = jax.tree.map(lambda leaf: leaf[:, None], (batch.x, batch.y))
            inner = InnerSteps(inner_x, inner_y, jnp.ones((n, 1)))
            outer = OuterBatch(examples.x, examples.y, weights)
            mean = jnp.full(n, 1 / n)
            found = look_ahead(now.model, rates, inner, outer, mean, loss, second_order=self.second_order)
        rate_grads = jax.tree.map(lambda by, rate: jnp.where(rate > 0, by, 0), found.rate_grads, rates)
        return self.rule().step(now, found._replace(rate_grads=rate_grads)), found.losses

    def answering(self, state: LookAheadState) -> PyTree:
        """Return the network."""
        return state.model

    def _observe(
        self, state: LookAheadState, example: Example, draw: Callable[[Buffer], Draws]
    ) -> tuple[LookAheadState, Info]:
        outputs = predict_one(state.model, example.x)
        info = Info(or_cross_entropy(self.loss)(outputs, example.y), outputs)
        collected, ready = self.batches().add(state.collected, example)

        def learned(now: tuple[Weights, Buffer]) -> tuple[Weights, Buffer]:
            weights, memory = now
            draws = draw(memory)
            memory, memories = offer(memory, ready, draws)
            after = self.learn(weights, ready.examples, draws.order, memories)
            return jax.tree.map(lambda new, old: jnp.where(ready.complete, new, old), after, weights), memory

        before = Weights(state.model, state.rates), state.memory
        weights, memory = change_where_needed(ready.complete, learned, before)
        return LookAheadState(*weights, memory, collected), info


@with_defaults
class LaMAML(LookAheadLearner):
    """La-MAML (Gupta et al. 2020, "La-MAML: Look-ahead Meta Learning for Continual Learning", arXiv 2007.13904).

    Every weight has a rate of its own. Each glance first takes a step of the rates, then one of the weights with the
    rates that it has led to. A weight whose rate has come to zero stays as it is for good.
    """

    initial_rate: Rate = rate("rate α that each weight begins with")
    rate_learning_rate: Rate = rate("learning rate η of the rates")
    clip_norm: Rate = rate("largest norm of the gradient by all weights, and of that by all rates", default=2.0)

    def rule(self) -> OuterRule:
        """Return La-MAML's."""
        return LaMAMLRule(self.initial_rate, self.rate_learning_rate, self.clip_norm)


@with_defaults
class Sync(LookAheadLearner):
    """Sync (Gupta et al. 2020, arXiv 2007.13904): La-MAML, but the weights' own step has a fixed rate."""

    learning_rate: Rate = rate("learning rate β of the weights")
    initial_rate: Rate = rate("rate α of the inner steps that each weight begins with")
    rate_learning_rate: Rate = rate("learning rate η of the rates")
    clip_norm: Rate = rate("largest norm of the gradient by all weights, and of that by all rates", default=2.0)

    def rule(self) -> OuterRule:
        """Return Sync's."""
        return SyncRule(self.learning_rate, self.initial_rate, self.rate_learning_rate, self.clip_norm)


@with_defaults
class CMAML(LookAheadLearner):
    """C-MAML (Gupta et al. 2020, arXiv 2007.13904): the same inner and outer steps, both with fixed rates."""

    learning_rate: Rate = rate("learning rate β of the weights")
    inner_rate: Rate = rate("learning rate α of the inner steps")
    clip_norm: Rate = rate("largest norm of the gradient by all weights", default=2.0)

    def rule(self) -> OuterRule:
        """Return C-MAML's."""
        return CMAMLRule(self.learning_rate, self.inner_rate, self.clip_norm)
