"""The mathematics of proximal policy optimisation: advantages and losses.

Source: Schulman et al. (2017), "Proximal Policy Optimization Algorithms", arXiv:1707.06347; Schulman et al. (2016),
"High-Dimensional Continuous Control Using Generalized Advantage Estimation", arXiv:1506.02438.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from perdure.core import Rate


def generalised_advantages(
    rewards: Float[Array, "frames environments"],
    discounts: Float[Array, "frames environments"],
    ended: Bool[Array, "frames environments"],
    values: Float[Array, "frames environments"],
    next_values: Float[Array, "frames environments"],
    trace: Rate,
) -> Float[Array, "frames environments"]:
    """Return advantages estimated by Aₜ = δₜ + discountₜ · trace · Aₜ₊₁ with δₜ = rₜ + discountₜ · V(s'ₜ) − V(sₜ).

    Source: Schulman et al. (2016), equation 16; Schulman et al. (2017), equation 11. After the last frame of an
    episode, and of the rollout, no advantage follows.

    Args:
        rewards: of each frame of each environment.
        discounts: what the value after the frame counts: 0 where the game has ended.
        ended: did an episode end with the frame, by the game or by a time limit?
        values: of the observation before the frame.
        next_values: of the observation after it, before any reset.
        trace: λ, 0..1.
    """
    errors = rewards + discounts * next_values - values
    followed = jnp.where(ended, 0, discounts * trace)

    def back(after: Array, frame: tuple[Array, Array]) -> tuple[Array, Array]:
        error, share = frame
        now = error + share * after
        return now, now

    _, advantages = jax.lax.scan(back, jnp.zeros_like(errors[0]), (errors, followed), reverse=True)
    return advantages


def log_probability(logits: Float[Array, "batch actions"], action: Int[Array, " batch"]) -> Float[Array, " batch"]:
    """Return the logarithm of each action's probability."""
    return jnp.take_along_axis(jax.nn.log_softmax(logits), action[:, None], axis=1)[:, 0]


def clipped_loss(log_ratio: Float[Array, " batch"], advantages: Float[Array, " batch"], clip: Rate) -> Float[Array, ""]:
    """Return minus the mean of min(ratio · A, clip(ratio, 1 − clip, 1 + clip) · A).

    A ratio that has moved beyond the clip in the direction of its advantage has no gradient.

    Source: Schulman et al. (2017), equation 7.

    Args:
        log_ratio: logarithm of the action's probability by that before the update.
        advantages: of the actions.
        clip: ε of the paper.
    """
    ratio = jnp.exp(log_ratio)
    return -jnp.mean(jnp.minimum(ratio * advantages, jnp.clip(ratio, 1 - clip, 1 + clip) * advantages))


def entropy(logits: Float[Array, "batch actions"]) -> Float[Array, ""]:
    """Return the mean entropy of the policy, in nats."""
    log_probabilities = jax.nn.log_softmax(logits)
    return -jnp.mean(jnp.sum(jnp.exp(log_probabilities) * log_probabilities, axis=1))
