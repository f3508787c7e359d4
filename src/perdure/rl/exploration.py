"""Exploration by random actions with a probability ε that falls with time."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from perdure.core import Rate


def falling_epsilon(frame: Int[Array, ""], end: Rate, frames: int) -> Float[Array, ""]:
    """Return ε at a frame: it falls from 1 to its end along a straight line of so many frames, and stays there."""
    left = jnp.maximum(1 - frame / frames, 0.0)
    return end + (1 - end) * left


def epsilon_greedy(values: Float[Array, " actions"], epsilon: Float[Array, ""], key: PRNGKeyArray) -> Int[Array, ""]:
    """Return the action of the highest value, or with probability ε a random one."""
    explore_key, action_key = jax.random.split(key)
    any_action = jax.random.randint(action_key, (), 0, len(values), jnp.int32)
    explores = jax.random.uniform(explore_key) < epsilon
    return jnp.where(explores, any_action, jnp.argmax(values).astype(jnp.int32))
