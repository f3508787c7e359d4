"""Episodes of meta-training: what an inner loop learns, and what the adapted network is queried about afterwards.

All are drawn from a key inside the compiled program.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray, Shaped

from perdure.core import AnyArray
from perdure.streams.sine import Sines, sine_examples


class Episode(NamedTuple):
    """One inner loop of k steps on b examples each, and q examples that its outcome is judged by."""

    x: Shaped[Array, "k b ..."]
    """Inputs to learn, in order."""
    y: Shaped[Array, "k b ..."]
    """Their labels or targets."""
    query_x: Shaped[Array, "q ..."]
    """Inputs that the adapted network is queried about."""
    query_y: Shaped[Array, "q ..."]
    """Their labels or targets."""
    fresh: Int[Array, " t"]
    """Outputs whose weights are redrawn before the inner loop."""


class Episodes(Protocol):
    """A way to draw episodes from data."""

    def draw(self, data: Any, key: PRNGKeyArray) -> Episode:
        """Return an episode."""
        ...


@dataclass(frozen=True)
class ClassEpisodes:
    """Episodes of images: a few classes one after another, with queries about them and about images of all kinds.

    The trajectory shows `images_each` images of each of `classes` classes, one a step, class after class. It is query
    about `query_each` other images of each of them, and about `random_images` images of any classes.

    Source: Javed & White (2019), released code, 3 classes of 5 images.
    """

    classes: int = 3
    """Classes of a trajectory."""
    images_each: int = 5
    """Images of each class to learn: steps of the inner loop a class."""
    query_each: int = 5
    """Query images of each class, others than those learned."""
    random_images: int = 15
    """Query images of any classes."""
    halves: bool = True
    """Trajectories from the second half of the classes only, random images from the first? Else both from all."""

    def check(self, shape: tuple[int, ...], n_outputs: int) -> None:
        """Refuse data from which no such episode can be drawn.

        Args:
            shape: of the images, (classes, images, ...).
            n_outputs: outputs of the network.

        Raises:
            ValueError: if there are too few classes, images or outputs.
        """
        n_classes, n_images = shape[:2]
        if min(self.classes, self.images_each) < 1 or min(self.query_each, self.random_images) < 0:
            raise ValueError(
                f"{self} was given, expected numbers ≥ 1, query_each and random_images ≥ 0; fix the episodes"
            )
        if self.query_each + self.random_images < 1:
            raise ValueError(f"{self} was given, which queries nothing; give query_each or random_images ≥ 1")
        if self.images_each + self.query_each > n_images:
            raise ValueError(
                f"an episode learns {self.images_each} images of a class and queries {self.query_each} others, but "
                f"the classes have {n_images} images each; lower images_each or query_each"
            )
        available = n_classes - n_classes // 2 if self.halves else n_classes
        if self.classes > available:
            raise ValueError(
                f"an episode shows {self.classes} classes, but there are {available} to choose from; "
                "lower classes, or give more"
            )
        if n_classes > n_outputs:
            raise ValueError(
                f"there are {n_classes} classes, but the network has {n_outputs} outputs; "
                "give it an output for each class, or fewer classes"
            )

    def draw(self, data: Shaped[AnyArray, "classes images ..."], key: PRNGKeyArray) -> Episode:
        """Return an episode of images (classes, images, ...), whose labels are the classes' numbers."""
        class_key, image_key, random_key, random_image_key = jax.random.split(key, 4)
        n_classes, n_images = data.shape[:2]
        middle = n_classes // 2 if self.halves else 0
        chosen = middle + jax.random.permutation(class_key, n_classes - middle)[: self.classes]
        image_keys = jax.random.split(image_key, self.classes)
        images = jax.vmap(lambda key: jax.random.permutation(key, n_images))(image_keys)
        learned, query = jnp.split(images[:, : self.images_each + self.query_each], [self.images_each], axis=1)
        others = jax.random.randint(random_key, (self.random_images,), 0, middle or n_classes)
        other_images = jax.random.randint(random_image_key, (self.random_images,), 0, n_images)
        data = jnp.asarray(data)
        k, shape = self.classes * self.images_each, data.shape[2:]
        return Episode(
            x=data[chosen[:, None], learned].reshape(k, 1, *shape),
            y=jnp.repeat(chosen, self.images_each)[:, None],
            query_x=jnp.concatenate([data[others, other_images], data[chosen[:, None], query].reshape(-1, *shape)]),
            query_y=jnp.concatenate([others, jnp.repeat(chosen, self.query_each)]),
            fresh=chosen,
        )


@dataclass(frozen=True)
class SineEpisodes:
    """Episodes of regression: several functions of a pool one after another, with queries about all of them.

    Source: Javed & White (2019), section 4.1, released code.
    """

    functions: int = 10
    """Functions of a trajectory."""
    steps_each: int = 40
    """Steps of the inner loop on each function."""
    batch_size: int = 8
    """Examples of a step, and of each function's query."""
    numbers: int = 10
    """Numbers that functions can have; each episode assigns them again."""

    def check(self, n_functions: int) -> None:
        """Refuse a pool from which no such episode can be drawn.

        Raises:
            ValueError: if a number is below 1, or there are fewer functions or numbers than an episode needs.
        """
        if min(self.functions, self.steps_each, self.batch_size) < 1 or self.functions > min(self.numbers, n_functions):
            raise ValueError(
                f"{self} was given for a pool of {n_functions} functions, expected numbers ≥ 1 and at most as many "
                "functions an episode as there are numbers and functions in the pool"
            )

    def draw(self, data: Sines, key: PRNGKeyArray) -> Episode:
        """Return an episode of functions of the pool `data`."""
        function_key, number_key, learned_key, query_key = jax.random.split(key, 4)
        chosen = jax.random.permutation(function_key, len(data.amplitude))[: self.functions]
        sines = Sines(*(leaf[chosen] for leaf in data))
        number = jax.random.permutation(number_key, self.numbers)[: self.functions]
        x, y = sine_examples(sines, number, self.numbers, self.steps_each * self.batch_size, learned_key)
        query_x, query_y = sine_examples(sines, number, self.numbers, self.batch_size, query_key)
        k = self.functions * self.steps_each
        return Episode(
            x=x.reshape(k, self.batch_size, -1),
            y=y.reshape(k, self.batch_size, 1),
            query_x=query_x.reshape(-1, self.numbers + 1),
            query_y=query_y.reshape(-1, 1),
            fresh=jnp.zeros(0, jnp.int32),
        )
