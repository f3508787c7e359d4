"""Representations learned without a thought of online learning: what OML is measured against."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from perdure.core import Rate, as_features
from perdure.representation.episodes import Episode
from perdure.representation.network import Representation
from perdure.representation.oml import Measured, score
from perdure.updates.gradient import Descent, Gradient, optimizer_step
from perdure.updates.losses import Loss, cross_entropy

_SMALL = 1e-4


class Pretraining(eqx.Module):
    """Ordinary training on random batches: Adam on the mean loss; with a sparsity penalty SR-NN (Liu et al. 2019).

    Source: Javed & White (2019), released code.
    """

    rate: Rate
    """Learning rate of Adam, > 0."""
    loss: Loss = cross_entropy
    """Of the outputs for one example."""
    sparsity: float | None = None
    """β of the penalty: mean activation that a feature may have; None for no penalty."""

    def optimizer(self) -> optax.GradientTransformation:
        """Return what moves encoder and head."""
        return optax.adam(self.rate)

    def step(self, now: Descent, episode: Episode, key: PRNGKeyArray) -> tuple[Descent, Measured]:
        """Return representation and optimizer after a step on an episode's examples, all together."""
        x, y = all_examples(episode)

        def value(model: Representation) -> tuple[Float[Array, ""], Measured]:
            features = model.encoder(as_features(x))
            outputs = jax.vmap(model.head)(features)
            loss = jnp.mean(jax.vmap(self.loss)(outputs, y))
            if self.sparsity is not None:
                loss += sparsity_penalty(features, self.sparsity)
            return loss, Measured(loss, *[score(outputs, y)] * 2)

        (loss, measured), slope = jax.value_and_grad(value, has_aux=True)(now.model)
        return optimizer_step(Gradient(loss, slope, now.model), now.optimizer, self.optimizer()), measured


def all_examples(episode: Episode) -> tuple[Shaped[Array, "n ..."], Shaped[Array, "n ..."]]:
    """Return inputs and labels of an episode, those to learn and those asked about."""
    learned = (leaf.reshape(-1, *leaf.shape[2:]) for leaf in (episode.x, episode.y))
    x, y = (jnp.concatenate(pair) for pair in zip(learned, (episode.asked_x, episode.asked_y), strict=True))
    return x, y


def sparsity_penalty(features: Float[Array, "n d"], beta: Rate) -> Float[Array, ""]:
    """Return how far features are from being exponentially distributed with mean β or less.

    With mⱼ the batch mean of feature j and rⱼ = β / (mⱼ + 10⁻⁴), the mean over features of [mⱼ > β] (rⱼ − ln rⱼ − 1).

    Source: the set KL divergence of Liu et al. (2019), as released by Javed & White (2019).
    """
    mean = features.mean(axis=0)
    ratio = beta / (mean + _SMALL)
    return jnp.mean(jnp.where(mean > beta, ratio - jnp.log(ratio) - 1, 0.0))
