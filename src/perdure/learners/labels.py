"""What learners check that learn classes and not numbers."""

from __future__ import annotations

import jax.numpy as jnp

from perdure.core import Example, Learner


def expect_labels(learner: Learner, example: Example) -> None:
    """Raise if the targets of examples like this one are numbers.

    Raises:
        TypeError: naming the learner.
    """
    dtype = jnp.asarray(example.y).dtype
    if not jnp.issubdtype(dtype, jnp.integer):
        raise TypeError(
            f"{type(learner).__name__} got y of dtype {dtype}, expected integer labels; for regression use "
            "ridge, online or er"
        )
