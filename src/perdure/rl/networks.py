"""Networks from one observation to the values of all actions."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from perdure.core import AnyArray
from perdure.models import MLP
from perdure.models.convolution import convolve

HIDDEN = (64, 64)
"""Units of each hidden layer of the perceptron."""
_FILTERS = ((8, 4, 32), (4, 2, 64), (3, 1, 64))
"""Side, stride and number of filters of each convolution (Mnih et al. 2015, Methods)."""
_UNITS = 512


class MnihNetwork(eqx.Module):
    """The network of Mnih et al. (2015): three convolutions and a layer of 512 units, each followed by ReLU.

    Source: "Human-level control through deep reinforcement learning", Nature 518, Methods.

    Weights are uniform in ±sqrt(6 / (fan in + fan out)) (Glorot & Bengio 2010), biases zero.
    """

    filters: tuple[Float[Array, "side side channels filters"], ...]
    biases: tuple[Float[Array, " filters"], ...]
    head: MLP

    def __init__(self, observation_shape: tuple[int, ...], n_actions: int, *, key: PRNGKeyArray):
        """Draw the weights.

        Args:
            observation_shape: (frames, height, width) of an observation, at least 36 × 36 pixels.
            n_actions: number of actions.
            key: random key for the weights.

        Raises:
            ValueError: if observations have another form, or are too small for the convolutions.
        """
        if len(observation_shape) != 3 or min(observation_shape[1:]) < 36:
            raise ValueError(
                f"observations of shape {observation_shape} were given, expected (frames, height, width) of at least "
                "36 × 36 pixels; give frames, or use a perceptron for vectors of numbers"
            )
        *keys, head_key = jax.random.split(key, len(_FILTERS) + 1)
        depth, *sides = observation_shape
        filters, biases = [], []
        for (side, stride, width), filter_key in zip(_FILTERS, keys, strict=True):
            bound = (6 / (side**2 * (depth + width))) ** 0.5
            shape = (side, side, depth, width)
            filters.append(jax.random.uniform(filter_key, shape, minval=-bound, maxval=bound))
            biases.append(jnp.zeros(width))
            sides = [(size - side) // stride + 1 for size in sides]
            depth = width
        self.filters, self.biases = tuple(filters), tuple(biases)
        self.head = MLP(depth * sides[0] * sides[1], n_actions, (_UNITS,), key=head_key)

    def __call__(self, x: Float[Array, "frames height width"]) -> Float[Array, " actions"]:
        """Return the values of all actions for one observation."""
        x = jnp.moveaxis(x, 0, -1)
        for filters, bias, (_, stride, _) in zip(self.filters, self.biases, _FILTERS, strict=True):
            x = jax.nn.relu(convolve(x, filters, stride, margin=0) + bias[None, None])
        return self.head(x)


def default_network(observation: Shaped[AnyArray, ...], n_actions: int, key: PRNGKeyArray) -> MLP | MnihNetwork:
    """Return a perceptron with two layers of 64 units for vectors of numbers, `MnihNetwork` for frames.

    Args:
        observation: one, read for its shape and dtype only; frames are `uint8`.
        n_actions: number of actions.
        key: random key for the weights.
    """
    if observation.dtype == jnp.uint8:
        return MnihNetwork(observation.shape, n_actions, key=key)
    return MLP(int(np.prod(observation.shape)), n_actions, HIDDEN, key=key)
