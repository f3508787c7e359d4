"""Networks from elsewhere, made into models: modules of which every leaf is an array."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Protocol

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from perdure.core import Example, as_features


class InitApply(Protocol):
    """A network whose weights are kept apart from it, such as a module of Flax or a transformed function of Haiku."""

    def init(self, key: Any, x: Any, /) -> Any:
        """Return fresh weights for inputs like `x`."""
        ...

    def apply(self, weights: Any, x: Any, /) -> Any:
        """Return the outputs for one input."""
        ...


class ArrayModel(eqx.Module):
    """A module split into its arrays and the rest; see `array_model`."""

    arrays: PyTree
    """The module, None in place of every leaf that is no array."""
    others: tuple[Any, ...] = eqx.field(static=True)
    """Those leaves, in order."""
    structure: Any = eqx.field(static=True)
    """The module's structure with `others` as its only leaves."""

    def __call__(self, x: Float[Array, ...]) -> Float[Array, " outputs"]:
        """Return what the module returns for one input."""
        return eqx.combine(self.arrays, jax.tree.unflatten(self.structure, self.others))(x)


def array_model(model: PyTree) -> PyTree:
    """Return a model that behaves like `model` and whose leaves are all arrays; `model` itself if they are already.

    Modules such as `equinox.nn.MLP` hold functions among their leaves, which can be neither scanned over nor saved.
    Here these leaves become part of the model's type, so they must be hashable.

    Args:
        model: an Equinox module, a callable from one input to its outputs.

    Raises:
        TypeError: if a leaf is neither an array nor hashable.
    """
    arrays, rest = eqx.partition(model, lambda leaf: isinstance(leaf, jax.Array | np.ndarray))
    others, structure = jax.tree.flatten(rest)
    if not others:
        return model
    for leaf in others:
        try:
            hash(leaf)
        except TypeError as error:
            raise TypeError(
                f"the model has a leaf of type {type(leaf).__name__} that is not hashable, expected arrays and "
                "hashable values such as functions; make the leaf an array or mark its field as static"
            ) from error
    return ArrayModel(arrays, tuple(others), structure)


class AppliedModel(eqx.Module):
    """Weights and the function that applies them; see `from_init_apply`."""

    weights: PyTree
    apply: Callable[[Any, Any], Any] = eqx.field(static=True)

    def __call__(self, x: Float[Array, ...]) -> Float[Array, " outputs"]:
        """Return the outputs for one input."""
        return self.apply(self.weights, x)


def from_init_apply(make: Callable[[int], InitApply]) -> Callable[[Example, int, PRNGKeyArray], AppliedModel]:
    """Return a factory ``(example, n_outputs, key) -> model`` for networks that keep their weights apart.

    For Flax, with ``class Network(flax.linen.Module)`` whose only field is ``n_outputs``::

        from_init_apply(Network)

    For Haiku::

        def network(n_outputs):
            return haiku.without_apply_rng(haiku.transform(lambda x: haiku.nets.MLP([100, n_outputs])(x.ravel())))

        from_init_apply(network)

    The network sees one input at a time, without a batch axis, and keeps no state: no batch normalisation.

    Args:
        make: from the number of outputs to an object with ``init(key, x) -> weights`` and
            ``apply(weights, x) -> outputs``. It is called once for each number of outputs.

    Returns:
        The factory. It raises a ValueError if the outputs for one input are not of shape (n_outputs,), or if a Flax
        module has variables besides its parameters.
    """
    make = cache(make)  # the same `apply` for every seed, so that their models can be stacked

    def factory(example: Example, n_outputs: int, key: PRNGKeyArray) -> AppliedModel:
        network = make(n_outputs)
        x = as_features(example.x)
        model = AppliedModel(network.init(key, x), network.apply)
        _check_stateless(model.weights)
        shape = jax.eval_shape(network.apply, model.weights, x).shape
        if shape != (n_outputs,):
            raise ValueError(
                f"for one input of shape {x.shape} the network's outputs have shape {shape}, expected ({n_outputs},); "
                "if the network expects a batch, let it work on x[None] and return its output's first row"
            )
        return model

    return factory


def _check_stateless(weights: PyTree) -> None:
    if isinstance(weights, Mapping) and "params" in weights and len(weights) > 1:
        state = sorted(set(weights) - {"params"})
        raise ValueError(
            f"the network keeps {state} besides its parameters, expected a network without state; "
            "leave out what keeps state, such as batch normalisation, or write the network as a BatchModel"
        )
