"""Images changed a little at random, as training sees them, so that it sees more than there are."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from perdure.core import AnyArray, as_features


@dataclass(frozen=True)
class Augmentation:
    """Bounds of what is drawn for each image, evenly on both sides of no change."""

    turn: float = 0.26
    """Radians."""
    stretch: float = 0.15
    """Logarithm of the factor of either side."""
    shear: float = 0.2
    """Pixels to the side a pixel of height."""
    shift: float = 2.5
    """Pixels in either direction."""

    def __call__(
        self, images: Shaped[AnyArray, "n *channels h w"], key: PRNGKeyArray
    ) -> Float[Array, "n *channels h w"]:
        """Return images, pixels or floats, turned, stretched, sheared and shifted; each on its own."""
        keys = jax.random.split(key, len(images))
        return jax.vmap(self._changed)(as_features(images), keys)

    def _changed(self, image: Float[Array, "*channels h w"], key: PRNGKeyArray) -> Float[Array, "*channels h w"]:
        height, width = image.shape[-2:]
        drawn = jax.random.uniform(key, (6,), image.dtype, minval=-1, maxval=1)
        angle, (tall, broad), shear = self.turn * drawn[0], jnp.exp(self.stretch * drawn[1:3]), self.shear * drawn[3]
        cos, sin = jnp.cos(angle), jnp.sin(angle)
        centre = (height - 1) / 2, (width - 1) / 2
        row, column = (
            jnp.asarray(it, image.dtype) - middle for it, middle in zip(np.mgrid[:height, :width], centre, strict=True)
        )
        place = (
            tall * cos * row + (shear - sin) * column + centre[0] + self.shift * drawn[4],
            sin * row + broad * cos * column + centre[1] + self.shift * drawn[5],
        )
        planes = image.reshape(-1, height, width)
        return jax.vmap(lambda plane: _interpolated(plane, *place))(planes).reshape(image.shape)


def quarter_turned(images: Shaped[np.ndarray, "classes n ..."]) -> Shaped[np.ndarray, "turned n ..."]:
    """Return square images and the same turned by 90°, 180° and 270°, as classes of their own."""
    return np.concatenate([np.rot90(images, turns, (-2, -1)) for turns in range(4)])


def _interpolated(
    plane: Float[Array, "h w"], row: Float[Array, "h w"], column: Float[Array, "h w"]
) -> Float[Array, "h w"]:
    """Return the values between the pixels of an image, at its edge where places lie outside."""
    height, width = plane.shape
    row, column = jnp.clip(row, 0, height - 1), jnp.clip(column, 0, width - 1)
    above, before = jnp.floor(row), jnp.floor(column)
    down, across = row - above, column - before
    top, left = above.astype(jnp.int32), before.astype(jnp.int32)
    bottom, right = jnp.minimum(top + 1, height - 1), jnp.minimum(left + 1, width - 1)
    upper = (1 - across) * plane[top, left] + across * plane[top, right]
    lower = (1 - across) * plane[bottom, left] + across * plane[bottom, right]
    return (1 - down) * upper + down * lower
