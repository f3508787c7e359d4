"""Dark experience replay: memories keep what the network answered to them when they came."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from perdure.core import AnyArray, Example, Info, Rate, as_features
from perdure.learners.hyperparameters import integer, loss_field, optimizer_field, rate
from perdure.learners.network import NetworkLearner
from perdure.learners.replay import Draws, Replay, ReplayState
from perdure.updates.gradient import Optimizer, init_train_state, optimizer_step, or_sgd, predict_one, weighted_gradient
from perdure.updates.losses import Loss, mean_squared_error, or_cross_entropy
from perdure.updates.weights import equal_weights


class Remembered(NamedTuple):
    """What is stored of an example."""

    x: AnyArray
    y: AnyArray
    outputs: Float[Array, "*slots outputs"]
    """What the network answered just before it learned the example."""


class DERPlusPlus(NetworkLearner[ReplayState]):
    """DER++ (Buzzega et al. 2020, "Dark Experience for General Continual Learning", arXiv 2004.07211, equation 6).

    One step on the loss of the arriving example, plus `alpha` times the squared difference between outputs and stored
    ones, on memories drawn, plus `beta` times the loss on other memories drawn. As in the released code the difference
    is a mean over outputs, no memory is drawn twice for a term, and stored outputs stay. With `beta` 0 it is DER.
    """

    needs_task: ClassVar[bool] = False

    learning_rate: Rate = rate("learning rate of SGD")
    memory_size: int = integer("number of examples that the memory holds")
    replay_batch_size: int = integer("memories drawn for each of the two terms")
    alpha: Rate = rate("weight α of keeping the outputs stored with the memories")
    beta: Rate = rate("weight β of the loss on the memories' labels")
    loss: Loss | None = loss_field()
    optimizer: Optimizer | None = optimizer_field()

    def replay(self) -> Replay:
        """Return the memory's rules: one batch for each term."""
        return Replay(self.memory_size, self.replay_batch_size, n_batches=2, replacement=False)

    def init(self, model: PyTree, example: Example, key: PRNGKeyArray) -> ReplayState:
        """Return the state before the first example."""
        outputs = jax.eval_shape(model, as_features(example.x))
        memory = self.replay().init(Remembered(example.x, example.y, jnp.zeros(outputs.shape, outputs.dtype)))
        return ReplayState(*init_train_state(model, or_sgd(self.optimizer)(self.learning_rate)), memory)

    def observe(self, state: ReplayState, example: Example, key: PRNGKeyArray) -> tuple[ReplayState, Info]:
        """Take one step on the example and memories, then offer it with its outputs to the memory."""
        return self.observe_with(state, example, self.replay().draw(state.memory, key))

    def observe_with(self, state: ReplayState, example: Example, draws: Draws) -> tuple[ReplayState, Info]:
        """`observe` with the draws given."""
        outputs = predict_one(state.model, example.x)
        after, total = self.update(state, jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], example), draws.slots)
        memory = self.replay().store(state.memory, Remembered(example.x, example.y, outputs), draws.stored_in)
        loss = or_cross_entropy(self.loss)(outputs, example.y)
        return after._replace(memory=memory), Info(loss, outputs, {"total_loss": total})

    def update(self, state: ReplayState, batch: Example, slots: Int[Array, "2 k"]) -> tuple[ReplayState, Array]:
        """Return the state after one step on a batch, leaves (n, ...), and memories; and the sum of the three terms."""
        loss, n, k = or_cross_entropy(self.loss), len(batch.y), slots.shape[1]
        memories, mask = self.replay().recall(state.memory, slots)
        arriving = Remembered(batch.x, batch.y, jnp.zeros((n, *memories.outputs.shape[2:]), memories.outputs.dtype))
        rows = jax.tree.map(lambda new, old: jnp.concatenate([new, *old]), arriving, memories)
        for_outputs = jnp.asarray([False] * n + [True] * k + [False] * k)
        share = equal_weights(mask[0])
        weights = jnp.concatenate([jnp.full(n, 1 / n), self.alpha * share, self.beta * share])

        def row_loss(outputs: Float[Array, " outputs"], row: tuple[Any, ...]) -> Float[Array, ""]:
            y, stored, for_outputs = row
            return jnp.where(for_outputs, mean_squared_error(outputs, stored), loss(outputs, y))

        gradient = weighted_gradient(state.model, rows.x, (rows.y, rows.outputs, for_outputs), weights, row_loss)
        after = optimizer_step(gradient, state.optimizer, or_sgd(self.optimizer)(self.learning_rate))
        return ReplayState(*after, state.memory), gradient.loss

    def answering(self, state: ReplayState) -> PyTree:
        """Return the network."""
        return state.model
