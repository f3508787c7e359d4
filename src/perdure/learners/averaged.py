"""Experience replay that answers with an average of its weights."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from jaxtyping import PRNGKeyArray, PyTree

from perdure.core import Example, Info, Rate
from perdure.learners.defaults import with_defaults
from perdure.learners.er import ER
from perdure.learners.hyperparameters import integer, loss_field, optimizer_field, rate
from perdure.learners.network import NetworkLearner
from perdure.learners.replay import Draws, ReplayState
from perdure.updates.gradient import Optimizer, predict_one
from perdure.updates.losses import Loss, or_cross_entropy
from perdure.updates.reptile import reptile_step


class AveragedState(NamedTuple):
    """State of `AveragedER`."""

    learning: ReplayState
    """Of experience replay."""
    average: PyTree
    """The network that answers."""


@with_defaults
class AveragedER(NetworkLearner[AveragedState]):
    """Experience replay, tested with an exponential moving average of its weights.

    After each example the average is ``decay · average + (1 − decay) · weights``; it begins with the initial weights
    and has no part in learning.

    Source: Soutif-Cormerais, Carta & van de Weijer (2023), "Improving Online Continual Learning Performance and
    Stability with Temporal Ensembles", arXiv 2306.16817.
    """

    needs_task: ClassVar[bool] = False

    learning_rate: Rate = rate("learning rate α of SGD")
    memory_size: int = integer("number of examples that the memory holds")
    replay_batch_size: int = integer("memories drawn for each example (k − 1)")
    decay: Rate = rate("part of the average that each example leaves as it is", maximum=1.0)
    loss: Loss | None = loss_field()
    optimizer: Optimizer | None = optimizer_field()

    def er(self) -> ER:
        """Return what learns."""
        rates = (self.learning_rate, self.memory_size, self.replay_batch_size)
        return ER(*rates, loss=self.loss, optimizer=self.optimizer)

    def init(self, model: PyTree, example: Example, key: PRNGKeyArray) -> AveragedState:
        """Return the state before the first example: the average is the model."""
        return AveragedState(self.er().init(model, example, key), model)

    def observe(self, state: AveragedState, example: Example, key: PRNGKeyArray) -> tuple[AveragedState, Info]:
        """Learn as experience replay does, then move the average."""
        return self.observe_with(state, example, self.er().draw(state.learning.memory, key))

    def observe_with(self, state: AveragedState, example: Example, draws: Draws) -> tuple[AveragedState, Info]:
        """`observe` with the draws given."""
        learning, info = self.er().observe_with(state.learning, example, draws)
        outputs = predict_one(state.average, example.x)
        loss = or_cross_entropy(self.loss)(outputs, example.y)
        average = reptile_step(state.average, learning.model, 1 - self.decay)
        return AveragedState(learning, average), Info(loss, outputs, {"learning_loss": info.loss})

    def answering(self, state: AveragedState) -> PyTree:
        """Return the average."""
        return state.average
