"""Representations trained for heads in closed form: each step learns classes by such a head and queries it.

The head is differentiated through, and there is no inner loop: the means of the classes are all that is adapted.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from perdure.core import Rate, as_features
from perdure.learners.head import Head
from perdure.learners.nearest_mean import NearestMean
from perdure.representation.augmentation import Augmentation
from perdure.representation.domains import Domain, ImageClasses
from perdure.representation.network import GaussianPrior, Representation
from perdure.representation.oml import Measured, Method, adam
from perdure.representation.score import score
from perdure.updates.gradient import TrainState, differentiate, optimizer_step
from perdure.updates.losses import cross_entropy


class ClosedFormMethod(Method):
    """Episodes of classes, of each of which some images are learned in closed form and the others are queries."""

    meta_rate: eqx.AbstractVar[Rate]
    """Learning rate of Adam, > 0."""
    classes: eqx.AbstractVar[int]
    """Of an episode."""
    augmentation: eqx.AbstractVar[Augmentation | None]
    """How images are changed before they are shown; None for not at all."""
    decay_steps: eqx.AbstractVar[int | None]
    """Steps over which Adam's rate falls to zero, along half a cosine; None if it stays."""

    def __check_init__(self) -> None:
        if self.classes < 2:
            raise ValueError(f"classes = {self.classes}, expected two or more, to be told apart")

    @property
    @abstractmethod
    def images_each(self) -> int:
        """Images of each class of an episode."""

    @abstractmethod
    def new_head(self) -> Any:
        """Return what is learned beside the encoder."""

    @abstractmethod
    def outputs(
        self, head: Any, features: Float[Array, "classes images d"]
    ) -> tuple[Float[Array, "queries classes"], Int[Array, " queries"]]:
        """Return the head's answers to the queries of an episode, and the numbers of their classes."""

    def optimizer(self) -> optax.GradientTransformation:
        """Return Adam."""
        return adam(self.meta_rate, self.decay_steps)

    def new_model(self, domain: Domain, key: PRNGKeyArray) -> Representation:
        """Return an encoder before training, and the head.

        Raises:
            ValueError: if the domain is none of images, has too few of them, or does not say which blocks.
        """
        if not isinstance(domain, ImageClasses):
            raise ValueError(
                f"{type(self).__name__} is for classes of images, but the domain is {type(domain).__name__}; train by "
                "OML, or give ImageClasses"
            )
        n_classes, n_images = domain.images.shape[:2]
        if self.classes > n_classes or self.images_each > n_images:
            raise ValueError(
                f"an episode shows {self.images_each} images of {self.classes} classes, but there are {n_images} of "
                f"{n_classes}; lower those, or give more"
            )
        return Representation(domain.new_block_encoder(key), self.new_head())

    def step(self, now: TrainState, domain: Domain, key: PRNGKeyArray) -> tuple[TrainState, Measured]:
        """Return representation and optimizer after one episode; the score is that before the step, twice."""
        assert isinstance(domain, ImageClasses)
        draw_key, change_key = jax.random.split(key)
        images = domain.draw_classes(self.classes, self.images_each, draw_key)
        flat = images.reshape(-1, *images.shape[2:])
        shown = as_features(flat) if self.augmentation is None else self.augmentation(flat, change_key)

        def value(model: PyTree) -> tuple[Float[Array, ""], tuple[PyTree, Float[Array, ""]]]:
            features, encoder = model.encoder.in_training(shown)
            outputs, y = self.outputs(model.head, features.reshape(*images.shape[:2], -1))
            loss = jnp.mean(jax.vmap(cross_entropy)(outputs, y))
            return loss, (Representation(encoder, model.head), score(outputs, y))

        gradient, scored = differentiate(value, now.model)
        return optimizer_step(gradient, now.optimizer, self.optimizer()), Measured(gradient.loss, scored, scored)


class Prototypes(ClosedFormMethod):
    """Prototypical networks (Snell et al. 2017): queries are told apart by their distances to the means of classes.

    The loss is the cross entropy of minus the squared distances over `temperature`. With `query_each` 0 every image is
    a query, whose own class has the mean of its other images (our choice: of the same images there are more queries).

    Source: Snell et al. (2017), "Prototypical Networks for Few-shot Learning", arXiv 1703.05175, Algorithm 1.
    """

    meta_rate: Rate
    classes: int = eqx.field(static=True, default=60, kw_only=True)
    learned_each: int = eqx.field(static=True, default=5, kw_only=True)
    """Images of each class that its mean is of."""
    query_each: int = eqx.field(static=True, default=5, kw_only=True)
    """Other images of each class, which are queries; 0 leaves each image in turn out of its class's mean."""
    temperature: Rate = eqx.field(default=1.0, kw_only=True)
    """What squared distances are divided by, > 0."""
    augmentation: Augmentation | None = eqx.field(static=True, default=None, kw_only=True)
    decay_steps: int | None = eqx.field(static=True, default=None, kw_only=True)

    def __check_init__(self) -> None:
        if self.learned_each < (1 if self.query_each else 2) or self.query_each < 0:
            raise ValueError(
                f"learned_each = {self.learned_each} and query_each = {self.query_each}, expected learned_each ≥ 1, or "
                "≥ 2 with query_each = 0, which leaves each image in turn out"
            )

    @property
    def images_each(self) -> int:
        """Images of each class of an episode."""
        return self.learned_each + self.query_each

    def new_head(self) -> None:
        """Return nothing: means have no parameters."""
        return

    def outputs(
        self, head: None, features: Float[Array, "classes images d"]
    ) -> tuple[Float[Array, "queries classes"], Int[Array, " queries"]]:
        """Return minus the squared distances from the means, up to a number of each query's own."""
        if self.query_each:
            scores, y = answered(NearestMean(), features, self.learned_each)
        else:
            scores, y = left_out(features)
        return 2 / self.temperature * scores, y


class GeMCL(ClosedFormMethod):
    """Generative meta-continual learning (GeMCL): queries are told apart by normal distributions of the classes.

    The prior of a `GaussianHead` is learned together with the encoder.

    Source: Banayeeanzade et al. (2021), "Generative vs Discriminative: Rethinking the Meta-Continual Learning",
    NeurIPS 2021.
    """

    meta_rate: Rate
    classes: int = eqx.field(static=True, default=20, kw_only=True)
    learned_each: int = eqx.field(static=True, default=5, kw_only=True)
    """Images of each class that its distribution is of."""
    query_each: int = eqx.field(static=True, default=15, kw_only=True)
    """Other images of each class, which are queries."""
    predictive: bool = eqx.field(static=True, default=True, kw_only=True)
    """Score by the posterior predictive density, not by the posterior's mode (MAP)?"""
    augmentation: Augmentation | None = eqx.field(static=True, default=None, kw_only=True)
    decay_steps: int | None = eqx.field(static=True, default=None, kw_only=True)

    def __check_init__(self) -> None:
        if min(self.learned_each, self.query_each) < 1:
            raise ValueError(
                f"learned_each = {self.learned_each} and query_each = {self.query_each}, expected numbers ≥ 1"
            )

    @property
    def images_each(self) -> int:
        """Images of each class of an episode."""
        return self.learned_each + self.query_each

    def new_head(self) -> GaussianPrior:
        """Return a prior that expects variances of about 1."""
        return GaussianPrior(jnp.zeros(()), jnp.zeros(()))

    def outputs(
        self, head: GaussianPrior, features: Float[Array, "classes images d"]
    ) -> tuple[Float[Array, "queries classes"], Int[Array, " queries"]]:
        """Return the logarithms of the densities."""
        return answered(head.head(predictive=self.predictive), features, self.learned_each)


def answered(
    head: Head, features: Float[Array, "classes images d"], n_learned: int
) -> tuple[Float[Array, "queries classes"], Int[Array, " queries"]]:
    """Return a head's answers to the last images of classes of which it has learned the first, and their classes."""
    n_classes, n_images, d = features.shape
    y = jnp.arange(n_classes)
    state = head.start(d, n_classes, features.dtype, jax.random.key(0))
    state = head.learn_all(state, features[:, :n_learned].reshape(-1, d), jnp.repeat(y, n_learned))
    return head.scores(state, features[:, n_learned:].reshape(-1, d)), jnp.repeat(y, n_images - n_learned)


def left_out(
    features: Float[Array, "classes images d"],
) -> tuple[Float[Array, "queries classes"], Int[Array, " queries"]]:
    """Return the scores of nearest means for every image, its own class without it, and the images' classes.

    Args:
        features: of two images or more of each class.
    """
    n_classes, n_images, d = features.shape
    means, x = features.mean(axis=1), features.reshape(-1, d)
    y = jnp.repeat(jnp.arange(n_classes), n_images)
    scores = x @ means.T - jnp.sum(means**2, axis=1)[None] / 2
    own = (n_images * means[y] - x) / (n_images - 1)
    of_own = jnp.sum(x * own, axis=1) - jnp.sum(own**2, axis=1) / 2
    return scores.at[jnp.arange(len(x)), y].set(of_own), y
