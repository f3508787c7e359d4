"""The shapes of images: what encoders take, and what they refuse."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float

_MAX_CHANNELS = 4
"""Of pictures as files hold them: red, green, blue and transparency."""


def image_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    """Return channels, height and width of images given as (height, width) or (channels, height, width).

    Raises:
        ValueError: if they are no images.
    """
    full = (1, *shape) if len(shape) == 2 else tuple(shape)
    if len(full) == 3 and 0 < full[2] <= _MAX_CHANNELS < min(full[:2]):
        raise ValueError(
            f"images of shape {full} were given, expected (channels, height, width); here the channels come last: move "
            "them with numpy.moveaxis(x, -1, -3)"
        )
    if len(full) != 3 or min(full) < 1:
        raise ValueError(
            f"inputs of shape {tuple(shape)} were given, expected (height, width) or (channels, height, width) of an "
            "image"
        )
    return full[0], full[1], full[2]


def as_channels_last(
    x: Float[Array, ...], input_shape: tuple[int, int, int]
) -> tuple[tuple[int, ...], Float[Array, "*batch h w c"]]:
    """Return the leading axes of images (..., height, width) or (..., channels, height, width), and them channels last.

    Raises:
        ValueError: if the images have another shape than `input_shape`: channels, height and width.
    """
    n_axes = 3 if x.shape[-3:] == input_shape else 2
    if (*(1,) * (3 - n_axes), *x.shape[-n_axes:]) != input_shape:
        raise ValueError(f"inputs of shape {x.shape} were given, the encoder was made for {_wanted(x, input_shape)}")
    batch = x.shape[:-n_axes]
    return batch, jnp.moveaxis(x.reshape(*batch, *input_shape), -3, -1)


def check_depth(shape: tuple[int, ...], input_shape: tuple[int, int, int]) -> None:
    """Check that an image has no channels, (height, width), or as many as an encoder was made for.

    `as_channels_last` would take the channels for that many grey images.

    Raises:
        ValueError: if it has more than the one channel that the encoder takes.
    """
    if len(shape) == 3 and shape[1:] == input_shape[1:] and shape[0] != input_shape[0] == 1:
        raise ValueError(
            f"images with {shape[0]} channels were given, the encoder was made for images of shape {input_shape} "
            "(channels, height, width); make them grey, for example with x.mean(axis=-3), or train an encoder for "
            "their depth"
        )


def _wanted(x: Float[Array, ...], input_shape: tuple[int, int, int]) -> str:
    channels, height, width = input_shape
    wanted = f"images of shape {input_shape} (channels, height, width)"
    if x.shape[-3:] == (height, width, channels):
        return f"{wanted}; here the channels come last: move them with numpy.moveaxis(x, -1, -3)"
    if x.shape[-3:-1] == (height, width) and x.shape[-1] <= _MAX_CHANNELS:
        grey = "make the images grey, for example with x.mean(axis=-1), or train" if channels == 1 else "train"
        return f"{wanted}; here the channels come last, and there are {x.shape[-1]}: {grey} an encoder for their depth"
    if x.ndim >= 3 and x.shape[-1] <= _MAX_CHANNELS < x.shape[-3]:
        grey = "make the images grey, for example with x.mean(axis=-1)" if channels == 1 else "move them to the front"
        return (
            f"{wanted}; here the channels come last, and there are {x.shape[-1]}: {grey} and resize them, or train an "
            "encoder for their size"
        )
    return f"{wanted}; resize them, or train an encoder for their size"
