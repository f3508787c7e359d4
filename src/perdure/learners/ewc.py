"""Elastic weight consolidation: weights that mattered to past tasks are held by a quadratic penalty."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray, PyTree

from perdure.core import Example, Info, Rate
from perdure.learners.defaults import with_defaults
from perdure.learners.hyperparameters import integer, loss_field, rate
from perdure.learners.network import NetworkLearner
from perdure.memory.buffer import Buffer, drawn_mask, emptied_if, empty_buffer, filled, first_slot, store
from perdure.models import split_trainable
from perdure.updates.branches import where_needed
from perdure.updates.consolidation import (
    Consolidation,
    consolidated,
    mean_squared_gradients,
    no_consolidation,
    penalty_gradient,
)
from perdure.updates.gradient import example_gradient, predict_one, sgd_step, weighted_gradient
from perdure.updates.losses import Loss, or_cross_entropy
from perdure.updates.weights import equal_weights


class EWCState(NamedTuple):
    """State of `EWC` and `EWCPerExample`."""

    model: PyTree
    consolidation: Consolidation
    memory: Buffer
    """The first examples of the current task."""
    task: Int[Array, ""]
    """Number of the current task."""


class ElasticLearner(NetworkLearner[EWCState]):
    """A learner whose weights are held at where they were at each task's end, by the task's Fisher information.

    The end of a task is noticed when the first example of another arrives.
    """

    needs_task: ClassVar[bool] = True

    learning_rate: Rate = rate("learning rate α of SGD")
    fisher_examples: int = integer("examples of each task that its Fisher information is estimated on")
    strength: Rate = rate("strength of the penalty")
    loss: Loss | None = loss_field()

    @abstractmethod
    def information(self, model: PyTree, memory: Buffer) -> PyTree:
        """Return the Fisher information of each weight, estimated on the examples that a task's memory holds."""

    def init(self, model: PyTree, example: Example, key: PRNGKeyArray) -> EWCState:
        """Return the state before the first example."""
        memory = empty_buffer(example, self.fisher_examples)
        return EWCState(model, no_consolidation(split_trainable(model)[0]), memory, jnp.zeros((), jnp.int32))

    def observe(self, state: EWCState, example: Example, key: PRNGKeyArray) -> tuple[EWCState, Info]:
        """Consolidate if a task has ended, then take one step of SGD on the example's loss and the penalty."""
        ended = (example.task != state.task) & (filled(state.memory) > 0)
        consolidation = where_needed(ended, lambda: self._consolidated(state), state.consolidation)
        emptied = emptied_if(ended, state.memory)
        memory = store(emptied, example, first_slot(emptied))
        gradient = example_gradient(state.model, example.x, example.y, or_cross_entropy(self.loss))
        weights, _ = split_trainable(state.model)
        grads = penalty_gradient(gradient.grads, weights, consolidation, self.strength)
        model = sgd_step(gradient.model, grads, self.learning_rate)
        task = jnp.asarray(example.task, jnp.int32)
        info = Info(gradient.loss, predict_one(state.model, example.x))
        return EWCState(model, consolidation, memory, task), info

    def answering(self, state: EWCState) -> PyTree:
        """Return the network."""
        return state.model

    def _consolidated(self, state: EWCState) -> Consolidation:
        """Return the penalty with that of the task that has just ended."""
        information = self.information(state.model, state.memory)
        weights, _ = split_trainable(state.model)
        return consolidated(state.consolidation, information, weights)


@with_defaults
class EWC(ElasticLearner):
    """Elastic weight consolidation (Kirkpatrick et al. 2017), as measured by Riemer et al. 2019.

    At a task's end its Fisher information is estimated as the square of the gradient of the mean loss over the task's
    first `fisher_examples` examples, as in the code released by Riemer et al.; the mean of the squares, which
    `EWCPerExample` takes, is larger, for gradients of examples cancel out. From then on the loss has the penalty
    ``strength · Σ F · (θ − θ*)²``, summed over weights and past tasks. The end of a task is noticed when the first
    example of another arrives.
    """

    def information(self, model: PyTree, memory: Buffer) -> PyTree:
        """Return the square of the gradient of the mean loss."""
        return fisher_information(model, memory, or_cross_entropy(self.loss))


@with_defaults
class EWCPerExample(ElasticLearner):
    """Elastic weight consolidation (Kirkpatrick et al. 2017, arXiv 1612.00796) with the empirical Fisher information.

    At a task's end its Fisher information is estimated as the mean, over the task's first `fisher_examples` examples,
    of the square of the gradient of the loss on one of them, at the label that it has. From then on the loss has the
    penalty ``strength · Σ F · (θ − θ*)²``, summed over weights and past tasks; `strength` is λ/2 of the paper. The end
    of a task is noticed when the first example of another arrives. The learner `EWC` squares the mean gradient instead.
    """

    def information(self, model: PyTree, memory: Buffer) -> PyTree:
        """Return the mean of the squares of the examples' gradients."""
        return empirical_fisher(model, memory, or_cross_entropy(self.loss))


def fisher_information(model: PyTree, memory: Buffer, loss: Loss) -> PyTree:
    """Return the square of each derivative of the mean loss over the examples held, at the labels they have."""
    x, y, _ = memory.examples
    held = jnp.arange(len(y), dtype=jnp.int32) < filled(memory)
    gradient = weighted_gradient(model, x, y, equal_weights(held), loss)
    return jax.tree.map(jnp.square, gradient.grads)


def empirical_fisher(model: PyTree, memory: Buffer, loss: Loss) -> PyTree:
    """Return the mean over the examples held of the square of each derivative of their losses, at their labels."""
    x, y, _ = memory.examples
    return mean_squared_gradients(model, x, y, drawn_mask(memory, len(y)), loss)
