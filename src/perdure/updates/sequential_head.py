"""SGD on one example after another for networks of convolutions and a perceptron on top, and then a Reptile step.

Throughout, k is the number of examples, d the number of features that the perceptron is given, and h the number of
units in its first layer.
"""

from __future__ import annotations

from typing import Any, Protocol, TypeVar, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree, Shaped

from perdure.core import AnyArray, Rate, as_features
from perdure.models import MLP
from perdure.updates.gradient import sgd_step
from perdure.updates.losses import Loss
from perdure.updates.reptile import reptile_step


@runtime_checkable
class PerceptronOnFeatures(Protocol):
    """A model that is ``head(features(unfolded(x)))``; any class with these parts is one, all leaves trainable."""

    @property
    def head(self) -> MLP:
        """The perceptron on top."""
        ...

    def unfolded(self, x: Float[Array, "*batch ..."]) -> Float[Array, "*batch ..."]:
        """Return what the weights are applied to first; it does not depend on them."""
        ...

    def features(self, patches: Float[Array, ...]) -> Float[Array, " d"]:
        """Return what the head is given, for what one input unfolds to."""
        ...


Model = TypeVar("Model", bound=PerceptronOnFeatures)


def head_gram_meta_steps(
    model: Model,
    x: Shaped[AnyArray, "s k ..."],
    y: PyTree[Shaped[AnyArray, "s k ..."]],
    rates: Float[Array, "s k"],
    meta_rate: Rate,
    loss: Loss,
) -> Model:
    """`meta_steps` for such a model, exact: images unfolded together, the head's first layer touched once a batch.

    With fᵢ the features of example i, and δᵢ the loss gradient at the pre-activation of the head's first layer, SGD
    moves that layer by the outer products −λᵢ δᵢ fᵢᵀ (and its bias by −λᵢ δᵢ). So example j sees

        aⱼ = W fⱼ + b − Σ_{i<j} λᵢ (fᵢ·fⱼ + 1) δᵢ ,

    with W and b from before the batch. Features move with the filters, so that unlike those of
    `gram_meta_steps` the products fᵢ·fⱼ are computed step by step; the d × h weights, most of the network, are read
    twice a step and written once a batch. Equal to `general_meta_steps` up to rounding.
    """

    def learn_batch(model: Model, batch: tuple[Any, ...]) -> tuple[Model, None]:
        x, y, rates = batch
        return reptile_step(model, _learned(model, x, y, rates, loss), meta_rate), None

    return jax.lax.scan(learn_batch, model, (x, y, rates))[0]


def _learned(
    model: Model,
    x: Shaped[AnyArray, "k ..."],
    y: PyTree[Shaped[AnyArray, "k ..."]],
    rates: Float[Array, " k"],
    loss: Loss,
) -> Model:
    """Return the model after SGD on each of k examples."""
    dense = model.head.layers[0]
    weight, bias = dense.weight, dense.bias
    assert bias is not None
    n_units, n_features = weight.shape

    def step(carry: tuple[Model, Array, Array], example: tuple[Any, ...]) -> tuple[tuple[Model, Array, Array], None]:
        rest, features, moved = carry
        j, patches, y, rate = example

        def example_loss(rest: Model, shift: Float[Array, " h"]) -> tuple[Float[Array, ""], Float[Array, " d"]]:
            own = rest.features(patches)
            # Rows from j on are still zero, so the whole product is the sum over i < j.
            pre_activation = weight @ own + bias - (features @ own + 1) @ moved + shift
            return loss(rest.head.above_first(pre_activation), y), own

        # The gradient by a shift of the pre-activation is δ.
        (grads, delta), own = jax.grad(example_loss, (0, 1), has_aux=True)(rest, jnp.zeros_like(bias))
        features = jax.lax.dynamic_update_index_in_dim(features, own, j, axis=0)
        moved = jax.lax.dynamic_update_index_in_dim(moved, rate * delta, j, axis=0)
        return (sgd_step(rest, grads, rate), features, moved), None

    without_dense = eqx.tree_at(_dense, model, None)
    none = jnp.zeros_like(weight, shape=(len(rates), n_features))
    start = (without_dense, none, jnp.zeros_like(weight, shape=(len(rates), n_units)))
    steps = (jnp.arange(len(rates)), model.unfolded(as_features(x)), y, rates)
    (rest, features, moved), _ = jax.lax.scan(step, start, steps)
    dense = eqx.tree_at(lambda it: (it.weight, it.bias), dense, (weight - moved.T @ features, bias - moved.sum(axis=0)))
    return eqx.tree_at(_dense, rest, dense, is_leaf=lambda it: it is None)


def _dense(model: Any) -> Any:
    return model.head.layers[0]
