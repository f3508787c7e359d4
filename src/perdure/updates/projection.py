"""Gradients projected so that, to first order, no past task's loss rises: GEM and A-GEM.

GEM's quadratic programme has an active-set solver of its own: those for JAX (qpax, jaxnnls, jaxopt, optax) leave errors
in float32 that are at least 4, mostly more than 50 times as large (benchmarks/projection.py).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer

from perdure.core import Rate

_PIVOTS_PER_ROW = 10
"""Bound on the pivots, in units of the number of rows; well-posed problems need less than 1.5, the worst about 3."""
_ROUNDING = 8
"""Slopes within this number of rounding errors of zero count as zero."""


def project(
    gradient_matrix: Float[Array, "t p"],
    gradient: Float[Array, " p"],
    margin: Rate,
    mask: Bool[Array, " t"],
) -> Float[Array, " p"]:
    """Return GEM's gradient: the given one, unless its dot product with a row that mask is negative.

    If one is, return g + Gᵀv with v of `dual_solution` (Lopez-Paz & Ranzato 2017, section 3): at margin 0 the nearest
    vector whose dot products with the rows that count are all at least 0.

    Args:
        gradient_matrix: G, a row for the gradient of the mean loss on each past task's memory.
        gradient: g, of the current loss.
        margin: least weight of every row that mask, ≥ 0; it draws a gradient that is projected towards all of them.
        mask: which rows are past tasks; the others may hold any finite numbers.
    """
    # Rows that nearly cancel out are lost in the reduced precision that accelerators use by default.
    with jax.default_matmul_precision("highest"):
        product = gradient_matrix @ gradient

        def projected() -> Float[Array, " p"]:
            weights = dual_solution(_gram(gradient_matrix), product, margin, mask)
            return gradient + weights @ gradient_matrix

        return jax.lax.cond(jnp.any(mask & (product < 0)), projected, lambda: gradient)


@jax.custom_batching.sequential_vmap
def _gram(rows: Float[Array, "t p"]) -> Float[Array, "t t"]:
    """Return all dot products of the rows; one seed at a time, because XLA's batched product of this shape is slow."""
    return rows @ rows.T


def average_projection(gradient: Float[Array, " p"], reference: Float[Array, " p"]) -> Float[Array, " p"]:
    """Return A-GEM's gradient: the given one, less its component along the reference if their dot product is negative.

    Args:
        gradient: g, of the current loss.
        reference: g_ref, of the mean loss on memories of all past tasks (Chaudhry et al. 2019, equation 11).
    """
    return gradient - share_of_reference(gradient @ reference, reference @ reference) * reference


def share_of_reference(product: Float[Array, ""], square: Float[Array, ""]) -> Float[Array, ""]:
    """Return the factor of g_ref in what `average_projection` takes away, given g · g_ref and g_ref · g_ref."""
    harmful = (product < 0) & (square > 0)
    return jnp.where(harmful, product / jnp.where(harmful, square, 1), 0)


def dual_solution(
    gram: Float[Array, "t t"], product: Float[Array, " t"], margin: Rate, mask: Bool[Array, " t"]
) -> Float[Array, " t"]:
    """Return v that minimises ½ vᵀGGᵀv + (Gg)ᵀv subject to v ≥ margin; 0 for rows that do not count.

    Where rows that count depend on one another, v is one of many solutions, and Gᵀv the same for all. With rows of unit
    length, g' = g + margin · Σ rows and rounding errors ε, the result violates a constraint by about ε ‖g'‖. Where rows
    depend on one another to within √(t·ε), it may be about √(t·ε) ‖g'‖: their Gram matrix tells no finer.

    Args:
        gram: GGᵀ (Lopez-Paz & Ranzato 2017, equations 11–13), t ≥ 1.
        product: Gg.
        margin: least v of every row that mask, ≥ 0.
        mask: which rows there are; what `gram` and `product` hold for the others does not matter.
    """
    gram = jnp.where(mask[:, None] & mask[None, :], gram, 0)
    squares = jnp.diagonal(gram)
    # Rows of unit length; zero rows, which no weight can make matter, stay zero.
    scale = jnp.where(squares > 0, jax.lax.rsqrt(jnp.where(squares > 0, squares, 1)), 0)
    slopes = scale * (jnp.where(mask, product, 0) + margin * jnp.sum(gram, axis=1))
    excess = _nonnegative_minimum(scale[:, None] * gram * scale[None, :], slopes)
    return jnp.where(mask, margin + scale * excess, 0)


class _Search(NamedTuple):
    tableau: Float[Array, "t t"]
    """The Gram matrix swept on the free rows: −inverse among them, Schur complement among the others."""
    u: Float[Array, " t"]
    slopes: Float[Array, " t"]
    """Of the objective, at u."""
    free: Bool[Array, " t"]
    """Rows whose u may be positive; at the others it is 0."""
    n_pivots: Integer[Array, ""]
    done: Bool[Array, ""]


def _nonnegative_minimum(gram: Float[Array, "t t"], offset: Float[Array, " t"]) -> Float[Array, " t"]:
    """Return u ≥ 0 that minimises ½ uᵀ gram u + offsetᵀu (Lawson & Hanson 1974, chapter 23).

    Rows of positive semi-definite `gram`, with a diagonal of ones and zeros, are set free one at a time, steepest
    first, and bound again where u would turn negative. Only a row that the free ones do not already span is set free,
    so a singular matrix does no harm. Whatever happens, u stays ≥ 0 and the number of pivots bounded.
    """
    t = len(offset)
    epsilon = jnp.finfo(offset.dtype).eps
    rows = jnp.arange(t)

    def pivot(now: _Search) -> _Search:
        # A Newton step on the free rows from where u is, rather than from zero, corrects the errors of earlier pivots.
        step = jnp.where(now.free, now.tableau @ jnp.where(now.free, now.slopes, 0), 0)
        blocks = now.free & (now.u + step <= 0)
        reach = jnp.where(blocks, now.u / jnp.where(step < 0, -step, 1), jnp.inf)
        leaves, leaving = jnp.any(blocks), jnp.argmin(reach)
        u = jnp.maximum(now.u + jnp.minimum(jnp.min(reach), 1) * step, 0)
        u = jnp.where(leaves & (rows == leaving), 0, u)

        slopes = gram @ u + offset
        noise = _ROUNDING * epsilon * (jnp.max(jnp.abs(offset)) + jnp.sum(u))
        spanned = jnp.diagonal(now.tableau) <= t * epsilon
        useful = (slopes < -noise) & ~now.free & ~spanned
        entering = jnp.argmin(jnp.where(useful, slopes, jnp.inf))
        row = jnp.where(leaves, leaving, entering)
        return _Search(
            tableau=_swept(now.tableau, row, leaves),
            u=u,
            slopes=slopes,
            free=now.free ^ (rows == row),
            n_pivots=now.n_pivots + 1,
            done=~leaves & ~jnp.any(useful),
        )

    start = _Search(gram, jnp.zeros_like(offset), offset, jnp.zeros(t, bool), jnp.asarray(0), jnp.asarray(False))
    limit = _PIVOTS_PER_ROW * t
    return jax.lax.while_loop(lambda now: ~now.done & (now.n_pivots < limit), pivot, start).u


def _swept(tableau: Float[Array, "t t"], row: Integer[Array, ""], back: Bool[Array, ""]) -> Float[Array, "t t"]:
    """Return the tableau after one step of symmetric Gauss–Jordan elimination, or with it undone."""
    column, corner = tableau[:, row], tableau[row, row]
    here = jnp.arange(len(tableau)) == row
    scaled = column / jnp.where(corner == 0, 1, corner)
    edge = jnp.where(here, -1 / jnp.where(corner == 0, 1, corner), jnp.where(back, -scaled, scaled))
    rest = tableau - column[:, None] * scaled[None, :]
    return jnp.where(here[:, None], edge[None, :], jnp.where(here[None, :], edge[:, None], rest))
