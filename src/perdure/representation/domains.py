"""What representations are trained for: data to draw episodes from, a network of its own, and a score to stop by."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from perdure.core import AnyArray, check_finite
from perdure.learners.nearest_mean import NearestMean
from perdure.models import MLP
from perdure.representation.blocks import GEMCL_BLOCKS, Block, BlockEncoder
from perdure.representation.class_protocol import N_TRAIN, class_run, closed_form_run
from perdure.representation.episodes import ClassEpisodes, Episode, SineEpisodes
from perdure.representation.network import ConvEncoder, DenseEncoder, Representation, encode, he_head
from perdure.representation.sine_protocol import SineTrajectory, sine_run
from perdure.streams.sine import Sines, sine_examples
from perdure.updates.losses import Loss, cross_entropy, mean_squared_error


class Domain(eqx.Module):
    """What a representation is trained for."""

    @abstractmethod
    def new_model(self, key: PRNGKeyArray) -> Representation:
        """Return a network before training."""

    @abstractmethod
    def draw(self, key: PRNGKeyArray) -> Episode:
        """Return an episode of meta-training."""

    @abstractmethod
    def draw_batch(self, n: int, key: PRNGKeyArray) -> tuple[Shaped[Array, "n ..."], Shaped[Array, "n ..."]]:
        """Return inputs and labels, or targets, of n examples of all kinds."""

    @abstractmethod
    def validation_score(self, model: Representation, key: PRNGKeyArray) -> Float[Array, ""]:
        """Return how good a representation is for learning online what training does not show; more is better."""

    @property
    @abstractmethod
    def loss(self) -> Loss:
        """Loss of the outputs for one example."""

    @property
    @abstractmethod
    def in_errors(self) -> bool:
        """Is what counts an error, whose negative is the validation score, and not an accuracy?"""


class ImageClasses(Domain):
    """Images of many classes: Omniglot, or the user's own."""

    images: Shaped[AnyArray, "classes images ..."]
    """`uint8` pixels or floats, of classes to train on."""
    held_out: Shaped[AnyArray, "held_out images ..."]
    """Likewise, of classes to validate on."""
    episodes: ClassEpisodes = eqx.field(static=True, default=ClassEpisodes())
    width: int = eqx.field(static=True, default=64)
    strides: tuple[int, ...] = eqx.field(static=True, default=(2, 1, 2, 1))
    blocks: tuple[Block, ...] | None = eqx.field(static=True, default=None)
    """Of the encoder, for methods that train for heads in closed form; None for convolutions of `width` and `strides`,
    for the others."""
    shifted: bool = eqx.field(static=True, default=False)
    """Are the features that blocks give means over shifts of the image?"""
    hidden_sizes: tuple[int, ...] = eqx.field(static=True, default=())
    """Units of the head's hidden layers; none for a linear head."""
    n_outputs: int = eqx.field(static=True, default=1000)
    validation_rates: tuple[float, ...] = eqx.field(static=True, default=(0.003, 0.001, 3e-4, 1e-4, 3e-5))
    """Learning rates of Adam where representations are validated; the best counts."""
    validation_runs: int = eqx.field(static=True, default=3)

    def __check_init__(self) -> None:
        n_outputs = (
            math.inf if self.blocks else self.n_outputs
        )  # heads in closed form have as many as there are classes
        if self.blocks is None:
            self.episodes.check(self.images.shape, self.n_outputs)
        if len(self.held_out) > n_outputs or self.held_out.shape[1:] != self.images.shape[1:]:
            raise ValueError(
                f"validation classes have shape {self.held_out.shape} and training classes {self.images.shape}, "
                f"expected as many images of one size, and at most {n_outputs} classes; prepare both alike"
            )
        for name in ("images", "held_out"):
            if (pixels := np.asarray(getattr(self, name))).dtype != np.uint8:
                check_finite(name, pixels)

    @property
    def loss(self) -> Loss:
        """Return cross entropy."""
        return cross_entropy

    @property
    def in_errors(self) -> bool:
        """Return False: classes are recognised or not."""
        return False

    def new_model(self, key: PRNGKeyArray) -> Representation:
        """Return convolutions and a head, before training.

        Raises:
            ValueError: if the domain is for methods that train for heads in closed form.
        """
        if self.blocks is not None:
            raise ValueError(
                "blocks were given, which normalise batches of images, but this method shows single ones to the head; "
                "give width and strides, or train by Prototypes or GeMCL"
            )
        encoder_key, head_key = jax.random.split(key)
        encoder = ConvEncoder(self.images.shape[2:], self.width, self.strides, key=encoder_key)
        return Representation(encoder, he_head(encoder.n_features, self.hidden_sizes, self.n_outputs, head_key))

    def new_block_encoder(self, key: PRNGKeyArray) -> BlockEncoder:
        """Return blocks before training; those of GeMCL unless others were given."""
        return BlockEncoder(self.images.shape[2:], self.blocks or GEMCL_BLOCKS, shifted=self.shifted, key=key)

    def draw_classes(self, n_classes: int, n_images: int, key: PRNGKeyArray) -> Shaped[Array, "classes images ..."]:
        """Return different images of different classes."""
        class_key, image_key = jax.random.split(key)
        which = jax.random.permutation(class_key, self.images.shape[0])[:n_classes]
        image_keys = jax.random.split(image_key, n_classes)
        images = jax.vmap(lambda key: jax.random.permutation(key, self.images.shape[1])[:n_images])(image_keys)
        return jnp.asarray(self.images)[which[:, None], images]

    def draw(self, key: PRNGKeyArray) -> Episode:
        """Return an episode of images."""
        return self.episodes.draw(self.images, key)

    def draw_batch(self, n: int, key: PRNGKeyArray) -> tuple[Shaped[Array, "n ..."], Shaped[Array, "n ..."]]:
        """Return images and the numbers of their classes."""
        class_key, image_key = jax.random.split(key)
        which = jax.random.randint(class_key, (n,), 0, self.images.shape[0])
        return jnp.asarray(self.images)[which, jax.random.randint(image_key, (n,), 0, self.images.shape[1])], which

    def validation_score(self, model: Representation, key: PRNGKeyArray) -> Float[Array, ""]:
        """Return the accuracy on held-out images after one pass over the validation classes."""
        n_classes, n_images = self.held_out.shape[:2]
        flat = jnp.asarray(self.held_out).reshape(-1, *self.held_out.shape[2:])
        features = encode(model.encoder, flat).reshape(n_classes, n_images, -1)
        n_train = min(N_TRAIN, n_images - 1)
        head = model.head
        if not isinstance(head, MLP):
            closed_form = NearestMean() if head is None else head.head(predictive=True)
            return closed_form_run(features, closed_form, jnp.arange(n_classes), key, n_train=n_train).held_out

        def run(key: PRNGKeyArray, rate: Array) -> Float[Array, ""]:
            chosen = jax.random.permutation(key, n_classes)
            return class_run(features, head, chosen, rate, key, n_train=n_train).held_out

        return _best_mean(run, jax.random.split(key, self.validation_runs), self.validation_rates)


class SinePool(Domain):
    """Incremental sine waves, from a pool of functions."""

    pool: Sines
    episodes: SineEpisodes = eqx.field(static=True, default=SineEpisodes())
    widths: tuple[int, ...] = eqx.field(static=True, default=(300,) * 6)
    hidden_sizes: tuple[int, ...] = eqx.field(static=True, default=())
    """Units of the head's hidden layers; none for a linear head."""
    validation_rates: tuple[float, ...] = eqx.field(static=True, default=(0.01, 0.003, 0.001))
    """Learning rates of SGD where representations are validated; the best counts."""
    validation_runs: int = eqx.field(static=True, default=5)

    def __check_init__(self) -> None:
        self.episodes.check(len(self.pool.amplitude))

    @property
    def loss(self) -> Loss:
        """Return mean squared error."""
        return mean_squared_error

    @property
    def in_errors(self) -> bool:
        """Return True: numbers are met more or less closely."""
        return True

    def new_model(self, key: PRNGKeyArray) -> Representation:
        """Return dense layers and a head, before training."""
        encoder_key, head_key = jax.random.split(key)
        encoder = DenseEncoder(self.episodes.numbers + 1, self.widths, key=encoder_key)
        return Representation(encoder, he_head(encoder.n_features, self.hidden_sizes, 1, head_key))

    def draw(self, key: PRNGKeyArray) -> Episode:
        """Return an episode of functions."""
        return self.episodes.draw(self.pool, key)

    def draw_batch(self, n: int, key: PRNGKeyArray) -> tuple[Shaped[Array, "n ..."], Shaped[Array, "n ..."]]:
        """Return inputs and targets, each of a random function under a random number."""
        function_key, number_key, x_key = jax.random.split(key, 3)
        which = jax.random.randint(function_key, (n,), 0, len(self.pool.amplitude))
        number = jax.random.randint(number_key, (n,), 0, self.episodes.numbers)
        x, y = sine_examples(Sines(*(leaf[which] for leaf in self.pool)), number, self.episodes.numbers, 1, x_key)
        return x[:, 0], y[:, 0]

    def validation_score(self, model: Representation, key: PRNGKeyArray) -> Float[Array, ""]:
        """Return minus the mean squared error over ten new functions after learning them one after another."""
        trajectory = SineTrajectory(functions=self.episodes.numbers, test_examples=320)

        def run(key: PRNGKeyArray, rate: Array) -> Float[Array, ""]:
            return -sine_run(model, trajectory, rate, key, fresh=False, oracle=False)[-1].mean()

        return _best_mean(run, jax.random.split(key, self.validation_runs), self.validation_rates)


def _best_mean(
    run: Callable[[Any, Array], Float[Array, ""]], keys: Shaped[Array, " runs"], rates: tuple[float, ...]
) -> Float[Array, ""]:
    """Return the mean score over keys of the rate for which it is largest; rates that diverge do not count."""

    def mean(rate: Array) -> Float[Array, ""]:
        return jax.lax.map(lambda key: run(key, rate), keys).mean()

    means = jax.lax.map(mean, jnp.asarray(rates))
    return jnp.max(jnp.where(jnp.isfinite(means), means, -jnp.inf))


def split_classes(
    images: Shaped[np.ndarray, "classes images ..."], n_held_out: int, seed: int = 0
) -> tuple[Shaped[np.ndarray, "training images ..."], Shaped[np.ndarray, "held_out images ..."]]:
    """Return images of classes to train on, in order, and of some drawn at random to validate on.

    Raises:
        ValueError: if fewer than one class is left on either side.
    """
    if not 0 < n_held_out < len(images):
        raise ValueError(
            f"{n_held_out} of {len(images)} classes were to be held out, expected at least one on either side"
        )
    held_out = np.isin(np.arange(len(images)), np.random.default_rng(seed).permutation(len(images))[:n_held_out])
    return images[~held_out], images[held_out]
