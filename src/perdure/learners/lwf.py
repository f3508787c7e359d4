"""Learning without forgetting: on what arrives, the network is to answer for past tasks as it did when they ended."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from perdure.core import Example, Info, Rate, StreamInfo
from perdure.learners.defaults import with_defaults
from perdure.learners.hyperparameters import (
    known_stream_info,
    loss_field,
    optimizer_field,
    rate,
    stream_info_field,
)
from perdure.learners.labels import expect_labels
from perdure.learners.network import NetworkLearner
from perdure.updates.distillation import distillation, distillation_within_tasks
from perdure.updates.gradient import (
    Optimizer,
    init_train_state,
    optimizer_step,
    or_sgd,
    predict_batch,
    predict_one,
    weighted_gradient,
)
from perdure.updates.losses import Loss, or_cross_entropy

TEMPERATURE = 2.0
"""By which logits are divided before answers are compared (Li & Hoiem 2016, section 3)."""


class LwFState(NamedTuple):
    """State of `LwF`."""

    model: PyTree
    optimizer: PyTree
    teacher: PyTree
    """The network as it was when the last task ended."""
    task: Int[Array, ""]
    """Number of the current task, −1 before the first example."""
    past: Bool[Array, " tasks"]
    """Which tasks have ended."""


@with_defaults
class LwF(NetworkLearner[LwFState]):
    """Learning without forgetting (Li & Hoiem 2016, arXiv 1606.09282), one example at a time, without a memory.

    One step on the loss of the arriving example, plus `strength` times the divergence of the network's answers to it,
    at temperature 2, from those of the network as it was at the last task's end. Where classes belong to tasks that is
    a sum over past tasks, each of whose classes are answered among themselves; else all outputs are answered at once.
    The end of a task is noticed when the first example of another arrives. The paper first trains the outputs of a new
    task alone, which a stream seen once does not allow.
    """

    needs_task: ClassVar[bool] = True

    learning_rate: Rate = rate("learning rate of SGD")
    strength: Rate = rate("weight λ of answering as before")
    loss: Loss | None = loss_field()
    optimizer: Optimizer | None = optimizer_field()
    stream_info: StreamInfo | None = stream_info_field()

    def init(self, model: PyTree, example: Example, key: PRNGKeyArray) -> LwFState:
        """Return the state before the first example.

        Raises:
            TypeError: if the targets are numbers.
        """
        expect_labels(self, example)
        start = init_train_state(model, or_sgd(self.optimizer)(self.learning_rate))
        past = jnp.zeros(known_stream_info(self).n_tasks, bool)
        return LwFState(*start, model, jnp.asarray(-1, jnp.int32), past)

    def observe(self, state: LwFState, example: Example, key: PRNGKeyArray) -> tuple[LwFState, Info]:
        """Keep the network if a task has ended, then take one step on the example."""
        outputs = predict_one(state.model, example.x)
        after, total = self.update(state, jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], example))
        return after, Info(or_cross_entropy(self.loss)(outputs, example.y), outputs, {"total_loss": total})

    def update(self, state: LwFState, batch: Example) -> tuple[LwFState, Float[Array, ""]]:
        """Return the state after one step on a batch of one task, leaves (n, ...), and the sum of both terms."""
        loss, task = or_cross_entropy(self.loss), jnp.asarray(batch.task, jnp.int32)[0]
        ended = (task != state.task) & (state.task >= 0)
        teacher = jax.tree.map(lambda new, old: jnp.where(ended, new, old), state.model, state.teacher)
        past = state.past.at[state.task].set(state.past[state.task] | ended)

        def row_loss(outputs: Float[Array, " outputs"], row: tuple[Array, Array]) -> Float[Array, ""]:
            y, before = row
            return loss(outputs, y) + self.strength * self.change(outputs, before, past.at[task].set(False))

        weights = jnp.full(len(batch.y), 1 / len(batch.y))
        targets = predict_batch(teacher, batch.x)
        gradient = weighted_gradient(state.model, batch.x, (jnp.asarray(batch.y), targets), weights, row_loss)
        after = optimizer_step(gradient, state.optimizer, or_sgd(self.optimizer)(self.learning_rate))
        return LwFState(*after, teacher, task, past), gradient.loss

    def change(
        self, outputs: Float[Array, " outputs"], before: Float[Array, " outputs"], tasks: Bool[Array, " tasks"]
    ) -> Float[Array, ""]:
        """Return by how much an answer for some tasks differs from that before, in nats."""
        class_tasks = known_stream_info(self).class_tasks
        outputs, before = outputs / TEMPERATURE, before / TEMPERATURE
        if class_tasks is None:
            return jnp.where(jnp.any(tasks), distillation(outputs, before), 0)
        return distillation_within_tasks(outputs, before, class_tasks, tasks)

    def answering(self, state: LwFState) -> PyTree:
        """Return the network."""
        return state.model
