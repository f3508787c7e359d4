"""Dark experience replay: memories keep what the network answered to them when they came."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from perdure.core import AnyArray, Example, Rate
from perdure.learners.batch_replay import BatchReplayLearner
from perdure.learners.defaults import with_defaults
from perdure.learners.hyperparameters import rate
from perdure.learners.replay import Replay, ReplayState
from perdure.updates.gradient import weighted_gradient
from perdure.updates.losses import mean_squared_error, or_cross_entropy
from perdure.updates.weights import equal_weights


class Remembered(NamedTuple):
    """What is stored of an example."""

    x: AnyArray
    y: AnyArray
    outputs: Float[Array, "*slots outputs"]
    """What the network answered just before it learned the example."""


class DarkReplay(BatchReplayLearner[ReplayState]):
    """Replay of stored outputs, and maybe of labels: one batch of memories for each term of the loss.

    As in the released code the difference of outputs is a mean over them, and stored outputs stay as they are. A
    network with batch normalization sees arriving examples and memories as one batch; the released code passes them
    apart.
    """

    alpha: Rate = rate("weight α of keeping the outputs stored with the memories")

    @abstractmethod
    def term_weights(self) -> tuple[Rate, ...]:
        """Return the weight of the term on outputs, and of the one on labels if there is one."""

    def replay(self) -> Replay:
        """Return the memory's rules: one batch for each term."""
        n_terms = len(self.term_weights())
        return Replay(self.memory_size, self.replay_batch_size, n_batches=n_terms, replacement=False)

    def remembered(self, example: Example, outputs: Float[Array, " outputs"]) -> Remembered:
        """Return the example with the network's outputs."""
        return Remembered(example.x, example.y, outputs)

    def init(self, model: PyTree, example: Example, key: PRNGKeyArray) -> ReplayState:
        """Return the state before the first example."""
        return self.start(model, example)

    def update(
        self, state: ReplayState, batch: Example, slots: Int[Array, "terms k"]
    ) -> tuple[ReplayState, Float[Array, ""]]:
        """Return the state after one step on a batch, leaves (n, ...), and memories; and the sum of all terms."""
        loss, n, (n_terms, k) = or_cross_entropy(self.loss), len(batch.y), slots.shape
        memories, mask = self.replay().recall(state.memory, slots)
        arriving = Remembered(batch.x, batch.y, jnp.zeros((n, *memories.outputs.shape[2:]), memories.outputs.dtype))
        rows = jax.tree.map(lambda new, old: jnp.concatenate([new, *old]), arriving, memories)
        for_outputs = jnp.asarray([False] * n + [True] * k + [False] * (k * (n_terms - 1)))
        share = equal_weights(mask[0])
        weights = jnp.concatenate([jnp.full(n, 1 / n), *(weight * share for weight in self.term_weights())])

        def row_loss(outputs: Float[Array, " outputs"], row: tuple[Any, ...]) -> Float[Array, ""]:
            y, stored, for_outputs = row
            return jnp.where(for_outputs, mean_squared_error(outputs, stored), loss(outputs, y))

        gradient = weighted_gradient(state.model, rows.x, (rows.y, rows.outputs, for_outputs), weights, row_loss)
        return ReplayState(*self.step(gradient, state.optimizer), state.memory), gradient.loss


@with_defaults
class DER(DarkReplay):
    """DER (Buzzega et al. 2020, "Dark Experience for General Continual Learning", arXiv 2004.07211, equation 5).

    One step on the loss of the arriving example, plus `alpha` times the squared difference between outputs and stored
    ones on memories drawn, a mean over outputs as in the released code. No memory is drawn twice in a step.
    """

    def term_weights(self) -> tuple[Rate, ...]:
        """Return α."""
        return (self.alpha,)


@with_defaults
class DERPlusPlus(DarkReplay):
    """DER++ (Buzzega et al. 2020, "Dark Experience for General Continual Learning", arXiv 2004.07211, equation 6).

    The loss of `DER` plus `beta` times the loss on the labels of other memories drawn. No memory is drawn twice for a
    term, but the terms draw independently.
    """

    beta: Rate = rate("weight β of the loss on the memories' labels")

    def term_weights(self) -> tuple[Rate, ...]:
        """Return α and β."""
        return (self.alpha, self.beta)
