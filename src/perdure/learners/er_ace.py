"""Experience replay with asymmetric cross entropy: what arrives does not push classes down that are not there.

Source: Caccia et al. (2022), "New Insights on Reducing Abrupt Representation Change in Online Continual Learning",
arXiv 2104.05025. The paper and its released code differ in the classes among which arriving examples are told apart, so
that here are learners for each.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, Generic, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from perdure.core import Example, State
from perdure.learners.batch_replay import BatchReplayLearner
from perdure.learners.defaults import with_defaults
from perdure.learners.labels import expect_labels
from perdure.learners.replay import Replay, ReplayState
from perdure.updates.gradient import predict_one, weighted_gradient
from perdure.updates.losses import MASKED, or_cross_entropy
from perdure.updates.weights import equal_weights

_PAST = -2
"""In place of the number of the first task once it is over."""


class AsymmetricReplay(BatchReplayLearner[State], Generic[State]):
    """One step on the mean loss of what arrives, among some classes, plus that of memories, among all."""

    def replay(self) -> Replay:
        """Return the memory's rules."""
        return Replay(self.memory_size, self.replay_batch_size, replacement=False)

    def remembered(self, example: Example, outputs: Float[Array, " outputs"]) -> Example:
        """Return the example."""
        return example

    def asymmetric_step(
        self,
        state: Any,
        batch: Example,
        slots: Int[Array, "1 k"],
        classes: Bool[Array, " outputs"],
        replays: Bool[Array, ""] | bool = True,
    ) -> tuple[PyTree, PyTree, Float[Array, ""]]:
        """Return model, optimizer and loss: arriving examples are told apart among `classes`; are memories replayed?"""
        loss, n = or_cross_entropy(self.loss), len(batch.y)
        memories, mask = jax.tree.map(lambda leaf: leaf[0], self.replay().recall(state.memory, slots))
        rows = jax.tree.map(lambda new, old: jnp.concatenate([new, old]), batch, memories)
        among = jnp.concatenate([jnp.tile(classes, (n, 1)), jnp.ones((len(mask), len(classes)), bool)])
        weights = jnp.concatenate([jnp.full(n, 1 / n), jnp.where(replays, equal_weights(mask), 0)])

        def row_loss(outputs: Float[Array, " outputs"], row: tuple[Any, Any]) -> Float[Array, ""]:
            y, among = row
            return loss(jnp.where(among, outputs, jnp.asarray(MASKED, outputs.dtype)), y)

        gradient = weighted_gradient(state.model, rows.x, (rows.y, among), weights, row_loss)
        return *self.step(gradient, state.optimizer), gradient.loss


@with_defaults
class ERACE(AsymmetricReplay[ReplayState]):
    """ER-ACE as in the paper (Caccia et al. 2022, arXiv 2104.05025).

    One step on the mean loss of the arriving examples among the classes of these examples, plus the mean loss of
    memories among all classes. A single arriving example has nothing to be told apart from: its loss is then zero, and
    the network learns from memories alone. The learners `ERACEReleased` and `ERACEReleasedTaskFree` have the rule of
    the released code, which differs.
    """

    def init(self, model: PyTree, example: Example, key: PRNGKeyArray) -> ReplayState:
        """Return the state before the first example.

        Raises:
            TypeError: if the targets are numbers.
        """
        expect_labels(self, example)
        return self.start(model, example)

    def update(
        self, state: ReplayState, batch: Example, slots: Int[Array, "1 k"]
    ) -> tuple[ReplayState, Float[Array, ""]]:
        """Return the state after one step on a batch, leaves (n, ...), and memories; and the sum of both terms."""
        model, optimizer, loss = self.asymmetric_step(state, batch, slots, present(state.model, batch))
        return ReplayState(model, optimizer, state.memory), loss


class ReleasedState(NamedTuple):
    """State of `ERACEReleased` and `ERACEReleasedTaskFree`."""

    model: PyTree
    optimizer: PyTree
    memory: Any
    largest: Int[Array, ""]
    """Largest label seen so far, −1 before the first example."""
    first_task: Int[Array, ""]
    """Number of the first task while it lasts, −1 before it, −2 after it or if there are no tasks."""


class NumberedClasses(AsymmetricReplay[ReleasedState]):
    """The released code's rule: classes of the batch, and those numbered as the largest label seen so far or higher."""

    @abstractmethod
    def first_task_after(self, first: Int[Array, ""], task: Int[Array, " n"]) -> Int[Array, ""]:
        """Return `ReleasedState.first_task` once examples of some tasks have arrived."""

    def init(self, model: PyTree, example: Example, key: PRNGKeyArray) -> ReleasedState:
        """Return the state before the first example.

        Raises:
            TypeError: if the targets are numbers.
        """
        expect_labels(self, example)
        none = jnp.asarray(-1, jnp.int32)
        return ReleasedState(*self.start(model, example), none, none)

    def update(
        self, state: ReleasedState, batch: Example, slots: Int[Array, "1 k"]
    ) -> tuple[ReleasedState, Float[Array, ""]]:
        """Return the state after one step on a batch, leaves (n, ...), and memories; and the sum of both terms."""
        largest = jnp.maximum(state.largest, jnp.max(jnp.asarray(batch.y, jnp.int32)))
        first_task = self.first_task_after(state.first_task, jnp.asarray(batch.task, jnp.int32))
        in_first = first_task != _PAST
        batch_classes = present(state.model, batch)
        classes = batch_classes | (jnp.arange(len(batch_classes), dtype=jnp.int32) >= largest) | in_first
        model, optimizer, loss = self.asymmetric_step(state, batch, slots, classes, ~in_first)
        return ReleasedState(model, optimizer, state.memory, largest, first_task), loss


@with_defaults
class ERACEReleased(NumberedClasses):
    """ER-ACE as in its released code (Caccia et al. 2022, arXiv 2104.05025), for classes that come in ascending order.

    During the first task plain SGD, while the memory fills. After it, one step on the mean loss of the arriving
    examples plus the mean loss of memories among all classes; arriving examples are told apart among their own classes
    and those numbered as the largest label seen so far or higher, so that the result depends on how classes are
    numbered. In the paper only their own classes are left (`ERACE`).
    """

    needs_task: ClassVar[bool] = True

    def first_task_after(self, first: Int[Array, ""], task: Int[Array, " n"]) -> Int[Array, ""]:
        """Return the number of the first task until another comes."""
        began = jnp.where(first == -1, task[0], first)
        return jnp.where(jnp.all(task == began), began, _PAST)


@with_defaults
class ERACEReleasedTaskFree(NumberedClasses):
    """ER-ACE as in its released code with the option `task_free` (Caccia et al. 2022, arXiv 2104.05025).

    As `ERACEReleased` is after the first task, from the first example on: no task is known.
    """

    def first_task_after(self, first: Int[Array, ""], task: Int[Array, " n"]) -> Int[Array, ""]:
        """Return that there is no first task."""
        return jnp.asarray(_PAST, jnp.int32)


def present(model: PyTree, batch: Example) -> Bool[Array, " outputs"]:
    """Return which classes, one for each output of the model, are among the labels of a batch."""
    n_outputs = len(jax.eval_shape(predict_one, model, batch.x[0]))
    return jnp.zeros(n_outputs, bool).at[jnp.asarray(batch.y)].set(True)
