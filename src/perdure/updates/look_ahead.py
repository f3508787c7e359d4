"""Looking ahead: how the loss after a few steps on new examples depends on the weights and on the steps' own rates.

Throughout, J is the number of inner steps, c the number of examples in each, and q the number of examples in the outer
batch.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree, Shaped

from perdure.core import AnyArray, Rate
from perdure.models import split_trainable
from perdure.updates.gradient import Model, weighted_gradient, weighted_loss
from perdure.updates.losses import Loss


class InnerSteps(NamedTuple):
    """The examples that the fast weights learn, step after step."""

    x: Shaped[AnyArray, "J c ..."]
    y: PyTree[Shaped[AnyArray, "J c ..."]]
    weights: Float[Array, "J c"]
    """Of each example in the loss of its step. A step whose weights are all zero changes nothing."""


class OuterBatch(NamedTuple):
    """The examples on which the fast weights are judged after every inner step."""

    x: Shaped[AnyArray, "q ..."]
    y: PyTree[Shaped[AnyArray, "q ..."]]
    weights: Float[Array, " q"]
    """Of each example in the outer loss."""


class LookAhead(NamedTuple):
    """What looking ahead has found."""

    losses: Float[Array, " J"]
    """Outer loss after each inner step."""
    grads: PyTree
    """Derivative of the mean outer loss by each trainable weight; None in place of every other leaf of the model."""
    rate_grads: PyTree
    """Derivative of the mean outer loss by each of the rates given."""
    model: PyTree
    """The model, its running statistics moved if it has any; its weights are as they were."""


def look_ahead(
    model: PyTree,
    rates: PyTree,
    inner: InnerSteps,
    outer: OuterBatch,
    step_weights: Float[Array, " J"],
    loss: Loss,
    *,
    second_order: bool = False,
    clip: Rate | None = None,
) -> LookAhead:
    """Return the gradient of the mean outer loss over the inner steps, for any model.

    Fast weights start as the weights. Each inner step is one of SGD on its examples, each weight with its own rate,
    and after each step comes the outer loss of the fast weights. To first order the inner steps' gradients are
    constants. Running statistics move with every pass, through inner and through outer examples.

    Args:
        model: at its weights.
        rates: a model of rates in place of the trainable weights, each an array like the weights or one number for all
            of them; None in place of every other leaf.
        inner: what the steps learn.
        outer: what they are judged on.
        step_weights: of each outer loss in the mean; 1/J if all steps count.
        loss: of the outputs for one example.
        second_order: differentiate through the inner steps' gradients too.
        clip: bound of every entry of the inner steps' gradients, in size. A clipped entry passes on no gradient.
    """
    weights, rest = split_trainable(model)

    def objective(weights: PyTree, rates: PyTree) -> tuple[Float[Array, ""], tuple[Array, PyTree]]:
        def step(fast: PyTree, chunk: InnerSteps) -> tuple[PyTree, Float[Array, ""]]:
            grads, fast = _inner_gradient(fast, chunk, loss)
            if not second_order:
                grads = jax.lax.stop_gradient(grads)
            if clip is not None:
                grads = jax.tree.map(partial(_clipped, bound=clip), grads)
            fast = rated_step(fast, grads, rates)
            value, judged = weighted_loss(fast, outer.x, outer.y, outer.weights, loss)
            return eqx.combine(split_trainable(fast)[0], split_trainable(judged)[1]), value

        after, losses = jax.lax.scan(step, eqx.combine(weights, rest), inner)
        return jnp.sum(step_weights * losses), (losses, split_trainable(after)[1])

    of_both = jax.value_and_grad(objective, argnums=(0, 1), has_aux=True)
    (_, (losses, rest)), (grads, rate_grads) = of_both(weights, rates)
    return LookAhead(losses, grads, rate_grads, eqx.combine(weights, rest))


def _clipped(grads: Array, bound: Rate) -> Array:
    return jnp.clip(grads, -bound, bound)


def _inner_gradient(fast: PyTree, chunk: InnerSteps, loss: Loss) -> tuple[PyTree, PyTree]:
    """Return the gradient of a step, zeros if it is empty, and the model with its statistics moved."""
    present = jnp.any(chunk.weights > 0)
    # Of an empty step the first example is looked at instead, for a batch must not weigh nothing.
    first = jnp.arange(len(chunk.weights)) == 0
    weights = jnp.where(present, chunk.weights, first.astype(chunk.weights.dtype))
    gradient = weighted_gradient(fast, chunk.x, chunk.y, weights, loss)
    grads = jax.tree.map(lambda by: jnp.where(present, by, 0), gradient.grads)
    return grads, jax.tree.map(lambda new, old: jnp.where(present, new, old), gradient.model, fast)


def rated_step(model: Model, grads: PyTree, rates: PyTree) -> Model:
    """Return ``weights − rates · grads``: a step of SGD, each weight with its own rate."""

    def step(weight: Any, by: Any, rate: Any) -> Any:
        return weight if by is None else weight - rate * by

    return jax.tree.map(step, model, grads, rates, is_leaf=lambda leaf: leaf is None)


def clipped_to_norm(grads: Model, largest: Rate) -> Model:
    """Return the gradient, shortened so that its 2-norm over all entries together is at most `largest`.

    As in PyTorch's ``clip_grad_norm_``, 1e-6 is added to the norm that it is divided by.
    """
    norm = jnp.sqrt(sum(jnp.sum(by**2) for by in jax.tree.leaves(grads)))
    factor = jnp.minimum(1, largest / (norm + 1e-6))
    return jax.tree.map(lambda by: factor * by, grads)
