"""Ridge regression on all examples so far, for classes and for numbers, directly or on random features."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, PRNGKeyArray, Shaped

from perdure.core import Rate, StreamInfo
from perdure.learners.head import Fitted, LinearHead
from perdure.learners.hyperparameters import check_hyperparameters, integer, rate, stream_info_field
from perdure.learners.lda import mean_variance, solved
from perdure.updates.branches import where_needed
from perdure.updates.scatter import Scatter, faded, matrix, no_scatter, with_row, with_rows


class RidgeSums(NamedTuple):
    """State of `Ridge`: sums over the examples so far, of which each weighs less with every example after it."""

    weight: Float[Array, ""]
    """Of all examples together; their number if nothing is forgotten."""
    mean: Float[Array, " m"]
    """Of the features."""
    scatter: Scatter
    """Sum of the outer products of the features' distances from their mean."""
    targets: Float[Array, " outputs"]
    """Mean of the targets."""
    cross: Float[Array, "outputs m"]
    """Sum of the products of targets and features, as of when no row of the scatter waited."""
    random: Float[Array, "d random"]
    """Weights of random features; none if features are the inputs themselves."""


class Ridge(LinearHead[RidgeSums]):
    """Ridge regression, whose answers are those of all examples so far at once: recursive least squares.

    A class has the target 1 where it is that of the example, and else 0; for regression the targets are the numbers.
    With S the features' scatter about their mean, and v its mean diagonal entry over the features that vary, the
    weights are (S + λ v I)⁻¹ times the sum of products of features and targets, both about their means; the constant is
    not penalised. With `forgetting` old examples
    weigh less, exponentially. With `random_features` the features are as many random projections of the input, cut off
    below zero.

    Source: Hoerl & Kennard (1970), "Ridge Regression: Biased Estimation for Nonorthogonal Problems"; discounted as by
    Ljung & Söderström (1983), "Theory and Practice of Recursive Identification"; random features as by McDonnell et al.
    (2023), "RanPAC: Random Projections and Pre-trained Models for Continual Learning", arXiv 2307.02251.
    """

    classes_only: ClassVar[bool] = False

    penalty: Rate = rate("penalty λ of the weights, in mean variances of a feature", default=0.01)
    forgetting: Rate = rate("part of its weight that an example loses with each one after it", 0.0, maximum=0.5)
    random_features: int = integer("random features; 0 takes the inputs themselves", default=0, minimum=0)
    stream_info: StreamInfo | None = stream_info_field()

    def __check_init__(self) -> None:
        check_hyperparameters(self)

    def start(self, n_features: int, n_outputs: int, dtype: DTypeLike, key: PRNGKeyArray) -> RidgeSums:
        """Return the state before the first example."""
        m = self.random_features or n_features
        random = jax.random.normal(key, (n_features, self.random_features), dtype) / n_features**0.5
        return RidgeSums(
            weight=jnp.zeros((), dtype),
            mean=jnp.zeros(m, dtype),
            scatter=no_scatter(m, dtype),
            targets=jnp.zeros(n_outputs, dtype),
            cross=jnp.zeros((n_outputs, m), dtype),
            random=random,
        )

    def learn(self, state: RidgeSums, x: Float[Array, " d"], y: Shaped[Array, ...]) -> RidgeSums:
        """Move the means, and add to the sums."""
        x, keep = self._features(state.random, x), jnp.asarray(1 - self.forgetting, x.dtype)
        before = keep * state.weight
        away, targets = x - state.mean, targets_of(y, len(state.targets), x.dtype)
        scatter = with_row(state.scatter, jnp.sqrt(before / (before + 1)) * away, keep)
        # What comes while rows wait is made larger by as much as all of it is made smaller once none does.
        part = x / keep ** (state.scatter.n_waiting + 1).astype(x.dtype)
        is_label = jnp.issubdtype(y.dtype, jnp.integer)  # then all but one row of what is added is zero
        cross = state.cross.at[y].add(part) if is_label else state.cross + jnp.outer(targets, part)
        cross = where_needed(scatter.n_waiting == 0, lambda: cross * keep ** len(scatter.waiting), cross)
        return state._replace(
            weight=before + 1,
            mean=state.mean + away / (before + 1),
            scatter=scatter,
            targets=state.targets + (targets - state.targets) / (before + 1),
            cross=cross,
        )

    def learn_all(self, state: RidgeSums, x: Float[Array, "n d"], y: Shaped[Array, "n ..."]) -> RidgeSums:
        """Move the means, and add to the sums."""
        x, keep = self._features(state.random, x), jnp.asarray(1 - self.forgetting, x.dtype)
        n, targets = len(x), targets_of(y, len(state.targets), x.dtype)
        weights = faded(n, keep, x.dtype)
        before, new = keep**n * state.weight, jnp.sum(weights)
        # Distances from what is exact for a constant feature, so that it does not vary by rounding.
        origin = jnp.where(before > 0, state.mean, x[0])
        away = x - origin[None]
        moved, own_targets = weights @ away / new, weights @ targets / new
        between = jnp.sqrt(before * new / (before + new)) * moved
        scatter = with_rows(state.scatter, away - moved[None], keep)
        return state._replace(
            weight=before + new,
            mean=origin + moved * new / (before + new),
            scatter=with_rows(scatter, jnp.stack([between]), 1.0),
            targets=state.targets + (own_targets - state.targets) * new / (before + new),
            cross=self._cross(state) * keep**n + (targets * weights[:, None]).T @ x,
        )

    def loss_before(self, state: RidgeSums, x: Float[Array, " d"], y: Shaped[Array, ...]) -> Float[Array, ""]:
        """Return half the squared distance of the target from the mean target."""
        return jnp.sum((targets_of(y, len(state.targets), x.dtype) - state.targets) ** 2) / 2

    def fitted(self, state: RidgeSums) -> Fitted:
        """Return the weights, and the constant."""
        return Fitted(self.weights(state), state.targets, state.mean, state.random)

    def features(self, fitted: Fitted, x: Float[Array, "batch d"]) -> Float[Array, "batch m"]:
        """Return the inputs, or random features of them."""
        assert fitted.random is not None
        return self._features(fitted.random, x)

    def weights(self, state: RidgeSums) -> Float[Array, "outputs m"]:
        """Return the weights of the features."""
        total = matrix(state.scatter, jnp.asarray(1 - self.forgetting, state.mean.dtype))
        penalty = self.penalty * mean_variance(total) * jnp.eye(len(total), dtype=total.dtype)
        return solved(total + penalty, self._cross(state) - state.weight * jnp.outer(state.targets, state.mean))

    def _cross(self, state: RidgeSums) -> Float[Array, "outputs m"]:
        """Return the sum of the products of targets and features."""
        keep = jnp.asarray(1 - self.forgetting, state.mean.dtype)
        return state.cross * keep ** state.scatter.n_waiting.astype(keep.dtype)

    def _features(self, random: Float[Array, "d random"], x: Float[Array, "*batch d"]) -> Float[Array, "*batch m"]:
        return jax.nn.relu(x @ random) if self.random_features else x


def targets_of(y: Any, n_outputs: int, dtype: DTypeLike) -> Float[Array, "*n outputs"]:
    """Return targets of examples: for classes 1 where it is that of the example, and else 0; or the numbers."""
    if jnp.issubdtype(y.dtype, jnp.integer):
        return jax.nn.one_hot(y, n_outputs, dtype=dtype)
    return y.astype(dtype)
