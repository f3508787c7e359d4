"""Linear discriminant analysis: a mean for each class and one covariance for all, learned one example at a time."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, Int, PRNGKeyArray

from perdure.core import Rate, StreamInfo
from perdure.learners.head import (
    Fitted,
    LinearHead,
    away_from,
    centre_of,
    class_sums,
    half_distance,
    origins,
    ruled_out_if_unseen,
)
from perdure.learners.hyperparameters import check_hyperparameters, flag, rate, stream_info_field
from perdure.updates.branches import where_needed
from perdure.updates.scatter import Scatter, faded, matrix, no_scatter, with_row, with_rows


class CommonNormals(NamedTuple):
    """State of `LDA`: one normal distribution a class, all of the same covariance."""

    mean: Float[Array, "classes d"]
    weights: Float[Array, " classes"]
    """Of the examples of each class together; their number if nothing is forgotten."""
    scatter: Scatter
    """Sum of the outer products of the distances of all examples from the means of their classes."""


class LDA(LinearHead[CommonNormals]):
    """Linear discriminant analysis of all examples so far, exactly, with a covariance that is shrunk to a sphere.

    With W the mean outer product of the examples' distances from the means of their classes, the covariance is
    (1 − s) W + s v I, where v is the mean variance in W of the features that vary. With `forgetting` old
    examples weigh less, exponentially, and the analysis is that of the weighted examples. All classes are equally
    probable unless `priors` are those of the examples.

    `slda` is the published streaming algorithm, whose covariance is another one: there the first example of each class
    counts with its whole distance from zero.

    Source: Fisher (1936), "The Use of Multiple Measurements in Taxonomic Problems"; updated as by Chan et al. (1979),
    "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances".
    """

    classes_only: ClassVar[bool] = True

    shrinkage: Rate = rate("weight s of the sphere in the covariance, 0..1", default=0.2, maximum=1.0)
    forgetting: Rate = rate("part of its weight that an example loses with each one after it", 0.0, maximum=0.5)
    priors: bool = flag("take classes as probable as they have been frequent", False)
    stream_info: StreamInfo | None = stream_info_field()

    def __check_init__(self) -> None:
        check_hyperparameters(self)

    def start(self, n_features: int, n_outputs: int, dtype: DTypeLike, key: PRNGKeyArray) -> CommonNormals:
        """Return the state before the first example."""
        mean, weights = jnp.zeros((n_outputs, n_features), dtype), jnp.zeros(n_outputs, dtype)
        return CommonNormals(mean, weights, no_scatter(n_features, dtype))

    def learn(self, state: CommonNormals, x: Float[Array, " d"], y: Int[Array, ""]) -> CommonNormals:
        """Move the mean of the class, and add to the scatter."""
        mean, weights, scatter = state
        keep = jnp.asarray(1 - self.forgetting, x.dtype)
        weights = _faded(weights, keep)
        n, away = weights[y], away_from(mean, x, y)
        scatter = with_row(scatter, jnp.sqrt(n / (n + 1)) * away, keep)
        return CommonNormals(mean.at[y].add(away / (n + 1)), weights.at[y].add(1), scatter)

    def learn_all(self, state: CommonNormals, x: Float[Array, "n d"], y: Int[Array, " n"]) -> CommonNormals:
        """Move the means of all classes, and add to the scatter."""
        mean, old, scatter = state
        n_classes, keep = len(old), jnp.asarray(1 - self.forgetting, x.dtype)
        each = faded(len(x), keep, x.dtype)
        old = _faded(old, keep ** len(x))
        new = class_sums(each[:, None], y, n_classes)[:, 0]
        origin = origins(mean, old > 0, x, y)
        away = x - origin[y]
        moved = class_sums(each[:, None] * away, y, n_classes) / jnp.where(new > 0, new, 1)[:, None]
        together = jnp.where(old + new > 0, old + new, 1)
        # The examples' distances from their own mean, and that mean's from the one before.
        between = jnp.sqrt(old * new / together)[:, None] * moved
        scatter = with_rows(with_rows(scatter, away - moved[y], keep), between)
        return CommonNormals(origin + moved * (new / together)[:, None], old + new, scatter)

    def loss_before(self, state: CommonNormals, x: Float[Array, " d"], y: Int[Array, ""]) -> Float[Array, ""]:
        """Return half the squared distance from the mean of the class."""
        return half_distance(x, state.mean[y])

    def fitted(self, state: CommonNormals) -> Fitted:
        """Return the linear discriminants."""
        mean, weights, scatter = state
        total = matrix(scatter, jnp.asarray(1 - self.forgetting, mean.dtype))
        within = total / jnp.where(jnp.any(weights > 0), jnp.sum(weights), 1)
        centre = centre_of(mean, weights)
        away = mean - centre[None]
        weight = solved(shrunk(within, self.shrinkage), away)
        bias = -jnp.sum(away * weight, axis=1) / 2
        if self.priors:
            bias += jnp.log(jnp.where(weights > 0, weights, 1))
        return ruled_out_if_unseen(Fitted(weight, bias, centre), weights)

    def features(self, fitted: Fitted, x: Float[Array, "batch d"]) -> Float[Array, "batch d"]:
        """Return the inputs."""
        return x


def _faded(weights: Float[Array, " classes"], keep: Float[Array, ""]) -> Float[Array, " classes"]:
    """Return the weights of classes after they have faded; a class that has been seen keeps some."""
    return jnp.where(weights > 0, jnp.maximum(keep * weights, jnp.finfo(weights.dtype).tiny), 0)


def shrunk(covariance: Float[Array, "d d"], share: Rate) -> Float[Array, "d d"]:
    """Return a covariance of which a share is replaced by a sphere of its mean variance."""
    return (1 - share) * covariance + share * mean_variance(covariance) * jnp.eye(
        len(covariance), dtype=covariance.dtype
    )


def mean_variance(covariance: Float[Array, "d d"]) -> Float[Array, ""]:
    """Return the mean variance of the features that vary, 1 if none does: so that more constant ones change nothing."""
    variances = jnp.diagonal(covariance)
    n_varying = jnp.sum((variances > 0).astype(variances.dtype))
    return jnp.where(n_varying > 0, jnp.sum(variances) / jnp.maximum(n_varying, 1), 1)


def solved(covariance: Float[Array, "d d"], mean: Float[Array, "classes d"]) -> Float[Array, "classes d"]:
    """Return each mean times the inverse of a covariance, which may have eigenvalues of zero, to rounding.

    One of zeros counts as a sphere.
    """
    d, trace = len(covariance), jnp.trace(covariance)
    least = jnp.where(trace > 0, jnp.finfo(covariance.dtype).eps * trace, 1)

    def factor(added: Float[Array, ""]) -> Float[Array, "d d"]:
        sphere = jnp.eye(d, dtype=covariance.dtype)
        return jnp.linalg.cholesky(covariance + added * sphere, symmetrize_input=False)

    lower = factor(least)
    # Rounding may add up to d times as much, where most eigenvalues are zero.
    lower = where_needed(jnp.isnan(lower[-1, -1]), lambda: factor(d * least), lower)
    return jax.scipy.linalg.cho_solve((lower, True), mean.T).T
