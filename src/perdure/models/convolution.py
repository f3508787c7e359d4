"""Convolution and max pooling of images whose channels come last.

A convolution is one matrix product of weights with the image's patches. On CPU, XLA's own convolution is fast
forwards but not backwards: an SGD step of the Omniglot network on one image takes 6.2 ms with it (12 ms with channels
first), 0.8 ms with patches (2 cores; for 4 seeds side by side 29 and 5.4 ms, for a batch of ten 76 and 6.3 ms). Pooling
by slices of a reshaped image instead of XLA's window halves the rest.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from perdure.machine.cores import usable_cpus


def convolve(
    x: Float[Array, "*batch h w channels"],
    weight: Float[Array, "k k channels filters"],
    stride: int = 1,
    margin: int | None = None,
) -> Float[Array, "*batch h2 w2 filters"]:
    """Return images convolved with square filters; without a margin given, of odd side.

    Args:
        x: images.
        weight: filters, correlated with the image (not flipped).
        stride: distance between neighbouring output positions, in pixels.
        margin: width of the zeros put around the images; half the filters' side if None: at stride 1 the size stays.
    """
    side, n_filters = weight.shape[0], weight.shape[-1]
    width = side // 2 if margin is None else margin
    if stride == 1 and width < side and usable_cpus() == 1 and jax.default_backend() == "cpu":
        return _convolve_on_one_core(x, weight.reshape(-1, n_filters), side, width)
    return convolve_patches(unfold(x, side, stride, width), weight, stride)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _convolve_on_one_core(
    x: Float[Array, "*batch h w channels"], weight: Float[Array, "pixels filters"], side: int, margin: int
) -> Float[Array, "*batch h2 w2 filters"]:
    """Return images convolved at stride 1, with a derivative that is a convolution too.

    The derivative with respect to an image is the convolution of the outputs' derivatives with the filters turned by
    180°: one product with patches. What JAX derives instead, the derivative of the patches, is nine times as large
    as the image and has to be added up pixel by pixel, which takes one core longer than all products together: five
    seeds of ER on Omniglot learn 1.8 times as fast with this derivative. Several cores divide that addition among
    them, but not the smaller loops of this derivative, and are faster without it.

    Weights are a matrix, and their derivative is one contraction without a transposition: under `jax.vmap` over images
    with the same weights XLA then makes one product of the products and their sum, in half the time.
    """
    patches = unfold(x, side, 1, margin)
    return (patches.reshape(-1, patches.shape[-1]) @ weight).reshape(*patches.shape[:-1], -1)


def _convolve_forwards(
    x: Float[Array, "*batch h w channels"], weight: Float[Array, "pixels filters"], side: int, margin: int
) -> tuple[Float[Array, "*batch h2 w2 filters"], tuple[Array, Array]]:
    return _convolve_on_one_core(x, weight, side, margin), (x, weight)


def _convolve_backwards(
    side: int, margin: int, given: tuple[Array, Array], derivative: Float[Array, "*batch h2 w2 filters"]
) -> tuple[Float[Array, "*batch h w channels"], Float[Array, "pixels filters"]]:
    x, weight = given
    n_filters = weight.shape[-1]
    patches = unfold(x, side, 1, margin)
    of_weight = jnp.tensordot(patches.reshape(-1, patches.shape[-1]), derivative.reshape(-1, n_filters), (0, 0))
    turned = jnp.swapaxes(weight.reshape(side, side, -1, n_filters)[::-1, ::-1], 2, 3)
    return convolve(derivative, turned, margin=side - 1 - margin), of_weight


_convolve_on_one_core.defvjp(_convolve_forwards, _convolve_backwards)


def unfold(
    x: Float[Array, "*batch h w channels"], side: int, stride: int = 1, margin: int = 0
) -> Float[Array, "*batch h2 w2 pixels"]:
    """Return the patches on which square filters lie, each as one row, for `convolve_patches`.

    Where the stride divides the filters' side, an image is first cut into blocks of one stride: a patch is then a few
    blocks, and the pixels of a patch come block by block.

    Args:
        x: images.
        side: of the filters.
        stride: distance between neighbouring patches, in pixels.
        margin: width of the zeros put around the images.
    """
    padded = jnp.pad(x, [(0, 0)] * (x.ndim - 3) + [(margin, margin), (margin, margin), (0, 0)])
    height, width = ((size - side) // stride + 1 for size in padded.shape[-3:-1])
    block = _block(side, stride)
    blocks, step = _in_blocks(padded, block), stride // block
    shifted = [
        blocks[..., row : row + step * (height - 1) + 1 : step, column : column + step * (width - 1) + 1 : step, :]
        for row in range(side // block)
        for column in range(side // block)
    ]
    return jnp.concatenate(shifted, axis=-1)


def convolve_patches(
    patches: Float[Array, "*batch h2 w2 pixels"], weight: Float[Array, "k k channels filters"], stride: int = 1
) -> Float[Array, "*batch h2 w2 filters"]:
    """Return images convolved with square filters, given their patches (`unfold`, with the same stride)."""
    side, _, channels, n_filters = weight.shape
    block = _block(side, stride)
    across = side // block
    ordered = jnp.swapaxes(weight.reshape(across, block, across, block, channels, n_filters), 1, 2)
    flat = patches.reshape(-1, patches.shape[-1]) @ ordered.reshape(-1, n_filters)
    return flat.reshape(*patches.shape[:-1], -1)


def _block(side: int, stride: int) -> int:
    """Return the side of the blocks of which patches are made."""
    return stride if side % stride == 0 else 1


def _in_blocks(x: Float[Array, "*batch h w channels"], block: int) -> Float[Array, "*batch rows columns pixels"]:
    """Return images cut into square blocks, each as one row; what is left over below and on the right is cut off."""
    *batch, height, width, channels = x.shape
    rows, columns = height // block, width // block
    x = x[..., : rows * block, : columns * block, :].reshape(*batch, rows, block, columns, block, channels)
    return jnp.swapaxes(x, -4, -3).reshape(*batch, rows, columns, block * block * channels)


def max_pool(x: Float[Array, "*batch h w channels"]) -> Float[Array, "*batch h2 w2 channels"]:
    """Return the largest value of each 2×2 window; an odd last row or column is left out."""
    *batch, height, width, channels = x.shape
    x = x[..., : height // 2 * 2, : width // 2 * 2, :]
    x = x.reshape(*batch, height // 2, 2, width // 2, 2 * channels)
    rows = jnp.maximum(x[..., 0, :, :], x[..., 1, :, :])
    return jnp.maximum(rows[..., :channels], rows[..., channels:])
