"""Convolutional network, the network of the Omniglot experiments."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from perdure.core import Example
from perdure.models.convolution import convolve, max_pool
from perdure.models.mlp import glorot_linear
from perdure.models.narrowing import narrowed_width

_DEPTH = 4
_SMALLEST = 2**_DEPTH


class ConvNet(eqx.Module):
    """Four 3×3 convolutions, each with 2×2 max pooling and ReLU, and a linear layer.

    The network is our choice: the Omniglot experiment of Riemer et al. (2019) names none. It has no batch
    normalisation, because examples come one at a time and a batch of one has no other examples to compare with.
    Filters start normal with variance 2 / fan in (He et al. 2015), the linear layer as in `MLP`, biases at zero. With
    Glorot's filters as in `MLP` the network starts too slowly: 0.5 % of held-out drawings of 200 characters right after
    one pass at rate 0.01 and 17 % after three, against 12 % and 52 %.
    """

    filters: tuple[Float[Array, "3 3 _ width"], ...]
    biases: tuple[Float[Array, " width"], ...]
    head: eqx.nn.Linear
    input_shape: tuple[int, int, int] = eqx.field(static=True)

    def __init__(self, input_shape: tuple[int, ...], n_outputs: int, width: int = 64, *, key: PRNGKeyArray):
        """Draw the weights.

        Args:
            input_shape: (height, width) or (channels, height, width) of an image, at least 16 high and wide.
            n_outputs: number of outputs.
            width: filters of each convolution.
            key: random key for the weights.

        Raises:
            ValueError: if the input is no such image, or a size is below 1.
        """
        shape = (1, *input_shape) if len(input_shape) == 2 else input_shape
        if len(shape) != 3 or shape[0] < 1 or min(shape[1:]) < _SMALLEST:
            raise ValueError(
                f"inputs of shape {input_shape} were given, a ConvNet expects images of shape (height, width) or "
                f"(channels, height, width), at least {_SMALLEST} high and wide; use an MLP, or enlarge the images"
            )
        if min(n_outputs, width) < 1:
            raise ValueError(
                f"a ConvNet with {n_outputs} outputs and {width} filters was requested, expected at least 1 of each"
            )
        channels, height, breadth = shape
        *filter_keys, head_key = jax.random.split(key, _DEPTH + 1)
        depths = [channels] + [width] * (_DEPTH - 1)
        self.input_shape = (channels, height, breadth)
        self.filters = tuple(
            (2 / (9 * depth)) ** 0.5 * jax.random.normal(filter_key, (3, 3, depth, width))
            for depth, filter_key in zip(depths, filter_keys, strict=True)
        )
        self.biases = tuple(jnp.zeros(width) for _ in depths)
        self.head = glorot_linear((height // _SMALLEST) * (breadth // _SMALLEST) * width, n_outputs, head_key)

    def __call__(self, x: Float[Array, ...]) -> Float[Array, " outputs"]:
        """Return the outputs for one image; the channel axis may be left out if there is one channel.

        Raises:
            ValueError: if the image has another shape than the model was made for.
        """
        if x.shape != self.input_shape and (1, *x.shape) != self.input_shape:
            raise ValueError(
                f"the input has shape {x.shape}, the model expects {self.input_shape} (channels, height, width); "
                "build the model for that shape or give it images of its own"
            )
        x = jnp.moveaxis(x.reshape(self.input_shape), 0, -1)
        for filters, bias in zip(self.filters, self.biases, strict=True):
            # ReLU after pooling: the same values as before it, for a quarter of the work.
            x = jax.nn.relu(max_pool(convolve(x, filters)) + bias[None, None])
        return self.head(x.ravel())

    def narrowed(self, n: int, key: PRNGKeyArray) -> ConvNet:
        """Return a fresh network with `n` times fewer filters in each layer, at least 1 (see `Narrowable`)."""
        n_outputs, width = self.head.weight.shape[0], self.biases[0].shape[0]
        return ConvNet(self.input_shape, n_outputs, narrowed_width(width, n), key=key)


def omniglot_convnet(example: Example, n_outputs: int, key: PRNGKeyArray) -> ConvNet:
    """Return the network of the Omniglot experiment for images like `example.x`."""
    return ConvNet(jnp.shape(example.x), n_outputs, key=key)
