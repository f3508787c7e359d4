"""La-MAML, C-MAML and Sync for tasks: the released code's other class, for CIFAR-100 and TinyImageNet.

They are other mathematics than `perdure.learners.la_maml`, and need task numbers. An inner step learns a chunk of
several examples; each entry of its gradient is clipped; negative rates are used as they are; batches end with their
task; and memories can be drawn from earlier tasks only.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from perdure.core import Example, Rate
from perdure.learners.batches import Batches, Collected
from perdure.learners.defaults import with_defaults
from perdure.learners.hyperparameters import flag, integer, rate
from perdure.learners.look_ahead import (
    CMAMLRule,
    LaMAMLRule,
    LookAheadLearner,
    Memories,
    OuterRule,
    SyncRule,
    Weights,
    gather_outer,
    where,
)
from perdure.memory.buffer import Buffer, empty_buffer
from perdure.updates.branches import change_where_needed
from perdure.updates.look_ahead import InnerSteps, OuterBatch, look_ahead
from perdure.updates.losses import or_cross_entropy
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


class TaskIncrementalLearner(LookAheadLearner[TaskIncrementalState]):
    """A learner that learns batches of one task by looking ahead, a chunk of each batch at an inner step.

    As in the released code, if there are more inner steps than the chunks of a short batch, the loss after the last
    chunk counts once more for each. There the loss is over the classes of an example's own task, as perdure's is by
    itself for classes that belong to tasks (`CrossEntropyWithinTask`).
    """

    needs_task: ClassVar[bool] = True

    inner_steps: int = integer("chunks that each batch is divided into, one for each inner step")
    second_order: bool = flag("differentiate through the inner steps' gradients", True)
    old_task_memory: bool = flag("draw from the memory as the task before left it, once there is one", False)

    def batches(self) -> Batches:
        """Return how the stream is cut into batches."""
        return Batches(self.batch_size, within_task=True)

    def init(self, model: PyTree, example: Example, key: PRNGKeyArray) -> TaskIncrementalState:
        """Return the state before the first example: an empty memory, and no example that waits."""
        memory, collected = empty_buffer(example, self.memory_size), self.batches().init(example)
        old = memory if self.old_task_memory else None
        return TaskIncrementalState(*self.rule().start(model), memory, old, collected, jnp.full((), -1, jnp.int32))

    def glance(
        self, now: Weights, batch: Example, mask: Bool[Array, " batch"], memories: Memories
    ) -> tuple[Weights, Float[Array, " steps"]]:
        """Return weights and rates after one glance, and the outer loss of each inner step."""
        places, counts = chunks(mask, self.inner_steps)
        x, y = jax.tree.map(lambda leaf: leaf.at[places].get(mode="clip"), (batch.x, batch.y))
        inner = InnerSteps(x, y, jax.vmap(equal_weights)(counts))
        examples, weights = gather_outer(batch, mask, memories)
        outer = OuterBatch(examples.x, examples.y, weights)
        mean = jnp.full(self.inner_steps, 1 / self.inner_steps)
        rule, loss = self.rule(), or_cross_entropy(self.loss)
        options: dict[str, Any] = {"second_order": self.second_order, "clip": rule.clip_norm}
        found = look_ahead(now.model, rule.inner_rates(now), inner, outer, mean, loss, **options)
        return rule.step(now, found), found.losses

    def old_memory(self, state: Any) -> Buffer | None:
        """Return the memory as the task before left it."""
        return state.old

    def after(
        self, before: Any, example: Example, weights: Weights, memory: Buffer, collected: Collected
    ) -> TaskIncrementalState:
        """Return the state after an example, whose task may be a new one."""
        task, old = jnp.asarray(example.task, jnp.int32), before.old
        if old is not None:
            begins = (before.task >= 0) & (task != before.task)
            old = change_where_needed(begins, lambda old: where(begins, memory, old), old)
        return TaskIncrementalState(*weights, memory, old, collected, task)


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
        return LaMAMLRule(self.clip_norm, self.initial_rate, self.rate_learning_rate)


@with_defaults
class TaskIncrementalSync(TaskIncrementalLearner):
    """Sync for tasks (Gupta et al. 2020, arXiv 2007.13904): the weights' own step has a fixed rate."""

    learning_rate: Rate = rate("learning rate β of the weights")
    initial_rate: Rate = rate("rate α of the inner steps that each weight begins with")
    rate_learning_rate: Rate = rate("learning rate η of the rates")
    clip_norm: Rate = rate("largest entry of an inner gradient, and largest norm of the outer gradients", default=2.0)

    def rule(self) -> OuterRule:
        """Return Sync's."""
        return SyncRule(self.clip_norm, self.initial_rate, self.rate_learning_rate, self.learning_rate)


@with_defaults
class TaskIncrementalCMAML(TaskIncrementalLearner):
    """C-MAML for tasks (Gupta et al. 2020, arXiv 2007.13904): inner and outer steps have fixed rates."""

    learning_rate: Rate = rate("learning rate β of the weights")
    inner_rate: Rate = rate("learning rate α of the inner steps")
    clip_norm: Rate = rate("largest entry of an inner gradient, and largest norm of the outer gradient", default=2.0)

    def rule(self) -> OuterRule:
        """Return C-MAML's."""
        return CMAMLRule(self.clip_norm, self.learning_rate, self.inner_rate)
