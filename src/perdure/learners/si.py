"""Synaptic intelligence: weights are held by how much each has lowered the losses of past tasks on its way."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray, PyTree

from perdure.core import Example, Info, Rate
from perdure.learners.defaults import with_defaults
from perdure.learners.hyperparameters import loss_field, optimizer_field, rate
from perdure.learners.network import NetworkLearner
from perdure.models import split_trainable
from perdure.updates.gradient import (
    Optimizer,
    example_gradient,
    init_train_state,
    optimizer_step,
    or_sgd,
    predict_one,
)
from perdure.updates.losses import Loss, or_cross_entropy


class SIState(NamedTuple):
    """State of `SI`."""

    model: PyTree
    optimizer: PyTree
    importance: PyTree
    """Ω: of each weight for past tasks, ≥ 0."""
    anchor: PyTree
    """The weights as they were when the current task began."""
    path: PyTree
    """ω: by how much each weight has lowered the loss during the current task, to first order."""
    task: Int[Array, ""]
    """Number of the current task, −1 before the first example."""


@with_defaults
class SI(NetworkLearner[SIState]):
    """Synaptic intelligence (Zenke, Poole & Ganguli 2017, arXiv 1703.04200, equations 3–5).

    Each step adds to a weight's path integral minus its gradient, of the example's loss alone, times how far the
    weight has moved. At a task's end the integral, divided by the square of how far the weight has moved during the
    task plus `damping`, is added to its importance, which is not let fall below zero (released code). From then on
    the loss has the penalty ``strength · Σ Ω · (θ − θ*)²``, with θ* the weights at the end of the last task. The end
    of a task is noticed when the first example of another arrives. Where ``2 · learning_rate · strength · Ω`` passes
    2 for a weight, its steps overshoot and grow: of single examples, whose gradients are noisy, Ω is large, and
    `strength` must be small.
    """

    needs_task: ClassVar[bool] = True

    learning_rate: Rate = rate("learning rate of SGD")
    strength: Rate = rate("strength c of the penalty")
    damping: Rate = rate("damping ξ, added to squared distances that weights have moved")
    loss: Loss | None = loss_field()
    optimizer: Optimizer | None = optimizer_field()

    def init(self, model: PyTree, example: Example, key: PRNGKeyArray) -> SIState:
        """Return the state before the first example."""
        start = init_train_state(model, or_sgd(self.optimizer)(self.learning_rate))
        weights, _ = split_trainable(model)
        nothing = jax.tree.map(jnp.zeros_like, weights)
        return SIState(*start, nothing, weights, nothing, jnp.asarray(-1, jnp.int32))

    def observe(self, state: SIState, example: Example, key: PRNGKeyArray) -> tuple[SIState, Info]:
        """Consolidate if a task has ended, then take one step on the example's loss and the penalty."""
        task = jnp.asarray(example.task, jnp.int32)
        before, _ = split_trainable(state.model)
        consolidated = self.importance(state)
        importance, anchor, path = jax.tree.map(
            lambda new, old: jnp.where(task != state.task, new, old),
            (consolidated, before, jax.tree.map(jnp.zeros_like, before)),
            (state.importance, state.anchor, state.path),
        )
        gradient = example_gradient(state.model, example.x, example.y, or_cross_entropy(self.loss))
        grads = jax.tree.map(
            lambda grads, held, weight, anchor: grads + 2 * self.strength * held * (weight - anchor),
            *(gradient.grads, importance, before, anchor),
        )
        transformation = or_sgd(self.optimizer)(self.learning_rate)
        model, optimizer = optimizer_step(gradient._replace(grads=grads), state.optimizer, transformation)
        path = jax.tree.map(
            lambda path, grads, old, new: path - grads * (new - old),
            *(path, gradient.grads, before, split_trainable(model)[0]),
        )
        info = Info(gradient.loss, predict_one(state.model, example.x))
        return SIState(model, optimizer, importance, anchor, path, task), info

    def importance(self, state: SIState) -> PyTree:
        """Return the importance of each weight if the current task ends now (equation 5)."""

        def added(importance: Array, path: Array, weight: Array, anchor: Array) -> Array:
            square = (weight - anchor) ** 2 + self.damping
            share = jnp.where(square > 0, path / jnp.where(square > 0, square, 1), 0)
            return jnp.maximum(importance + share, 0)

        return jax.tree.map(added, state.importance, state.path, split_trainable(state.model)[0], state.anchor)

    def answering(self, state: SIState) -> PyTree:
        """Return the network."""
        return state.model
