"""What La-MAML, C-MAML and Sync share: their rates and outer steps, and the memories that their glances draw."""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from perdure.core import Example, Rate
from perdure.learners.batches import Ready
from perdure.memory import Buffer, draw_slots, drawn_mask, recall, store_in_turn
from perdure.models import split_trainable
from perdure.updates.gradient import sgd_step
from perdure.updates.look_ahead import LookAhead, clipped_to_norm, rated_step
from perdure.updates.weights import equal_weights


class Weights(NamedTuple):
    """What learning changes."""

    model: PyTree
    rates: PyTree
    """A model of rates, one in place of each trainable weight; None everywhere if no rates are learned."""


class OuterRule(eqx.Module):
    """Where rates come from, and the step that ends a glance; a component of a learner that looks ahead."""

    @abstractmethod
    def start(self, model: PyTree) -> Weights:
        """Return model and rates before the first example."""

    @abstractmethod
    def inner_rates(self, now: Weights) -> PyTree:
        """Return the rates of the inner steps, in place of each trainable weight an array like it or one number."""

    @abstractmethod
    def step(self, now: Weights, found: LookAhead) -> Weights:
        """Return model and rates after a step down the gradients that looking ahead has found."""


class LaMAMLRule(OuterRule):
    """A step of the rates, then one of the weights with the rates that it has led to; none where they are negative."""

    initial_rate: Rate
    rate_learning_rate: Rate
    clip_norm: Rate

    def start(self, model: PyTree) -> Weights:
        """Return the model, and the same rate for each weight."""
        return Weights(model, _initial_rates(model, self.initial_rate))

    def inner_rates(self, now: Weights) -> PyTree:
        """Return the rates learned."""
        return now.rates

    def step(self, now: Weights, found: LookAhead) -> Weights:
        """Return model and rates after both steps."""
        rates = _rates_after(now.rates, found, self.rate_learning_rate, self.clip_norm)
        return Weights(rated_step(found.model, clipped_to_norm(found.grads, self.clip_norm), positive(rates)), rates)


class SyncRule(OuterRule):
    """A step of the rates, and one of the weights with a fixed rate."""

    learning_rate: Rate
    initial_rate: Rate
    rate_learning_rate: Rate
    clip_norm: Rate

    def start(self, model: PyTree) -> Weights:
        """Return the model, and the same rate for each weight."""
        return Weights(model, _initial_rates(model, self.initial_rate))

    def inner_rates(self, now: Weights) -> PyTree:
        """Return the rates learned."""
        return now.rates

    def step(self, now: Weights, found: LookAhead) -> Weights:
        """Return model and rates after both steps."""
        rates = _rates_after(now.rates, found, self.rate_learning_rate, self.clip_norm)
        return Weights(_model_after(found, self.learning_rate, self.clip_norm), rates)


class CMAMLRule(OuterRule):
    """A step of the weights with a fixed rate; the inner steps have another one."""

    learning_rate: Rate
    inner_rate: Rate
    clip_norm: Rate

    def start(self, model: PyTree) -> Weights:
        """Return the model and no rates."""
        return Weights(model, jax.tree.map(lambda _: None, model))

    def inner_rates(self, now: Weights) -> PyTree:
        """Return one number for the whole of each weight."""
        return jax.tree.map(lambda weight: jnp.asarray(self.inner_rate, weight.dtype), split_trainable(now.model)[0])

    def step(self, now: Weights, found: LookAhead) -> Weights:
        """Return the model after its step."""
        return Weights(_model_after(found, self.learning_rate, self.clip_norm), now.rates)


def _initial_rates(model: PyTree, rate: Rate) -> PyTree:
    return jax.tree.map(lambda weight: jnp.full_like(weight, rate), split_trainable(model)[0])


def _rates_after(rates: PyTree, found: LookAhead, rate: Rate, clip_norm: Rate) -> PyTree:
    return sgd_step(rates, clipped_to_norm(found.rate_grads, clip_norm), rate)


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


def draw_orders(mask: Bool[Array, " batch"], glances: int, key: PRNGKeyArray) -> Int[Array, "glances batch"]:
    """Draw in which order each glance takes the examples that count, each order as likely."""
    places = jnp.where(mask[None], jax.random.uniform(key, (glances, len(mask))), 2)
    return jnp.argsort(places, axis=1).astype(jnp.int32)


def draw_for_glances(first: Buffer, later: Buffer, shape: tuple[int, int], key: PRNGKeyArray) -> Int[Array, "g k"]:
    """Draw slots to replay, (glances, memories): in the first glance those of `first`, in the others of `later`."""
    first_key, later_key = jax.random.split(key)
    glances, n_drawn = shape
    of_later = draw_slots(later, (glances - 1, n_drawn), later_key)
    return jnp.concatenate([draw_slots(first, (1, n_drawn), first_key), of_later])


class Memories(NamedTuple):
    """The memories drawn for each glance."""

    examples: Example
    """Leaves (glances, replay, ...)."""
    mask: Bool[Array, "glances replay"]
    """False for those drawn while there were fewer to draw from."""


def offer(memory: Buffer, ready: Ready, draws: Draws) -> tuple[Buffer, Memories]:
    """Return the memory after the examples of a batch in the order of the first glance, and the memories drawn.

    The first glance draws from the memory before them, the others from that after them.
    """
    # What is read of the memory before comes first, so that the memory after can take its place.
    first, memory = jax.lax.optimization_barrier((recall_memories(memory, draws.slots[:1]), memory))
    order = draws.order[0]
    in_order = jax.tree.map(lambda leaf: leaf[order], ready.examples)
    after = store_in_turn(memory, in_order, draws.stored_in, ready.mask[order])
    return after, joined_memories(first, recall_memories(after, draws.slots[1:]))


def recall_memories(memory: Buffer, slots: Int[Array, "glances replay"]) -> Memories:
    """Return the memories in the slots drawn."""
    return Memories(recall(memory, slots), jnp.broadcast_to(drawn_mask(memory, slots.shape[1]), slots.shape))


def joined_memories(first: Memories, later: Memories) -> Memories:
    """Return the memories of the first glances and of later ones together."""
    return jax.tree.map(lambda one, other: jnp.concatenate([one, other]), first, later)


def gather_outer(batch: Example, mask: Bool[Array, " batch"], memories: Memories) -> tuple[Example, Float[Array, " q"]]:
    """Return the outer batch of one glance, the batch's examples first, and the weight of each in its mean loss."""
    examples = jax.tree.map(lambda new, old: jnp.concatenate([new, old]), batch, memories.examples)
    return examples, equal_weights(jnp.append(mask, memories.mask))
