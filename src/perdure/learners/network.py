"""What the learners share whose answers are the outputs of a single network."""

from __future__ import annotations

from typing import Any, Generic

from jaxtyping import Array, Float

from perdure.core import Learner, State
from perdure.learners.hyperparameters import check_hyperparameters
from perdure.updates.gradient import predict_batch


class NetworkLearner(Learner[State], Generic[State]):
    """A learner that answers with the outputs of one network, the one that `answering` returns."""

    def __check_init__(self) -> None:
        check_hyperparameters(self)

    def predict(self, state: State, x: Any, task: Any) -> Float[Array, "batch outputs"]:
        """Return the network's outputs for x: (batch, ...)."""
        return predict_batch(self.answering(state), x)
