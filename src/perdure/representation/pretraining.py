"""Representations learned without a thought of online learning: what OML is measured against."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from perdure.core import Rate, as_features
from perdure.representation.domains import Domain
from perdure.representation.network import Representation, network_head
from perdure.representation.oml import Measured, Method
from perdure.representation.score import score
from perdure.updates.gradient import Gradient, TrainState, optimizer_step
from perdure.updates.losses import Loss

_SMALL = 1e-4


class Pretraining(Method):
    """Ordinary training on random batches: Adam on the mean loss; with a sparsity penalty SR-NN (Liu et al. 2019).

    Source: Javed & White (2019), released code.
    """

    rate: Rate
    """Learning rate of Adam, > 0."""
    sparsity: Rate | None = None
    """β of the penalty: mean activation that a feature may have; None for no penalty."""
    batch_size: int = eqx.field(static=True, default=256)

    def new_model(self, domain: Domain, key: PRNGKeyArray) -> Representation:
        """Return the domain's network before training."""
        return domain.new_model(key)

    def optimizer(self) -> optax.GradientTransformation:
        """Return Adam."""
        return optax.adam(self.rate)

    def step(self, now: TrainState, domain: Domain, key: PRNGKeyArray) -> tuple[TrainState, Measured]:
        """Return representation and optimizer after a random batch; the score is that before the step, twice."""
        x, y = domain.draw_batch(self.batch_size, key)
        gradient, scored = batch_gradient(now.model, x, y, domain.loss, self.sparsity)
        return optimizer_step(gradient, now.optimizer, self.optimizer()), Measured(gradient.loss, scored, scored)


def batch_gradient(
    model: Representation, x: Shaped[Array, "n ..."], y: Shaped[Array, "n ..."], loss: Loss, sparsity: Rate | None
) -> tuple[Gradient, Float[Array, ""]]:
    """Return the gradient of the mean loss on a batch, with the sparsity penalty if it is requested, and the score."""

    def value(model: Representation) -> tuple[Float[Array, ""], Float[Array, ""]]:
        features = jax.vmap(model.encoder)(as_features(x))
        outputs = jax.vmap(network_head(model))(features)
        mean = jnp.mean(jax.vmap(loss)(outputs, y))
        if sparsity is not None:
            mean += sparsity_penalty(features, sparsity)
        return mean, score(outputs, y)

    (mean, scored), grads = jax.value_and_grad(value, has_aux=True)(model)
    return Gradient(mean, grads, model), scored


def sparsity_penalty(features: Float[Array, "n d"], beta: Rate) -> Float[Array, ""]:
    """Return how far features are from being exponentially distributed with mean β or less.

    With mⱼ the batch mean of feature j and rⱼ = β / (mⱼ + 10⁻⁴), the mean over features of [mⱼ > β] (rⱼ − ln rⱼ − 1).

    Source: the set KL divergence of Liu et al. (2019), as released by Javed & White (2019).
    """
    mean = features.mean(axis=0)
    ratio = beta / (mean + _SMALL)
    return jnp.mean(jnp.where(mean > beta, ratio - jnp.log(ratio) - 1, 0.0))
