"""Convolutional blocks with batch normalisation: the encoder that is trained for heads in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from perdure.models.convolution import convolve, max_pool
from perdure.models.normalization import BatchModel, BatchNorm
from perdure.representation.images import as_channels_last, image_shape


class Block(NamedTuple):
    """Sizes of a block."""

    width: int
    """Filters of its 3×3 convolution."""
    stride: int = 1
    """Pixels from one position to the next."""
    pools: bool = True
    """Does it end with the maxima of 2×2 windows?"""


_WAYS = ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1))
"""Pixels down and to the right."""
GEMCL_BLOCKS = (Block(64),) * 4
"""Of Banayeeanzade et al. (2021), as before of Snell et al. (2017), arXiv 1703.05175."""


class BlockEncoder(BatchModel):
    """Blocks of a 3×3 convolution, batch normalisation, ReLU and 2×2 max pooling; the last outputs are the features.

    Images are surrounded by a pixel of zeros before each convolution. Training normalises with the statistics of its
    images; one image alone is normalised with their running averages. Filters start normal with variance 2 / fan in
    (He et al. 2015). Convolutions have no biases, which the normalisation would take away. With `shifted` the features
    of an image are the means over the image and its shifts by a pixel up, down, left and right; training shows it as
    it is.
    """

    filters: tuple[Float[Array, "3 3 _ _"], ...]
    norms: tuple[BatchNorm, ...]
    input_shape: tuple[int, int, int] = eqx.field(static=True)
    """Channels, height and width."""
    blocks: tuple[Block, ...] = eqx.field(static=True)
    shifted: bool = eqx.field(static=True)

    def __init__(
        self,
        input_shape: Sequence[int],
        blocks: Sequence[Block] = GEMCL_BLOCKS,
        *,
        shifted: bool = False,
        key: PRNGKeyArray,
    ):
        """Draw the weights.

        Args:
            input_shape: (height, width) or (channels, height, width) of an image.
            blocks: their sizes, at least one block.
            shifted: are features means over shifts of the image?
            key: random key for the weights.

        Raises:
            ValueError: if the input is no image, a size is below 1, or the image is too small for the blocks.
        """
        shape = image_shape(input_shape)
        if not blocks or min(min(it.width, it.stride) for it in blocks) < 1:
            raise ValueError(f"blocks {list(map(tuple, blocks))} were given, expected one or more with sizes ≥ 1")
        depths = [shape[0], *(it.width for it in blocks)]
        keys = jax.random.split(key, len(blocks))
        self.filters = tuple(
            (2 / (9 * depth)) ** 0.5 * jax.random.normal(filter_key, (3, 3, depth, width))
            for depth, width, filter_key in zip(depths[:-1], depths[1:], keys, strict=True)
        )
        self.norms = tuple(BatchNorm(it.width) for it in blocks)
        self.input_shape = shape
        self.blocks = tuple(Block(*it) for it in blocks)
        self.shifted = shifted
        if min(features_shape(shape, self.blocks)) < 1:
            raise ValueError(
                f"images of shape {tuple(input_shape)} are too small for blocks {list(map(tuple, blocks))}; give "
                "larger images or fewer blocks"
            )

    @property
    def n_features(self) -> int:
        """Number of features."""
        width, height, depth = features_shape(self.input_shape, self.blocks)
        return width * height * depth

    def __call__(self, x: Float[Array, ...]) -> Float[Array, "*batch features"]:
        """Return the features of images (..., height, width) or (..., channels, height, width).

        Raises:
            ValueError: if the images have another shape than the encoder was made for.
        """
        batch, x = as_channels_last(x, self.input_shape)
        x = x.reshape(-1, *x.shape[-3:])
        if not self.shifted:
            return self._encoded(x, training=False)[0].reshape(*batch, -1)
        features, _ = self._encoded(jnp.concatenate([moved(x, *way) for way in _WAYS]), training=False)
        return features.reshape(len(_WAYS), *batch, -1).mean(axis=0)

    def in_training(
        self, x: Float[Array, "batch ..."], mask: Bool[Array, " batch"] | None = None
    ) -> tuple[Float[Array, "batch features"], BlockEncoder]:
        """Return the features of images, normalised with their own statistics, and the encoder with moved averages."""
        _, x = as_channels_last(x, self.input_shape)
        return self._encoded(x, training=True, mask=mask)

    def _encoded(
        self, x: Float[Array, "batch h w c"], *, training: bool, mask: Bool[Array, " batch"] | None = None
    ) -> tuple[Float[Array, "batch features"], BlockEncoder]:
        norms = []
        for filters, norm, block in zip(self.filters, self.norms, self.blocks, strict=True):
            x, norm = norm(convolve(x, filters, block.stride), training, mask)
            norms.append(norm)
            x = jax.nn.relu(x)
            x = max_pool(x) if block.pools else x
        return x.reshape(len(x), -1), eqx.tree_at(lambda it: it.norms, self, tuple(norms))


def moved(x: Float[Array, "batch h w c"], down: int, right: int) -> Float[Array, "batch h w c"]:
    """Return images shifted by at most a pixel each way; zeros come in."""
    height, width = x.shape[1:3]
    around = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    return around[:, 1 - down : 1 - down + height, 1 - right : 1 - right + width]


def features_shape(input_shape: tuple[int, int, int], blocks: Sequence[Block]) -> tuple[int, int, int]:
    """Return height, width and depth of the last outputs for images of a shape (channels, height, width)."""
    _, *sides = input_shape
    for block in blocks:
        sides = [-(-side // block.stride) // (2 if block.pools else 1) for side in sides]
    return sides[0], sides[1], blocks[-1].width
