"""An input layer for each task, with all above it shared."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from perdure.core import Example, Info, Learner, Rate, StreamInfo
from perdure.learners.defaults import with_defaults
from perdure.learners.hyperparameters import (
    check_hyperparameters,
    known_stream_info,
    loss_field,
    rate,
    stream_info_field,
)
from perdure.models import MLP
from perdure.updates.gradient import example_gradient, predict_by_task, predict_one, sgd_step
from perdure.updates.losses import Loss, or_cross_entropy


class TaskInputNetwork(eqx.Module):
    """A perceptron whose first layer is chosen by the task."""

    first: eqx.nn.Linear
    """The tasks' first layers, leaves (tasks, ...)."""
    upper: MLP
    """The shared layers; None in place of the first."""

    def of_task(self, task: Int[Array, ""]) -> MLP:
        """Return the perceptron that a task sees."""
        first = jax.tree.map(lambda leaf: jax.lax.dynamic_index_in_dim(leaf, task, keepdims=False), self.first)
        return _with_first(self.upper, first)

    def updated(self, task: Int[Array, ""], perceptron: MLP) -> TaskInputNetwork:
        """Return the network with the layers that a task sees replaced by those of `perceptron`."""
        first = jax.tree.map(lambda tasks, one: tasks.at[task].set(one), self.first, perceptron.layers[0])
        return TaskInputNetwork(first, _with_first(perceptron, None))


class TaskInputState(NamedTuple):
    """State of `TaskInput`."""

    model: TaskInputNetwork


@with_defaults
class TaskInput(Learner[TaskInputState]):
    """A first layer of its own for each task, the other layers shared ("Task Input", Riemer et al. 2019, section 5).

    Each example takes one step of SGD with its task's first layer and the shared ones. Layers start uniform in
    ±1/sqrt(fan in), biases at zero, as in the released code.
    """

    needs_task: ClassVar[bool] = True

    learning_rate: Rate = rate("learning rate α of SGD")
    loss: Loss | None = loss_field()
    stream_info: StreamInfo | None = stream_info_field()

    def __check_init__(self) -> None:
        check_hyperparameters(self)

    def init(self, model: PyTree, example: Example, key: PRNGKeyArray) -> TaskInputState:
        """Return the state before the first example: fresh layers of the given perceptron's sizes.

        Raises:
            TypeError: if the model is not an `MLP`.
        """
        if not isinstance(model, MLP):
            raise TypeError(
                f"Task Input gives each task a first layer of its own, which needs a perdure MLP; got a "
                f"{type(model).__name__}: use MLP, or another learner"
            )
        first_key, upper_key = jax.random.split(key)
        first_keys = jax.random.split(first_key, known_stream_info(self).n_tasks)
        first = jax.vmap(lambda key: _fresh(model.layers[0], key))(first_keys)
        upper_keys = jax.random.split(upper_key, len(model.layers) - 1)
        upper = [_fresh(layer, key) for layer, key in zip(model.layers[1:], upper_keys, strict=True)]
        layers = eqx.tree_at(lambda it: it.layers, model, (model.layers[0], *upper))
        return TaskInputState(TaskInputNetwork(first, _with_first(layers, None)))

    def observe(self, state: TaskInputState, example: Example, key: PRNGKeyArray) -> tuple[TaskInputState, Info]:
        """Take one step of SGD on the example."""
        task = jnp.asarray(example.task, jnp.int32)
        before = state.model.of_task(task)
        gradient = example_gradient(before, example.x, example.y, or_cross_entropy(self.loss))
        after = sgd_step(gradient.model, gradient.grads, self.learning_rate)
        info = Info(gradient.loss, predict_one(before, example.x))
        return TaskInputState(state.model.updated(task, after)), info

    def answering(self, state: TaskInputState) -> TaskInputNetwork:
        """Return the layers of all tasks."""
        return state.model

    def predict(self, state: TaskInputState, x: Any, task: Any) -> Float[Array, "batch outputs"]:
        """Return outputs for x: (batch, ...), each through the first layer of its task: (batch,)."""
        return predict_by_task(state.model.of_task, x, task)


def _with_first(perceptron: MLP, first: eqx.nn.Linear | None) -> MLP:
    return eqx.tree_at(lambda it: it.layers[0], perceptron, first, is_leaf=lambda it: it is None)


def _fresh(layer: eqx.nn.Linear, key: PRNGKeyArray) -> eqx.nn.Linear:
    """Return a layer of the same size with new weights, uniform in ±1/sqrt(fan in), and biases zero."""
    fan_out, fan_in = layer.weight.shape
    fresh = eqx.nn.Linear(fan_in, fan_out, key=key)
    return eqx.tree_at(lambda it: it.bias, fresh, jnp.zeros(fan_out))
