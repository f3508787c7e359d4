"""Convolutional features that a second network gates: the encoder of ANML."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from perdure.models.convolution import convolve, max_pool
from perdure.representation.images import as_channels_last, image_shape

_EPSILON = 1e-5


class NormalizedConvolutions(eqx.Module):
    """3×3 convolutions without zeros around the image, each normalised and followed by ReLU, with pooling in between.

    Every channel of every image is normalised over its positions, in training as in use, then scaled and shifted:
    instance normalisation, which ANML's released code does as batch normalisation of one image at a time. So an image
    has the same features alone as among others. Pooling takes the maxima of 2×2 windows. Filters start normal with
    variance 2 / fan in (He et al. 2015), scales at one and shifts at zero. Convolutions have no biases, which the
    normalisation would take away.
    """

    filters: tuple[Float[Array, "3 3 _ width"], ...]
    scales: tuple[Float[Array, " width"], ...]
    shifts: tuple[Float[Array, " width"], ...]

    def __init__(self, depth: int, width: int, convolutions: int, *, key: PRNGKeyArray):
        """Draw the weights.

        Args:
            depth: channels of an image.
            width: filters of each convolution.
            convolutions: number of them.
            key: random key for the weights.
        """
        depths = [depth] + [width] * convolutions
        self.filters = tuple(
            (2 / (9 * fan_in)) ** 0.5 * jax.random.normal(filter_key, (3, 3, fan_in, fan_out))
            for (fan_in, fan_out), filter_key in zip(pairwise(depths), jax.random.split(key, convolutions), strict=True)
        )
        self.scales = tuple(jnp.ones(width) for _ in self.filters)
        self.shifts = tuple(jnp.zeros(width) for _ in self.filters)

    def __call__(self, x: Float[Array, "*batch h w c"]) -> Float[Array, "*batch features"]:
        """Return the last outputs for images, channels last."""
        for place, (filters, scale, shift) in enumerate(zip(self.filters, self.scales, self.shifts, strict=True)):
            x = max_pool(x) if place else x
            x = jax.nn.relu(_standardized(convolve(x, filters, margin=0)) * _spread(scale, x) + _spread(shift, x))
        return x.reshape(*x.shape[:-3], -1)


class GatedEncoder(eqx.Module):
    """Features of one network, each multiplied by a number between 0 and 1 that a second network sees in the image.

    Both networks are `NormalizedConvolutions`; the second has a linear layer and a sigmoid above. Its weights start
    normal with variance 2 / fan in (He et al. 2015), its biases at zero.

    Source: Beaulieu et al. (2020), "Learning to Continually Learn", arXiv 2002.09571, and their released code.
    """

    features: NormalizedConvolutions
    """In the paper the prediction network without its last layer."""
    gating: NormalizedConvolutions
    """In the paper, with the linear layer, the neuromodulatory network."""
    gate_weights: Float[Array, "features units"]
    gate_biases: Float[Array, " features"]
    input_shape: tuple[int, int, int] = eqx.field(static=True)
    """Channels, height and width."""

    def __init__(
        self,
        input_shape: Sequence[int],
        width: int = 256,
        gate_width: int = 112,
        convolutions: int = 3,
        *,
        key: PRNGKeyArray,
    ):
        """Draw the weights.

        Args:
            input_shape: (height, width) or (channels, height, width) of an image.
            width: filters of each convolution of the features.
            gate_width: filters of each convolution of the gating network.
            convolutions: of either network.
            key: random key for the weights.

        Raises:
            ValueError: if the input is no image, a size is below 1, or the image is too small for the convolutions.
        """
        shape = image_shape(input_shape)
        if min(width, gate_width, convolutions) < 1:
            raise ValueError(
                f"width = {width}, gate_width = {gate_width} and convolutions = {convolutions} were given, expected "
                "numbers ≥ 1"
            )
        n_positions = gated_positions(shape, convolutions)
        if n_positions < 2:
            raise ValueError(
                f"images of shape {tuple(input_shape)} are too small for {convolutions} 3×3 convolutions with pooling "
                "in between, of whose last outputs two positions or more must be left; give larger images or fewer "
                "convolutions"
            )
        feature_key, gating_key, gate_key = jax.random.split(key, 3)
        self.features = NormalizedConvolutions(shape[0], width, convolutions, key=feature_key)
        self.gating = NormalizedConvolutions(shape[0], gate_width, convolutions, key=gating_key)
        n_units, n_features = n_positions * gate_width, n_positions * width
        self.gate_weights = (2 / n_units) ** 0.5 * jax.random.normal(gate_key, (n_features, n_units))
        self.gate_biases = jnp.zeros(n_features)
        self.input_shape = shape

    @property
    def n_features(self) -> int:
        """Number of features."""
        return len(self.gate_biases)

    def gates(self, x: Float[Array, "*batch h w c"]) -> Float[Array, "*batch features"]:
        """Return what the features of images, channels last, are multiplied by."""
        sums = self.gating(x) @ self.gate_weights.T
        return jax.nn.sigmoid(sums + _spread(self.gate_biases, sums))

    def __call__(self, x: Float[Array, ...]) -> Float[Array, "*batch features"]:
        """Return the features of images (..., height, width) or (..., channels, height, width).

        Raises:
            ValueError: if the images have another shape than the encoder was made for.
        """
        _, x = as_channels_last(x, self.input_shape)
        return self.features(x) * self.gates(x)


def gated_positions(input_shape: tuple[int, int, int], convolutions: int) -> int:
    """Return the number of positions of the last outputs for images (channels, height, width); 0 if there are none."""
    _, height, width = input_shape
    for place in range(convolutions):
        height, width = ((side // 2 if place else side) - 2 for side in (height, width))
    return max(height, 0) * max(width, 0)


def _standardized(x: Float[Array, "*batch h w c"]) -> Float[Array, "*batch h w c"]:
    """Return the values of each channel of each image with mean 0 and variance 1 over its positions."""
    centred = x - x.mean(axis=(-3, -2), keepdims=True)
    return centred * jax.lax.rsqrt(jnp.mean(centred**2, axis=(-3, -2), keepdims=True) + _EPSILON)


def _spread(values: Float[Array, " c"], like: Float[Array, ...]) -> Float[Array, "..."]:
    """Return values with as many axes as an array whose last axis they belong to."""
    return values.reshape((1,) * (like.ndim - 1) + values.shape)
