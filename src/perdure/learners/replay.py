"""Replay: a memory that any learner may hold, and what the learners share that replay with each arriving example."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PRNGKeyArray, PyTree

from perdure.core import AnyArray, Example, Info, Rate
from perdure.learners.hyperparameters import choice, integer, loss_field, optimizer_field, rate
from perdure.learners.network import NetworkLearner
from perdure.memory.buffer import (
    balanced_slot,
    biased_slot,
    displaced_slot,
    draw_distinct_slots,
    draw_from_halves,
    draw_slot,
    draw_slots,
    drawn_mask,
    empty_balanced_buffer,
    empty_buffer,
    filled,
    recall,
    ring_slot,
    store,
    store_balanced,
    store_biased,
    store_in_halves,
)
from perdure.updates.gradient import Optimizer, TrainState, init_train_state, or_sgd, predict_one
from perdure.updates.losses import Loss, or_cross_entropy

MEMORY_RULES = ("reservoir", "ring", "recent", "balanced")
"""How a memory is filled: "reservoir" keeps a uniform sample of all that came, "ring" what came last, "recent" an
exponentially biased reservoir (`biased_slot`), "balanced" as many examples of each class as possible
(`BalancedBuffer`)."""
HALVES = "halves"
"""The rule of agents' memories of which one half is a ring and the other a reservoir of what is older
(`displaced_slot`); draws are of both in turn, with replacement. The size is an even number."""


class Draws(NamedTuple):
    """Everything random in one observation, so that a recorded run can be replayed draw by draw."""

    slots: Int[Array, "batches replay"]
    """Memory slots replayed in each batch; those past the number of filled slots do not count."""
    position: Int[Array, ""]
    """Place of the arriving example among the memories that count, 0 = before the first of them."""
    stored_in: Int[Array, ""]
    """Slot that the arriving example is stored in; not stored if ≥ memory size. With the rule `HALVES`, that of the
    example whose place it takes."""


class Replay(eqx.Module):
    """A memory of past examples and the rules by which it is filled and replayed; a component of a learner.

    What is remembered of an example is up to the learner: any tuple of arrays, such as an `Example`, or an input with
    the outputs that a network gave for it. The memory itself, a `Buffer`, belongs into the learner's state.
    """

    memory_size: int = eqx.field(static=True)
    """Number of slots."""
    batch_size: int = eqx.field(static=True)
    """Memories drawn for each batch; of fewer remembered ones, as many as there are."""
    n_batches: int = eqx.field(static=True, default=1)
    """Batches drawn with each arriving example."""
    rule: str = eqx.field(static=True, default="reservoir", kw_only=True)
    """One of `MEMORY_RULES`, or `HALVES`."""
    replacement: bool = eqx.field(static=True, default=True, kw_only=True)
    """May a batch hold a memory more than once?"""

    def init(self, remembered: tuple, n_classes: int | None = None) -> Any:
        """Return an empty memory for tuples of the shapes and dtypes of `remembered`.

        Args:
            remembered: what is to be kept of an example.
            n_classes: number of classes, for the rule "balanced".
        """
        if self.rule == "balanced":
            if n_classes is None:
                raise TypeError('the memory rule "balanced" needs the number of classes; give n_classes')
            return empty_balanced_buffer(remembered, self.memory_size, n_classes)
        return empty_buffer(remembered, self.memory_size)

    def draw(self, memory: Any, key: PRNGKeyArray, label: Any = None) -> Draws:
        """Draw all that one observation leaves to chance.

        Args:
            memory: as `init` or `store` returned it.
            key: random key.
            label: class of the arriving example, for the rule "balanced"; others take no notice of it.
        """
        slots_key, position_key, storing_key = jax.random.split(key, 3)
        draws = draw_slots if self.replacement else draw_distinct_slots
        draws = draw_from_halves if self.rule == HALVES else draws
        n_drawn = min(self.batch_size, self.memory_size)
        return Draws(
            slots=draws(memory, (self.n_batches, n_drawn), slots_key),
            position=jax.random.randint(position_key, (), 0, jnp.minimum(filled(memory), n_drawn) + 1, jnp.int32),
            stored_in=self._slot(memory, storing_key, label),
        )

    def _slot(self, memory: Any, key: PRNGKeyArray, label: Any) -> Int[Array, ""]:
        """Return where the arriving example goes."""
        if self.rule == "reservoir":
            return draw_slot(memory, key)
        if self.rule == "recent":
            return biased_slot(memory, key)
        if self.rule == "ring":
            return ring_slot(memory)
        if self.rule == HALVES:
            return displaced_slot(memory, key)
        return balanced_slot(memory, jnp.asarray(label, jnp.int32), key)

    def recall(self, memory: Any, slots: Int[Array, "batches replay"]) -> tuple[Any, Bool[Array, "batches replay"]]:
        """Return what is in the slots, leaves (batches, replay, ...), and which of it counts."""
        return recall(memory, slots), jnp.broadcast_to(drawn_mask(memory, slots.shape[1]), slots.shape)

    def store(self, memory: Any, remembered: tuple, slot: Int[Array, ""], label: Any = None) -> Any:
        """Return the memory with `remembered` in `slot`; a slot ≥ memory size leaves the contents as they were.

        `label`, the class of what is remembered, is for the rule "balanced".
        """
        if self.rule == "balanced":
            return store_balanced(memory, remembered, jnp.asarray(label, jnp.int32), slot)
        if self.rule == HALVES:
            return store_in_halves(memory, remembered, slot)
        return (store_biased if self.rule == "recent" else store)(memory, remembered, slot)


class Batch(NamedTuple):
    """The arriving example among the memories replayed with it, or several such batches."""

    examples: Any
    """Leaves (k, ...) or (batches, k, ...), k = memories + 1, in the order in which they are learnt from; an `Example`
    or another tuple of arrays."""
    mask: Bool[Array, "*batches k"]
    """False for memories drawn while there were fewer to draw from."""
    arriving: Bool[Array, "*batches k"]
    """True for the arriving example."""


class ReplayState(NamedTuple):
    """State of a learner that replays examples."""

    model: PyTree
    optimizer: PyTree
    memory: Any
    """A `Buffer`, or with the rule "balanced" a `BalancedBuffer`."""


class ReplayLearner(NetworkLearner[ReplayState]):
    """A learner that learns from each arriving example among memories, then offers it to a reservoir.

    A method is its `update`; all it needs of chance is in `Draws`. While the memory holds fewer examples than
    `replay_batch_size`, also because `memory_size` is smaller, as many are drawn as it holds, min(k, |M|).
    """

    needs_task: ClassVar[bool] = False

    learning_rate: Rate = rate("learning rate α of SGD")
    memory_size: int = integer("number of examples that the memory holds")
    replay_batch_size: int = integer("memories drawn for each batch (k − 1)")
    loss: Loss | None = loss_field()
    optimizer: Optimizer | None = optimizer_field()
    memory_rule: str = choice("what the memory keeps", MEMORY_RULES, "reservoir")

    @abstractmethod
    def n_batches(self) -> int:
        """Return the number of batches replayed with each arriving example."""

    @abstractmethod
    def update(self, now: TrainState, batches: Batch, position: Int[Array, ""]) -> TrainState:
        """Return the model that has learnt from the batches, and its optimizer.

        Args:
            now: model and optimizer before the update.
            batches: leaves (batches, k, ...), the arriving example first in each.
            position: a random place for the arriving example, for methods that visit it elsewhere.
        """

    def replay(self) -> Replay:
        """Return the memory's rules."""
        return Replay(self.memory_size, self.replay_batch_size, self.n_batches(), rule=self.memory_rule)

    def init(self, model: PyTree, example: Example, key: PRNGKeyArray) -> ReplayState:
        """Return the state before the first example: the model and an empty memory.

        Raises:
            TypeError: if the memory is to be balanced over classes, but numbers are learned.
        """
        if self.memory_rule == "balanced" and not jnp.issubdtype(jnp.asarray(example.y).dtype, jnp.integer):
            raise TypeError('the memory rule "balanced" is for classes, but y are numbers; choose another memory_rule')
        start = init_train_state(model, or_sgd(self.optimizer)(self.learning_rate))
        n_outputs = len(jax.eval_shape(predict_one, model, example.x))
        return ReplayState(*start, self.replay().init(example, n_outputs))

    def observe(self, state: ReplayState, example: Example, key: PRNGKeyArray) -> tuple[ReplayState, Info]:
        """Learn from the example among memories, then offer it to the memory."""
        return self.observe_with(state, example, self.draw(state.memory, key, example.y))

    def draw(self, memory: Any, key: PRNGKeyArray, label: Any = None) -> Draws:
        """Draw all that one observation leaves to chance."""
        return self.replay().draw(memory, key, label)

    def observe_with(self, state: ReplayState, example: Example, draws: Draws) -> tuple[ReplayState, Info]:
        """`observe` with the draws given."""
        outputs = predict_one(state.model, example.x)
        info = Info(or_cross_entropy(self.loss)(outputs, example.y), outputs)
        batches = gather_batches(state.memory, example, draws.slots)
        after = self.update(TrainState(state.model, state.optimizer), batches, draws.position)
        memory = self.replay().store(state.memory, example, draws.stored_in, example.y)
        return ReplayState(*after, memory), info

    def answering(self, state: ReplayState) -> PyTree:
        """Return the network."""
        return state.model


def gather_batches(memory: Any, example: tuple, slots: Int[Array, "batches replay"]) -> Batch:
    """Return batches of the arriving example followed by the memories in `slots`, leaves (batches, k, ...).

    All batches of an observation are gathered at once, so that the loop over batches does not carry the memory.
    """
    mask = jnp.broadcast_to(drawn_mask(memory, slots.shape[1]), slots.shape)
    return join_batches(example, recall(memory, slots), mask)


def join_batches(example: tuple, remembered: tuple, mask: Bool[Array, "batches replay"]) -> Batch:
    """Return batches of the arriving example and then memories, leaves (batches, replay, ...), that `mask` counts."""
    n_batches, n_draws = mask.shape

    def put_first(new: AnyArray, old: Array) -> Array:
        new = jnp.broadcast_to(new, (n_batches, 1, *jnp.shape(new)))
        return jnp.concatenate([new, old], axis=1)

    examples = jax.tree.map(put_first, example, remembered)
    arriving = jnp.broadcast_to(jnp.arange(n_draws + 1) == 0, (n_batches, n_draws + 1))
    return Batch(examples, jnp.concatenate([jnp.ones((n_batches, 1), bool), mask], axis=1), arriving)


def move_arriving(batches: Batch, position: int | Int[Array, ""]) -> Batch:
    """Return the batches with the arriving example moved from the front to `position`, 0 ≤ position < k."""
    place = jnp.arange(batches.mask.shape[1], dtype=jnp.int32)
    source = jnp.where(place == position, 0, jnp.where(place < position, place + 1, place))
    return jax.tree.map(lambda leaf: leaf[:, source], batches)
