"""Online learning: SGD on each example as it comes. The lower end of every comparison."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import jax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from perdure.core import Example, Info, Learner, Rate
from perdure.learners.hyperparameters import check_hyperparameters, rate
from perdure.updates.gradient import descend, example_loss, predict_batch


class OnlineState(NamedTuple):
    """State of `Online`."""

    model: PyTree


class Online(Learner[OnlineState]):
    """One step of SGD on the arriving example, nothing else ("Online" in Riemer et al. 2019, section 5)."""

    needs_task: ClassVar[bool] = False

    learning_rate: Rate = rate("learning rate α of SGD")

    def __check_init__(self) -> None:
        check_hyperparameters(self)

    def init(self, model: PyTree, example: Example, key: PRNGKeyArray) -> OnlineState:
        """Return the state before the first example."""
        return OnlineState(model)

    def observe(self, state: OnlineState, example: Example, key: PRNGKeyArray) -> tuple[OnlineState, Info]:
        """Take one step of SGD on the example."""
        loss, gradient = jax.value_and_grad(example_loss)(state.model, example.x, example.y)
        return OnlineState(descend(state.model, gradient, self.learning_rate)), Info(loss)

    def predict(self, state: OnlineState, x: Any, task: Any) -> Float[Array, "batch outputs"]:
        """Return logits for x: (batch, ...)."""
        return predict_batch(state.model, x)
