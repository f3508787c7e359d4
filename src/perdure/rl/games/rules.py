"""What the games have in common: the clock, how an episode ends, and checks of what makes a level."""

from __future__ import annotations

import math
import numbers
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, Shaped

from perdure.rl.environment import Step

FRAME_MS = 1000 / 30
"""Milliseconds of a frame."""
MAX_STEPS = 1000
"""Default time limit of an episode, in frames. The originals have none; a good player plays on for ever."""
LOSS = -5
"""Reward for the end of a game."""


def draw_below(key: PRNGKeyArray, shape: tuple[int, ...], n: Int[Array, ""] | int) -> Int[Array, ...]:
    """Draw whole numbers from 0 to n − 1 uniformly, n at most 256.

    A game draws in every frame what it needs in few of them; `jax.random.randint` takes four times the random bits. The
    numbers' probabilities differ by less than n / 2²⁴ of themselves.
    """
    of_24_bits = jax.random.bits(key, shape, jnp.uint32) >> 8
    return (of_24_bits * jnp.asarray(n, jnp.uint32) >> 24).astype(jnp.int32)


def judged(
    observation: Shaped[Array, ...],
    state: Any,
    reward: Float[Array, ""],
    terminated: Bool[Array, ""],
    max_steps: Int[Array, ""],
) -> Step:
    """Return a step with its end told: `terminated` by the game, or else `truncated` by the time limit.

    Args:
        observation: what is seen after the action.
        state: what the action has led to; `time` is the number of frames since the episode began.
        reward: what the action is paid.
        terminated: has the game ended the episode?
        max_steps: frames after which the time limit ends it.
    """
    truncated = ~terminated & (state.time >= max_steps)
    info = {"terminated": terminated, "truncated": truncated, "discount": 1 - terminated.astype(jnp.float32)}
    return Step(observation, state, reward, terminated | truncated, info)


def check_positive(name: str, value: Any, why: str) -> None:
    """Check a number; `why` says in errors what it counts and what is usual.

    Raises:
        TypeError: if it is not a number.
        ValueError: if it is not above zero, or not finite.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} = {value!r} is of type {type(value).__name__}, expected a number > 0 {why}")
    if not 0 < float(value) < math.inf:
        raise ValueError(f"{name} = {value}, expected a finite number > 0 {why}")


def whole_number(name: str, value: Any, least: int) -> Int[Array, ""]:
    """Return a whole number as an array.

    Raises:
        TypeError: if it is not a whole number.
        ValueError: if it is less than `least`.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} = {value!r} is of type {type(value).__name__}, expected a whole number ≥ {least}")
    if value < least:
        raise ValueError(f"{name} = {value}, expected a whole number ≥ {least}")
    return jnp.asarray(int(value), jnp.int32)
