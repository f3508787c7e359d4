"""The inner loop of meta-learning: SGD steps that can be differentiated through.

Throughout, k is the number of steps, b the number of examples in each, d the number of features and q the number of
examples that the adapted head is queried about. Only the head learns, on features that an encoder has computed once.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from perdure.core import AnyArray, Rate
from perdure.models import MLP
from perdure.updates.gradient import sgd_step
from perdure.updates.losses import Loss
from perdure.updates.sequential import chain


class QueryOutputs(NamedTuple):
    """Outputs of a head for the query features."""

    before: Float[Array, "q outputs"]
    """Before the first step."""
    after: Float[Array, "q outputs"]
    """After the last."""


def query_adapted(
    head: MLP,
    features: Float[Array, "k b d"],
    y: Shaped[AnyArray, "k b ..."],
    query: Float[Array, "q d"],
    rate: Rate,
    loss: Loss,
    *,
    first_order: bool = False,
    clip: float | None = None,
) -> QueryOutputs:
    """Return a head's outputs before and after k steps of SGD, differentiable by everything that is a float.

    Steps on one example each, without clipping, take the exact Gram form, others the general one.

    Args:
        head: before the first step.
        features: of the examples to learn, in order.
        y: their labels or targets.
        query: features to return outputs for.
        rate: learning rate of every step.
        loss: of the outputs for one example; a step's is the mean over its examples.
        first_order: differentiate as if the steps' gradients were constants.
        clip: bound of every entry of the steps' gradients, in size. A clipped entry passes on no gradient.
    """
    if features.shape[1] == 1 and clip is None:
        return gram_query_adapted(head, features[:, 0], y[:, 0], query, rate, loss, first_order=first_order)
    after = unroll(head, features, y, rate, loss, first_order=first_order, clip=clip)
    return QueryOutputs(jax.vmap(head)(query), jax.vmap(after)(query))


def unroll(
    head: MLP,
    features: Float[Array, "k b d"],
    y: Shaped[AnyArray, "k b ..."],
    rate: Rate,
    loss: Loss,
    *,
    first_order: bool = False,
    clip: float | None = None,
) -> MLP:
    """Return the head after k steps of SGD; arguments as of `query_adapted`."""

    def step(head: MLP, batch: tuple[Any, ...]) -> tuple[MLP, None]:
        features, y = batch

        def mean_loss(head: MLP) -> Float[Array, ""]:
            return jnp.mean(jax.vmap(loss)(jax.vmap(head)(features), y))

        grads = jax.grad(mean_loss)(head)
        if first_order:
            grads = jax.lax.stop_gradient(grads)
        if clip is not None:
            grads = _clipped(grads, clip)
        return sgd_step(head, grads, rate), None

    return jax.lax.scan(step, head, (features, y))[0]


def _clipped(grads: MLP, bound: float) -> MLP:
    return jax.tree.map(lambda by: jnp.clip(by, -bound, bound), grads)


def gram_query_adapted(
    head: MLP,
    features: Float[Array, "k d"],
    y: Shaped[AnyArray, "k ..."],
    query: Float[Array, "q d"],
    rate: Rate,
    loss: Loss,
    *,
    first_order: bool = False,
) -> QueryOutputs:
    """`query_adapted` for steps on one example each, without changing the first layer's weights at every step.

    SGD moves the head's first layer only by the outer products −λ δᵢ fᵢᵀ of loss gradients δᵢ and features fᵢ (see
    `perdure.updates.sequential.gram_meta_steps`). Its weights W are therefore multiplied once, with the features of
    all examples together, and after the steps the layer gives, for features f,

        W f + b − Σᵢ λ (fᵢ·f + 1) δᵢ .

    Differentiating that reads W once more and writes its gradient once, instead of k times each.
    """
    k = len(features)
    first, upper = head.layers[0], eqx.tree_at(lambda it: it.layers[0], head, None)
    assert first.bias is not None
    both = jnp.concatenate([features, query]) @ first.weight.T + first.bias[None]
    learned, start = features, (upper, both[:k])
    if first_order:
        learned, start = jax.lax.stop_gradient((learned, start))
    after, deltas = chain(*start, learned @ learned.T + 1, y, jnp.full(k, rate), loss)
    if first_order:  # where the steps begin counts, where they go is constant
        after = _constant_away(upper, after)
    start_of_query = both[k:]
    moved = rate * (query @ learned.T + 1) @ deltas
    return QueryOutputs(
        jax.vmap(upper.above_first)(start_of_query), jax.vmap(after.above_first)(start_of_query - moved)
    )


def _constant_away(start: MLP, end: MLP) -> MLP:
    """Return the end, differentiable only as the start plus a constant."""
    return jax.tree.map(lambda old, new: old + jax.lax.stop_gradient(new - old), start, end)
