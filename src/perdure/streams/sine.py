"""Incremental sine waves: functions of one number that one network learns one after another.

Source: Javed & White (2019), section 4.1, and their released code.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

LARGEST_X = 5.0


class Sines(NamedTuple):
    """Functions amplitude · sin(x + phase)."""

    amplitude: Float[Array, " functions"]
    """0.1 ≤ amplitude < 5.1."""
    phase: Float[Array, " functions"]
    """0 ≤ phase < π."""


def draw_sines(n: int, key: PRNGKeyArray) -> Sines:
    """Return n functions, amplitudes and phases uniform."""
    amplitude_key, phase_key = jax.random.split(key)
    return Sines(
        jax.random.uniform(amplitude_key, (n,), minval=0.1, maxval=5.1),
        jax.random.uniform(phase_key, (n,), maxval=jnp.pi),
    )


def sine_examples(
    sines: Sines,
    number: Int[Array, " functions"],
    n_numbers: int,
    n_examples: int,
    key: PRNGKeyArray,
) -> tuple[Float[Array, "functions examples inputs"], Float[Array, "functions examples 1"]]:
    """Return examples of each function, x uniform in [−5, 5).

    Args:
        sines: the functions.
        number: of each function, 0 ≤ number < `n_numbers`; what tells the network which function is meant.
        n_numbers: how many numbers there are.
        n_examples: examples of each function.
        key: random key.

    Returns:
        Inputs, the function's number one-hot and then x, and targets.
    """
    n_functions = len(sines.amplitude)
    x = jax.random.uniform(key, (n_functions, n_examples, 1), minval=-LARGEST_X, maxval=LARGEST_X)
    which = jnp.broadcast_to(jax.nn.one_hot(number, n_numbers)[:, None], (n_functions, n_examples, n_numbers))
    y = sines.amplitude[:, None, None] * jnp.sin(x + sines.phase[:, None, None])
    return jnp.concatenate([which, x], axis=-1), y
