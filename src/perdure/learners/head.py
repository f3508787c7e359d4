"""Heads in closed form: classifiers of feature vectors whose state is counts, means and sums over all examples so far.

They have no learning rate and forget nothing: except where a head says otherwise, what is learned does not depend on
the order of the examples, and examples that are learned all at once come to the same as one after another.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, DTypeLike, Float, Int, PRNGKeyArray, PyTree, Shaped

from perdure.core import AnyArray, Example, Info, Learner, State, as_features
from perdure.learners.hyperparameters import known_stream_info
from perdure.learners.labels import expect_labels
from perdure.memory.buffer import LARGEST_COUNT
from perdure.updates.losses import MASKED


class Head(Learner[State]):
    """A classifier of feature vectors in closed form; it declares `stream_info`, which tells the number of classes.

    Inputs of any shape are taken as flat vectors of length d. The model given is not used. The loss reported is one
    that costs less than scores do, which may take d³ operations.
    """

    needs_task: ClassVar[bool] = False
    classes_only: ClassVar[bool]
    """Are targets class labels only, not numbers?"""

    @abstractmethod
    def start(self, n_features: int, n_outputs: int, dtype: DTypeLike, key: PRNGKeyArray) -> State:
        """Return the state before the first example.

        Args:
            n_features: length d of an input.
            n_outputs: number of classes, or of targets for regression.
            dtype: of the sums.
            key: for what the head itself must draw, such as random features.
        """

    @abstractmethod
    def learn(self, state: State, x: Float[Array, " d"], y: Shaped[Array, ...]) -> State:
        """Return the state after one example."""

    @abstractmethod
    def learn_all(self, state: State, x: Float[Array, "n d"], y: Shaped[Array, "n ..."]) -> State:
        """Return the state after several examples, learned together where their order does not matter."""

    @abstractmethod
    def loss_before(self, state: State, x: Float[Array, " d"], y: Shaped[Array, ...]) -> Float[Array, ""]:
        """Return what learning makes smaller, of one example before it is learned."""

    @abstractmethod
    def scores(self, state: State, x: Float[Array, "batch d"]) -> Float[Array, "batch outputs"]:
        """Return how well each class fits each input, up to a number of the input's own: logits; or the numbers."""

    def init(self, model: PyTree, example: Example, key: PRNGKeyArray) -> State:
        """Return the state before the first example, in which no class has been seen.

        Raises:
            TypeError: if the targets are numbers, and the head learns classes only.
        """
        if self.classes_only:
            expect_labels(self, example)
        x = flat(example.x)
        return self.start(len(x), known_stream_info(self).n_outputs, x.dtype, key)

    def observe(self, state: State, example: Example, key: PRNGKeyArray) -> tuple[State, Info]:
        """Learn one example."""
        x, y = flat(example.x), jnp.asarray(example.y)
        return self.learn(state, x, y), Info(self.loss_before(state, x, y), self.scores(state, x[None])[0])

    def answering(self, state: State) -> PyTree:
        """Return the whole state."""
        return state

    def predict(self, state: State, x: Any, task: Any) -> Float[Array, "batch outputs"]:
        """Return the scores of inputs x: (batch, ...)."""
        return self.scores(state, jax.vmap(flat)(x))


class Fitted(NamedTuple):
    """What a linear head answers with."""

    weight: Float[Array, "outputs m"]
    bias: Float[Array, " outputs"]
    centre: Float[Array, " m"]
    """Subtracted from the features before they are weighed, since what lies far from zero would lose its digits."""
    random: Float[Array, "d random"] | None = None
    """What features are made with that are not the inputs themselves."""


class LinearHead(Head[State]):
    """A head whose scores are linear in features of the input; to find their weights takes m³ operations.

    Who asks one state about several batches finds the weights once (`fitted`).
    """

    costly_outputs: ClassVar[bool] = True

    @abstractmethod
    def fitted(self, state: State) -> Fitted:
        """Return what answers."""

    @abstractmethod
    def features(self, fitted: Fitted, x: Float[Array, "batch d"]) -> Float[Array, "batch m"]:
        """Return the features that the weights are for."""

    def scores_of(self, fitted: Fitted, x: Float[Array, "batch d"]) -> Float[Array, "batch outputs"]:
        """Return the scores, given what answers."""
        return (self.features(fitted, x) - fitted.centre[None]) @ fitted.weight.T + fitted.bias[None]

    def scores(self, state: State, x: Float[Array, "batch d"]) -> Float[Array, "batch outputs"]:
        """Return how well each class fits each input, up to a number of the input's own: logits; or the numbers."""
        return self.scores_of(self.fitted(state), x)


def flat(x: AnyArray) -> Float[Array, " d"]:
    """Return an input as a vector."""
    return as_features(x).ravel()


def half_distance(x: Float[Array, " d"], mean: Float[Array, " d"]) -> Float[Array, ""]:
    """Return half the squared distance."""
    return jnp.sum((x - mean) ** 2) / 2


def away_from(mean: Float[Array, "classes d"], x: Float[Array, " d"], y: Int[Array, ""]) -> Float[Array, " d"]:
    """Return the distance of an input from the mean of its class."""
    # In a branch, which is always taken: XLA would compute it a second time after the mean has moved, and copy all
    # means for that.
    return jax.lax.cond(y >= 0, lambda: x - mean[y], lambda: x)


def centre_of(mean: Float[Array, "classes d"], counts: Shaped[Array, " classes"]) -> Float[Array, " d"]:
    """Return the mean of the means of the classes whose count, or weight, is not zero; zeros if there is none."""
    seen = (counts > 0).astype(mean.dtype)
    return seen @ mean / jnp.maximum(jnp.sum(seen), 1)


def counted(counts: Int[Array, " classes"], y: Int[Array, ""]) -> Int[Array, " classes"]:
    """Return the counts of examples with one more of class y; they stop at the largest integer."""
    return counts.at[y].set(jnp.minimum(counts[y], LARGEST_COUNT - 1) + 1)


def origins(
    mean: Float[Array, "classes d"], seen: Bool[Array, " classes"], x: Float[Array, "n d"], y: Int[Array, " n"]
) -> Float[Array, "classes d"]:
    """Return what distances of more examples are averaged from: the means so far, or a new class's first example.

    So the mean of a feature that is constant is exact, and its distances from it are 0, as if learned one by one.

    Args:
        mean: of the classes so far, 0 where there is none.
        seen: classes that have a mean.
        x: more examples.
        y: their classes.
    """
    first = jnp.full(len(mean), len(x)).at[y].min(jnp.arange(len(x)))
    is_new = ~seen & (first < len(x))
    return jnp.where(is_new[:, None], x.at[first].get(mode="clip"), mean)


def class_sums(values: Float[Array, "n d"], y: Int[Array, " n"], n_classes: int) -> Float[Array, "classes d"]:
    """Return for each class the sum of its rows."""
    return jnp.zeros((n_classes, values.shape[1]), values.dtype).at[y].add(values)


def class_counts(y: Int[Array, " n"], n_classes: int) -> Int[Array, " classes"]:
    """Return the number of examples of each class."""
    return jnp.zeros(n_classes, jnp.int32).at[y].add(1)


def ruled_out_if_unseen(fitted: Fitted, counts: Shaped[Array, " classes"]) -> Fitted:
    """Return what answers so that classes whose count, or weight, is zero are ruled out."""
    seen = counts > 0
    bias = jnp.where(seen, fitted.bias, jnp.asarray(MASKED, fitted.bias.dtype))
    return fitted._replace(weight=jnp.where(seen[:, None], fitted.weight, 0), bias=bias)


def if_seen(scores: Float[Array, "batch classes"], counts: Shaped[Array, " classes"]) -> Float[Array, "batch classes"]:
    """Return scores that rule out classes whose count, or weight, is zero."""
    return jnp.where((counts > 0)[None], scores, jnp.asarray(MASKED, scores.dtype))
