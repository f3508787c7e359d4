"""The step of A-GEM: along the gradient on an example, less what it has against the gradient on a batch of memories.

Throughout, k is the number of memories, and for a layer d is the number of its inputs and h that of its units.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from perdure.core import Example, Rate, as_features
from perdure.models import MLP
from perdure.updates.gradient import example_gradient, sgd_step, weighted_gradient
from perdure.updates.losses import Loss
from perdure.updates.projection import share_of_reference
from perdure.updates.weights import equal_weights


def projected_step(model: PyTree, example: Example, memories: Example, rate: Rate, loss: Loss) -> PyTree:
    """Return the model after one step of SGD along A-GEM's gradient (Chaudhry et al. 2019, equation 11).

    Perceptrons take one pass for both gradients, other models one for each.

    Args:
        model: at its weights.
        example: the arriving one.
        memories: of past tasks, leaves (k, ...).
        rate: learning rate.
        loss: of the outputs for one example.
    """
    form = perceptron_projected_step if isinstance(model, MLP) else general_projected_step
    return form(model, example, memories, rate, loss)


def general_projected_step(model: PyTree, example: Example, memories: Example, rate: Rate, loss: Loss) -> PyTree:
    """`projected_step` for any model: two gradients, and their dot products weight by weight."""
    gradient = example_gradient(model, example.x, example.y, loss)
    mean = equal_weights(jnp.ones(len(memories.y), bool))
    reference = weighted_gradient(model, memories.x, memories.y, mean, loss).grads
    share = share_of_reference(_dot(gradient.grads, reference), _dot(reference, reference))
    direction = jax.tree.map(lambda own, past: own - share * past, gradient.grads, reference)
    return sgd_step(gradient.model, direction, rate)


def _dot(one: PyTree, other: PyTree) -> Float[Array, ""]:
    return jax.tree.reduce(jnp.add, jax.tree.map(lambda a, b: jnp.sum(a * b), one, other))


class _Layer(NamedTuple):
    """What a layer's gradient on each of several examples is made of."""

    inputs: Float[Array, "n d"]
    deltas: Float[Array, "n h"]


class _Gradient(NamedTuple):
    """Of one layer."""

    weight: Float[Array, "h d"]
    bias: Float[Array, " h"]


def perceptron_projected_step(model: MLP, example: Example, memories: Example, rate: Rate, loss: Loss) -> MLP:
    """`projected_step` of a perceptron, from one pass forward and back over the example and the memories together.

    With x a layer's input and δ the loss gradient at its pre-activation, the layer's gradient on one example is δ xᵀ,
    and δ for the bias. Only the reference, a mean over memories, is written down, by one product of matrices; its
    product with the example's own gradient is δᵀ g_ref x, and the step goes along both at once. Equal to
    `general_projected_step` up to rounding.
    """
    passed = _passes(model, jax.tree.map(_put_first, example, memories), loss)
    references = [_Gradient(it.deltas[1:].T @ it.inputs[1:], it.deltas[1:].sum(axis=0)) for it in passed]
    references = jax.tree.map(lambda total: total / len(memories.y), references)
    own = [(it.inputs[0], it.deltas[0]) for it in passed]
    product = sum(delta @ (by.weight @ x + by.bias) for (x, delta), by in zip(own, references, strict=True))
    share = share_of_reference(jnp.asarray(product), _dot(references, references))
    after = [
        part
        for layer, (x, delta), by in zip(model.layers, own, references, strict=True)
        for part in (
            layer.weight - rate * (delta[:, None] * x[None] - share * by.weight),
            layer.bias - rate * (delta - share * by.bias),
        )
    ]
    return eqx.tree_at(lambda it: [part for layer in it.layers for part in (layer.weight, layer.bias)], model, after)


def _put_first(new: Any, old: Array) -> Array:
    return jnp.concatenate([jnp.asarray(new)[None], old])


def _passes(model: MLP, examples: Example, loss: Loss) -> list[_Layer]:
    """Return each layer's inputs and deltas, one row an example."""
    rows = as_features(examples.x).reshape(len(examples.y), -1)

    def losses(disturbances: list[Array]) -> tuple[Float[Array, ""], list[Array]]:
        inputs, x = [], rows
        for n, (layer, disturbance) in enumerate(zip(model.layers, disturbances, strict=True)):
            x = jax.nn.relu(x) if n else x
            inputs.append(x)
            assert layer.bias is not None
            x = x @ layer.weight.T + layer.bias[None] + disturbance
        return jnp.sum(jax.vmap(loss)(x, examples.y)), inputs

    none = [jnp.zeros((len(rows), layer.weight.shape[0]), layer.weight.dtype) for layer in model.layers]
    deltas, inputs = jax.grad(losses, has_aux=True)(none)
    return [_Layer(*it) for it in zip(inputs, deltas, strict=True)]
