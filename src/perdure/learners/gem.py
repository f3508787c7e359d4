"""Gradient episodic memory: steps that do not raise the loss on memories of past tasks."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from perdure.core import Example, Info, Rate, StreamInfo
from perdure.learners.defaults import with_defaults
from perdure.learners.hyperparameters import (
    integer,
    known_stream_info,
    loss_field,
    rate,
    stream_info_field,
)
from perdure.learners.network import NetworkLearner
from perdure.memory.task_rings import TaskRings, draw_past, empty_rings, ring, store_in_ring
from perdure.models import split_trainable
from perdure.updates.branches import for_as_many_as
from perdure.updates.gradient import example_gradient, predict_one, sgd_step, weighted_gradient
from perdure.updates.losses import Loss, or_cross_entropy
from perdure.updates.projection import project
from perdure.updates.reference import projected_step
from perdure.updates.weights import equal_weights


class GEMState(NamedTuple):
    """State of `GEM` and `AGEM`."""

    model: PyTree
    memory: TaskRings


class EpisodicLearner(NetworkLearner[GEMState]):
    """A learner with a memory divided equally among the tasks, of which each keeps its last examples."""

    needs_task: ClassVar[bool] = True

    learning_rate: Rate = rate("learning rate α of SGD")
    memory_size: int = integer("number of examples that the memory holds, for all tasks together")
    loss: Loss | None = loss_field()
    stream_info: StreamInfo | None = stream_info_field()

    def init(self, model: PyTree, example: Example, key: PRNGKeyArray) -> GEMState:
        """Return the state before the first example.

        Raises:
            ValueError: if the memory has less than one slot a task.
        """
        return GEMState(model, divided_memory(example, self.memory_size, known_stream_info(self).n_tasks))

    def answering(self, state: GEMState) -> PyTree:
        """Return the network."""
        return state.model


@with_defaults
class GEM(EpisodicLearner):
    """Gradient episodic memory (Lopez-Paz & Ranzato 2017, Algorithm 1), one example at a time.

    The memory is divided equally among the tasks; each keeps its last examples. If the gradient on the arriving example
    has a negative dot product with the gradient of the mean loss on some past task's memory, it is projected. Tasks
    must be numbered in the order in which they come; what a step costs grows with the number of past tasks.
    """

    vectorized: ClassVar[bool] = False

    margin: Rate = rate("least weight of each past task's gradient when the step is projected (memory strength γ)")

    def observe(self, state: GEMState, example: Example, key: PRNGKeyArray) -> tuple[GEMState, Info]:
        """Store the example, then take one step of SGD along its gradient, projected if it harms a past task."""
        loss, n_past = or_cross_entropy(self.loss), jnp.asarray(example.task, jnp.int32)
        memory = store_in_ring(state.memory, example)
        gradient = example_gradient(state.model, example.x, example.y, loss)
        flat, restore = ravel_pytree(gradient.grads)

        def among(most: int) -> Float[Array, " p"]:
            past = past_gradients(state.model, memory, n_past, most, loss)
            return project(past, flat, self.margin, jnp.arange(most, dtype=jnp.int32) < n_past)

        direction = for_as_many_as(n_past, known_stream_info(self).n_tasks - 1, among, flat)
        model = sgd_step(gradient.model, restore(direction), self.learning_rate)
        return GEMState(model, memory), Info(gradient.loss, predict_one(state.model, example.x))


@with_defaults
class AGEM(EpisodicLearner):
    """Averaged GEM (Chaudhry et al. 2019, section 4): one constraint, from a random batch of past tasks' memories.

    The memory is divided equally among the tasks; each keeps its last examples. If the gradient on the arriving example
    has a negative dot product with that of the mean loss on the batch, its component along that one is taken out.
    """

    replay_batch_size: int = integer("memories drawn for the reference gradient")

    def observe(self, state: GEMState, example: Example, key: PRNGKeyArray) -> tuple[GEMState, Info]:
        """Store the example, then take one step of SGD along its gradient, projected if it harms past tasks."""
        drawn = draw_past(state.memory, jnp.asarray(example.task), self.replay_batch_size, key)
        return self.observe_with(state, example, drawn)

    def observe_with(self, state: GEMState, example: Example, drawn: Example) -> tuple[GEMState, Info]:
        """`observe` with the batch of past tasks' memories given, leaves (replay_batch_size, ...)."""
        loss, outputs = or_cross_entropy(self.loss), predict_one(state.model, example.x)

        def plain(model: PyTree) -> PyTree:
            gradient = example_gradient(model, example.x, example.y, loss)
            return sgd_step(gradient.model, gradient.grads, self.learning_rate)

        def projected(model: PyTree) -> PyTree:
            return projected_step(model, example, drawn, self.learning_rate, loss)

        model = jax.lax.cond(jnp.asarray(example.task) > 0, projected, plain, state.model)
        return GEMState(model, store_in_ring(state.memory, example)), Info(loss(outputs, example.y), outputs)


def divided_memory(example: Example, memory_size: int, n_tasks: int) -> TaskRings:
    """Return an empty memory of `memory_size` slots, divided equally among the tasks.

    Raises:
        ValueError: if there is less than one slot a task.
    """
    if memory_size < n_tasks:
        raise ValueError(
            f"memory_size = {memory_size} for {n_tasks} tasks is less than one example for each; "
            f"give it at least {n_tasks}"
        )
    return empty_rings(example, n_tasks, memory_size // n_tasks)


def past_gradients(
    model: PyTree, memory: TaskRings, n_past: Int[Array, ""], most: int, loss: Loss
) -> Float[Array, "most p"]:
    """Return the gradient of the mean loss on the memory of each of the first `n_past` tasks, zero in later rows.

    Running statistics, of models that have any, stay as they are.
    """

    def put(task: Int[Array, ""], rows: Float[Array, "most p"]) -> Float[Array, "most p"]:
        (x, y, _), held = ring(memory, task)
        gradient = weighted_gradient(model, x, y, equal_weights(held), loss)
        return rows.at[task].set(ravel_pytree(gradient.grads)[0])

    n_weights = sum(leaf.size for leaf in jax.tree.leaves(split_trainable(model)[0]))
    return jax.lax.fori_loop(0, n_past, put, jnp.zeros((most, n_weights)))
