"""Standardisation of columns that come one row after another, as a part of the model's state."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

LARGEST_SCALED = 10.0
"""Standardised values are clipped here: a row far outside all rows before it must not throw the weights away."""
_LARGEST_RAW = 1e18
"""Raw values are clipped here, so that their squares fit float32."""


class Moments(NamedTuple):
    """Running mean and variance of each column, of the values that were not missing."""

    n: Float[Array, " columns"]
    """Values seen; stays at 2²⁴, where float32 counts no further, so that later values count as the last 2²⁴."""
    mean: Float[Array, " columns"]
    variance: Float[Array, " columns"]
    """Mean of the squared deviations from the mean."""


def no_moments(n_columns: int) -> Moments:
    """Return the moments before the first row."""
    return Moments(*(jnp.zeros(n_columns) for _ in Moments._fields))


def include(moments: Moments, row: Float[Array, " columns"], weight: Bool[Array, " columns"]) -> Moments:
    """Return the moments with one row more.

    Args:
        moments: of the rows before.
        row: raw values; NaN is missing.
        weight: which columns to look at.

    Source: Welford (1962), "Note on a method for calculating corrected sums of squares and products".
    """
    row = jnp.clip(row, -_LARGEST_RAW, _LARGEST_RAW)
    counts = weight & ~jnp.isnan(row)
    n = jnp.minimum(moments.n + 1, 2.0**24)
    away = jnp.where(counts, row - moments.mean, 0.0)
    mean = moments.mean + away / n
    variance = moments.variance + (away * (row - mean) - moments.variance) / n
    return Moments(*(jnp.where(counts, new, old) for new, old in zip((n, mean, variance), moments, strict=True)))


def standardized(
    moments: Moments, row: Float[Array, " columns"], scaled: Bool[Array, " columns"]
) -> Float[Array, " columns"]:
    """Return a row in standard deviations from the mean, within ±`LARGEST_SCALED`.

    The row counts as seen, though the moments given are of the rows before it: so a first row is 0 and a second one ±1
    in every column, and no early row is many standard deviations away. Missing values are 0, the mean; so are constant
    columns.

    Args:
        moments: of the rows before.
        row: raw values; NaN is missing.
        scaled: which columns to standardize; the others stay as they are, 0 where missing.
    """
    now = include(moments, row, scaled)
    deviation = jnp.sqrt(jnp.maximum(now.variance, 0.0))
    values = jnp.clip(row, -_LARGEST_RAW, _LARGEST_RAW)
    scores = jnp.where(deviation > 0, (values - now.mean) / jnp.where(deviation > 0, deviation, 1.0), 0.0)
    chosen = jnp.where(scaled, jnp.clip(scores, -LARGEST_SCALED, LARGEST_SCALED), row)
    return jnp.where(jnp.isnan(row), 0.0, chosen)
