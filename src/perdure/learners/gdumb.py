"""GDumb: a network trained from scratch on a balanced memory, and on nothing else. A control."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray, PyTree

from perdure.core import Example, Info, Rate
from perdure.learners.defaults import with_defaults
from perdure.learners.hyperparameters import integer, loss_field, optimizer_field, rate
from perdure.learners.labels import expect_labels
from perdure.learners.network import NetworkLearner
from perdure.memory.buffer import BalancedBuffer, empty_balanced_buffer, filled, greedy_slot, recall, store_greedy
from perdure.updates.branches import where_needed
from perdure.updates.gradient import (
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


class GDumbState(NamedTuple):
    """State of `GDumb`."""

    model: PyTree
    """The network as it was last trained."""
    untrained: PyTree
    """The network from which each training begins."""
    memory: BalancedBuffer
    n_since: Int[Array, ""]
    """Examples since the last training."""


@with_defaults
class GDumb(NetworkLearner[GDumbState]):
    """GDumb, a greedy sampler and dumb learner (Prabhu, Torr & Dokania 2020, ECCV, Algorithm 1 for the memory).

    The memory takes examples of a class while the class has less than an equal share, so that of a stream whose first
    task shows all classes it holds little but that task. The network is trained on the memory alone, always from its
    initial weights: `epochs` passes in random order, in batches of `batch_size`. The paper trains when the network
    must answer. Here what answers is part of the state, so that it is trained after every `retrain_every` examples,
    and answers as it then does until the next training; to test it as the paper does, choose a number that divides
    the lengths of all tasks. As a control it shows what a method gains beyond its memory. The paper's augmented
    images and falling learning rates are left out; an optimizer's schedule restarts each time.
    """

    needs_task: ClassVar[bool] = False

    learning_rate: Rate = rate("learning rate of SGD")
    memory_size: int = integer("number of examples that the memory holds")
    epochs: int = integer("passes over the memory in each training")
    batch_size: int = integer("memories of each step of a training")
    retrain_every: int = integer("examples of the stream between two trainings")
    loss: Loss | None = loss_field()
    optimizer: Optimizer | None = optimizer_field()

    def init(self, model: PyTree, example: Example, key: PRNGKeyArray) -> GDumbState:
        """Return the state before the first example.

        Raises:
            TypeError: if the targets are numbers.
        """
        expect_labels(self, example)
        n_outputs = len(jax.eval_shape(predict_one, model, example.x))
        memory = empty_balanced_buffer(example, self.memory_size, n_outputs)
        return GDumbState(model, model, memory, jnp.zeros((), jnp.int32))

    def observe(self, state: GDumbState, example: Example, key: PRNGKeyArray) -> tuple[GDumbState, Info]:
        """Offer the example to the memory, and train the network if it is time."""
        slot_key, training_key = jax.random.split(key)
        outputs = predict_one(state.model, example.x)
        label = jnp.asarray(example.y, jnp.int32)
        memory = store_greedy(state.memory, example, label, greedy_slot(state.memory, label, slot_key))
        n_since = (state.n_since + 1) % self.retrain_every
        model = where_needed(n_since == 0, lambda: self.trained(state.untrained, memory, training_key), state.model)
        info = Info(or_cross_entropy(self.loss)(outputs, example.y), outputs)
        return GDumbState(model, state.untrained, memory, n_since), info

    def trained(self, model: PyTree, memory: BalancedBuffer, key: PRNGKeyArray) -> PyTree:
        """Return the network after training on the memory."""
        transformation = or_sgd(self.optimizer)(self.learning_rate)
        loss, n = or_cross_entropy(self.loss), filled(memory)

        def step(place: Int[Array, ""], now: TrainState, order: Int[Array, " slots"]) -> TrainState:
            places = place * self.batch_size + jnp.arange(self.batch_size, dtype=jnp.int32)
            x, y, _ = recall(memory, order.at[places].get(mode="clip"))
            gradient = weighted_gradient(now.model, x, y, equal_weights(places < n), loss)
            return optimizer_step(gradient, now.optimizer, transformation)

        def epoch(number: Int[Array, ""], now: TrainState) -> TrainState:
            uniform = jax.random.uniform(jax.random.fold_in(key, number), (self.memory_size,))
            is_filled = jnp.arange(self.memory_size, dtype=jnp.int32) < n
            order = jnp.argsort(jnp.where(is_filled, uniform, 2))  # slots not filled come last
            n_steps = (n + self.batch_size - 1) // self.batch_size
            return jax.lax.fori_loop(0, n_steps, lambda place, now: step(place, now, order), now)

        start = init_train_state(model, transformation)
        return jax.lax.fori_loop(0, self.epochs, epoch, start).model

    def answering(self, state: GDumbState) -> PyTree:
        """Return the network as it was last trained."""
        return state.model
