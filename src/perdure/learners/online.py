"""Online learning: SGD on each example as it comes. The lower end of every comparison."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from jaxtyping import PRNGKeyArray, PyTree

from perdure.core import Example, Info, Rate
from perdure.learners.defaults import with_defaults
from perdure.learners.hyperparameters import loss_field, optimizer_field, rate
from perdure.learners.network import NetworkLearner
from perdure.updates.gradient import (
    Optimizer,
    example_gradient,
    init_train_state,
    optimizer_step,
    or_sgd,
    predict_one,
)
from perdure.updates.losses import Loss, or_cross_entropy


class OnlineState(NamedTuple):
    """State of `Online`."""

    model: PyTree
    optimizer: PyTree


@with_defaults
class Online(NetworkLearner[OnlineState]):
    """One step of SGD on the arriving example, nothing else ("Online" in Riemer et al. 2019, section 5)."""

    needs_task: ClassVar[bool] = False

    learning_rate: Rate = rate("learning rate α of SGD")
    loss: Loss | None = loss_field()
    optimizer: Optimizer | None = optimizer_field()

    def init(self, model: PyTree, example: Example, key: PRNGKeyArray) -> OnlineState:
        """Return the state before the first example."""
        return OnlineState(*init_train_state(model, or_sgd(self.optimizer)(self.learning_rate)))

    def observe(self, state: OnlineState, example: Example, key: PRNGKeyArray) -> tuple[OnlineState, Info]:
        """Take one step of SGD, or of the optimizer, on the example."""
        gradient = example_gradient(state.model, example.x, example.y, or_cross_entropy(self.loss))
        after = optimizer_step(gradient, state.optimizer, or_sgd(self.optimizer)(self.learning_rate))
        return OnlineState(*after), Info(gradient.loss, predict_one(state.model, example.x))

    def answering(self, state: OnlineState) -> PyTree:
        """Return the network."""
        return state.model
