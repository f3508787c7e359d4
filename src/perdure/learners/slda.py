"""Streaming linear discriminant analysis: running class means and one running covariance; no gradient."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, Int, PRNGKeyArray

from perdure.core import Rate, StreamInfo
from perdure.learners.head import Fitted, LinearHead, away_from, counted, half_distance
from perdure.learners.hyperparameters import check_hyperparameters, rate, stream_info_field
from perdure.learners.lda import solved
from perdure.learners.nearest_mean import Means
from perdure.updates.scatter import Scatter, matrix, no_scatter, with_row


class SLDAState(NamedTuple):
    """State of `SLDA`."""

    means: Means
    scatter: Scatter
    """Sum of the outer products that the covariance is the mean of."""


class SLDA(LinearHead[SLDAState]):
    """Streaming linear discriminant analysis as published, which depends a little on the order of the examples.

    Each example adds to the covariance the outer product of its distance from the mean that its class has had before
    it, zero for the first example of a class. The covariance is shrunk to the identity matrix, and a class not seen yet
    scores 0, as in the released code. `lda` is the analysis of all examples at once.

    Source: Hayes & Kanan (2020), "Lifelong Machine Learning with Deep Streaming Linear Discriminant Analysis",
    arXiv 1909.01520.
    """

    classes_only: ClassVar[bool] = True

    shrinkage: Rate = rate("weight of the identity matrix in the covariance, 0..1", default=1e-4, maximum=1.0)
    stream_info: StreamInfo | None = stream_info_field()

    def __check_init__(self) -> None:
        check_hyperparameters(self)

    def start(self, n_features: int, n_outputs: int, dtype: DTypeLike, key: PRNGKeyArray) -> SLDAState:
        """Return the state before the first example."""
        # The authors' code begins with a covariance of ones, which the first example makes 0.
        means = Means(jnp.zeros((n_outputs, n_features), dtype), jnp.zeros(n_outputs, jnp.int32))
        return SLDAState(means, no_scatter(n_features, dtype))

    def learn(self, state: SLDAState, x: Float[Array, " d"], y: Int[Array, ""]) -> SLDAState:
        """Add to the scatter, and move the mean of the class."""
        (mean, counts), scatter = state
        n, away = jnp.sum(counts.astype(x.dtype)), away_from(mean, x, y)
        means = Means(mean.at[y].add(away / (counts[y].astype(x.dtype) + 1)), counted(counts, y))
        return SLDAState(means, with_row(scatter, jnp.sqrt(n / (n + 1)) * away))

    def learn_all(self, state: SLDAState, x: Float[Array, "n d"], y: Int[Array, " n"]) -> SLDAState:
        """Learn one example after another."""
        return jax.lax.scan(lambda state, example: (self.learn(state, *example), None), state, (x, y))[0]

    def loss_before(self, state: SLDAState, x: Float[Array, " d"], y: Int[Array, ""]) -> Float[Array, ""]:
        """Return half the squared distance from the mean of the class."""
        return half_distance(x, state.means.mean[y])

    def fitted(self, state: SLDAState) -> Fitted:
        """Return the linear discriminants."""
        mean = state.means.mean
        weight = solved(
            (1 - self.shrinkage) * covariance(state) + self.shrinkage * jnp.eye(mean.shape[1], dtype=mean.dtype),
            mean,
        )
        return Fitted(weight, -jnp.sum(mean * weight, axis=1) / 2, jnp.zeros_like(mean[0]))

    def features(self, fitted: Fitted, x: Float[Array, "batch d"]) -> Float[Array, "batch d"]:
        """Return the inputs."""
        return x


def covariance(state: SLDAState) -> Float[Array, "d d"]:
    """Return the mean of the outer products so far; zeros before the first example."""
    total = matrix(state.scatter)
    return total / jnp.maximum(jnp.sum(state.means.counts.astype(total.dtype)), 1)
