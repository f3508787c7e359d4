"""Nearest class mean: an input belongs to the class whose mean lies nearest."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, Int, PRNGKeyArray

from perdure.core import StreamInfo
from perdure.learners.head import Head, centre_of, class_counts, class_sums, counted, half_distance, if_seen, origins
from perdure.learners.hyperparameters import stream_info_field


class Means(NamedTuple):
    """State of `NearestMean`."""

    mean: Float[Array, "classes d"]
    counts: Int[Array, " classes"]
    """Examples of each class so far, at most as many as an integer can count."""


class NearestMean(Head[Means]):
    """Nearest class mean. A class scores minus half the squared distance from the input to its mean.

    Source: Mensink et al. (2013), "Distance-Based Image Classification: Generalizing to New Classes at Near-Zero Cost",
    IEEE PAMI 35; as the prediction of prototypical networks Snell et al. (2017), arXiv 1703.05175.
    """

    classes_only: ClassVar[bool] = True

    stream_info: StreamInfo | None = stream_info_field()

    def start(self, n_features: int, n_outputs: int, dtype: DTypeLike, key: PRNGKeyArray) -> Means:
        """Return the state before the first example."""
        return Means(jnp.zeros((n_outputs, n_features), dtype), jnp.zeros(n_outputs, jnp.int32))

    def learn(self, state: Means, x: Float[Array, " d"], y: Int[Array, ""]) -> Means:
        """Move the mean of the class."""
        away = x - state.mean[y]
        return Means(state.mean.at[y].add(away / (state.counts[y].astype(x.dtype) + 1)), counted(state.counts, y))

    def learn_all(self, state: Means, x: Float[Array, "n d"], y: Int[Array, " n"]) -> Means:
        """Move the means of all classes."""
        return with_means(state, x, y)

    def loss_before(self, state: Means, x: Float[Array, " d"], y: Int[Array, ""]) -> Float[Array, ""]:
        """Return half the squared distance from the mean of the class."""
        return half_distance(x, state.mean[y])

    def scores(self, state: Means, x: Float[Array, "batch d"]) -> Float[Array, "batch classes"]:
        """Return minus half the squared distances, up to a number of the input's own."""
        # About their centre, since what lies far from zero would lose its digits.
        centre = centre_of(state.mean, state.counts)[None]
        mean = state.mean - centre
        return if_seen((x - centre) @ mean.T - jnp.sum(mean**2, axis=1)[None] / 2, state.counts)


def with_means(state: Means, x: Float[Array, "n d"], y: Int[Array, " n"]) -> Means:
    """Return means and counts with more examples."""
    n_classes, origin = len(state.counts), origins(state.mean, state.counts > 0, x, y)
    counts = state.counts + class_counts(y, n_classes)
    parts = jnp.maximum(counts, 1).astype(x.dtype)[:, None]
    return Means(origin + class_sums(x - origin[y], y, n_classes) / parts, counts)
