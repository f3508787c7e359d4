"""Batch normalisation, and which leaves of a model are learned.

Prediction normalises with the running statistics, one image at a time. Training normalises with the statistics of the
batch, which for a batch of one image (an SGD step of MER) are those of that image's positions; each training step
moves the running statistics. A Reptile step interpolates running statistics together with the weights, since both are
float leaves of the model: the state of the model as a whole moves part of the way.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PyTree

_EPSILON = 1e-5
_MOMENTUM = 0.1

Model = TypeVar("Model", bound=PyTree)


class Statistics(eqx.Module):
    """Running statistics of a layer's inputs: part of a model, moved by training, never differentiated."""

    mean: Float[Array, " channels"]
    variance: Float[Array, " channels"]


class BatchNorm(eqx.Module):
    """Batch normalisation of each channel (Ioffe & Szegedy 2015), channels last, with PyTorch's conventions.

    ε is 1e-5, and a running statistic moves a tenth of the way to the batch's. The variance that normalises is the
    mean squared deviation; the one that the running variance moves to is the unbiased estimate.
    """

    scale: Float[Array, " channels"]
    shift: Float[Array, " channels"]
    running: Statistics

    def __init__(self, channels: int):
        """Start with scale 1, shift 0, running mean 0 and running variance 1."""
        self.scale = jnp.ones(channels)
        self.shift = jnp.zeros(channels)
        self.running = Statistics(jnp.zeros(channels), jnp.ones(channels))

    def __call__(
        self, x: Float[Array, "batch *axes channels"], training: bool, mask: Bool[Array, " batch"] | None = None
    ) -> tuple[Float[Array, "batch *axes channels"], BatchNorm]:
        """Return the values, normalised with the running statistics, and the layer as it is.

        Args:
            x: values; in training, all axes but the last are summed over.
            training: normalise with the statistics of `x` itself, and return the layer with moved ones.
            mask: which of the batch the statistics are of, in training; all if None.

        Raises:
            ValueError: if `x` holds one value a channel in training, which has no variance.
        """
        rows = x.reshape(-1, x.shape[-1])
        weights = None if mask is None else jnp.repeat(mask.astype(x.dtype), len(rows) // len(x))
        layer, statistics = self._moved(rows, weights) if training else (self, self.running)
        factor = self.scale * jax.lax.rsqrt(statistics.variance + _EPSILON)
        normalised = (rows - statistics.mean[None]) * factor[None] + self.shift[None]
        return normalised.reshape(x.shape), layer

    def _moved(
        self, rows: Float[Array, "n channels"], weights: Float[Array, " n"] | None
    ) -> tuple[BatchNorm, Statistics]:
        """Return the layer with its running statistics moved, and the statistics of the rows with weight 1, not 0."""
        if len(rows) < 2:
            raise ValueError(
                "batch normalisation met one value a channel in training, expected at least two, for one has no "
                "variance; give the network larger images or more than one example a batch"
            )
        n = len(rows) if weights is None else jnp.sum(weights)
        own = Statistics(rows.mean(axis=0), rows.var(axis=0)) if weights is None else _weighted(rows, weights / n)
        target = Statistics(own.mean, own.variance * (n / (n - 1)))
        running = jax.tree.map(lambda old, new: old + _MOMENTUM * (new - old), self.running, target)
        return eqx.tree_at(lambda it: it.running, self, running), own


class BatchModel(eqx.Module):
    """A model whose training needs the batch as a whole, because it normalises with the batch's statistics.

    Calling it predicts the outputs of one input with the running statistics.
    """

    @abstractmethod
    def __call__(self, x: Float[Array, ...]) -> Float[Array, " outputs"]:
        """Return the outputs of one input, normalised with the running statistics."""

    @abstractmethod
    def in_training(
        self, x: Float[Array, "batch ..."], mask: Bool[Array, " batch"] | None = None
    ) -> tuple[Float[Array, "batch outputs"], BatchModel]:
        """Return the outputs of a batch, normalised with its own statistics, and the model with moved statistics.

        Args:
            x: inputs.
            mask: which of them the statistics are of, at least one; all if None. Outputs for the others mean nothing.
        """


def _weighted(rows: Float[Array, "n channels"], weights: Float[Array, " n"]) -> Statistics:
    """Return the mean and the mean squared deviation, for weights that add up to 1."""
    mean = weights @ rows
    return Statistics(mean, weights @ (rows - mean[None]) ** 2)


def split_trainable(model: Model) -> tuple[Model, Model]:
    """Return the model with its weights only and the model with the rest only; ``eqx.combine`` joins them.

    Weights are the float arrays outside `Statistics`. In each part the other part's leaves are None.
    """
    trainable = jax.tree.map(
        lambda node: not isinstance(node, Statistics) and eqx.is_inexact_array(node), model, is_leaf=_is_statistics
    )
    return eqx.partition(model, trainable)


def _is_statistics(node: object) -> bool:
    return isinstance(node, Statistics)
