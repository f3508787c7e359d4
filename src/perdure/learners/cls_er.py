"""CLS-ER: replay that is kept near to two averages of its weights, a quick and a slow one."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from perdure.core import Example, Info, Rate
from perdure.learners.defaults import with_defaults
from perdure.learners.hyperparameters import integer, loss_field, optimizer_field, rate
from perdure.learners.network import NetworkLearner
from perdure.learners.replay import Replay
from perdure.memory.buffer import LARGEST_COUNT, Buffer
from perdure.updates.gradient import (
    Optimizer,
    TrainState,
    init_train_state,
    optimizer_step,
    or_sgd,
    predict_batch,
    predict_one,
    weighted_gradient,
)
from perdure.updates.losses import Loss, mean_squared_error, or_cross_entropy
from perdure.updates.reptile import reptile_step
from perdure.updates.weights import equal_weights


class CLSERState(NamedTuple):
    """State of `CLSER`."""

    working: TrainState
    plastic: PyTree
    """Average of recent weights."""
    stable: PyTree
    """Average over a longer time; the network that answers."""
    memory: Buffer
    n_steps: Int[Array, ""]
    """Steps so far, at most as many as an integer can count."""


class CLSERDraws(NamedTuple):
    """Everything random in one step of `CLSER`."""

    slots: Int[Array, "1 k"]
    """Memory slots replayed; those past the number of filled slots do not count."""
    plastic: Float[Array, ""]
    """Uniform in [0, 1): the plastic average moves if this is below its probability."""
    stable: Float[Array, ""]
    """The same of the stable average."""


@with_defaults
class CLSER(NetworkLearner[CLSERState]):
    """CLS-ER (Arani, Sarfraz & Zonooz 2022, arXiv 2201.12604, Algorithm 1); the stable average answers.

    One step on the mean loss of what arrives and of memories, plus `consistency` times the mean squared difference
    between outputs on the memories and those of an average of the weights: for each memory the average with the lower
    loss on it, which for cross entropy has the higher probability of its label. Then each average moves with its own
    probability, to ``decay · average + (1 − decay) · weights``; after s steps its decay is at most ``1 − 1/(s + 1)``.
    No memory is drawn twice in a step.
    """

    needs_task: ClassVar[bool] = False

    learning_rate: Rate = rate("learning rate of SGD")
    memory_size: int = integer("number of examples that the memory holds")
    replay_batch_size: int = integer("memories replayed in each batch")
    consistency: Rate = rate("weight λ of agreeing with the averages on the memories")
    plastic_probability: Rate = rate("probability with which a step moves the plastic average", maximum=1.0)
    plastic_decay: Rate = rate("part of the plastic average that a move leaves as it is", maximum=1.0)
    stable_probability: Rate = rate("probability with which a step moves the stable average", maximum=1.0)
    stable_decay: Rate = rate("part of the stable average that a move leaves as it is", maximum=1.0)
    loss: Loss | None = loss_field()
    optimizer: Optimizer | None = optimizer_field()

    def replay(self) -> Replay:
        """Return the memory's rules."""
        return Replay(self.memory_size, self.replay_batch_size, replacement=False)

    def init(self, model: PyTree, example: Example, key: PRNGKeyArray) -> CLSERState:
        """Return the state before the first example: all three networks are the model."""
        working = init_train_state(model, or_sgd(self.optimizer)(self.learning_rate))
        return CLSERState(working, model, model, self.replay().init(example), jnp.zeros((), jnp.int32))

    def observe(self, state: CLSERState, example: Example, key: PRNGKeyArray) -> tuple[CLSERState, Info]:
        """Take one step on the example and memories, offer it to the memory, and move the averages."""
        memory_key, plastic_key, stable_key = jax.random.split(key, 3)
        memory_draws = self.replay().draw(state.memory, memory_key)
        draws = CLSERDraws(memory_draws.slots, jax.random.uniform(plastic_key), jax.random.uniform(stable_key))
        outputs = predict_one(state.stable, example.x)
        batch = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], example)
        after, total = self.update(state, batch, draws)
        memory = self.replay().store(state.memory, example, memory_draws.stored_in)
        info = Info(or_cross_entropy(self.loss)(outputs, example.y), outputs, {"total_loss": total})
        return after._replace(memory=memory), info

    def update(self, state: CLSERState, batch: Example, draws: CLSERDraws) -> tuple[CLSERState, Float[Array, ""]]:
        """Return the state after one step on a batch, leaves (n, ...), its memory as before; and the step's loss."""
        loss, n = or_cross_entropy(self.loss), len(batch.y)
        memories, mask = jax.tree.map(lambda leaf: leaf[0], self.replay().recall(state.memory, draws.slots))
        rows = jax.tree.map(lambda new, old: jnp.concatenate([new, old]), batch, memories)
        weights = equal_weights(jnp.concatenate([jnp.ones(n, bool), mask]))
        targets = self.targets(state, memories)
        targets = jnp.concatenate([jnp.zeros((n, targets.shape[1]), targets.dtype), targets])
        # Weights multiply both terms of a row; the consistency is a mean over memories only.
        shares = jnp.concatenate([jnp.zeros(n), self.consistency * equal_weights(mask)]) / weights[0]

        def row_loss(outputs: Float[Array, " outputs"], row: tuple[Any, Any, Any]) -> Float[Array, ""]:
            y, target, share = row
            return loss(outputs, y) + share * mean_squared_error(outputs, target)

        gradient = weighted_gradient(state.working.model, rows.x, (rows.y, targets, shares), weights, row_loss)
        working = optimizer_step(gradient, state.working.optimizer, or_sgd(self.optimizer)(self.learning_rate))
        n_steps = jnp.minimum(state.n_steps, LARGEST_COUNT - 2) + 1
        warm = 1 - 1 / (n_steps + 1).astype(weights.dtype)

        def moved(average: PyTree, drawn: Array, probability: Rate, decay: Rate) -> PyTree:
            return reptile_step(average, working.model, jnp.where(drawn < probability, 1 - jnp.minimum(warm, decay), 0))

        plastic = moved(state.plastic, draws.plastic, self.plastic_probability, self.plastic_decay)
        stable = moved(state.stable, draws.stable, self.stable_probability, self.stable_decay)
        return CLSERState(working, plastic, stable, state.memory, n_steps), gradient.loss

    def targets(self, state: CLSERState, memories: Example) -> Float[Array, "k outputs"]:
        """Return for each memory the outputs of the average with the lower loss on it; of the plastic one on a tie."""
        loss = jax.vmap(or_cross_entropy(self.loss))
        plastic, stable = (predict_batch(average, memories.x) for average in (state.plastic, state.stable))
        better = loss(stable, memories.y) < loss(plastic, memories.y)
        return jnp.where(better[:, None], stable, plastic)

    def answering(self, state: CLSERState) -> PyTree:
        """Return the stable average."""
        return state.stable
