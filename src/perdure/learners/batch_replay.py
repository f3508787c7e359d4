"""What the learners share that take one step on arriving examples and on memories drawn without replacement."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, Generic

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from perdure.core import Example, Info, Rate, State
from perdure.learners.hyperparameters import integer, loss_field, optimizer_field, rate
from perdure.learners.network import NetworkLearner
from perdure.learners.replay import Draws, Replay, ReplayState
from perdure.updates.gradient import (
    Gradient,
    Optimizer,
    TrainState,
    init_train_state,
    optimizer_step,
    or_sgd,
    predict_one,
    weighted_gradient,
)
from perdure.updates.losses import Loss, or_cross_entropy
from perdure.updates.weights import equal_weights


class BatchReplayLearner(NetworkLearner[State], Generic[State]):
    """A learner that takes one step on what arrives and memories, then offers what arrived to a reservoir.

    A method is its `update`, which takes a batch of arriving examples; a stream brings them one at a time. Its state is
    a NamedTuple that begins as `ReplayState` does. No memory is drawn twice for a batch; while there are fewer than are
    to be drawn, all are.
    """

    needs_task: ClassVar[bool] = False

    learning_rate: Rate = rate("learning rate α of SGD")
    memory_size: int = integer("number of examples that the memory holds")
    replay_batch_size: int = integer("memories replayed in each batch")
    loss: Loss | None = loss_field()
    optimizer: Optimizer | None = optimizer_field()

    @abstractmethod
    def replay(self) -> Replay:
        """Return the memory's rules."""

    @abstractmethod
    def remembered(self, example: Example, outputs: Float[Array, " outputs"]) -> tuple:
        """Return what is stored of an example, to which the network gave these outputs before it learned it."""

    @abstractmethod
    def update(self, state: Any, batch: Example, slots: Int[Array, "batches draws"]) -> tuple[State, Float[Array, ""]]:
        """Return the state after one step, its memory as before, and the loss that the step was on.

        Args:
            state: before the step.
            batch: the arriving examples, leaves (n, ...).
            slots: of the memories drawn.
        """

    def start(self, model: PyTree, example: Example) -> ReplayState:
        """Return the model, the optimizer before its first step and an empty memory."""
        outputs = jax.eval_shape(predict_one, model, example.x)
        remembered = self.remembered(example, jnp.zeros(outputs.shape, outputs.dtype))
        transformation = or_sgd(self.optimizer)(self.learning_rate)
        return ReplayState(*init_train_state(model, transformation), self.replay().init(remembered))

    def observe(self, state: Any, example: Example, key: PRNGKeyArray) -> tuple[State, Info]:
        """Take one step on the example and memories, then offer it to the memory."""
        return self.observe_with(state, example, self.replay().draw(state.memory, key))

    def observe_with(self, state: Any, example: Example, draws: Draws) -> tuple[State, Info]:
        """`observe` with the draws given."""
        outputs = predict_one(state.model, example.x)
        batch = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], example)
        after, total = self.update(state, batch, draws.slots)
        memory = self.replay().store(state.memory, self.remembered(example, outputs), draws.stored_in)
        loss = or_cross_entropy(self.loss)(outputs, example.y)
        updated: Any = after
        return updated._replace(memory=memory), Info(loss, outputs, {"total_loss": total})

    def step(self, gradient: Gradient, optimizer: PyTree) -> TrainState:
        """Return model and optimizer after one step down the gradient."""
        return optimizer_step(gradient, optimizer, or_sgd(self.optimizer)(self.learning_rate))

    def answering(self, state: Any) -> PyTree:
        """Return the network."""
        return state.model


def mean_loss_gradient(
    model: PyTree, batch: Example, memories: Example, mask: Bool[Array, " k"], loss: Loss
) -> Gradient:
    """Return the gradient of the mean loss over arriving examples, leaves (n, ...), and the memories that count."""
    rows = jax.tree.map(lambda new, old: jnp.concatenate([new, old]), batch, memories)
    weights = equal_weights(jnp.concatenate([jnp.ones(len(batch.y), bool), mask]))
    return weighted_gradient(model, rows.x, rows.y, weights, loss)
