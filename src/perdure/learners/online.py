"""Online learning: SGD on each example as it comes. The lower end of every comparison."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from perdure.core import Example, Info, Learner, Rate
from perdure.learners.hyperparameters import check_hyperparameters, loss_field, optimizer_field, rate
from perdure.updates.gradient import Optimizer, example_gradient, init_train_state, optimizer_step, predict_batch
from perdure.updates.losses import Loss


class OnlineState(NamedTuple):
    """State of `Online`."""

    model: PyTree
    optimizer: PyTree


class Online(Learner[OnlineState]):
    """One step of SGD on the arriving example, nothing else ("Online" in Riemer et al. 2019, section 5)."""

    needs_task: ClassVar[bool] = False

    learning_rate: Rate = rate("learning rate α of SGD")
    loss: Loss = loss_field()
    optimizer: Optimizer = optimizer_field()

    def __check_init__(self) -> None:
        check_hyperparameters(self)

    def init(self, model: PyTree, example: Example, key: PRNGKeyArray) -> OnlineState:
        """Return the state before the first example."""
        return OnlineState(*init_train_state(model, self.optimizer(self.learning_rate)))

    def observe(self, state: OnlineState, example: Example, key: PRNGKeyArray) -> tuple[OnlineState, Info]:
        """Take one step of SGD, or of the optimizer, on the example."""
        gradient = example_gradient(state.model, example.x, example.y, self.loss)
        after = optimizer_step(gradient, state.optimizer, self.optimizer(self.learning_rate))
        return OnlineState(*after), Info(gradient.loss)

    def predict(self, state: OnlineState, x: Any, task: Any) -> Float[Array, "batch outputs"]:
        """Return outputs for x: (batch, ...)."""
        return predict_batch(state.model, x)
