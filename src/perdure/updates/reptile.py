"""The Reptile meta-update: on its own, and as a wrapper of any optimizer of optax."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.core import Tracer
from jaxtyping import Array, Int, PyTree

from perdure.core import Rate

Model = TypeVar("Model", bound=PyTree)


def reptile_step(before: Model, after: Model, rate: Rate) -> Model:
    """Return ``before + rate · (after − before)``: part of the way to where SGD has led.

    To first order this raises the dot products between the gradients of the examples that SGD visited in
    between (Nichol, Achiam & Schulman 2018, section 5.1).

    Args:
        before: model before SGD on one example after another.
        after: model after it. Float leaves are interpolated, running statistics among them; others are taken from here.
        rate: meta-rate ≥ 0; 1 keeps the weights that SGD has reached.
    """
    return jax.tree.map(lambda old, new: old + rate * (new - old) if eqx.is_inexact_array(new) else new, before, after)


class ReptileState(NamedTuple):
    """State of `reptile`."""

    optimizer: optax.OptState
    """Of the optimizer inside."""
    start: PyTree
    """The weights at the beginning of the round, θ₀."""
    step: Int[Array, ""]
    """Steps taken in this round, 0 to every − 1."""
    rounds: Int[Array, ""]
    """Rounds that have ended."""


def reptile(
    optimizer: optax.GradientTransformation, *, every: int, rate: Rate | Callable[[Any], Any]
) -> optax.GradientTransformationExtraArgs:
    """Return an optimizer that goes part of the way back after every few steps: θ ← θ₀ + rate · (θ − θ₀).

    A round is `every` steps of the optimizer inside; θ₀ are the weights at its beginning. The last step of a round ends
    with the Reptile step, which favours weights where the gradients of the round's batches agree. Wrapped twice, with
    k and s · k steps, plain SGD on single examples is MER's Algorithm 1. The optimizer's own state, such as moments,
    stays as its steps left it. Running statistics of batch normalisation are no weights of the optimizer; interpolate
    them with `perdure.learn.reptile_step`.

    It needs the weights: ``optimizer.update(gradients, state, weights)``. It keeps a copy of them.

    Args:
        optimizer: takes the steps: any of optax, a chain too.
        every: steps in a round, k ≥ 1.
        rate: meta-rate ε ≥ 0; 1 leaves the optimizer as it is. Or a schedule: a function from the number of rounds that
            have ended to the rate.

    Raises:
        TypeError: if `optimizer` is no optimizer of optax, or `every` or `rate` is of another type.
        ValueError: if `every` is below 1 or not whole, or `rate` is negative or not finite.

    Source: Nichol, Achiam & Schulman (2018), "On First-Order Meta-Learning Algorithms", arXiv:1803.02999, Algorithm 1;
    Riemer et al. (2019), "Learning to Learn without Forgetting by Maximizing Transfer and Minimizing Interference",
    arXiv:1810.11910, for its place in replay.
    """
    _check_arguments(optimizer, every, rate)
    inside = optax.with_extra_args_support(optimizer)

    def init(params: PyTree) -> ReptileState:
        # Arrays of their own: the caller may give up the buffers of the weights and of this state to one program.
        start = jax.tree.map(jnp.array, params)
        return ReptileState(inside.init(params), start, jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32))

    def update(updates: PyTree, state: Any, params: PyTree | None = None, **extra: Any) -> tuple[PyTree, ReptileState]:
        if params is None:
            raise ValueError("reptile needs the weights; give them too: optimizer.update(gradients, state, weights)")
        updates, optimizer_state = inside.update(updates, state.optimizer, params, **extra)
        start = jax.tree.map(lambda now, then: jnp.where(state.step == 0, now, then), params, state.start)
        after = optax.apply_updates(params, updates)
        ends = state.step == every - 1
        way_back = 1 - jnp.asarray(rate(state.rounds) if callable(rate) else rate)

        def moved(update: Any, old: Any, new: Any) -> Any:
            # The sum of the optimizer's step and the way back: with a rate of 1 exactly the optimizer's step.
            back = (way_back.astype(new.dtype) * (old - new)).astype(update.dtype)
            return jnp.where(ends, update + back, update)

        updates = jax.tree.map(moved, updates, start, after)
        step = jnp.where(ends, 0, state.step + 1)
        rounds = jnp.where(ends, optax.safe_increment(state.rounds), state.rounds)
        return updates, ReptileState(optimizer_state, start, step, rounds)

    return optax.GradientTransformationExtraArgs(init, update)


def _check_arguments(optimizer: Any, every: Any, rate: Any) -> None:
    if not (callable(getattr(optimizer, "init", None)) and callable(getattr(optimizer, "update", None))):
        raise TypeError(
            f"optimizer is {optimizer!r}, expected an optimizer of optax with its learning rate, as optax.adam(0.001)"
        )
    number: Any = numbers.Real
    wanted = f"every = {every!r}, expected a whole number of steps ≥ 1"
    if isinstance(every, bool) or not isinstance(every, number):
        raise TypeError(wanted)
    if not (math.isfinite(every) and every == int(every) and every >= 1):
        raise ValueError(wanted)
    if callable(rate) or isinstance(rate, Tracer):
        return
    wanted = f"rate = {rate!r}, expected a finite number ≥ 0; 1 leaves the optimizer as it is"
    if isinstance(rate, bool) or not isinstance(rate, (number, jax.Array, np.ndarray)) or np.ndim(rate):
        raise TypeError(f"{wanted}. Or give a schedule, a function from the number of rounds to the rate")
    if not 0 <= float(rate) < math.inf:
        raise ValueError(wanted)
