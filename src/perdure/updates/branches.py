"""Branches that stay branches when several seeds run side by side, where vmap alone would run all of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Bool, Int, PyTree, Shaped

Result = TypeVar("Result", bound=PyTree)


def where_needed(needed: Bool[Array, ""], make: Callable[[], Result], otherwise: Result) -> Result:
    """Return ``make()`` if it is needed, else `otherwise`; it is made only if some of those side by side need it."""

    def made() -> Result:
        return jax.tree.map(lambda new, old: jnp.where(needed, new, old), make(), otherwise)

    return jax.lax.cond(largest_side_by_side(needed), made, lambda: otherwise)


def change_where_needed(needed: Bool[Array, ""], change: Callable[[Result], Result], before: Result) -> Result:
    """Return ``change(before)`` if some of those side by side need it, else `before`, which is then not even copied.

    A conditional copies what it passes on unchanged, which for a large state costs more than a small step does; a loop
    of one turn or none leaves it in place.

    Args:
        needed: is the change needed here?
        change: must itself leave what it does not need as it was (`jnp.where`, or a scatter that drops).
        before: what may be changed.
    """
    turns = largest_side_by_side(needed).astype(jnp.int32)
    return jax.lax.fori_loop(0, turns, lambda _, now: change(now), before)


def for_as_many_as(
    n: Int[Array, ""], largest: int, make: Callable[[int], Result], none: Result, least: int = 1
) -> Result:
    """Return ``make(most)`` for a static `most` ≥ n that is not much larger; `none` if n is 0.

    What is made for a few then does not pay for arrays as large as the most need.

    Args:
        n: at most `largest`; side by side `most` is for the largest n.
        largest: bound of n.
        make: the same structure of arrays whatever it is given.
        none: of that structure too.
        least: smallest `most`, unless `largest` is smaller; what is made is compiled for up to five different ones.
    """
    sizes = sorted({min(max(math.ceil(largest * part / 5), least), largest) for part in range(1, 6)} - {0})
    branches = [lambda: none, *(lambda most=most: make(most) for most in sizes)]
    branch = jnp.searchsorted(jnp.asarray([0, *sizes], n.dtype), largest_side_by_side(n))
    return jax.tree.map(lambda made, none: jnp.where(n > 0, made, none), jax.lax.switch(branch, branches), none)


@custom_vmap
def largest_side_by_side(value: Shaped[Array, ""]) -> Shaped[Array, ""]:
    """Return the value; of several side by side under vmap the largest, which is then one and the same for all."""
    return value


@largest_side_by_side.def_vmap
def _(axis_size: int, in_batched: list[bool], values: Shaped[Array, " side"]) -> tuple[Shaped[Array, ""], bool]:
    return largest_side_by_side(jnp.max(values, axis=0)), False
