"""A running sum of outer products, into which rows go a block at a time.

Adding one outer product moves all d² numbers, 8 MB for 1,024 features; a matrix product adds a whole block of rows
while it moves them once. So rows wait until there is a block of them, and what they add is exact at any time.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, Int

from perdure.core import Rate
from perdure.updates.branches import where_needed

_BLOCK = 64


class Scatter(NamedTuple):
    """Sum of rᵀ r over rows r, each of which weighs less with every row after it, by a factor that `keep` is."""

    total: Float[Array, "d d"]
    """Of the rows that no longer wait, as it was when the last of them came."""
    waiting: Float[Array, "block d"]
    """Rows that wait, each as it came; what follows them is of no matter."""
    n_waiting: Int[Array, ""]


def no_scatter(d: int, dtype: DTypeLike) -> Scatter:
    """Return the sum over no rows of d numbers."""
    return Scatter(jnp.zeros((d, d), dtype), jnp.zeros((_BLOCK, d), dtype), jnp.zeros((), jnp.int32))


def with_row(scatter: Scatter, row: Float[Array, " d"], keep: Rate = 1.0) -> Scatter:
    """Return the sum with one more row."""
    total, waiting, n = scatter
    waiting = waiting.at[n].set(row)
    is_full = n + 1 == len(waiting)
    total = where_needed(is_full, lambda: matrix(Scatter(total, waiting, n + 1), keep), total)
    return Scatter(total, waiting, jnp.where(is_full, 0, n + 1))


def with_rows(scatter: Scatter, rows: Float[Array, "n d"], keep: Rate = 1.0) -> Scatter:
    """Return the sum with more rows, all at once, after which none waits."""
    weighted = rows * jnp.sqrt(faded(len(rows), keep, rows.dtype))[:, None]
    total = matrix(scatter, keep) * keep ** len(rows) + weighted.T @ weighted
    return Scatter(total, scatter.waiting, jnp.zeros_like(scatter.n_waiting))


def matrix(scatter: Scatter, keep: Rate = 1.0) -> Float[Array, "d d"]:
    """Return the sum as a matrix."""
    total, waiting, n = scatter
    age = n - 1 - jnp.arange(len(waiting), dtype=n.dtype)
    weights = jnp.where(age >= 0, keep ** jnp.maximum(age, 0).astype(total.dtype), 0)
    weighted = jnp.where(weights[:, None] > 0, jnp.sqrt(weights)[:, None] * waiting, 0)
    return keep ** n.astype(total.dtype) * total + weighted.T @ weighted


def faded(n: int, keep: Rate, dtype: DTypeLike) -> Float[Array, " n"]:
    """Return the weights of n examples after the last of them."""
    return jnp.asarray(keep, dtype) ** jnp.arange(n - 1, -1, -1, dtype=dtype)
