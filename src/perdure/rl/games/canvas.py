"""Grey pictures of 84 × 84 pixels, the size of Mnih et al. (2015), of rectangles with anti-aliased edges."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped, UInt8

SIDE = 84


def blank(shade: int) -> Float[Array, "side side"]:
    """Return a picture of one shade, 0 black to 255 white."""
    return jnp.full((SIDE, SIDE), shade, jnp.float32)


def covered(first: Shaped[Array, ""] | int, length: Shaped[Array, ""] | int, size: int) -> Float[Array, " side"]:
    """Return the fraction of each pixel of an axis that an object covers, 0 to 1.

    Args:
        first: where the object starts, in the game's pixels.
        length: its length.
        size: length of the whole axis.
    """
    begin = jnp.asarray(first, jnp.float32) * (SIDE / size)
    end = begin + jnp.asarray(length, jnp.float32) * (SIDE / size)
    pixel = jnp.arange(SIDE, dtype=jnp.float32)
    return jnp.clip(jnp.minimum(pixel + 1, end) - jnp.maximum(pixel, begin), 0, 1)


def painted(
    picture: Float[Array, "side side"], rows: Float[Array, " side"], columns: Float[Array, " side"], shade: int
) -> Float[Array, "side side"]:
    """Return a picture with a rectangle painted over it that covers these fractions of its rows and columns."""
    return picture + rows[:, None] * columns[None, :] * (shade - picture)


def finished(picture: Float[Array, "side side"]) -> UInt8[Array, "side side"]:
    """Return a picture with its shades rounded."""
    return jnp.round(picture).astype(jnp.uint8)
