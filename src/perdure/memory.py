"""Memories of past examples: pure functions on NamedTuples of arrays."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PRNGKeyArray

from perdure.core import Example


class Reservoir(NamedTuple):
    """A uniform sample of all examples seen so far (reservoir sampling, Vitter 1985, Algorithm R)."""

    examples: Example
    """The slots: x (size, ...), y (size,), task (size,); slots not filled yet hold zeros."""
    seen: Int[Array, ""]
    """Number of examples offered so far."""


def empty_reservoir(example: Example, size: int) -> Reservoir:
    """Return an empty memory of `size` slots for examples of the shapes and dtypes of `example`."""
    slots = jax.tree.map(lambda leaf: jnp.zeros((size, *jnp.shape(leaf)), jnp.asarray(leaf).dtype), example)
    return Reservoir(slots, jnp.zeros((), jnp.int32))


def capacity(memory: Reservoir) -> int:
    """Return the number of slots."""
    return memory.examples.y.shape[0]


def filled(memory: Reservoir) -> Int[Array, ""]:
    """Return the number of slots that hold an example."""
    return jnp.minimum(memory.seen, capacity(memory))


def draw_slot(memory: Reservoir, key: PRNGKeyArray) -> Int[Array, ""]:
    """Draw where the next example goes: a slot, or any number ≥ capacity when it is not kept.

    While there is room the next free slot is taken; then the (n+1)-th example is kept with probability
    capacity / (n+1) and replaces a uniformly drawn one, which leaves every example seen so far in the
    memory with that same probability.
    """
    drawn = jax.random.randint(key, (), 0, memory.seen + 1, jnp.int32)
    return jnp.where(memory.seen < capacity(memory), memory.seen, drawn)


def store(memory: Reservoir, example: Example, slot: Int[Array, ""]) -> Reservoir:
    """Return the memory with `example` in `slot`; a slot ≥ capacity leaves the contents as they were."""
    # A scatter that drops what is out of range stays in place under vmap; lax.cond would copy the memory.
    examples = jax.tree.map(lambda leaf, new: leaf.at[slot].set(new, mode="drop"), memory.examples, example)
    return Reservoir(examples, memory.seen + 1)


def draw_slots(memory: Reservoir, shape: tuple[int, ...], key: PRNGKeyArray) -> Int[Array, ...]:
    """Draw filled slots uniformly and with replacement (zeros while the memory is empty)."""
    return jax.random.randint(key, shape, 0, filled(memory), jnp.int32)


def drawn_mask(memory: Reservoir, draws: int) -> Bool[Array, " draws"]:
    """Return which of `draws` draws count: all, or only as many as there are examples in the memory."""
    return jnp.arange(draws, dtype=jnp.int32) < filled(memory)


def recall(memory: Reservoir, slots: Int[Array, "*draws"]) -> Example:
    """Return the examples in `slots`, leaves of shape (*draws, ...)."""
    return jax.tree.map(lambda leaf: leaf.at[slots].get(mode="clip"), memory.examples)
