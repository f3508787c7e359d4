"""What La-MAML, C-MAML and Sync share: how batches are learned by looking ahead, their rates and their outer steps."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Generic, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from perdure.core import Example, Info, Rate, State
from perdure.learners.batches import Batches, Collected, Ready
from perdure.learners.hyperparameters import integer, loss_field
from perdure.learners.network import NetworkLearner
from perdure.memory.buffer import (
    Buffer,
    counted,
    draw_slots,
    draw_slots_in_turn,
    drawn_mask,
    filled,
    recall,
    store_in_turn,
)
from perdure.models import split_trainable
from perdure.updates.branches import change_where_needed
from perdure.updates.gradient import predict_one, sgd_step
from perdure.updates.look_ahead import LookAhead, clipped_to_norm, rated_step
from perdure.updates.losses import Loss, or_cross_entropy
from perdure.updates.weights import equal_weights


class Weights(NamedTuple):
    """What learning changes."""

    model: PyTree
    rates: PyTree
    """A model of rates, one in place of each trainable weight; None everywhere if no rates are learned."""


class OuterRule(eqx.Module):
    """Where rates come from, and the step that ends a glance; a component of a learner that looks ahead."""

    clip_norm: Rate
    """Largest norm of the gradient by all weights, and of that by all rates."""

    @abstractmethod
    def start(self, model: PyTree) -> Weights:
        """Return model and rates before the first example."""

    @abstractmethod
    def inner_rates(self, now: Weights) -> PyTree:
        """Return the rates of the inner steps, in place of each trainable weight an array like it or one number."""

    @abstractmethod
    def step(self, now: Weights, found: LookAhead) -> Weights:
        """Return model and rates after a step down the gradients that looking ahead has found."""


class LearnedRates(OuterRule):
    """A rate for each weight, which learns by SGD."""

    initial_rate: Rate
    rate_learning_rate: Rate

    def start(self, model: PyTree) -> Weights:
        """Return the model, and the same rate for each weight."""
        weights, _ = split_trainable(model)
        return Weights(model, jax.tree.map(lambda weight: jnp.full_like(weight, self.initial_rate), weights))

    def inner_rates(self, now: Weights) -> PyTree:
        """Return the rates learned."""
        return now.rates

    def rates_after(self, now: Weights, found: LookAhead) -> PyTree:
        """Return the rates after their step."""
        return sgd_step(now.rates, clipped_to_norm(found.rate_grads, self.clip_norm), self.rate_learning_rate)


class LaMAMLRule(LearnedRates):
    """A step of the rates, then one of the weights with the rates that it has led to; none where they are negative."""

    def step(self, now: Weights, found: LookAhead) -> Weights:
        """Return model and rates after both steps."""
        rates = self.rates_after(now, found)
        return Weights(rated_step(found.model, clipped_to_norm(found.grads, self.clip_norm), positive(rates)), rates)


class SyncRule(LearnedRates):
    """A step of the rates, and one of the weights with a fixed rate."""

    learning_rate: Rate

    def step(self, now: Weights, found: LookAhead) -> Weights:
        """Return model and rates after both steps."""
        return Weights(_model_after(found, self.learning_rate, self.clip_norm), self.rates_after(now, found))


class CMAMLRule(OuterRule):
    """A step of the weights with a fixed rate; the inner steps have another one."""

    learning_rate: Rate
    inner_rate: Rate

    def start(self, model: PyTree) -> Weights:
        """Return the model and no rates."""
        return Weights(model, jax.tree.map(lambda _: None, model))

    def inner_rates(self, now: Weights) -> PyTree:
        """Return one number for the whole of each weight."""
        return jax.tree.map(lambda weight: jnp.asarray(self.inner_rate, weight.dtype), split_trainable(now.model)[0])

    def step(self, now: Weights, found: LookAhead) -> Weights:
        """Return the model after its step."""
        return Weights(_model_after(found, self.learning_rate, self.clip_norm), now.rates)


def _model_after(found: LookAhead, rate: Rate, clip_norm: Rate) -> PyTree:
    return sgd_step(found.model, clipped_to_norm(found.grads, clip_norm), rate)


def positive(rates: PyTree) -> PyTree:
    """Return the rates, zero in place of negative ones."""
    return jax.tree.map(lambda rate: jnp.maximum(rate, 0), rates)


class Draws(NamedTuple):
    """Everything random in learning one batch, so that a recorded run can be replayed draw by draw."""

    order: Int[Array, "glances batch"]
    """Places of the batch's examples in the order in which each glance takes them; those that do not count last."""
    slots: Int[Array, "glances replay"]
    """Memory slots drawn in each glance; those past the number of filled slots do not count."""
    stored_in: Int[Array, " batch"]
    """Slot that each example, in the order of the first glance, is stored in; not stored if ≥ memory size."""


class Memories(NamedTuple):
    """The memories drawn for each glance."""

    examples: Example
    """Leaves (glances, replay, ...)."""
    mask: Bool[Array, "glances replay"]
    """False for those drawn while there were fewer to draw from."""


class LookAheadLearner(NetworkLearner[State], Generic[State]):
    """A learner that learns batches by looking ahead, and offers their examples to a reservoir in the first glance.

    An example that does not complete its batch only waits; it is predicted, and its loss reported, as it arrives.

    As in the released code the outer loss is a mean over all inner steps; memories are drawn with replacement; later
    glances can draw the batch's own examples from the memory; the gradient by all weights and that by all rates are
    each shortened to `clip_norm`. The reservoir is a uniform sample: it keeps the n-th example with probability
    memory size / n, there memory size / (n + 1).

    Its state is a NamedTuple with the fields `model`, `rates`, `memory` and `collected`.
    """

    memory_size: int = integer("number of examples that the memory holds")
    replay_batch_size: int = integer("memories drawn for each glance")
    batch_size: int = integer("examples of the stream that are learned together")
    glances: int = integer("times that each batch is learned")
    loss: Loss | None = loss_field()

    @abstractmethod
    def rule(self) -> OuterRule:
        """Return where rates come from, and the step that ends a glance."""

    @abstractmethod
    def batches(self) -> Batches:
        """Return how the stream is cut into batches."""

    @abstractmethod
    def glance(
        self, now: Weights, batch: Example, mask: Bool[Array, " batch"], memories: Memories
    ) -> tuple[Weights, Float[Array, " steps"]]:
        """Return weights and rates after one glance, and the outer loss of each inner step.

        Args:
            now: before it.
            batch: in the order of the glance, those that count first.
            mask: which of the batch count.
            memories: drawn for this glance.
        """

    @abstractmethod
    def old_memory(self, state: Any) -> Buffer | None:
        """Return the memory that is drawn from in place of the live one once it holds something; None for none."""

    @abstractmethod
    def after(self, before: Any, example: Example, weights: Weights, memory: Buffer, collected: Collected) -> State:
        """Return the state after an example, given what is left of its parts."""

    def observe(self, state: Any, example: Example, key: PRNGKeyArray) -> tuple[State, Info]:
        """Collect the example, and learn the batch that it completes, or that it cuts short, if there is one."""
        old = self.old_memory(state)
        return self._observe(state, example, lambda memory, mask: self.draw(memory, old, mask, key))

    def observe_with(self, state: Any, example: Example, draws: Draws) -> tuple[State, Info]:
        """`observe` with the draws given; they matter only if a batch is learned."""
        return self._observe(state, example, lambda memory, mask: draws)

    def draw(self, memory: Buffer, old: Buffer | None, mask: Bool[Array, " batch"], key: PRNGKeyArray) -> Draws:
        """Draw all that learning a batch, of which the examples of the mask count, leaves to chance."""
        order_key, slots_key, storing_key = jax.random.split(key, 3)
        later, n_drawn = counted(memory, jnp.sum(mask, dtype=jnp.int32)), min(self.replay_batch_size, self.memory_size)
        shape = (self.glances, n_drawn)
        slots = _draw_for_glances(memory, later, shape, slots_key)
        if old is not None:
            slots = jnp.where(filled(old) > 0, _draw_for_glances(old, old, shape, slots_key), slots)
        order = _draw_orders(mask, self.glances, order_key)
        return Draws(order, slots, draw_slots_in_turn(memory, self.batch_size, storing_key))

    def answering(self, state: Any) -> PyTree:
        """Return the network."""
        return state.model

    def _observe(
        self, state: Any, example: Example, draw: Callable[[Buffer, Bool[Array, " batch"]], Draws]
    ) -> tuple[State, Info]:
        outputs = predict_one(state.model, example.x)
        info = Info(or_cross_entropy(self.loss)(outputs, example.y), outputs)
        collected, ready = self.batches().add(state.collected, example)
        old = self.old_memory(state)

        def learned(now: tuple[Weights, Buffer]) -> tuple[Weights, Buffer]:
            weights, memory = now
            draws = draw(memory, ready.mask)
            memory, memories = offer(memory, ready, draws)
            if old is not None:
                memories = where(filled(old) > 0, _recall_memories(old, draws.slots), memories)
            return where(ready.complete, self._learn(weights, ready, draws.order, memories), weights), memory

        before = Weights(state.model, state.rates), state.memory
        weights, memory = change_where_needed(ready.complete, learned, before)
        return self.after(state, example, weights, memory, collected), info

    def _learn(self, now: Weights, ready: Ready, orders: Int[Array, "glances batch"], memories: Memories) -> Weights:
        """Return weights and rates after all glances at a batch."""

        def step(now: Weights, drawn: tuple[Array, Memories]) -> tuple[Weights, None]:
            order, memories = drawn
            batch, mask = jax.tree.map(lambda leaf: leaf[order], (ready.examples, ready.mask))
            return self.glance(now, batch, mask, memories)[0], None

        return jax.lax.scan(step, now, (orders, memories))[0]


def offer(memory: Buffer, ready: Ready, draws: Draws) -> tuple[Buffer, Memories]:
    """Return the memory after the examples of a batch in the order of the first glance, and the memories drawn.

    The first glance draws from the memory before them, the others from that after them.
    """
    # What is read of the memory before comes first, so that the memory after can take its place.
    first, memory = jax.lax.optimization_barrier((_recall_memories(memory, draws.slots[:1]), memory))
    order = draws.order[0]
    in_order = jax.tree.map(lambda leaf: leaf[order], ready.examples)
    after = store_in_turn(memory, in_order, draws.stored_in, ready.mask[order])
    later = _recall_memories(after, draws.slots[1:])
    return after, jax.tree.map(lambda one, others: jnp.concatenate([one, others]), first, later)


def gather_outer(batch: Example, mask: Bool[Array, " batch"], memories: Memories) -> tuple[Example, Float[Array, " q"]]:
    """Return the outer batch of one glance, the batch's examples first, and the weight of each in its mean loss."""
    examples = jax.tree.map(lambda new, old: jnp.concatenate([new, old]), batch, memories.examples)
    return examples, equal_weights(jnp.append(mask, memories.mask))


def where(condition: Bool[Array, ""], new: PyTree, old: PyTree) -> PyTree:
    """Return one of two trees of arrays."""
    return jax.tree.map(lambda new, old: jnp.where(condition, new, old), new, old)


def _draw_orders(mask: Bool[Array, " batch"], glances: int, key: PRNGKeyArray) -> Int[Array, "glances batch"]:
    """Draw in which order each glance takes the examples that count, each order as likely."""
    places = jnp.where(mask[None], jax.random.uniform(key, (glances, len(mask))), 2)
    return jnp.argsort(places, axis=1).astype(jnp.int32)


def _draw_for_glances(first: Buffer, later: Buffer, shape: tuple[int, int], key: PRNGKeyArray) -> Int[Array, "g k"]:
    """Draw slots to replay, (glances, memories): in the first glance those of `first`, in the others of `later`."""
    first_key, later_key = jax.random.split(key)
    glances, n_drawn = shape
    of_later = draw_slots(later, (glances - 1, n_drawn), later_key)
    return jnp.concatenate([draw_slots(first, (1, n_drawn), first_key), of_later])


def _recall_memories(memory: Buffer, slots: Int[Array, "glances replay"]) -> Memories:
    """Return the memories in the slots drawn."""
    return Memories(recall(memory, slots), jnp.broadcast_to(drawn_mask(memory, slots.shape[1]), slots.shape))
