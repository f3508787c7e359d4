"""Elastic weight consolidation: a quadratic penalty on leaving weights that mattered, by their Fisher information.

Source: Kirkpatrick et al. (2017), "Overcoming catastrophic forgetting in neural networks", arXiv:1612.00796, section 2.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PyTree, Shaped

from perdure.core import AnyArray, Rate
from perdure.models import split_trainable
from perdure.updates.gradient import example_gradient
from perdure.updates.losses import Loss


class Consolidation(NamedTuple):
    """The sum over past tasks of F · (θ − θ*)², as its gradient needs it: two numbers a weight, whatever the tasks.

    F is a task's Fisher information, θ* the weights at its end.
    """

    stiffness: PyTree
    """Σ F."""
    pull: PyTree
    """Σ F · θ*."""


def no_consolidation(weights: PyTree) -> Consolidation:
    """Return the penalty before the end of the first task, which is none."""
    nothing = jax.tree.map(jnp.zeros_like, weights)
    return Consolidation(nothing, nothing)


def consolidated(before: Consolidation, information: PyTree, weights: PyTree) -> Consolidation:
    """Return the penalty with that of one more task.

    Args:
        before: of the tasks before.
        information: F of each weight.
        weights: at the task's end.
    """
    return Consolidation(
        jax.tree.map(jnp.add, before.stiffness, information),
        jax.tree.map(lambda pull, f, weight: pull + f * weight, before.pull, information, weights),
    )


def penalty_gradient(grads: PyTree, weights: PyTree, consolidation: Consolidation, strength: Rate) -> PyTree:
    """Return the gradient of the loss and of ``strength · Σ F · (θ − θ*)²``, given that of the loss."""
    return jax.tree.map(
        lambda grads, weight, stiffness, pull: grads + 2 * strength * (stiffness * weight - pull),
        grads,
        weights,
        *consolidation,
    )


def mean_squared_gradients(
    model: PyTree, x: AnyArray, y: PyTree[Shaped[AnyArray, "n ..."]], counts: Bool[Array, " n"], loss: Loss
) -> PyTree:
    """Return, for each weight, the mean of the square of the derivative of one example's loss.

    With y as labels this is the empirical Fisher information.

    Args:
        model: at its weights.
        x: (n, ...).
        y: leaves (n, ...).
        counts: which of the examples the mean is over; of none it is 0.
        loss: of one example.
    """

    def add(place: Int[Array, ""], squares: PyTree) -> PyTree:
        one_x, one_y = jax.tree.map(lambda leaf: leaf[place], (x, y))
        grads = example_gradient(model, one_x, one_y, loss).grads
        return jax.tree.map(lambda total, by: total + jnp.where(counts[place], by**2, 0), squares, grads)

    # One example after another: the gradients of all at once would take as many copies of the weights.
    total = jax.lax.fori_loop(0, len(counts), add, jax.tree.map(jnp.zeros_like, split_trainable(model)[0]))
    n = jnp.maximum(jnp.sum(counts), 1)
    return jax.tree.map(lambda squares: squares / n.astype(squares.dtype), total)
