"""Networks in two parts: an encoder that is learned beforehand, and a head that learns online on its features."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from perdure.core import AnyArray, as_features
from perdure.learners.gaussian import GaussianHead
from perdure.models import MLP
from perdure.models.convolution import convolve
from perdure.representation.blocks import BlockEncoder
from perdure.representation.gated import GatedEncoder
from perdure.representation.images import as_channels_last, check_depth, image_shape

STRIDES = (2, 1, 2, 1, 2, 2)
"""Of the published network's convolutions."""
PUBLISHED_OUTPUTS = 1000
"""Of the published network."""
_ENCODED_TOGETHER = 256


class ConvEncoder(eqx.Module):
    """3×3 convolutions without zeros around the image, each followed by ReLU; their last outputs are the features.

    Filters start normal with variance 2 / fan in (He et al. 2015), biases at zero.

    Source: Javed & White (2019), released code.
    """

    filters: tuple[Float[Array, "3 3 _ width"], ...]
    biases: tuple[Float[Array, " width"], ...]
    input_shape: tuple[int, int, int] = eqx.field(static=True)
    """Channels, height and width."""
    strides: tuple[int, ...] = eqx.field(static=True)

    def __init__(
        self, input_shape: Sequence[int], width: int = 256, strides: Sequence[int] = STRIDES, *, key: PRNGKeyArray
    ):
        """Draw the weights.

        Args:
            input_shape: (height, width) or (channels, height, width) of an image.
            width: filters of each convolution.
            strides: of each convolution, in pixels.
            key: random key for the weights.

        Raises:
            ValueError: if the input is no image, a size is below 1, or the image is too small for the convolutions.
        """
        shape = image_shape(input_shape)
        if not strides or min(width, *strides) < 1:
            raise ValueError(
                f"{width} filters and strides {tuple(strides)} were given, expected one or more, sizes ≥ 1"
            )
        channels, *sides = shape
        for stride in strides:
            sides = [(side - 3) // stride + 1 for side in sides]
            if min(sides) < 1:
                raise ValueError(
                    f"images of shape {tuple(input_shape)} are too small for 3×3 convolutions with strides "
                    f"{tuple(strides)}; give larger images or fewer strides"
                )
        depths = [channels] + [width] * (len(strides) - 1)
        self.filters = tuple(
            (2 / (9 * depth)) ** 0.5 * jax.random.normal(filter_key, (3, 3, depth, width))
            for depth, filter_key in zip(depths, jax.random.split(key, len(strides)), strict=True)
        )
        self.biases = tuple(jnp.zeros(width) for _ in strides)
        self.input_shape = shape
        self.strides = tuple(strides)

    @property
    def n_features(self) -> int:
        """Number of features."""
        return jax.eval_shape(self, jax.ShapeDtypeStruct(self.input_shape, self.filters[0].dtype)).size

    def __call__(self, x: Float[Array, ...]) -> Float[Array, "*batch features"]:
        """Return the features of images (..., height, width) or (..., channels, height, width).

        Raises:
            ValueError: if the images have another shape than the encoder was made for.
        """
        batch, x = as_channels_last(x, self.input_shape)
        for filters, bias, stride in zip(self.filters, self.biases, self.strides, strict=True):
            outputs = convolve(x, filters, stride, margin=0)
            x = jax.nn.relu(outputs + bias.reshape((1,) * (outputs.ndim - 1) + bias.shape))
        return x.reshape(*batch, -1)


class DenseEncoder(eqx.Module):
    """Dense layers, each followed by ReLU; their last outputs are the features.

    Weights start normal with variance 2 / fan in (He et al. 2015), biases at zero.

    Source: Javed & White (2019), the network of the regression experiment.
    """

    layers: tuple[eqx.nn.Linear, ...]

    def __init__(self, in_size: int, widths: Sequence[int] = (300,) * 5, *, key: PRNGKeyArray):
        """Draw the weights.

        Args:
            in_size: numbers of one input.
            widths: units of each layer, at least one layer.
            key: random key for the weights.

        Raises:
            ValueError: if a size is below 1 or there is no layer.
        """
        if not widths or min(in_size, *widths) < 1:
            raise ValueError(
                f"layers of {tuple(widths)} units on {in_size} inputs were requested, expected one or more, sizes ≥ 1"
            )
        self.layers = he_layers([in_size, *widths], key)

    @property
    def n_features(self) -> int:
        """Number of features."""
        return self.layers[-1].weight.shape[0]

    def __call__(self, x: Float[Array, "*batch inputs"]) -> Float[Array, "*batch features"]:
        """Return the features of inputs.

        Raises:
            ValueError: if an input has another number of values than the encoder was made for.
        """
        expected = self.layers[0].weight.shape[1]
        if x.shape[-1] != expected:
            raise ValueError(
                f"inputs of shape {x.shape} were given, the encoder was made for {expected} values each; "
                "give inputs of its size, or train an encoder for theirs"
            )
        for layer in self.layers:
            assert layer.bias is not None
            x = x @ layer.weight.T
            x = jax.nn.relu(x + layer.bias.reshape((1,) * (x.ndim - 1) + layer.bias.shape))
        return x


ImageEncoder = ConvEncoder | BlockEncoder | GatedEncoder
Encoder = ImageEncoder | DenseEncoder


class GaussianPrior(eqx.Module):
    """The prior of a `GaussianHead`, learned with the encoder: logarithms, so that no step leaves its range."""

    log_shape: Float[Array, ""]
    """Of α − 1/2."""
    log_rate: Float[Array, ""]
    """Of β."""

    def head(self, *, predictive: bool) -> GaussianHead:
        """Return the head that has this prior."""
        return GaussianHead(0.5 + jnp.exp(self.log_shape), jnp.exp(self.log_rate), predictive=predictive)


class Representation(eqx.Module):
    """An encoder and what was learned beside it for a head."""

    encoder: Encoder
    """Learned beforehand (in the paper RLN); online it stays as it is."""
    head: MLP | GaussianPrior | None
    """A network that learns online (in the paper PLN); the prior of a head in closed form; or nothing, for heads that
    have no parameters."""

    def __call__(self, x: Float[Array, ...]) -> Float[Array, " outputs"]:
        """Return the outputs for one input.

        Raises:
            TypeError: if the head is in closed form, which answers only what it has learned.
        """
        return network_head(self)(self.encoder(x))


def network_head(model: Representation) -> MLP:
    """Return the head, a network.

    Raises:
        TypeError: if the representation was trained for a head in closed form.
    """
    if not isinstance(model.head, MLP):
        raise TypeError(
            "the representation was trained for a head in closed form and has no network for one; use it with heads "
            "such as LDA(), or draw a network: perdure.representation.Representation(model.encoder, he_head(...))"
        )
    return model.head


def learning_network(model: Representation, n_classes: int) -> MLP:
    """Return the network that learns classes by gradient steps: the head, or a linear layer if that is no network.

    Args:
        model: encoder and head.
        n_classes: numbers of outputs that a linear layer must have; it has 1,000 or more, as published for OML.
    """
    if isinstance(model.head, MLP):
        return model.head
    return he_head(model.encoder.n_features, (), max(n_classes, PUBLISHED_OUTPUTS), jax.random.key(0))


def encode(encoder: Encoder, x: Shaped[AnyArray, "n ..."]) -> Float[Array, "n features"]:
    """Return the features of inputs, pixels or floats, however many there are.

    Raises:
        ValueError: if the inputs have another size or depth than the encoder was made for.
    """
    if not isinstance(encoder, DenseEncoder):
        if x.ndim > 4:
            raise ValueError(
                f"inputs have shape {x.shape}, expected (n, height, width) or (n, channels, height, width); bring all "
                f"into one row after another: x.reshape(-1, *x.shape[-{min(3, len(encoder.input_shape))}:])"
            )
        check_depth(x.shape[1:], encoder.input_shape)
    return jax.lax.map(lambda one: encoder(as_features(one)), jnp.asarray(x), batch_size=_ENCODED_TOGETHER)


def he_head(in_size: int, hidden_sizes: Sequence[int], out_size: int, key: PRNGKeyArray) -> MLP:
    """Return a head whose weights are normal with variance 2 / fan in (He et al. 2015) and whose biases are zero.

    Args:
        in_size: number of features.
        hidden_sizes: units of each hidden layer; none for a linear head.
        out_size: number of outputs.
        key: random key for the weights.
    """
    shapes = jax.eval_shape(lambda key: MLP(in_size, out_size, hidden_sizes, key=key), key)
    return eqx.tree_at(lambda it: it.layers, shapes, he_layers([in_size, *hidden_sizes, out_size], key))


def fresh_head(head: MLP, key: PRNGKeyArray) -> MLP:
    """Return a head of the same sizes with weights redrawn, as `he_head` draws them."""
    in_size = head.layers[0].weight.shape[1]
    *hidden_sizes, out_size = (layer.weight.shape[0] for layer in head.layers)
    return he_head(in_size, hidden_sizes, out_size, key)


def he_layers(sizes: Sequence[int], key: PRNGKeyArray) -> tuple[eqx.nn.Linear, ...]:
    """Return linear layers from each size to the next, weights normal with variance 2 / fan in, biases zero."""
    keys = jax.random.split(key, len(sizes) - 1)
    layers = []
    for fan_in, fan_out, layer_key in zip(sizes[:-1], sizes[1:], keys, strict=True):
        layer = eqx.nn.Linear(fan_in, fan_out, key=layer_key)
        weight = (2 / fan_in) ** 0.5 * jax.random.normal(layer_key, (fan_out, fan_in))
        layers.append(eqx.tree_at(lambda it: (it.weight, it.bias), layer, (weight, jnp.zeros(fan_out))))
    return tuple(layers)


def n_inputs(encoder: Encoder) -> int:
    """Return the number of values of one input."""
    return encoder.layers[0].weight.shape[1] if isinstance(encoder, DenseEncoder) else prod(encoder.input_shape)
