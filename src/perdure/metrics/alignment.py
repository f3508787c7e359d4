"""Do the gradients of different examples agree? The quantity that MER sets out to raise."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from perdure.core import Example, Learner
from perdure.models import split_trainable
from perdure.updates.losses import or_cross_entropy


def gradient_alignment(learner: Learner[Any], state: Any, arriving: Example, past: Example) -> Float[Array, ""]:
    """Return the dot product of the loss gradients on two examples, ∇ loss(arriving) · ∇ loss(past).

    Positive: learning one helps the other (transfer); negative: it harms it (interference). Taken with respect to
    all weights that answer, ``learner.answering(state)`` (Riemer et al. 2019, equations 1 and 2). It is 0 where
    `predict` does not depend on them, such as iCaRL's for classes without exemplars, which classes of the current task
    are.

    Args:
        learner: how outputs come from the state.
        state: a state of the learner.
        arriving: one example.
        past: another.
    """
    return _dot(_example_gradient(learner, state, arriving), _example_gradient(learner, state, past))


def gradient_cosine(learner: Learner[Any], state: Any, arriving: Example, past: Example) -> Float[Array, ""]:
    """Return the cosine of the angle between the loss gradients on two examples, −1..1; 0 if one of them vanishes.

    The dot product is dominated by the few examples with large gradients; its cosine weighs all examples alike.
    Arguments as of `gradient_alignment`.
    """
    one, other = (_example_gradient(learner, state, example) for example in (arriving, past))
    lengths = jnp.sqrt(_dot(one, one)) * jnp.sqrt(_dot(other, other))
    return jnp.where(lengths > 0, _dot(one, other) / jnp.where(lengths > 0, lengths, 1.0), 0.0)


def _example_gradient(learner: Learner[Any], state: Any, example: Example) -> PyTree:
    weights, rest = split_trainable(learner.answering(state))
    loss = or_cross_entropy(getattr(learner, "loss", None))

    def example_loss(weights: PyTree) -> Float[Array, ""]:
        x, task = jnp.asarray(example.x)[None], jnp.asarray(example.task)[None]
        answering = eqx.combine(weights, rest)
        outputs = learner.predict(eqx.tree_at(learner.answering, state, answering), x, task)
        return loss(outputs[0], example.y)

    return jax.grad(example_loss)(weights)


def _dot(one: PyTree, other: PyTree) -> Float[Array, ""]:
    return jax.tree.reduce(jnp.add, jax.tree.map(lambda a, b: jnp.sum(a * b), one, other))
