"""La-MAML, C-MAML and Sync (Gupta et al. 2020): steps down the loss that looking ahead finds, on batches and memories.

All three look several times at each batch. A glance takes the batch in a random order and draws memories. Fast weights,
which start as the weights, learn the batch by SGD, one example after another, and after each example the loss of the
fast weights is taken on the memories and the whole batch. The weights go down the mean of these losses.

The methods differ in their rates. C-MAML has one for the fast weights and one for the weights. Sync learns a rate for
each fast weight, down the same mean loss. La-MAML learns them too, and takes the weights' own step with them.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray, PyTree

from perdure.core import Example, Rate
from perdure.learners.batches import Batches, Collected
from perdure.learners.defaults import with_defaults
from perdure.learners.hyperparameters import flag, rate
from perdure.learners.look_ahead import (
    CMAMLRule,
    LaMAMLRule,
    LookAheadLearner,
    Memories,
    OuterRule,
    SyncRule,
    Weights,
    gather_outer,
    positive,
)
from perdure.memory.buffer import Buffer, empty_buffer
from perdure.models import MLP
from perdure.updates.look_ahead import InnerSteps, OuterBatch, look_ahead
from perdure.updates.look_ahead_perceptron import perceptron_look_ahead
from perdure.updates.losses import or_cross_entropy


class LookAheadState(NamedTuple):
    """State of a learner that looks ahead."""

    model: PyTree
    rates: PyTree
    """A model of rates, one in place of each trainable weight; None everywhere if no rates are learned."""
    memory: Buffer
    collected: Collected
    """The examples that wait for their batch to be complete."""


class TaskFreeLearner(LookAheadLearner[LookAheadState]):
    """A learner whose batches cross from one task to the next, and whose inner steps learn one example each.

    As in the released code a rate at or below zero acts as zero and is no longer learned.
    """

    needs_task: ClassVar[bool] = False

    second_order: bool = flag("differentiate through the inner steps' gradients", False)

    def batches(self) -> Batches:
        """Return how the stream is cut into batches."""
        return Batches(self.batch_size)

    def init(self, model: PyTree, example: Example, key: PRNGKeyArray) -> LookAheadState:
        """Return the state before the first example: an empty memory, and no example that waits."""
        memory, collected = empty_buffer(example, self.memory_size), self.batches().init(example)
        return LookAheadState(*self.rule().start(model), memory, collected)

    def glance(
        self, now: Weights, batch: Example, mask: Bool[Array, " batch"], memories: Memories
    ) -> tuple[Weights, Float[Array, " batch"]]:
        """Return weights and rates after one glance at a batch in its order, and the outer loss of each inner step.

        The whole batch counts, whatever the mask.
        """
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

    def old_memory(self, state: Any) -> Buffer | None:
        """Return None: memories are drawn from the live memory."""
        return None

    def after(
        self, before: Any, example: Example, weights: Weights, memory: Buffer, collected: Collected
    ) -> LookAheadState:
        """Return the state after an example."""
        return LookAheadState(*weights, memory, collected)


@with_defaults
class LaMAML(TaskFreeLearner):
    """La-MAML (Gupta et al. 2020, "La-MAML: Look-ahead Meta Learning for Continual Learning", arXiv 2007.13904).

    Every weight has a rate of its own. Each glance first takes a step of the rates, then one of the weights with the
    rates that it has led to. A weight whose rate has come to zero stays as it is for good.
    """

    initial_rate: Rate = rate("rate α that each weight begins with")
    rate_learning_rate: Rate = rate("learning rate η of the rates")
    clip_norm: Rate = rate("largest norm of the gradient by all weights, and of that by all rates", default=2.0)

    def rule(self) -> OuterRule:
        """Return La-MAML's."""
        return LaMAMLRule(self.clip_norm, self.initial_rate, self.rate_learning_rate)


@with_defaults
class Sync(TaskFreeLearner):
    """Sync (Gupta et al. 2020, arXiv 2007.13904): La-MAML, but the weights' own step has a fixed rate."""

    learning_rate: Rate = rate("learning rate β of the weights")
    initial_rate: Rate = rate("rate α of the inner steps that each weight begins with")
    rate_learning_rate: Rate = rate("learning rate η of the rates")
    clip_norm: Rate = rate("largest norm of the gradient by all weights, and of that by all rates", default=2.0)

    def rule(self) -> OuterRule:
        """Return Sync's."""
        return SyncRule(self.clip_norm, self.initial_rate, self.rate_learning_rate, self.learning_rate)


@with_defaults
class CMAML(TaskFreeLearner):
    """C-MAML (Gupta et al. 2020, arXiv 2007.13904): the same inner and outer steps, both with fixed rates."""

    learning_rate: Rate = rate("learning rate β of the weights")
    inner_rate: Rate = rate("learning rate α of the inner steps")
    clip_norm: Rate = rate("largest norm of the gradient by all weights", default=2.0)

    def rule(self) -> OuterRule:
        """Return C-MAML's."""
        return CMAMLRule(self.clip_norm, self.learning_rate, self.inner_rate)
