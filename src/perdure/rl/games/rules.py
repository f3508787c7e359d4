"""What the games have in common: the clock, the ends of an episode, and checks of the parameters of a level."""

from __future__ import annotations

import math
import numbers
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, Shaped

from perdure.rl.environment import Step

FRAME_MS = 1000 / 30
"""Duration of a frame in milliseconds."""
MAX_STEPS = 1000
"""Default time limit of an episode, in frames. The originals have none, and a good player never loses."""
LOSS = -5
"""Reward for the end of a game."""


def draw_below(key: PRNGKeyArray, shape: tuple[int, ...], n: Int[Array, ""] | int) -> Int[Array, ...]:
    """Draw whole numbers from 0 to n − 1 uniformly, n at most 256.

    Games draw in every frame, also where they need no number, and `jax.random.randint` takes four times the random
    bits. The relative error of each probability is below n / 2²⁴.
    """
    of_24_bits = jax.random.bits(key, shape, jnp.uint32) >> 8
    return (of_24_bits * jnp.asarray(n, jnp.uint32) >> 24).astype(jnp.int32)


def with_end(
    observation: Shaped[Array, ...],
    state: Any,
    reward: Float[Array, ""],
    terminated: Bool[Array, ""],
    max_steps: Int[Array, ""],
) -> Step:
    """Return a step whose `info` says whether the game (`terminated`) or the time limit (`truncated`) has ended it.

    Args:
        observation: observation after the action.
        state: state after the action; its `time` is the number of frames since the episode began.
        reward: reward of the action.
        terminated: whether the game has ended the episode.
        max_steps: frames after which the time limit ends it.
    """
    truncated = ~terminated & (state.time >= max_steps)
    info = {"terminated": terminated, "truncated": truncated, "discount": 1 - terminated.astype(jnp.float32)}
    return Step(observation, state, reward, terminated | truncated, info)


def check_positive(name: str, value: Any, why: str) -> None:
    """Check that a number is positive; `why` completes the error message with its unit and usual values.

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
