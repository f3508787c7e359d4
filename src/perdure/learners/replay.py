"""What every learner with a reservoir shares: its state, its random draws, its batches."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from perdure.core import AnyArray, Example, Info, Learner, Rate
from perdure.learners.hyperparameters import check_hyperparameters, integer, loss_field, optimizer_field, rate
from perdure.memory import (
    Buffer,
    draw_slot,
    draw_slots,
    drawn_mask,
    empty_buffer,
    filled,
    recall,
    store,
)
from perdure.updates.gradient import Optimizer, TrainState, example_loss, init_train_state, predict_batch
from perdure.updates.losses import Loss


class ReplayState(NamedTuple):
    """State of a learner with a reservoir."""

    model: PyTree
    optimizer: PyTree
    memory: Buffer


class Draws(NamedTuple):
    """Everything random in one observation, so that a recorded run can be replayed draw by draw."""

    slots: Int[Array, "batches replay"]
    """Memory slots replayed in each batch; those past the number of filled slots do not count."""
    position: Int[Array, ""]
    """Place of the arriving example among the memories that count, 0 = before the first of them."""
    stored_in: Int[Array, ""]
    """Slot that the arriving example is stored in; not stored if ≥ memory size."""


class Batch(NamedTuple):
    """The arriving example among the memories replayed with it, or several such batches."""

    examples: Any
    """Leaves (k, ...) or (batches, k, ...), k = memories + 1, in the order in which they are learnt from; an `Example`
    or another tuple of arrays."""
    mask: Bool[Array, "*batches k"]
    """False for memories drawn while there were fewer to draw from."""
    arriving: Bool[Array, "*batches k"]
    """True for the arriving example."""


class ReplayLearner(Learner[ReplayState]):
    """A learner that replays memories with each arriving example, then offers it to a reservoir.

    A method is its `update`; all it needs of chance is in `Draws`.
    """

    needs_task: ClassVar[bool] = False

    learning_rate: Rate = rate("learning rate α of SGD")
    memory_size: int = integer("number of examples that the memory holds")
    replay_batch_size: int = integer("memories drawn for each batch (k − 1)")
    loss: Loss = loss_field()
    optimizer: Optimizer = optimizer_field()

    def __check_init__(self) -> None:
        check_hyperparameters(self)
        if self.replay_batch_size > self.memory_size:
            raise ValueError(
                f"replay_batch_size = {self.replay_batch_size} is larger than memory_size = {self.memory_size}; "
                "draw at most as many memories as there are"
            )

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

    def init(self, model: PyTree, example: Example, key: PRNGKeyArray) -> ReplayState:
        """Return the state before the first example: the model and an empty memory."""
        start = init_train_state(model, self.optimizer(self.learning_rate))
        return ReplayState(*start, empty_buffer(example, self.memory_size))

    def observe(self, state: ReplayState, example: Example, key: PRNGKeyArray) -> tuple[ReplayState, Info]:
        """Learn from the example among memories, then offer it to the memory."""
        return self.observe_with(state, example, self.draw(state.memory, key))

    def draw(self, memory: Buffer, key: PRNGKeyArray) -> Draws:
        """Draw all that one observation leaves to chance."""
        slots_key, position_key, storing_key = jax.random.split(key, 3)
        counting = jnp.minimum(filled(memory), self.replay_batch_size)
        return Draws(
            slots=draw_slots(memory, (self.n_batches(), self.replay_batch_size), slots_key),
            position=jax.random.randint(position_key, (), 0, counting + 1, jnp.int32),
            stored_in=draw_slot(memory, storing_key),
        )

    def observe_with(self, state: ReplayState, example: Example, draws: Draws) -> tuple[ReplayState, Info]:
        """`observe` with the draws given."""
        loss = example_loss(state.model, example.x, example.y, self.loss)
        batches = gather_batches(state.memory, example, draws.slots)
        after = self.update(TrainState(state.model, state.optimizer), batches, draws.position)
        return ReplayState(*after, store(state.memory, example, draws.stored_in)), Info(loss)

    def predict(self, state: ReplayState, x: Any, task: Any) -> Float[Array, "batch outputs"]:
        """Return outputs for x: (batch, ...)."""
        return predict_batch(state.model, x)


def gather_batches(memory: Buffer, example: tuple, slots: Int[Array, "batches replay"]) -> Batch:
    """Return batches of the arriving example followed by the memories in `slots`, leaves (batches, k, ...).

    All batches of an observation are gathered at once, so that the loop over batches does not carry the memory.
    """
    n_batches, n_draws = slots.shape

    def put_first(new: AnyArray, old: Array) -> Array:
        new = jnp.broadcast_to(new, (n_batches, 1, *jnp.shape(new)))
        return jnp.concatenate([new, old], axis=1)

    examples = jax.tree.map(put_first, example, recall(memory, slots))
    mask = jnp.append(True, drawn_mask(memory, n_draws))
    arriving = jnp.arange(n_draws + 1) == 0
    shape = (n_batches, n_draws + 1)
    return Batch(examples, jnp.broadcast_to(mask, shape), jnp.broadcast_to(arriving, shape))


def move_arriving(batches: Batch, position: int | Int[Array, ""]) -> Batch:
    """Return the batches with the arriving example moved from the front to `position`, 0 ≤ position < k."""
    place = jnp.arange(batches.mask.shape[1], dtype=jnp.int32)
    source = jnp.where(place == position, 0, jnp.where(place < position, place + 1, place))
    return jax.tree.map(lambda leaf: leaf[:, source], batches)
