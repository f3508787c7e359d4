"""The recorded runs of the released OML code: networks by their recorded names, and what was drawn."""

from __future__ import annotations

import json

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perdure.models import MLP
from perdure.representation.episodes import Episode
from perdure.representation.network import ConvEncoder, DenseEncoder, Representation


@pytest.fixture
def in_float64():
    """Float64 for one test, as the recorded runs have it."""
    with jax.enable_x64(True):
        yield


class Recording:
    """A recorded run: its arrays by name, its networks and episodes. All sizes are those of the file."""

    def __init__(self, arrays):
        self.arrays = arrays

    @classmethod
    def read(cls, file):
        """Read a file."""
        with np.load(file) as arrays:
            return cls(dict(arrays))

    def __getitem__(self, key):
        return self.arrays[key]

    def __contains__(self, key):
        return key in self.arrays

    def network(self, prefix):
        """Return the network whose recorded parameters have names with this prefix, in float64."""
        config = json.loads(str(self["config"]))
        layers = [it for it in config if it["type"] in ("conv", "linear")]
        lower, upper = ([it for it in layers if it["adapted"] is part] for part in (False, True))
        key = jax.random.key(0)
        head = MLP(upper[0]["inp"], upper[-1]["out"], [it["out"] for it in upper[:-1]], key=key)
        if lower[0]["type"] == "conv":
            strides = [it["stride"] for it in lower]
            encoder = ConvEncoder(self.image_shape(), lower[0]["out"], strides, key=key)
        else:
            encoder = DenseEncoder(lower[0]["inp"], [it["out"] for it in lower], key=key)
        model = Representation(encoder, head)
        return eqx.tree_at(self.leaves, model, self.parameters(prefix, model))

    def image_shape(self):
        """Return channels, height and width of the recorded images."""
        return next(self[name].shape[-3:] for name in ("u0.x_traj", "x_train", "x") if name in self)

    @staticmethod
    def leaves(model):
        """Return weights and biases, layer after layer: encoder, then head."""
        encoder = model.encoder
        if isinstance(encoder, ConvEncoder):
            pairs = [*zip(encoder.filters, encoder.biases, strict=True)]
        else:
            pairs = [(it.weight, it.bias) for it in encoder.layers]
        pairs += [(it.weight, it.bias) for it in model.head.layers]
        return [leaf for pair in pairs for leaf in pair]

    def parameters(self, prefix, model, else_prefix=""):
        """Return recorded arrays in the order of `leaves`, laid out as the network's.

        What the recording does not have by its prefix is taken by the other one.
        """
        names = [(f"{prefix}.{name}", f"{else_prefix}.{name}") for name in self["param_names"]]
        arrays = [self[name] if name in self else self[other] for name, other in names]
        if isinstance(model.encoder, ConvEncoder):
            n = 2 * len(model.encoder.filters)
            for at in range(0, n, 2):
                arrays[at] = np.moveaxis(arrays[at], (0, 1), (3, 2))  # out, in, k, k -> k, k, in, out
            arrays[n] = channels_last(arrays[n], model.encoder)
        return [jnp.asarray(array) for array in arrays]

    def episode(self, update):
        """Return a recorded episode; targets without the column that is not used."""
        x, y, query_x, query_y = (self[f"u{update}.{name}"] for name in ("x_traj", "y_traj", "x_rand", "y_rand"))
        query_x, query_y = query_x[0], query_y[0]
        if y.dtype.kind == "f":
            y, query_y = y[..., :1], query_y[..., :1]
        x, y, query_x, query_y = map(jnp.asarray, (x, y, query_x, query_y))
        return Episode(x, y, query_x, query_y, jnp.zeros(0, jnp.int32))


def channels_last(columns, encoder):
    """Return columns for features in order channel, row, column as columns for row, column, channel."""
    _, *sides = encoder.input_shape
    for filters, stride in zip(encoder.filters, encoder.strides, strict=True):
        sides = [(side - size) // stride + 1 for side, size in zip(sides, filters.shape[:2], strict=True)]
    spread = columns.reshape(*columns.shape[:-1], -1, *sides)
    return np.moveaxis(spread, -3, -1).reshape(columns.shape)
