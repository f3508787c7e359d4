"""Choosing examples whose mean is near the mean of all (Welling 2009; Rebuffi et al. 2017, Algorithm 4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

Carry = TypeVar("Carry")


class Herd(NamedTuple):
    """Examples chosen so far."""

    chosen: Int[Array, " most"]
    """Their positions, in order of choice; later places hold zeros."""
    left: Bool[Array, " n"]
    """Which examples can still be chosen."""


def herd(
    features: Float[Array, "n d"],
    mean: Float[Array, " d"],
    candidates: Bool[Array, " n"],
    size: Int[Array, ""],
    most: int,
    sum_features: Callable[[Int[Array, " most"], Int[Array, ""], Carry], tuple[Float[Array, " d"], Carry]],
    carry: Carry,
) -> tuple[Int[Array, " most"], Carry]:
    """Return the positions of the examples chosen, in order, and the last `carry`.

    Each choice is the candidate not chosen yet that brings the mean of the features chosen nearest to `mean`
    (Euclidean distance).

    Args:
        features: of each example.
        mean: what the mean of those chosen is to be near to.
        candidates: which examples may be chosen.
        size: how many to choose, at least 1, at most `most` and the number of candidates.
        most: length of the result; places from `size` on hold zeros.
        sum_features: before each choice but the first, from the examples chosen, their number and the carry to the sum
            of their features and the next carry. A network that normalises batches sees them as one batch.
        carry: before the second choice.
    """

    def choose(n: Int[Array, ""], now: Herd, so_far: Float[Array, " d"]) -> Herd:
        reached = (features + so_far[None]) / (n + 1).astype(features.dtype)
        distance = jnp.sum((mean[None] - reached) ** 2, axis=1)
        nearest = jnp.argmin(jnp.where(now.left, distance, jnp.inf))
        return Herd(now.chosen.at[n].set(nearest.astype(jnp.int32)), now.left.at[nearest].set(False))

    def another(n: Int[Array, ""], now: tuple[Herd, Carry]) -> tuple[Herd, Carry]:
        so_far, carry = sum_features(now[0].chosen, n, now[1])
        return choose(n, now[0], so_far), carry

    first = choose(jnp.zeros((), jnp.int32), Herd(jnp.zeros(most, jnp.int32), candidates), jnp.zeros_like(mean))
    (chosen, _), carry = jax.lax.fori_loop(1, size, another, (first, carry))
    return chosen, carry
