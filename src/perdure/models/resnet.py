"""Reduced ResNet-18, the network of the CIFAR-100 experiments."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from perdure.core import Example
from perdure.models.convolution import convolve
from perdure.models.narrowing import narrowed_width
from perdure.models.normalization import BatchModel, BatchNorm

Mask = Bool[Array, " batch"] | None
"""Which of a batch its statistics are of; None for all."""

_SIDE = 32
_STRIDES = (1, 1, 2, 1, 2, 1, 2, 1)
"""Of the blocks' first convolutions: four stages of two blocks, each stage but the first at half the size."""


class NormalizedConvolution(eqx.Module):
    """Convolution without bias, then batch normalisation."""

    filters: Float[Array, "k k channels filters"]
    norm: BatchNorm
    stride: int = eqx.field(static=True)

    def __call__(
        self, x: Float[Array, "batch h w channels"], training: bool, mask: Mask
    ) -> tuple[Float[Array, "batch h2 w2 filters"], NormalizedConvolution]:
        """Return the output and the layer, its running statistics moved in training."""
        x, norm = self.norm(convolve(x, self.filters, self.stride), training, mask)
        return x, NormalizedConvolution(self.filters, norm, self.stride)


class Block(eqx.Module):
    """Two 3×3 convolutions around which the input is passed (He et al. 2016, figure 2)."""

    first: NormalizedConvolution
    second: NormalizedConvolution
    shortcut: NormalizedConvolution | None
    """1×1 convolution that gives the input the output's shape; None where it has it."""

    def __call__(
        self, x: Float[Array, "batch h w channels"], training: bool, mask: Mask
    ) -> tuple[Float[Array, "batch h2 w2 filters"], Block]:
        """Return the output and the block, its running statistics moved in training."""
        inner, first = self.first(x, training, mask)
        inner, second = self.second(jax.nn.relu(inner), training, mask)
        passed, shortcut = (x, None) if self.shortcut is None else self.shortcut(x, training, mask)
        return jax.nn.relu(inner + passed), Block(first, second, shortcut)


class ResNet18(BatchModel):
    """ResNet-18 for 32×32 images, with fewer filters (Lopez-Paz & Ranzato 2017, section 4).

    A 3×3 convolution, four stages of two blocks with w, 2w, 4w and 8w filters, the mean over the last 4×4 positions,
    a linear layer. Convolutions, the linear layer and its bias start uniform in ±1/sqrt(fan in), as in PyTorch.
    """

    stem: NormalizedConvolution
    blocks: tuple[Block, ...]
    head: eqx.nn.Linear

    def __init__(self, n_channels: int, n_outputs: int, width: int = 20, *, key: PRNGKeyArray):
        """Draw the weights.

        Args:
            n_channels: channels of an image.
            n_outputs: number of outputs.
            width: filters of the first stage.
            key: random key for the weights.

        Raises:
            ValueError: if a size is below 1.
        """
        if min(n_channels, n_outputs, width) < 1:
            raise ValueError(
                f"a ResNet-18 with {n_channels} channels, {n_outputs} outputs and {width} filters was requested, "
                "expected at least 1 of each"
            )
        stem_key, head_key, *block_keys = jax.random.split(key, 2 + len(_STRIDES))
        widths = [width * 2 ** (n // 2) for n in range(len(_STRIDES))]
        self.stem = _normalized_convolution(3, n_channels, width, 1, stem_key)
        self.blocks = tuple(
            _block(channels, filters, stride, block_key)
            for channels, filters, stride, block_key in zip(
                [width, *widths[:-1]], widths, _STRIDES, block_keys, strict=True
            )
        )
        self.head = eqx.nn.Linear(widths[-1], n_outputs, key=head_key)

    def __call__(self, x: Float[Array, ...]) -> Float[Array, " outputs"]:
        """Return the outputs of one image, normalised with the running statistics.

        Raises:
            ValueError: if the image is not (channels, 32, 32) with the channels that the model was made for.
        """
        return self._forward(x[None], training=False)[0][0]

    def in_training(
        self, x: Float[Array, "batch ..."], mask: Mask = None
    ) -> tuple[Float[Array, "batch outputs"], ResNet18]:
        """Return the outputs of a batch, normalised with its own statistics, and the model with moved statistics.

        Args:
            x: images.
            mask: which of them the statistics are of, at least one; all if None. Outputs for the others mean nothing.

        Raises:
            ValueError: if the images are not (channels, 32, 32) with the channels that the model was made for.
        """
        return self._forward(x, training=True, mask=mask)

    def _forward(
        self, x: Float[Array, "batch ..."], training: bool, mask: Mask = None
    ) -> tuple[Float[Array, "batch outputs"], ResNet18]:
        expected = (self.stem.filters.shape[2], _SIDE, _SIDE)
        if x.shape[1:] != expected:
            raise ValueError(
                f"the input has shape {x.shape[1:]}, the model expects {expected} (channels, height, width); "
                "bring the images to that shape"
            )
        x, stem = self.stem(jnp.moveaxis(x, 1, -1), training, mask)
        x, blocks = jax.nn.relu(x), []
        for block in self.blocks:
            x, block = block(x, training, mask)
            blocks.append(block)
        outputs = jax.vmap(self.head)(x.mean(axis=(1, 2)))
        return outputs, eqx.tree_at(lambda it: (it.stem, it.blocks), self, (stem, tuple(blocks)))

    def narrowed(self, n: int, key: PRNGKeyArray) -> ResNet18:
        """Return a fresh network with `n` times fewer filters in its first stage, at least 1 (see `Narrowable`)."""
        n_channels, width = self.stem.filters.shape[2:]
        return ResNet18(n_channels, self.head.weight.shape[0], narrowed_width(width, n), key=key)


def _block(channels: int, filters: int, stride: int, key: PRNGKeyArray) -> Block:
    first_key, second_key, shortcut_key = jax.random.split(key, 3)
    first = _normalized_convolution(3, channels, filters, stride, first_key)
    second = _normalized_convolution(3, filters, filters, 1, second_key)
    if channels == filters and stride == 1:
        return Block(first, second, None)
    return Block(first, second, _normalized_convolution(1, channels, filters, stride, shortcut_key))


def _normalized_convolution(
    side: int, channels: int, filters: int, stride: int, key: PRNGKeyArray
) -> NormalizedConvolution:
    shape = (side, side, channels, filters)
    bound = (side * side * channels) ** -0.5
    weight = jax.random.uniform(key, shape, minval=-bound, maxval=bound)
    return NormalizedConvolution(weight, BatchNorm(filters), stride)


def reduced_resnet18(example: Example, n_outputs: int, key: PRNGKeyArray, width: int = 20) -> ResNet18:
    """Return the network of the CIFAR-100 experiments for images like `example.x`, (channels, 32, 32).

    Raises:
        ValueError: if the images have another shape.
    """
    shape = jnp.shape(example.x)
    if len(shape) != 3 or shape[1:] != (_SIDE, _SIDE):
        raise ValueError(
            f"inputs of shape {shape} were given, the reduced ResNet-18 expects images of shape "
            f"(channels, {_SIDE}, {_SIDE}); bring them to that shape or use another network"
        )
    return ResNet18(shape[0], n_outputs, width, key=key)
