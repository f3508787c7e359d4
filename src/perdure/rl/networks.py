"""Networks from one observation to the values of all actions."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, PyTree, Shaped

from perdure.core import AnyArray
from perdure.models import MLP
from perdure.models.convolution import convolve, convolve_patches, unfold

MakeNetwork = Callable[[AnyArray, int, PRNGKeyArray], PyTree]
"""From an observation, a number of outputs and a key to a network."""
HIDDEN = (64, 64)
"""Units of each hidden layer of the perceptron."""


class FrameLayers(NamedTuple):
    """Sizes of a network for frames."""

    filters: tuple[tuple[int, int, int], ...]
    """Side, stride and number of filters of each convolution."""
    units: int
    """Units of the dense layer after them."""


MNIH_2015 = FrameLayers(((8, 4, 32), (4, 2, 64), (3, 1, 64)), 512)
"""Mnih et al. (2015), "Human-level control through deep reinforcement learning", Nature 518, Methods."""
MNIH_2013 = FrameLayers(((8, 4, 16), (4, 2, 32)), 256)
"""Mnih et al. (2013), "Playing Atari with Deep Reinforcement Learning", arXiv:1312.5602, section 4.1."""
_LARGE = 84
"""Side of the pictures for which both networks were published; smaller ones get the smaller network."""


class MnihNetwork(eqx.Module):
    """A network of Mnih et al. for frames: convolutions and a dense layer, each followed by ReLU, and a linear layer.

    Weights are uniform in ±sqrt(6 / (fan in + fan out)) (Glorot & Bengio 2010), biases zero. Where the strides do not
    come out even, as they do for 84 × 84 pixels, frames get a margin of zeros: without it, the convolutions would not
    reach what is at the right and below.
    """

    filters: tuple[Float[Array, "side side channels filters"], ...]
    biases: tuple[Float[Array, " filters"], ...]
    head: MLP
    strides: tuple[int, ...] = eqx.field(static=True)
    margins: tuple[tuple[int, int], tuple[int, int]] = eqx.field(static=True)
    """Rows above and below, columns to the left and to the right."""

    def __init__(
        self,
        observation_shape: tuple[int, ...],
        n_actions: int,
        layers: FrameLayers = MNIH_2015,
        *,
        key: PRNGKeyArray,
    ):
        """Draw the weights.

        Args:
            observation_shape: (frames, height, width) of an observation, at least 36 × 36 pixels for `MNIH_2015` and
                20 × 20 for `MNIH_2013`.
            n_actions: number of actions.
            layers: sizes of the layers.
            key: random key for the weights.

        Raises:
            ValueError: if observations have another form, or are too small for the convolutions.
        """
        smallest = _seen(1, layers)
        if len(observation_shape) != 3 or min(observation_shape[1:]) < smallest:
            raise ValueError(
                f"observations of shape {observation_shape} were given, expected (frames, height, width) of at least "
                f"{smallest} × {smallest} pixels; give frames, or use a perceptron for vectors of numbers"
            )
        *keys, head_key = jax.random.split(key, len(layers.filters) + 1)
        depth, *shown = observation_shape
        sides = [_covering(side, layers) for side in shown]
        self.margins = _margins(sides[0] - shown[0]), _margins(sides[1] - shown[1])
        filters, biases = [], []
        for (side, stride, width), filter_key in zip(layers.filters, keys, strict=True):
            bound = (6 / (side**2 * (depth + width))) ** 0.5
            shape = (side, side, depth, width)
            filters.append(jax.random.uniform(filter_key, shape, minval=-bound, maxval=bound))
            biases.append(jnp.zeros(width))
            sides = [(size - side) // stride + 1 for size in sides]
            depth = width
        self.filters, self.biases = tuple(filters), tuple(biases)
        self.strides = tuple(stride for _, stride, _ in layers.filters)
        self.head = MLP(depth * sides[0] * sides[1], n_actions, (layers.units,), key=head_key)

    def __call__(self, x: Float[Array, "frames height width"]) -> Float[Array, " actions"]:
        """Return the values of all actions for one observation."""
        return self.head(self.features(self.unfolded(x)))

    def unfolded(self, x: Float[Array, "*batch frames height width"]) -> Float[Array, "*batch h2 w2 pixels"]:
        """Return the patches of the first convolution, which do not depend on the weights."""
        padded = jnp.pad(x, [(0, 0)] * (x.ndim - 2) + list(self.margins))
        return unfold(jnp.moveaxis(padded, -3, -1), len(self.filters[0]), self.strides[0])

    def features(self, patches: Float[Array, "h2 w2 pixels"]) -> Float[Array, " features"]:
        """Return what the head is given, for one observation's patches."""
        first, *others = zip(self.filters, self.biases, self.strides, strict=True)
        filters, bias, stride = first
        x = jax.nn.relu(convolve_patches(patches, filters, stride) + bias[None, None])
        for filters, bias, stride in others:
            x = jax.nn.relu(convolve(x, filters, stride, margin=0) + bias[None, None])
        return x.ravel()


def _seen(positions: int, layers: FrameLayers) -> int:
    """Return the side of pictures of which the last convolution has this many positions, with no pixel left over."""
    for side, stride, _ in reversed(layers.filters):
        positions = (positions - 1) * stride + side
    return positions


def _covering(shown: int, layers: FrameLayers) -> int:
    """Return the smallest side, at least this one, of which the convolutions see every pixel."""
    return next(seen for positions in count(1) if (seen := _seen(positions, layers)) >= shown)


def _margins(missing: int) -> tuple[int, int]:
    return missing // 2, missing - missing // 2


def default_network(observation: Shaped[AnyArray, ...], n_actions: int, key: PRNGKeyArray) -> MLP | MnihNetwork:
    """Return a perceptron with two layers of 64 units for vectors of numbers, `MnihNetwork` for frames.

    Frames of at least 84 × 84 pixels get the layers of `MNIH_2015`, smaller ones those of `MNIH_2013`.

    Args:
        observation: one, read for its shape and dtype only; frames are `uint8`.
        n_actions: number of actions.
        key: random key for the weights.
    """
    if observation.dtype == jnp.uint8:
        layers = MNIH_2015 if min(observation.shape[1:], default=0) >= _LARGE else MNIH_2013
        return MnihNetwork(observation.shape, n_actions, layers, key=key)
    return MLP(int(np.prod(observation.shape)), n_actions, HIDDEN, key=key)
