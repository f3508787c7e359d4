"""A neuromodulated meta-learning algorithm (ANML, Beaulieu et al. 2020): features that a second network gates."""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from perdure.core import Rate, as_features
from perdure.models import MLP
from perdure.representation.domains import Domain, ImageClasses
from perdure.representation.episodes import Episode
from perdure.representation.gated import GatedEncoder, NormalizedConvolutions
from perdure.representation.images import as_channels_last
from perdure.representation.network import Representation, he_head, network_head
from perdure.representation.oml import Measured, Method, adam, with_fresh_outputs
from perdure.representation.score import score
from perdure.updates.gradient import Gradient, TrainState, optimizer_step, sgd_step
from perdure.updates.losses import Loss, cross_entropy


class ANML(Method):
    """A neuromodulated meta-learning algorithm (Beaulieu et al. 2020).

    A step draws the weights of the trajectory's outputs anew and takes SGD steps on its images with the features and
    the head, while the gating network stays as it is. Then it moves all three by Adam down the gradient, through those
    steps, of the loss on the trajectory's images and on the episode's queries. As published an episode is 20 images of
    one class and 64 of any: ``ClassEpisodes(classes=1, images_each=20, query_each=0, random_images=64, halves=False)``.

    Paper and released code differ: the paper differentiates through the steps, as is done here and in the authors'
    later code (higherANML); the released code takes their gradients as constants, which `first_order` does. That code
    also shows a grey image as three equal channels; here it is one, as in the later code. At test only the last layer
    learns.

    Source: Beaulieu et al. (2020), "Learning to Continually Learn", arXiv 2002.09571, Algorithm 1, and their released
    code.
    """

    inner_rate: Rate
    """Learning rate of the inner loop, > 0."""
    meta_rate: Rate
    """Learning rate of Adam, > 0."""
    width: int = eqx.field(static=True, default=256, kw_only=True)
    """Filters of each convolution of the features."""
    gate_width: int = eqx.field(static=True, default=112, kw_only=True)
    """Filters of each convolution of the gating network."""
    convolutions: int = eqx.field(static=True, default=3, kw_only=True)
    """Of either network."""
    first_order: bool = eqx.field(static=True, default=False, kw_only=True)
    """Take the inner loop's gradients as constants?"""
    decay_steps: int | None = eqx.field(static=True, default=None, kw_only=True)
    """Steps over which Adam's rate falls to zero, along half a cosine; None if it stays."""

    def new_model(self, domain: Domain, key: PRNGKeyArray) -> Representation:
        """Return a gated encoder and a head, before training; the domain's own width and strides do not count.

        Raises:
            ValueError: if the domain is none of images, or has blocks; or the images are too small for the encoder.
        """
        if not isinstance(domain, ImageClasses):
            raise ValueError(
                f"ANML is for classes of images, but the domain is {type(domain).__name__}; train by OML, or give "
                "ImageClasses"
            )
        if domain.blocks is not None:
            raise ValueError(
                "blocks were given, but ANML has an encoder of its own; leave blocks out, or train by Prototypes or "
                "GeMCL"
            )
        encoder_key, head_key = jax.random.split(key)
        encoder = GatedEncoder(domain.images.shape[2:], self.width, self.gate_width, self.convolutions, key=encoder_key)
        return Representation(encoder, he_head(encoder.n_features, domain.hidden_sizes, domain.n_outputs, head_key))

    def optimizer(self) -> optax.GradientTransformation:
        """Return Adam."""
        return adam(self.meta_rate, self.decay_steps)

    def step(self, now: TrainState, domain: Domain, key: PRNGKeyArray) -> tuple[TrainState, Measured]:
        """Return representation and optimizer after one episode."""
        episode_key, output_key = jax.random.split(key)
        episode = domain.draw(episode_key)
        start = with_fresh_outputs(now.model, episode.fresh, output_key)
        gradient, measured = gated_meta_gradient(self, start, episode, domain.loss)
        return optimizer_step(gradient, now.optimizer, self.optimizer()), measured


class _Predictor(NamedTuple):
    """What learns in the inner loop: features before they are gated, and the head on them."""

    features: NormalizedConvolutions
    head: MLP

    def outputs(self, x: Float[Array, "n h w c"], gates: Float[Array, "n d"]) -> Float[Array, "n outputs"]:
        """Return the outputs for images, channels last, whose features are multiplied by `gates`."""
        return jax.vmap(self.head)(self.features(x) * gates)


def gated_meta_gradient(
    method: ANML, start: Representation, episode: Episode, loss: Loss = cross_entropy
) -> tuple[Gradient, Measured]:
    """Return the gradient of the loss after an episode's inner loop by all weights before it.

    The gating network does not learn in the inner loop, so that each image's gates are computed once.
    """
    k, b = episode.x.shape[:2]
    learned = episode.x.reshape(k * b, *episode.x.shape[2:])
    y = jnp.concatenate([episode.y.reshape(k * b), episode.query_y])

    def meta_loss(start: Representation) -> tuple[Float[Array, ""], Measured]:
        encoder = start.encoder
        assert isinstance(encoder, GatedEncoder)
        _, x = as_channels_last(as_features(jnp.concatenate([learned, episode.query_x])), encoder.input_shape)
        gates = encoder.gates(x)
        before = _Predictor(encoder.features, network_head(start))
        x_steps, gate_steps = (it[: k * b].reshape(k, b, *it.shape[1:]) for it in (x, gates))
        after = _learned(
            before, x_steps, gate_steps, episode.y, method.inner_rate, loss, first_order=method.first_order
        )
        outputs = after.outputs(x, gates)
        value = jnp.mean(jax.vmap(loss)(outputs, y))
        return value, Measured(value, score(before.outputs(x, gates), y), score(outputs, y))

    (value, measured), grads = jax.value_and_grad(meta_loss, has_aux=True)(start)
    return Gradient(value, grads, start), measured


def _learned(
    predictor: _Predictor,
    x: Float[Array, "k b h w c"],
    gates: Float[Array, "k b d"],
    y: Shaped[Array, "k b"],
    rate: Rate,
    loss: Loss,
    *,
    first_order: bool,
) -> _Predictor:
    """Return the predictor after k steps of SGD, on b images each."""

    def step(predictor: _Predictor, batch: tuple[Array, Array, Array]) -> tuple[_Predictor, None]:
        x, gates, y = batch

        def mean_loss(predictor: _Predictor) -> Float[Array, ""]:
            return jnp.mean(jax.vmap(loss)(predictor.outputs(x, gates), y))

        grads = jax.grad(mean_loss)(predictor)
        if first_order:
            grads = jax.lax.stop_gradient(grads)
        return sgd_step(predictor, grads, rate), None

    return jax.lax.scan(step, predictor, (x, gates, y))[0]
