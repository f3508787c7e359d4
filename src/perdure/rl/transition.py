"""What an agent remembers of a frame, and the loss of one such transition.

An action at time t−1 leads to the reward, discount and observation of time t.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PyTree, Shaped

from perdure.core import Rate, as_features


class Transition(NamedTuple):
    """One frame, or, with leading axes on every leaf, many of them."""

    observation: Shaped[Array, ...]
    """Observation at time t−1, on which the agent acted: pixels or floats."""
    action: Int[Array, ...]
    """Action at time t−1."""
    reward: Float[Array, ...]
    """Reward at time t."""
    discount: Float[Array, ...]
    """0 if the game ended with this frame, else 1, also where a time limit ended the episode."""
    next_observation: Shaped[Array, ...]
    """Observation at time t, before any reset."""


class Target(NamedTuple):
    """The value that an action should have."""

    action: Int[Array, ...]
    value: Float[Array, ...]


class TDBatch(NamedTuple):
    """Transitions as a replay learner takes them: inputs and temporal-difference targets, named as in `Example`."""

    x: Shaped[Array, ...]
    """Observations."""
    y: Target


def td_loss(values: Float[Array, " actions"], y: Target) -> Float[Array, ""]:
    """Return the Huber loss of the temporal-difference error, quadratic up to 1.

    Its gradient is the error clipped to ±1.

    Source: Mnih et al. (2015), "Human-level control through deep reinforcement learning", Nature 518, Methods.

    Args:
        values: of all actions at time t−1.
        y: the action taken and its target.
    """
    return optax.huber_loss(values[y.action], y.value)


def td_squared_loss(values: Float[Array, " actions"], y: Target) -> Float[Array, ""]:
    """Return half the square of the temporal-difference error; its gradient is the error, however large.

    Args:
        values: of all actions at time t−1.
        y: the action taken and its target.
    """
    return optax.l2_loss(values[y.action], y.value)


TD_LOSSES = {"huber": td_loss, "squared": td_squared_loss}
"""Losses of the temporal-difference error by name."""


def td_targets(target_network: PyTree, transitions: Any, discount: Rate) -> Target:
    """Return the actions taken and their targets r + discount · max over actions of the target network's values.

    Rewards are clipped to ±1.

    Source: Mnih et al. (2015), Algorithm 1 and Methods.

    Args:
        target_network: from one observation to the values of all actions.
        transitions: a `Transition` with leaves (*batch, ...).
        discount: of a frame, γ of reinforcement learning, 0..1.
    """
    shape = transitions.reward.shape
    seen = as_features(transitions.next_observation)
    values = jax.vmap(target_network)(seen.reshape(transitions.reward.size, *seen.shape[len(shape) :]))
    best = jnp.max(values, axis=-1).reshape(shape)
    rewards = jnp.clip(transitions.reward, -1, 1)
    return Target(transitions.action, rewards + discount * transitions.discount * best)
