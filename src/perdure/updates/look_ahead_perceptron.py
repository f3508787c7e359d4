"""Looking ahead with a perceptron, to first order, without computing the fast weights of its first layer.

Throughout, J is the number of inner steps, q the number of examples in the outer batch, d the number of inputs and h
the number of units in the first layer.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree, Shaped

from perdure.core import AnyArray, as_features
from perdure.models import MLP
from perdure.updates.look_ahead import LookAhead, rated_step
from perdure.updates.losses import Loss


def perceptron_look_ahead(
    model: MLP,
    rates: MLP,
    x: Shaped[AnyArray, "q ..."],
    y: PyTree[Shaped[AnyArray, "q ..."]],
    weights: Float[Array, " q"],
    n_steps: int,
    loss: Loss,
) -> LookAhead:
    """Return what `look_ahead` does to first order, for steps on the first examples of the outer batch one by one.

    With δᵢ the loss gradient at the first layer's pre-activation of example i, learned in step i, Λ the rates of that
    layer's weights W and λ those of its bias b, the fast weights after step j give for example e

        a(j, e) = W x_e + b − Σ_{i≤j} δᵢ ∘ r(i, e) ,    r(i, e) = Λ (xᵢ ∘ x_e) + λ ,

    ∘ being the product entry by entry. With D(j, e) the derivative of the mean outer loss by a(j, e), its derivatives
    by W and by Λ are

        Σ_{j,e} D(j, e) x_eᵀ    and    −Σ_{i,e} (δᵢ ∘ Σ_{j≥i} D(j, e)) (xᵢ ∘ x_e)ᵀ .

    So W and Λ are read once and their gradients written once, in four products of matrices, where W, Λ and the fast
    weights would otherwise be read or written several times a step. xᵢ ∘ x_e is symmetric, which saves half of the
    pairs of learned examples. If Λ is one number, so is r(i, e), and the Gram matrix takes the place of the pairs.
    Equal to `look_ahead` up to rounding.

    Args:
        model: at its weights.
        rates: in place of its weights, each an array like the weights or one number for all of them.
        x: outer batch, pixels or floats; its first `n_steps` examples are those learned, in order.
        y: labels or targets.
        weights: of each example in the outer loss.
        n_steps: J.
        loss: of the outputs for one example.
    """
    first, upper = _split(model)
    rate, upper_rates = _split(rates)
    rows = as_features(x).reshape(len(weights), -1)
    response = _responses(rate.weight, rows, n_steps) + rate.bias.reshape(1, 1, -1)
    start = rows @ first.weight.T + first.bias[None]
    own = jax.tree.map(lambda it: it[:n_steps], y)
    learned = _learn(upper, upper_rates, start[:n_steps], response[:, :n_steps], own, loss)
    deltas = learned.deltas[:, None]
    until = jnp.tril(jnp.ones((n_steps, n_steps), start.dtype))  # step j follows on all steps i ≤ j
    outer = _judge(learned.fast, start[None] - _summed(until, deltas * response), y, weights, loss)
    by_response = -deltas * _summed(until.T, outer.by_pre_activations)

    def by_upper_rate(way: Array, outer: Array, rate: Array) -> Array:
        return _like(rate, -jnp.sum(way * outer, axis=0))

    def joined(upper: MLP, weight: Array, bias: Array) -> MLP:
        layer = eqx.tree_at(lambda it: (it.weight, it.bias), first, (weight, bias))
        return eqx.tree_at(lambda it: it.layers[0], upper, layer, is_leaf=lambda it: it is None)

    by_start = outer.by_pre_activations.sum(axis=0)
    grads = joined(jax.tree.map(lambda by: by.sum(axis=0), outer.by_upper), by_start.T @ rows, by_start.sum(axis=0))
    rate_grads = joined(
        jax.tree.map(by_upper_rate, learned.ways, outer.by_upper, upper_rates),
        _by_rates(by_response, rate.weight, rows, n_steps),
        _like(rate.bias, by_response.sum(axis=(0, 1))),
    )
    return LookAhead(outer.losses, grads, rate_grads, model)


def _split(model: MLP) -> tuple[Any, MLP]:
    """Return the first layer and the model without it."""
    return model.layers[0], eqx.tree_at(lambda it: it.layers[0], model, None)


def _like(rate: Array, by_each: Array) -> Array:
    """Return the derivative by a rate: that by each rate, or if it is one number for all, their sum."""
    return by_each if jnp.ndim(rate) else by_each.sum()


def _summed(which: Float[Array, "J J"], terms: Float[Array, "J q h"]) -> Float[Array, "J q h"]:
    """Return for each step the sum of the terms of the steps that `which` has a one for."""
    return (which @ terms.reshape(len(terms), -1)).reshape(terms.shape)


class _Learned(NamedTuple):
    """The inner steps."""

    fast: MLP
    """Upper layers after each step, leaves (J, ...)."""
    ways: MLP
    """Sum of the steps' gradients by the upper layers until each step, leaves (J, ...)."""
    deltas: Float[Array, "J h"]


def _learn(
    upper: MLP,
    rates: MLP,
    start: Float[Array, "J h"],
    response: Float[Array, "J J hidden_or_1"],
    y: PyTree[Shaped[AnyArray, "J ..."]],
    loss: Loss,
) -> _Learned:
    """Take the inner steps; `start` are the first layer's pre-activations at the weights."""

    def example_loss(upper: MLP, pre_activation: Float[Array, " h"], y: Any) -> Float[Array, ""]:
        return loss(upper.above_first(pre_activation), y)

    def step(carry: tuple[MLP, MLP, Array], example: tuple[Any, ...]) -> tuple[tuple[Any, ...], _Learned]:
        fast, way, deltas = carry
        j, start, response, y = example
        # Rows of `deltas` from j on are still zero, so the whole sum is that over i < j.
        pre_activation = start - jnp.sum(deltas * response, axis=0)
        grads, delta = jax.grad(example_loss, argnums=(0, 1))(fast, pre_activation, y)
        fast, way = rated_step(fast, grads, rates), jax.tree.map(jnp.add, way, grads)
        deltas = jax.lax.dynamic_update_index_in_dim(deltas, delta, j, axis=0)
        return (fast, way, deltas), _Learned(fast, way, delta)

    steps = (jnp.arange(len(start)), start, response, y)
    carry = (upper, *jax.tree.map(jnp.zeros_like, (upper, start)))
    return jax.lax.scan(step, carry, steps)[1]


class _Judged(NamedTuple):
    """The outer losses, and the derivatives of their mean."""

    losses: Float[Array, " J"]
    by_upper: MLP
    """By the upper layers after each step, leaves (J, ...)."""
    by_pre_activations: Float[Array, "J q h"]


def _judge(
    fast: MLP,
    pre_activations: Float[Array, "J q h"],
    y: PyTree[Shaped[AnyArray, "q ..."]],
    weights: Float[Array, " q"],
    loss: Loss,
) -> _Judged:
    """Return the outer loss after each step."""

    def objective(fast: MLP, pre_activations: Array) -> tuple[Float[Array, ""], Float[Array, " J"]]:
        outputs = jax.vmap(lambda upper, rows: jax.vmap(upper.above_first)(rows))(fast, pre_activations)
        of_examples = jax.vmap(lambda of_step: jax.vmap(loss)(of_step, y))(outputs)
        losses = of_examples @ weights
        return jnp.mean(losses), losses

    of_both = jax.value_and_grad(objective, argnums=(0, 1), has_aux=True)
    (_, losses), (by_upper, by_pre_activations) = of_both(fast, pre_activations)
    return _Judged(losses, by_upper, by_pre_activations)


def _responses(rate: Array, rows: Float[Array, "q d"], n_steps: int) -> Float[Array, "J q hidden_or_1"]:
    """Return Λ (xᵢ ∘ x_e) for each learned example i and each example e."""
    if not jnp.ndim(rate):
        return (rate * (rows[:n_steps] @ rows.T))[..., None]
    one, other, place = _pairs(n_steps, len(rows))
    return ((rows[one] * rows[other]) @ rate.T)[place]


def _by_rates(by_response: Float[Array, "J q h"], rate: Array, rows: Float[Array, "q d"], n_steps: int) -> Array:
    """Return the derivative by Λ, given that by Λ (xᵢ ∘ x_e) for each pair."""
    if not jnp.ndim(rate):
        return jnp.sum(by_response.sum(axis=2) * (rows[:n_steps] @ rows.T))
    one, other, _ = _pairs(n_steps, len(rows))
    own = by_response[:, :n_steps]
    twice = jnp.where(jnp.eye(n_steps, dtype=bool)[..., None], own, own + jnp.swapaxes(own, 0, 1))
    by_pair = jnp.concatenate([twice, by_response[:, n_steps:]], axis=1)[one, other]
    return by_pair.T @ (rows[one] * rows[other])


def _pairs(n_steps: int, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return both examples of each different pair, the first a learned one; and the place (J, q) of each pair there."""
    one, other = np.nonzero(np.triu(np.ones((n_steps, n))))
    place = np.zeros((n_steps, n), int)
    place[one, other] = np.arange(len(one))
    lower = np.tril_indices(n_steps, -1)
    place[lower] = place[lower[::-1]]
    return one, other, place
