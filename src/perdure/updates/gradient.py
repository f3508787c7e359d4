"""Gradients of losses, and steps down them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PyTree, Shaped

from perdure.core import AnyArray, Rate, as_features
from perdure.models import BatchModel, split_trainable
from perdure.updates.losses import Loss, cross_entropy

Model = TypeVar("Model", bound=PyTree)

Optimizer = Callable[[Rate], optax.GradientTransformation]
"""From a learning rate to what optax makes of it: `optax.sgd`, `optax.adam`, …"""

_PREDICTED_TOGETHER = 100
"""Inputs a product: convolutions unfold each into many times its size, 1.8 GB for 2,000 Omniglot images at once."""


def or_sgd(optimizer: Optimizer | None) -> Optimizer:
    """Return the optimizer, or plain SGD if it is None."""
    return optax.sgd if optimizer is None else optimizer


class Gradient(NamedTuple):
    """What differentiating a loss has found."""

    loss: Float[Array, ""]
    grads: PyTree
    """Derivative by each trainable weight; None in place of every other leaf of the model."""
    model: PyTree
    """The model, its running statistics moved if it has any; its weights are as they were."""


class TrainState(NamedTuple):
    """A model on its way down, and the state of the optimizer that takes it there."""

    model: PyTree
    optimizer: PyTree


def predict_batch(model: PyTree, x: AnyArray) -> Float[Array, "batch outputs"]:
    """Return the model's outputs for inputs x: (batch, ...), pixels or floats."""
    return jax.lax.map(model, as_features(x), batch_size=_PREDICTED_TOGETHER)


def predict_one(model: PyTree, x: AnyArray) -> Float[Array, " outputs"]:
    """Return the model's outputs for one input, pixels or floats."""
    return model(as_features(x))


def predict_by_task(
    of_task: Callable[[Int[Array, ""]], PyTree], x: AnyArray, task: Int[AnyArray, " batch"]
) -> Float[Array, "batch outputs"]:
    """Return outputs for inputs x: (batch, ...), each from the model of its task.

    Inputs of one task go through its model together; of several tasks, one after another, so that no more than one
    task's weights are copied at a time.
    """
    x, task = as_features(x), jnp.asarray(task)
    return jax.lax.cond(
        jnp.all(task == task[0]),
        lambda: predict_batch(of_task(task[0]), x),
        lambda: jax.lax.map(lambda pair: of_task(pair[1])(pair[0]), (x, task)),
    )


def example_loss(
    model: PyTree, x: AnyArray, y: PyTree[Shaped[AnyArray, ...]], loss: Loss = cross_entropy
) -> Float[Array, ""]:
    """Return the loss on one example, as the model would predict it."""
    return loss(predict_one(model, x), y)


def example_gradient(
    model: PyTree, x: AnyArray, y: PyTree[Shaped[AnyArray, ...]], loss: Loss = cross_entropy
) -> Gradient:
    """Return the gradient of the loss on one example."""

    def value(model: PyTree) -> tuple[Float[Array, ""], tuple[PyTree, None]]:
        if isinstance(model, BatchModel):
            outputs, model = model.in_training(as_features(x)[None])
            return loss(outputs[0], y), (model, None)
        return example_loss(model, x, y, loss), (model, None)

    return differentiate(value, model)[0]


def weighted_gradient(
    model: PyTree,
    x: AnyArray,
    y: PyTree[Shaped[AnyArray, "batch ..."]],
    weights: Float[Array, " batch"],
    loss: Loss = cross_entropy,
) -> Gradient:
    """Return the gradient of Σ weightᵢ · loss(xᵢ, yᵢ) over a batch; weights 1/n make it that of the mean loss.

    Examples of weight 0 do not move running statistics. At least one must weigh more.
    """

    def value(model: PyTree) -> tuple[Float[Array, ""], tuple[PyTree, None]]:
        total, model = weighted_loss(model, x, y, weights, loss)
        return total, (model, None)

    return differentiate(value, model)[0]


def weighted_loss(
    model: PyTree,
    x: AnyArray,
    y: PyTree[Shaped[AnyArray, "batch ..."]],
    weights: Float[Array, " batch"],
    loss: Loss = cross_entropy,
) -> tuple[Float[Array, ""], PyTree]:
    """Return Σ weightᵢ · loss(xᵢ, yᵢ) in training, and the model with running statistics moved, if it has any."""
    if isinstance(model, BatchModel):
        outputs, model = model.in_training(as_features(x), weights > 0)
    else:
        outputs = jax.vmap(model)(as_features(x))
    return jnp.sum(weights * jax.vmap(loss)(outputs, y)), model


def differentiate(
    value: Callable[[PyTree], tuple[Float[Array, ""], tuple[PyTree, Any]]], model: PyTree
) -> tuple[Gradient, Any]:
    """Return the gradient of a loss by a model's weights, and whatever else was computed on the way.

    Args:
        value: from the model to its loss, the model with moved running statistics, and anything else.
        model: at its weights.
    """
    weights, rest = split_trainable(model)

    def of_weights(weights: PyTree) -> tuple[Float[Array, ""], tuple[PyTree, Any]]:
        loss, (after, other) = value(eqx.combine(weights, rest))
        return loss, (split_trainable(after)[1], other)

    (loss, (rest, other)), grads = jax.value_and_grad(of_weights, has_aux=True)(weights)
    return Gradient(loss, grads, eqx.combine(weights, rest)), other


def sgd_step(model: Model, grads: PyTree, rate: Rate) -> Model:
    """Return ``weights − rate · grads``: one step of plain SGD. Leaves without a gradient stay as they are."""
    return jax.tree.map(lambda weight, by: weight if by is None else weight - rate * by, model, grads)


def init_train_state(model: PyTree, transformation: optax.GradientTransformation) -> TrainState:
    """Return the model at the beginning of an optimizer's way."""
    return TrainState(model, jax.tree.map(jnp.asarray, transformation.init(split_trainable(model)[0])))


def optimizer_step(gradient: Gradient, state: PyTree, transformation: optax.GradientTransformation) -> TrainState:
    """Return the model and the optimizer after one step down the gradient.

    Args:
        gradient: at the model's weights.
        state: of the optimizer before the step.
        transformation: the optimizer.
    """
    weights, rest = split_trainable(gradient.model)
    with jax.numpy_dtype_promotion("standard"):  # optax counts on it: Adam raises a float to an integer power
        updates, state = transformation.update(gradient.grads, state, weights)
    stepped: Any = optax.apply_updates(weights, updates)
    return TrainState(eqx.combine(stepped, rest), state)
