"""One small network for each task: no interference, and no transfer but by the starting weights."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from perdure.core import Example, Info, Learner, Rate, StreamInfo
from perdure.learners.defaults import with_defaults
from perdure.learners.hyperparameters import (
    check_hyperparameters,
    flag,
    known_stream_info,
    loss_field,
    rate,
    stream_info_field,
)
from perdure.models import Narrowable
from perdure.updates.gradient import example_gradient, predict_by_task, predict_one, sgd_step
from perdure.updates.losses import Loss, or_cross_entropy


class IndependentState(NamedTuple):
    """State of `Independent`."""

    model: PyTree
    """The networks of all tasks, leaves (tasks, ...)."""
    task: Int[Array, ""]
    """The task learned last, −1 before the first example."""
    seen: Bool[Array, " tasks"]
    """Which tasks have been learned: their networks go on from where they are."""


@with_defaults
class Independent(Learner[IndependentState]):
    """A network of its own for each task, with a T-th of the hidden units ("Independent", Riemer et al. 2019).

    T is the number of tasks. Each example trains its task's network by one step of SGD, and each task is tested with
    its own.
    """

    needs_task: ClassVar[bool] = True

    learning_rate: Rate = rate("learning rate α of SGD")
    from_previous: bool = flag("start each network from the weights of the previous task's", default=True)
    loss: Loss | None = loss_field()
    stream_info: StreamInfo | None = stream_info_field()

    def __check_init__(self) -> None:
        check_hyperparameters(self)

    def init(self, model: PyTree, example: Example, key: PRNGKeyArray) -> IndependentState:
        """Return the state before the first example: fresh networks, the given one made narrower.

        Raises:
            TypeError: if the model cannot be made narrower.
        """
        if not isinstance(model, Narrowable):
            raise TypeError(
                f"Independent divides a network's units among the tasks, which {type(model).__name__} does not let it; "
                "use a perdure model such as MLP, or give yours a method narrowed(n, key)"
            )
        n_tasks = known_stream_info(self).n_tasks
        models = [model.narrowed(n_tasks, task_key) for task_key in jax.random.split(key, n_tasks)]
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *models)
        return IndependentState(stacked, jnp.array(-1, jnp.int32), jnp.zeros(n_tasks, bool))

    def observe(self, state: IndependentState, example: Example, key: PRNGKeyArray) -> tuple[IndependentState, Info]:
        """Take one step of SGD with the network of the example's task."""
        task = jnp.asarray(example.task, jnp.int32)
        goes_on = state.seen[task] | (state.task < 0)
        start = jnp.where(self.from_previous & ~goes_on, state.task, task)
        loss = or_cross_entropy(self.loss)
        gradient = example_gradient(network(state.model, start), example.x, example.y, loss)
        after = sgd_step(gradient.model, gradient.grads, self.learning_rate)
        models = jax.tree.map(lambda all_tasks, one: all_tasks.at[task].set(one), state.model, after)
        info = Info(gradient.loss, predict_one(network(state.model, task), example.x))
        return IndependentState(models, task, state.seen.at[task].set(True)), info

    def answering(self, state: IndependentState) -> PyTree:
        """Return the networks of all tasks, leaves (tasks, ...)."""
        return state.model

    def predict(self, state: IndependentState, x: Any, task: Any) -> Float[Array, "batch outputs"]:
        """Return outputs for x: (batch, ...), each from the network of its task: (batch,)."""
        return predict_by_task(partial(network, state.model), x, task)


def network(models: PyTree, task: Int[Array, ""]) -> PyTree:
    """Return one task's network out of those of all tasks, leaves (tasks, ...)."""
    return jax.tree.map(lambda leaf: jax.lax.dynamic_index_in_dim(leaf, task, keepdims=False), models)
