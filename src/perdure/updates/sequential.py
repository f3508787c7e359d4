"""SGD on one example after another, then a Reptile step, batch after batch: the whole cost of MER.

Throughout, s is the number of batches, k the number of examples in each, d the number of inputs and h the number of
units in the first layer.
"""

from __future__ import annotations

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, PyTree, Shaped

from perdure.core import AnyArray, Rate, as_features
from perdure.models import MLP, BatchModel
from perdure.updates.gradient import TrainState, example_gradient, optimizer_step, sgd_step
from perdure.updates.losses import Loss, cross_entropy
from perdure.updates.reptile import reptile_step
from perdure.updates.sequential_head import PerceptronOnFeatures, head_gram_meta_steps

_UNROLL = 2
"""Steps per turn of the loop: two are about an eighth faster than one on CPU (benchmarks/meta_steps.py)."""
_GROUP_ROWS = 64
"""Examples of several batches whose first layer is computed together: their Gram matrix grows with their square."""
_BLOCK_ROWS = 34
"""Examples of a longer batch that look back at one another step by step (benchmarks/meta_steps.py)."""
_MOST_BLOCKS = 4
"""Blocks of a batch, each of which is compiled for itself."""


def meta_steps(
    model: PyTree,
    x: Shaped[AnyArray, "s k ..."],
    y: PyTree[Shaped[AnyArray, "s k ..."]],
    rates: Float[Array, "s k"],
    meta_rate: Rate,
    loss: Loss = cross_entropy,
) -> PyTree:
    """Return the model after s batches, each SGD on its k examples in order and then a Reptile step.

    Models whose first layer is dense take the exact Gram form, those with a perceptron on top of other layers that of
    `head_gram_meta_steps`, others the general one.

    Args:
        model: weights before the first batch.
        x: inputs, pixels or floats.
        y: labels or targets.
        rates: learning rate of each step: ``weights ← weights − rate · ∇ loss(x, y)`` at the weights that the step
            before has left. Zero passes over an example, such as an absent memory.
        meta_rate: rate of the Reptile step after each batch; 1 is plain SGD on one example after another. Running
            statistics, of models that have any, are interpolated like weights.
        loss: of the outputs for one example.
    """
    if isinstance(model, MLP):
        return gram_meta_steps(model, x, y, rates, meta_rate, loss)
    form = head_gram_meta_steps if isinstance(model, PerceptronOnFeatures) else general_meta_steps
    return form(model, x, y, rates, meta_rate, loss)


def general_meta_steps(
    model: PyTree,
    x: Shaped[AnyArray, "s k ..."],
    y: PyTree[Shaped[AnyArray, "s k ..."]],
    rates: Float[Array, "s k"],
    meta_rate: Rate,
    loss: Loss = cross_entropy,
) -> PyTree:
    """`meta_steps` for any model, by differentiating the whole of it at every step."""

    def step(model: PyTree, example: tuple[Any, ...]) -> tuple[PyTree, None]:
        x, y, rate = example
        gradient = example_gradient(model, x, y, loss)
        after = sgd_step(gradient.model, gradient.grads, rate)
        if isinstance(model, BatchModel):  # an absent memory moves no weight, and must move no statistics either
            after = _unless_absent(rate > 0, after, model)
        return after, None

    def learn_batch(model: PyTree, batch: tuple[Any, ...]) -> tuple[PyTree, None]:
        after, _ = jax.lax.scan(step, model, batch, unroll=_UNROLL)
        return reptile_step(model, after, meta_rate), None

    return jax.lax.scan(learn_batch, model, (x, y, rates))[0]


def optimized_meta_steps(
    start: TrainState,
    x: Shaped[AnyArray, "s k ..."],
    y: PyTree[Shaped[AnyArray, "s k ..."]],
    weights: Float[Array, "s k"],
    meta_rate: Rate,
    transformation: optax.GradientTransformation,
    loss: Loss = cross_entropy,
) -> TrainState:
    """`meta_steps` with an optimizer of optax in place of plain SGD.

    The Reptile step interpolates the model. The optimizer's own state, such as moments, stays as the steps left it.

    Args:
        start: model and optimizer before the first batch.
        x: inputs, pixels or floats.
        y: labels or targets.
        weights: factor of each example's loss. Zero passes over an example: the optimizer does not see it.
        meta_rate: rate of the Reptile step after each batch.
        transformation: the optimizer, its learning rate included.
        loss: of the outputs for one example.
    """

    def step(now: TrainState, example: tuple[Any, ...]) -> tuple[TrainState, None]:
        x, y, weight = example
        gradient = example_gradient(now.model, x, y, loss)
        grads = jax.tree.map(lambda by: weight * by, gradient.grads)
        after = optimizer_step(gradient._replace(grads=grads), now.optimizer, transformation)
        return _unless_absent(weight > 0, after, now), None

    def learn_batch(now: TrainState, batch: tuple[Any, ...]) -> tuple[TrainState, None]:
        after, _ = jax.lax.scan(step, now, batch)
        return TrainState(reptile_step(now.model, after.model, meta_rate), after.optimizer), None

    return jax.lax.scan(learn_batch, start, (x, y, weights))[0]


def _unless_absent(present: Bool[Array, ""], after: PyTree, before: PyTree) -> PyTree:
    return jax.tree.map(lambda new, old: jnp.where(present, new, old), after, before)


def gram_meta_steps(
    model: MLP,
    x: Shaped[AnyArray, "s k ..."],
    y: PyTree[Shaped[AnyArray, "s k ..."]],
    rates: Float[Array, "s k"],
    meta_rate: Rate,
    loss: Loss = cross_entropy,
) -> MLP:
    """`meta_steps` for a perceptron, exact, without touching the first layer's weights at every step.

    With δᵢ the loss gradient at the first layer's pre-activation of example i, SGD moves that layer only by the
    outer products −λᵢ δᵢ xᵢᵀ (and its bias by −λᵢ δᵢ). Example j, visited after all i < j, therefore sees

        aⱼ = W xⱼ + b − Σ_{i<j} cᵢ λᵢ (xᵢ·xⱼ + 1) δᵢ ,

    with W and b from before the chain, and cᵢ = 1 within j's batch. The Reptile step after a batch scales all that
    the batch has moved, so cᵢ is the meta-rate for examples of earlier batches, and the sum continues across batches.
    One product X Wᵀ, one Gram matrix X Xᵀ + 1 and one product (c λ δ)ᵀ X therefore serve a whole group of batches,
    and a step touches only the layers above and the δ's: the d × h weights of the first layer, seven eighths of the
    benchmark network, are read twice a group instead of three times a step. Equal to `general_meta_steps` up to
    rounding.
    """
    n_batches, k = rates.shape
    group = _batches_together(n_batches, k)

    def grouped(leaf: AnyArray) -> AnyArray:
        return leaf.reshape(n_batches // group, group, *leaf.shape[1:])

    def learn_group(model: MLP, batches: tuple[Any, ...]) -> tuple[MLP, None]:
        x, y, rates = batches
        return _learn_group(model, x, y, rates, meta_rate, loss), None

    return jax.lax.scan(learn_group, model, jax.tree.map(grouped, (x, y, rates)))[0]


def _batches_together(n_batches: int, k: int) -> int:
    """Return the largest divisor of `n_batches` that keeps a group within `_GROUP_ROWS` examples, or 1."""
    divisors = [n for n in range(1, n_batches + 1) if n_batches % n == 0]
    return max(n for n in divisors if n == 1 or n * k <= _GROUP_ROWS)


def _learn_group(
    model: MLP,
    x: Shaped[AnyArray, "s k ..."],
    y: PyTree[Shaped[AnyArray, "s k ..."]],
    rates: Float[Array, "s k"],
    meta_rate: Rate,
    loss: Loss,
) -> MLP:
    """Return the model after the batches of one group."""
    first, upper = model.layers[0], eqx.tree_at(lambda it: it.layers[0], model, None)
    assert first.bias is not None
    rows = as_features(x).reshape(rates.size, -1)
    pre_activations = (rows @ first.weight.T + first.bias[None]).reshape(*rates.shape, -1)
    if len(rates) == 1:
        after, moved = _in_blocks(upper, rows, pre_activations[0], jax.tree.map(lambda it: it[0], y), rates[0], loss)
        upper, moved = reptile_step(upper, after, meta_rate), meta_rate * moved
    else:
        upper, moved = _batch_by_batch(upper, rows, pre_activations, y, rates, meta_rate, loss)
    first = eqx.tree_at(
        lambda it: (it.weight, it.bias),
        first,
        (first.weight - moved.T @ rows, first.bias - moved.sum(axis=0)),
    )
    return eqx.tree_at(lambda it: it.layers[0], upper, first, is_leaf=lambda it: it is None)


def _batch_by_batch(
    upper: MLP,
    rows: Float[Array, "n d"],
    pre_activations: Float[Array, "s k h"],
    y: PyTree[Shaped[AnyArray, "s k ..."]],
    rates: Float[Array, "s k"],
    meta_rate: Rate,
    loss: Loss,
) -> tuple[MLP, Float[Array, "n h"]]:
    """Return the upper layers after the batches, and c λ δ of each example."""
    n_batches, k = rates.shape
    gram = (rows @ rows.T + 1).reshape(n_batches, k, -1)

    def learn_batch(carry: tuple[MLP, Array], batch: tuple[Any, ...]) -> tuple[tuple[MLP, Array], None]:
        upper, moved = carry
        start, pre_activations, gram, y, rates = batch
        pre_activations = pre_activations - gram @ moved  # by earlier batches; later rows are still zero
        own_gram = jax.lax.dynamic_slice_in_dim(gram, start, k, axis=1)
        after, deltas = chain(upper, pre_activations, own_gram, y, rates, loss)
        moved = jax.lax.dynamic_update_slice_in_dim(moved, (meta_rate * rates)[:, None] * deltas, start, axis=0)
        return (reptile_step(upper, after, meta_rate), moved), None

    starts = k * jnp.arange(n_batches)
    carry = (upper, jnp.zeros((len(rows), pre_activations.shape[-1]), pre_activations.dtype))
    return jax.lax.scan(learn_batch, carry, (starts, pre_activations, gram, y, rates))[0]


def _in_blocks(
    upper: MLP,
    rows: Float[Array, "k d"],
    pre_activations: Float[Array, "k h"],
    y: PyTree[Shaped[AnyArray, "k ..."]],
    rates: Float[Array, " k"],
    loss: Loss,
) -> tuple[MLP, Float[Array, "k h"]]:
    """Return the upper layers after SGD on the examples of one batch, and λ δ of each.

    A batch is taken in blocks, so that of the Gram matrix only the blocks on and below the diagonal are computed, and
    that an example looks back step by step only at those of its own block.
    """
    k = len(rates)
    size = max(_BLOCK_ROWS, math.ceil(k / _MOST_BLOCKS))
    moved = jnp.zeros_like(pre_activations, shape=(0, pre_activations.shape[1]))
    for start in range(0, k, size):
        block = slice(start, min(start + size, k))
        gram = rows[block] @ rows[: block.stop].T + 1
        before = pre_activations[block] - gram[:, :start] @ moved
        targets = jax.tree.map(lambda it, block=block: it[block], y)
        upper, deltas = chain(upper, before, gram[:, start:], targets, rates[block], loss)
        moved = jnp.concatenate([moved, rates[block, None] * deltas])
    return upper, moved


def chain(
    upper: MLP,
    pre_activations: Float[Array, "k h"],
    gram: Float[Array, "k k"],
    y: PyTree[Shaped[AnyArray, "k ..."]],
    rates: Float[Array, " k"],
    loss: Loss,
) -> tuple[MLP, Float[Array, "k h"]]:
    """Return the upper layers after SGD on each of k examples, and each one's δ.

    Args:
        upper: the model without its first layer.
        pre_activations: of the first layer, at its weights before the chain.
        gram: xᵢ·xⱼ + 1.
        y: labels or targets.
        rates: learning rate of each step.
        loss: of the outputs for one example.
    """

    def step(carry: tuple[MLP, Array], example: tuple[Any, ...]) -> tuple[tuple[MLP, Array], None]:
        upper, deltas = carry
        j, pre_activation, gram_row, y, rate = example
        # Rows of `deltas` from j on are still zero, so the whole product is the sum over i < j.
        upper, delta = link(upper, pre_activation - gram_row @ deltas, y, rate, loss)
        return (upper, jax.lax.dynamic_update_index_in_dim(deltas, delta, j, axis=0)), None

    steps = (jnp.arange(len(rates)), pre_activations, gram * rates[None], y, rates)
    return jax.lax.scan(step, (upper, jnp.zeros_like(pre_activations)), steps, unroll=_UNROLL)[0]


def link(
    upper: MLP, pre_activation: Float[Array, " h"], y: PyTree[AnyArray], rate: Rate, loss: Loss
) -> tuple[MLP, Float[Array, " h"]]:
    """Return the upper layers after the SGD step on one example of a chain, and its δ."""

    def example_loss(upper: MLP, pre_activation: Float[Array, " h"]) -> Float[Array, ""]:
        return loss(upper.above_first(pre_activation), y)

    grads, delta = jax.grad(example_loss, argnums=(0, 1))(upper, pre_activation)
    return sgd_step(upper, grads, rate), delta
