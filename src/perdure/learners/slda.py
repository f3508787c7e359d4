"""Streaming linear discriminant analysis: running class means and one running covariance; no gradient."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from perdure.core import AnyArray, Example, Info, Learner, Rate, StreamInfo, as_features
from perdure.learners.hyperparameters import check_hyperparameters, known_stream_info, rate, stream_info_field
from perdure.memory import LARGEST_COUNT


class Gaussians(NamedTuple):
    """One normal distribution a class, all of the same covariance."""

    mean: Float[Array, "classes d"]
    covariance: Float[Array, "d d"]


class SLDAState(NamedTuple):
    """State of `SLDA`."""

    gaussians: Gaussians
    counts: Int[Array, " classes"]
    """Examples of each class so far, at most as many as an integer can count."""


class SLDA(Learner[SLDAState]):
    """Streaming linear discriminant analysis of the inputs themselves, as flat vectors of length d.

    The model given is not used. The loss reported is half the squared distance to the class mean, which the running
    mean makes small: that of the scores would take d³ operations an example where learning takes d². A class not seen
    yet scores 0, as in the released code.

    Source: Hayes & Kanan (2020), "Lifelong Machine Learning with Deep Streaming Linear Discriminant Analysis",
    arXiv 1909.01520.
    """

    needs_task: ClassVar[bool] = False

    shrinkage: Rate = rate("weight of the identity matrix in the covariance, 0..1", default=1e-4, maximum=1.0)
    stream_info: StreamInfo | None = stream_info_field()

    def __check_init__(self) -> None:
        check_hyperparameters(self)

    def init(self, model: PyTree, example: Example, key: PRNGKeyArray) -> SLDAState:
        """Return the state before the first example, in which no class has been seen.

        Raises:
            TypeError: if the targets are not class labels.
        """
        if not jnp.issubdtype(dtype := jnp.asarray(example.y).dtype, jnp.integer):
            raise TypeError(f"SLDA got y of dtype {dtype}, expected integer labels; for regression use online or er")
        n_classes, x = known_stream_info(self).n_outputs, _flat(example.x)
        # The authors' code begins with a covariance of ones, which the first example makes 0.
        gaussians = Gaussians(jnp.zeros((n_classes, len(x)), x.dtype), jnp.zeros((len(x), len(x)), x.dtype))
        return SLDAState(gaussians, jnp.zeros(n_classes, jnp.int32))

    def observe(self, state: SLDAState, example: Example, key: PRNGKeyArray) -> tuple[SLDAState, Info]:
        """Move the covariance by the distance from the class's mean, and then the mean."""
        (mean, covariance), label, x = state.gaussians, jnp.asarray(example.y), _flat(example.x)
        count = state.counts.astype(x.dtype)
        n, away = jnp.sum(count), x - mean[label]
        covariance = covariance + (n / (n + 1) * jnp.outer(away, away) - covariance) / (n + 1)
        mean = mean.at[label].add(away / (count[label] + 1))
        counted = state.counts.at[label].set(jnp.minimum(state.counts[label], LARGEST_COUNT - 1) + 1)
        info = Info(jnp.sum(away**2) / 2, self.predict(state, x[None], None)[0])
        return SLDAState(Gaussians(mean, covariance), counted), info

    def answering(self, state: SLDAState) -> Gaussians:
        """Return means and covariance."""
        return state.gaussians

    def predict(self, state: SLDAState, x: Any, task: Any) -> Float[Array, "batch outputs"]:
        """Return each class's linear discriminant for x: (batch, ...), without a prior of the classes."""
        mean, covariance = state.gaussians
        shrunk = (1 - self.shrinkage) * covariance + self.shrinkage * jnp.eye(len(covariance), dtype=covariance.dtype)
        weight = mean @ jnp.linalg.pinv(shrunk, rtol=1e-15, hermitian=True)
        return jax.vmap(_flat)(x) @ weight.T - jnp.sum(mean * weight, axis=1)[None] / 2


def _flat(x: AnyArray) -> Float[Array, " d"]:
    return as_features(x).ravel()
