"""MER that answers over several time scales and keeps to what it once answered about its memories."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from perdure.core import AnyArray, Example, Info, Learner, Rate
from perdure.learners.defaults import with_defaults
from perdure.learners.hyperparameters import check_hyperparameters, integer, loss_field, rate
from perdure.learners.replay import Draws, Replay, gather_batches
from perdure.memory.buffer import LARGEST_COUNT, Buffer
from perdure.updates.distillation import distillation
from perdure.updates.gradient import predict_batch, predict_one
from perdure.updates.losses import Loss, or_cross_entropy
from perdure.updates.reptile import reptile_step
from perdure.updates.sequential import meta_steps

_KNOWN_BY_HEART = 100.0
"""Replays after which the share of a stored answer is half of what it comes to."""
_TEMPERATURE = 2.0
"""Of stored answers: what is unlikely has more weight than at 1 (Hinton, Vinyals & Dean 2015, arXiv 1503.02531)."""
_IMPROBABLE = 1e-13
"""A probability that is as good as none, and has a logarithm."""


class Remembered(NamedTuple):
    """What is stored of an example."""

    x: AnyArray
    y: AnyArray
    answer: Float[Array, "*slots outputs"]
    """What was answered just before the example was learned: probabilities of classes, or numbers.

    Zeros for outputs that are added later are right: a class that had not appeared was not the answer.
    """
    position: Int[AnyArray, "*slots"]
    """Examples before it in the stream."""


class MultiTimescaleState(NamedTuple):
    """State of `MultiTimescaleMER`."""

    networks: PyTree
    """The network that learns, then averages of its weights, the shortest time scale first; leaves (networks, ...)."""
    memory: Buffer
    n_examples: Int[Array, ""]
    """Examples so far, at most as many as an integer can count."""


@with_defaults
class MultiTimescaleMER(Learner[MultiTimescaleState]):
    """Meta-Experience Replay with answers over several time scales, and memories of its own answers. Of this project.

    It learns as Algorithm 1 of Riemer et al. (2019, arXiv 1810.11910) does, with γ = 1, and differs in two things:

    * **Answers.** Beside the weights it keeps `n_time_scales` exponential averages of them and answers with the mean of
      the class probabilities of all: the averages hold what was learned long ago, the weights what came last, and
      the surest decides. The quickest average is over `shortest_time_scale` examples, the slowest over n/|M| times as
      many after n examples with a memory of |M|, the others between the two at equal ratios: what the memory has lost
      must be held by the weights.
    * **Memories.** With each example it stores what it answered before it learned it. A memory's loss is
      ``(1 − share) · loss(y) + share · loss(stored answer)``. A memory that is replayed over and over is known by
      heart, and its label teaches nothing more; so the share grows to `stored_share` with the expected number of
      replays since the example came.

    It needs no task numbers. For numbers the answer is the mean of outputs, and the stored answer a second target.
    Where a stream masks the outputs of other tasks, answers are nevertheless compared over all outputs.

    Averages of weights that answer: Soutif-Cormerais, Carta & van de Weijer (2023, arXiv 2306.16817) and, at two time
    scales, Arani, Sarfraz & Zonooz (2022, arXiv 2201.12604). Stored answers: Buzzega et al. (2020, arXiv 2004.07211).
    """

    needs_task: ClassVar[bool] = False

    memory_size: int = integer("number of examples that the memory holds")
    learning_rate: Rate = rate("learning rate α of SGD", default=0.05)
    replay_batch_size: int = integer("memories drawn for each batch (k − 1)", default=5)
    batches_per_example: int = integer("batches replayed with each arriving example (s)", default=10)
    beta: Rate = rate("meta-rate β of the Reptile step after each batch", default=0.05)
    stored_share: Rate = rate(
        "part of the loss on memories replayed often that keeps stored answers", default=0.5, maximum=1.0
    )
    n_time_scales: int = integer("averages of weights that answer beside the weights", default=4, minimum=0)
    shortest_time_scale: int = integer("examples that the quickest average is over", default=500)
    loss: Loss | None = loss_field()

    def __check_init__(self) -> None:
        check_hyperparameters(self)

    def replay(self) -> Replay:
        """Return the memory's rules."""
        return Replay(self.memory_size, self.replay_batch_size, self.batches_per_example)

    def init(self, model: PyTree, example: Example, key: PRNGKeyArray) -> MultiTimescaleState:
        """Return the state before the first example: all averages are the model."""
        n_networks = 1 + self.n_time_scales
        networks = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (n_networks, *jnp.shape(leaf))), model)
        outputs = jax.eval_shape(predict_one, model, example.x)
        remembered = Remembered(example.x, example.y, jnp.zeros(outputs.shape, outputs.dtype), jnp.zeros((), jnp.int32))
        return MultiTimescaleState(networks, self.replay().init(remembered), jnp.zeros((), jnp.int32))

    def observe(
        self, state: MultiTimescaleState, example: Example, key: PRNGKeyArray
    ) -> tuple[MultiTimescaleState, Info]:
        """Learn from the example among memories, move the averages, and offer the example to the memory."""
        return self.observe_with(state, example, self.replay().draw(state.memory, key))

    def observe_with(
        self, state: MultiTimescaleState, example: Example, draws: Draws
    ) -> tuple[MultiTimescaleState, Info]:
        """`observe` with the draws given."""
        answer = self.predict(state, jnp.asarray(example.x)[None], None)[0]
        info = Info(or_cross_entropy(self.loss)(answer, example.y), answer)
        stored = jnp.exp(answer) if is_label(state.memory.examples.y) else answer
        remembered = Remembered(example.x, example.y, stored, state.n_examples)
        model = self.learn(state, remembered, draws)
        n_examples = jnp.minimum(state.n_examples, LARGEST_COUNT - 2) + 1
        networks = jax.vmap(reptile_step, in_axes=(0, None, 0))(state.networks, model, self.steps(n_examples))
        memory = self.replay().store(state.memory, remembered, draws.stored_in)
        return MultiTimescaleState(networks, memory, n_examples), info

    def learn(self, state: MultiTimescaleState, arriving: Remembered, draws: Draws) -> PyTree:
        """Return the network that has learned from what arrives and from the memories drawn."""
        batches = gather_batches(state.memory, arriving, draws.slots)
        x, y, answers, positions = batches.examples
        shares = self.shares(state.n_examples - positions)
        rates = jnp.where(batches.mask, self.learning_rate, 0.0)
        model = jax.tree.map(lambda leaf: leaf[0], state.networks)
        return meta_steps(model, x, (y, answers, shares), rates, self.beta, self.mixed_loss)

    def shares(self, age: Int[Array, "batches k"]) -> Float[Array, "batches k"]:
        """Return the shares of stored answers, given how many examples ago each came; 0 for the arriving one."""
        replays = age.astype(float) * (self.batches_per_example * self.replay_batch_size / self.memory_size)
        return self.stored_share * replays / (replays + _KNOWN_BY_HEART)

    def mixed_loss(self, outputs: Float[Array, " outputs"], row: tuple[Any, Any, Any]) -> Float[Array, ""]:
        """Return the loss on label and stored answer, in the shares that the row gives them."""
        y, answer, share = row
        loss = or_cross_entropy(self.loss)
        stored = departure(outputs, answer) if is_label(y) else loss(outputs, answer)
        return (1 - share) * loss(outputs, y) + share * stored

    def steps(self, n_examples: Int[Array, ""]) -> Float[Array, " networks"]:
        """Return how far each network moves to the weights just learned: the one that learns, all the way.

        An average over more examples than there were is over all there were.
        """
        n = n_examples.astype(float)
        lost = jnp.maximum(n / self.memory_size, 1)
        between = jnp.asarray([it / max(self.n_time_scales - 1, 1) for it in range(self.n_time_scales)])
        time_scales = jnp.minimum(self.shortest_time_scale * lost**between, n + 1)
        return 1 / jnp.concatenate([jnp.ones(1), time_scales])

    def predict(self, state: MultiTimescaleState, x: Any, task: Any) -> Float[Array, "batch outputs"]:
        """Return the answers of all networks together for x: (batch, ...)."""
        outputs = jax.vmap(predict_batch, in_axes=(0, None))(state.networks, x)
        return answer_together(outputs, classes=is_label(state.memory.examples.y))

    def answering(self, state: MultiTimescaleState) -> PyTree:
        """Return the network and its averages."""
        return state.networks


def is_label(y: AnyArray) -> bool:
    """Is `y` the number of a class, not a number to learn?"""
    return jnp.issubdtype(y.dtype, jnp.integer)


def answer_together(outputs: Float[Array, "networks batch outputs"], *, classes: bool) -> Float[Array, "batch outputs"]:
    """Return the mean of several networks' outputs; for classes, the logarithm of the mean of their probabilities."""
    if not classes:
        return outputs.mean(axis=0)
    return jax.nn.logsumexp(jax.nn.log_softmax(outputs), axis=0) - jnp.log(len(outputs))


def departure(logits: Float[Array, " outputs"], answer: Float[Array, " outputs"]) -> Float[Array, ""]:
    """Return how far logits are from stored probabilities: T times their divergence at the temperature T, in nats.

    Its gradient by the logits is the difference of two vectors of probabilities, so that however sure an answer was,
    a step is no longer than one on a label.
    """
    answer = jnp.log(jnp.maximum(answer, _IMPROBABLE))
    return _TEMPERATURE * distillation(logits / _TEMPERATURE, answer / _TEMPERATURE)
