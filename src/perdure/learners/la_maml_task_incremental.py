"""La-MAML, C-MAML and Sync for tasks: the released code's other class, for CIFAR-100 and TinyImageNet.

They are other mathematics than `perdure.learners.la_maml`, and need task numbers. An inner step learns a chunk of
several examples; each entry of its gradient is clipped; negative rates are used as they are; batches end with their
task; and memories can be drawn from earlier tasks only.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from perdure.core import Example, Info, Rate
from perdure.learners.batches import Batches, Collected, Ready
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
    recall_memories,
)
from perdure.learners.network import NetworkLearner
from perdure.memory import Buffer, counted, draw_slots_in_turn, empty_buffer, filled
from perdure.updates.branches import change_where_needed
from perdure.updates.gradient import predict_one
from perdure.updates.look_ahead import InnerSteps, OuterBatch, look_ahead
from perdure.updates.losses import Loss, or_cross_entropy
from perdure.updates.weights import equal_weights


class TaskIncrementalState(NamedTuple):
    """State of a learner that looks ahead within tasks."""

    model: PyTree
    rates: PyTree
    """A model of rates, one in place of each trainable weight; None everywhere if no rates are learned."""
    memory: Buffer
    old: Buffer | None
    """The memory as the task before left it, empty in the first task; None without `old_task_memory`."""
    collected: Collected
    """The examples that wait for their batch to be complete."""
    task: Int[Array, ""]
    """Number of the task of the last example; −1 before the first."""


class TaskIncrementalLearner(NetworkLearner[TaskIncrementalState]):
    """A learner that learns batches of one task by looking ahead, a chunk of each batch at an inner step.

    As in the released code, the outer loss is a mean over all inner steps, and if there are more of them than the
    chunks of a short batch, the loss after the last chunk counts once more for each. There the loss is over the classes
    of an example's own task, as perdure's is by itself for classes that belong to tasks (`CrossEntropyWithinTask`).
    Memory and gradients by weights and rates are as in `perdure.learners.la_maml`.
    """

    needs_task: ClassVar[bool] = True

    memory_size: int = integer("number of examples that the memory holds")
    replay_batch_size: int = integer("memories drawn for each glance")
    batch_size: int = integer("examples of the stream that are learned together")
    glances: int = integer("times that each batch is learned")
    inner_steps: int = integer("chunks that each batch is divided into, one for each inner step")
    second_order: bool = flag("differentiate through the inner steps' gradients", True)
    old_task_memory: bool = flag("draw from the memory as the task before left it, once there is one", False)
    loss: Loss | None = loss_field()

    @abstractmethod
    def rule(self) -> OuterRule:
        """Return where rates come from, and the step that ends a glance."""

    @abstractmethod
    def clip(self) -> Rate:
        """Return the bound of each entry of an inner gradient."""

    def batches(self) -> Batches:
        """Return how the stream is cut into batches."""
        return Batches(self.batch_size, within_task=True)

    def init(self, model: PyTree, example: Example, key: PRNGKeyArray) -> TaskIncrementalState:
        """Return the state before the first example: an empty memory, and no example that waits."""
        memory, collected = empty_buffer(example, self.memory_size), self.batches().init(example)
        old = memory if self.old_task_memory else None
        return TaskIncrementalState(*self.rule().start(model), memory, old, collected, jnp.full((), -1, jnp.int32))

    def observe(
        self, state: TaskIncrementalState, example: Example, key: PRNGKeyArray
    ) -> tuple[TaskIncrementalState, Info]:
        """Collect the example, and learn its batch if it completes one, or that before it if its task is another."""
        return self._observe(state, example, lambda memory, mask: self.draw(memory, state.old, mask, key))

    def observe_with(
        self, state: TaskIncrementalState, example: Example, draws: Draws
    ) -> tuple[TaskIncrementalState, Info]:
        """`observe` with the draws given; they matter only if a batch is learned."""
        return self._observe(state, example, lambda memory, mask: draws)

    def draw(self, memory: Buffer, old: Buffer | None, mask: Bool[Array, " batch"], key: PRNGKeyArray) -> Draws:
        """Draw all that learning a batch, of which the examples of the mask count, leaves to chance."""
        order_key, slots_key, storing_key = jax.random.split(key, 3)
        later, n_drawn = counted(memory, jnp.sum(mask, dtype=jnp.int32)), min(self.replay_batch_size, self.memory_size)
        shape = (self.glances, n_drawn)
        slots = draw_for_glances(memory, later, shape, slots_key)
        if old is not None:
            slots = jnp.where(filled(old) > 0, draw_for_glances(old, old, shape, slots_key), slots)
        order = draw_orders(mask, self.glances, order_key)
        return Draws(order, slots, draw_slots_in_turn(memory, self.batch_size, storing_key))

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
        places, counts = chunks(mask, self.inner_steps)
        x, y = jax.tree.map(lambda leaf: leaf.at[places].get(mode="clip"), (batch.x, batch.y))
        inner = InnerSteps(x, y, jax.vmap(equal_weights)(counts))
        examples, weights = gather_outer(batch, mask, memories)
        outer = OuterBatch(examples.x, examples.y, weights)
        mean = jnp.full(self.inner_steps, 1 / self.inner_steps)
        rates, loss = self.rule().inner_rates(now), or_cross_entropy(self.loss)
        found = look_ahead(now.model, rates, inner, outer, mean, loss, second_order=self.second_order, clip=self.clip())
        return self.rule().step(now, found), found.losses

    def answering(self, state: TaskIncrementalState) -> PyTree:
        """Return the network."""
        return state.model

    def _observe(
        self,
        state: TaskIncrementalState,
        example: Example,
        draw: Callable[[Buffer, Bool[Array, " batch"]], Draws],
    ) -> tuple[TaskIncrementalState, Info]:
        outputs = predict_one(state.model, example.x)
        info = Info(or_cross_entropy(self.loss)(outputs, example.y), outputs)
        collected, ready = self.batches().add(state.collected, example)

        def learned(now: tuple[Weights, Buffer]) -> tuple[Weights, Buffer]:
            weights, memory = now
            draws = draw(memory, ready.mask)
            memory, memories = offer(memory, ready, draws)
            if state.old is not None:
                memories = _where(filled(state.old) > 0, recall_memories(state.old, draws.slots), memories)
            return _where(ready.complete, self._learn(weights, ready, draws.order, memories), weights), memory

        before = Weights(state.model, state.rates), state.memory
        weights, memory = change_where_needed(ready.complete, learned, before)
        task, old = jnp.asarray(example.task, jnp.int32), state.old
        if old is not None:
            begins = (state.task >= 0) & (task != state.task)
            old = change_where_needed(begins, lambda old: _where(begins, memory, old), old)
        return TaskIncrementalState(*weights, memory, old, collected, task), info

    def _learn(self, now: Weights, ready: Ready, orders: Int[Array, "glances batch"], memories: Memories) -> Weights:
        """Return weights and rates after all glances at a batch."""

        def step(now: Weights, drawn: tuple[Array, Memories]) -> tuple[Weights, None]:
            order, memories = drawn
            batch, mask = jax.tree.map(lambda leaf: leaf[order], (ready.examples, ready.mask))
            return self.glance(now, batch, mask, memories)[0], None

        return jax.lax.scan(step, now, (orders, memories))[0]


def chunks(mask: Bool[Array, " batch"], n_chunks: int) -> tuple[Int[Array, "chunks size"], Bool[Array, "chunks size"]]:
    """Return the places of the examples of each chunk, and which of them count.

    The n examples that count, which come first, are divided into chunks of n / `n_chunks`, rounded up; the last ones
    have fewer, or none.
    """
    n = jnp.sum(mask, dtype=jnp.int32)
    size = (n + n_chunks - 1) // n_chunks
    within = jnp.arange(-(-len(mask) // n_chunks), dtype=jnp.int32)[None]
    places = jnp.arange(n_chunks, dtype=jnp.int32)[:, None] * size + within
    return places, (within < size) & (places < n)


def _where(condition: Bool[Array, ""], new: PyTree, old: PyTree) -> PyTree:
    return jax.tree.map(lambda new, old: jnp.where(condition, new, old), new, old)


@with_defaults
class TaskIncrementalLaMAML(TaskIncrementalLearner):
    """La-MAML for tasks (Gupta et al. 2020, arXiv 2007.13904), as released for CIFAR-100 and TinyImageNet.

    The inner steps use the learned rates also where they are negative; the step of the weights takes those as zero.
    """

    initial_rate: Rate = rate("rate α that each weight begins with")
    rate_learning_rate: Rate = rate("learning rate η of the rates")
    clip_norm: Rate = rate("largest entry of an inner gradient, and largest norm of the outer gradients", default=2.0)

    def rule(self) -> OuterRule:
        """Return La-MAML's."""
        return LaMAMLRule(self.initial_rate, self.rate_learning_rate, self.clip_norm)

    def clip(self) -> Rate:
        """Return `clip_norm`."""
        return self.clip_norm


@with_defaults
class TaskIncrementalSync(TaskIncrementalLearner):
    """Sync for tasks (Gupta et al. 2020, arXiv 2007.13904): the weights' own step has a fixed rate."""

    learning_rate: Rate = rate("learning rate β of the weights")
    initial_rate: Rate = rate("rate α of the inner steps that each weight begins with")
    rate_learning_rate: Rate = rate("learning rate η of the rates")
    clip_norm: Rate = rate("largest entry of an inner gradient, and largest norm of the outer gradients", default=2.0)

    def rule(self) -> OuterRule:
        """Return Sync's."""
        return SyncRule(self.learning_rate, self.initial_rate, self.rate_learning_rate, self.clip_norm)

    def clip(self) -> Rate:
        """Return `clip_norm`."""
        return self.clip_norm


@with_defaults
class TaskIncrementalCMAML(TaskIncrementalLearner):
    """C-MAML for tasks (Gupta et al. 2020, arXiv 2007.13904): inner and outer steps have fixed rates."""

    learning_rate: Rate = rate("learning rate β of the weights")
    inner_rate: Rate = rate("learning rate α of the inner steps")
    clip_norm: Rate = rate("largest entry of an inner gradient, and largest norm of the outer gradient", default=2.0)

    def rule(self) -> OuterRule:
        """Return C-MAML's."""
        return CMAMLRule(self.learning_rate, self.inner_rate, self.clip_norm)

    def clip(self) -> Rate:
        """Return `clip_norm`."""
        return self.clip_norm
