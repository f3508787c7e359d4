"""A normal distribution with a diagonal covariance for each class, under a prior of its variances."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.scipy.special import gammaln
from jaxtyping import Array, DTypeLike, Float, Int, PRNGKeyArray

from perdure.core import Rate, StreamInfo
from perdure.learners.head import Head, away_from, centre_of, class_sums, counted, half_distance, if_seen, origins
from perdure.learners.hyperparameters import check_hyperparameters, flag, rate, stream_info_field
from perdure.learners.nearest_mean import Means, with_means

_SCORED_TOGETHER = 16
"""Inputs whose distances from each class in each feature are held at once."""
_FACTORS = 4
"""Numbers multiplied before their logarithm is taken, which costs more than they do."""
_SMALL = 1e9
"""Up to here, their products fit float32."""


class Normals(NamedTuple):
    """State of `GaussianHead`."""

    means: Means
    squares: Float[Array, "classes d"]
    """Sum of squared distances of the examples of each class from their mean."""


class GaussianHead(Head[Normals]):
    """Naive Bayes with normal features whose variances have a prior: the head of GeMCL.

    The precision λ of a feature in a class (one over its variance) has a gamma prior of shape α and rate β, and its
    mean a flat one: the limit of a normal-gamma prior whose mean counts for no examples. After n examples whose squared
    distances from their mean add up to S, the posterior has the shape α + n / 2 and the rate β + S / 2.

    A class scores the logarithm of the posterior predictive density, a Student t distribution in each feature; or, with
    `predictive` false, that of the normal density at the posterior's mode (MAP). All classes are equally
    probable. A feature that has been 0 in every example is left out, since it would tell classes apart by their
    numbers of examples only.

    Source: Banayeeanzade et al. (2021), "Generative vs Discriminative: Rethinking the Meta-Continual Learning",
    NeurIPS 2021; the distributions are those of Murphy (2007), "Conjugate Bayesian analysis of the Gaussian
    distribution", section 3.
    """

    classes_only: ClassVar[bool] = True

    prior_shape: Rate = rate("shape α of the prior of a precision", default=1.0)
    prior_rate: Rate = rate("rate β of the prior of a precision; 0 needs features that vary in each class", default=1.0)
    predictive: bool = flag("score by the posterior predictive density, not by the posterior's mode", True)
    stream_info: StreamInfo | None = stream_info_field()

    def __check_init__(self) -> None:
        check_hyperparameters(self)
        if (
            not self.predictive
            and not isinstance(self.prior_shape, Tracer)
            and np.any(np.asarray(self.prior_shape) == 0)
        ):
            raise ValueError(
                "prior_shape = 0.0 and predictive is False, but the posterior of a class with one example has no mode "
                "then; give a prior_shape above 0, or leave out predictive=False"
            )

    def start(self, n_features: int, n_outputs: int, dtype: DTypeLike, key: PRNGKeyArray) -> Normals:
        """Return the state before the first example."""
        means = Means(jnp.zeros((n_outputs, n_features), dtype), jnp.zeros(n_outputs, jnp.int32))
        return Normals(means, jnp.zeros((n_outputs, n_features), dtype))

    def learn(self, state: Normals, x: Float[Array, " d"], y: Int[Array, ""]) -> Normals:
        """Move the mean and the squared distances of the class."""
        (mean, counts), squares = state
        n, away = counts[y].astype(x.dtype), away_from(mean, x, y)
        means = Means(mean.at[y].add(away / (n + 1)), counted(counts, y))
        return Normals(means, squares.at[y].add(n / (n + 1) * away**2))

    def learn_all(self, state: Normals, x: Float[Array, "n d"], y: Int[Array, " n"]) -> Normals:
        """Move the means and the squared distances of all classes."""
        (mean, counts), after = state.means, with_means(state.means, x, y)
        added = (x - origins(mean, counts > 0, x, y)[y]) * (x - after.mean[y])
        return Normals(after, state.squares + class_sums(added, y, len(after.counts)))

    def loss_before(self, state: Normals, x: Float[Array, " d"], y: Int[Array, ""]) -> Float[Array, ""]:
        """Return half the squared distance from the mean of the class."""
        return half_distance(x, state.means.mean[y])

    def scores(self, state: Normals, x: Float[Array, "batch d"]) -> Float[Array, "batch classes"]:
        """Return the logarithms of the classes' densities, up to a number that is the same for all."""
        (mean, counts), squares = state
        n = jnp.maximum(counts, 1).astype(x.dtype)[:, None]
        shape, rate = self.prior_shape + n / 2, self.prior_rate + squares / 2
        used = jnp.any((mean != 0) | (squares > 0), axis=0)
        rate = jnp.where(used, rate, 1)  # what is left out must be a number, if of no meaning
        used = used.astype(x.dtype)
        centre = centre_of(mean, counts)[None]  # what lies far from zero would lose its digits
        scored = (_predictive if self.predictive else _mode)(mean - centre, n, shape, rate, used, x - centre)
        return if_seen(scored, counts)


def _predictive(mean: Any, n: Any, shape: Any, rate: Any, used: Any, x: Any) -> Float[Array, "batch classes"]:
    width = 2 * rate * (n + 1) / n
    known = jnp.sum(used[None] * (gammaln(shape + 0.5) - gammaln(shape) - jnp.log(width) / 2), axis=1)
    narrow = used[None] * jax.lax.rsqrt(width)
    centre = mean * narrow

    def farness(sum_of_logs: Callable[[Float[Array, "classes d"]], Float[Array, " classes"]]) -> Any:
        def of_one(one: Float[Array, " d"]) -> Float[Array, " classes"]:
            return sum_of_logs(1 + (one[None] * narrow - centre) ** 2)

        return jax.lax.map(of_one, x, batch_size=_SCORED_TOGETHER)

    farthest = jnp.max((jnp.max(jnp.abs(x), axis=0, initial=0)[None] + jnp.abs(mean)) * narrow)
    is_small = 1 + farthest**2 < _SMALL
    far = jax.lax.cond(is_small, lambda: farness(_sum_of_logs_of_small), lambda: farness(_sum_of_logs))
    return known[None] - (shape[:, 0] + 0.5)[None] * far


def _mode(mean: Any, n: Any, shape: Any, rate: Any, used: Any, x: Any) -> Float[Array, "batch classes"]:
    precision = used[None] * (shape - 0.5) / rate
    known = jnp.sum(used[None] * jnp.log((shape - 0.5) / rate) - precision * mean**2, axis=1) / 2
    return known[None] + x @ (precision * mean).T - x**2 @ precision.T / 2


def _sum_of_logs(values: Float[Array, "classes d"]) -> Float[Array, " classes"]:
    """Return the sum of the logarithms of the numbers of each row."""
    return jnp.sum(jnp.log(values), axis=1)


def _sum_of_logs_of_small(values: Float[Array, "classes d"]) -> Float[Array, " classes"]:
    """Return the same faster, of numbers from 1 to `_SMALL`."""
    missing = -values.shape[1] % _FACTORS
    values = jnp.pad(values, ((0, 0), (0, missing)), constant_values=1)
    return _sum_of_logs(jnp.prod(values.reshape(len(values), -1, _FACTORS), axis=2))
