"""What an agent remembers of a frame, and the loss of one such transition.

Names carry time as usual: an action at time t−1 leads to reward, discount and observation at time t.
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
    """What the agent saw before it acted: pixels or floats."""
    action: Int[Array, ...]
    """What it did."""
    reward: Float[Array, ...]
    """What it was paid."""
    discount: Float[Array, ...]
    """0 if the game ended with this frame, else 1; a time limit is no end of the game."""
    next_observation: Shaped[Array, ...]
    """What it saw then, before anything begins anew."""


class Target(NamedTuple):
    """What the value of an action should be."""

    action: Int[Array, ...]
    value: Float[Array, ...]


class TDBatch(NamedTuple):
    """What a replay learner learns of transitions, named as the parts of an `Example`."""

    x: Shaped[Array, ...]
    """Observations."""
    y: Target


def td_loss(values: Float[Array, " actions"], y: Target) -> Float[Array, ""]:
    """Return the Huber loss of the temporal-difference error, quadratic up to 1.

    Its slope is the error clipped to ±1.

    Source: Mnih et al. (2015), Methods.

    Args:
        values: of all actions at time t−1.
        y: the action taken and its target.
    """
    return optax.huber_loss(values[y.action], y.value)


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
