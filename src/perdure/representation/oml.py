"""Online-aware meta-learning (OML, Javed & White 2019): representations trained for learning online on top of them."""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from perdure.core import Rate, as_features
from perdure.representation.domains import Domain
from perdure.representation.episodes import Episode
from perdure.representation.network import Representation, network_head
from perdure.representation.score import score
from perdure.updates.gradient import Gradient, TrainState, optimizer_step
from perdure.updates.losses import Loss, cross_entropy
from perdure.updates.unroll import query_adapted


class Measured(NamedTuple):
    """What a step of training reports, at the weights before it."""

    loss: Float[Array, ""]
    """What is made small."""
    before: Float[Array, ""]
    """Score of the query examples before the inner loop: share of correct classes, or mean squared error."""
    after: Float[Array, ""]
    """The same after it."""


class Method(eqx.Module):
    """A way to train a representation."""

    @abstractmethod
    def new_model(self, domain: Domain, key: PRNGKeyArray) -> Representation:
        """Return a network before training."""

    @abstractmethod
    def optimizer(self) -> optax.GradientTransformation:
        """Return what moves encoder and head."""

    @abstractmethod
    def step(self, now: TrainState, domain: Domain, key: PRNGKeyArray) -> tuple[TrainState, Measured]:
        """Return representation and optimizer after a step on what `key` draws from the domain."""


class OML(Method):
    """Online-aware meta-learning (Javed & White 2019, Algorithm 1, as corrected in the released code in 2020).

    A step draws the weights of the trajectory's outputs anew, takes SGD steps on the trajectory with the head alone,
    and moves encoder and head by Adam down the gradient, through those steps, of the loss on the query examples.
    """

    inner_rate: Rate
    """Learning rate of the inner loop, > 0."""
    meta_rate: Rate
    """Learning rate of Adam, > 0."""
    first_order: bool = eqx.field(static=True, default=False)
    """Take the inner loop's gradients as constants?"""
    clip: float | None = eqx.field(static=True, default=None)
    """Bound of every entry of the inner loop's gradients."""
    decay_steps: int | None = eqx.field(static=True, default=None)
    """Steps over which Adam's rate falls to zero, along half a cosine; None if it stays."""

    def new_model(self, domain: Domain, key: PRNGKeyArray) -> Representation:
        """Return the domain's network before training."""
        return domain.new_model(key)

    def optimizer(self) -> optax.GradientTransformation:
        """Return Adam."""
        return adam(self.meta_rate, self.decay_steps)

    def step(self, now: TrainState, domain: Domain, key: PRNGKeyArray) -> tuple[TrainState, Measured]:
        """Return representation and optimizer after one episode."""
        episode_key, output_key = jax.random.split(key)
        episode = domain.draw(episode_key)
        start = with_fresh_outputs(now.model, episode.fresh, output_key)
        gradient, measured = meta_gradient(self, start, episode, domain.loss)
        return optimizer_step(gradient, now.optimizer, self.optimizer()), measured


def adam(rate: Rate, decay_steps: int | None) -> optax.GradientTransformation:
    """Return Adam, whose rate falls to zero over some steps, along half a cosine; None if it stays."""
    if decay_steps is None:
        return optax.adam(rate)
    # The rate times the share that is left of it, so that the rate may be traced.
    share = optax.cosine_decay_schedule(1.0, decay_steps)
    return optax.chain(optax.adam(rate), optax.scale_by_schedule(share))


def meta_gradient(
    method: OML, start: Representation, episode: Episode, loss: Loss = cross_entropy
) -> tuple[Gradient, Measured]:
    """Return the gradient of the loss after an episode's inner loop by all weights before it."""

    def meta_loss(start: Representation) -> tuple[Float[Array, ""], Measured]:
        k, b = episode.x.shape[:2]
        learned = episode.x.reshape(k * b, *episode.x.shape[2:])
        features = start.encoder(as_features(jnp.concatenate([learned, episode.query_x])))
        outputs = query_adapted(
            network_head(start),
            features[: k * b].reshape(k, b, -1),
            episode.y,
            features[k * b :],
            method.inner_rate,
            loss,
            first_order=method.first_order,
            clip=method.clip,
        )
        value = jnp.mean(jax.vmap(loss)(outputs.after, episode.query_y))
        return value, Measured(value, *(score(its, episode.query_y) for its in outputs))

    (value, measured), grads = jax.value_and_grad(meta_loss, has_aux=True)(start)
    return Gradient(value, grads, start), measured


def with_fresh_outputs(model: Representation, outputs: Int[Array, " t"], key: PRNGKeyArray) -> Representation:
    """Return the model with the last layer's weights of some outputs redrawn, as at the start; biases stay."""
    weight = network_head(model).layers[-1].weight
    rows = (2 / weight.shape[1]) ** 0.5 * jax.random.normal(key, (len(outputs), weight.shape[1]), weight.dtype)
    return eqx.tree_at(lambda it: network_head(it).layers[-1].weight, model, weight.at[outputs].set(rows))
