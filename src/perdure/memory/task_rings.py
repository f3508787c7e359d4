"""The last examples of each task."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PRNGKeyArray

from perdure.core import Example
from perdure.memory.buffer import LARGEST_COUNT


class TaskRings(NamedTuple):
    """The last examples of each task: one ring buffer a task (Lopez-Paz & Ranzato 2017, section 3)."""

    examples: Example
    """The slots: x (tasks, size, ...), y and task (tasks, size, ...); slots not filled yet hold zeros."""
    seen: Int[Array, " tasks"]
    """Number of examples stored of each task so far; of very many, as many as leave the ring where it is."""


def empty_rings(example: Example, n_tasks: int, size: int) -> TaskRings:
    """Return `n_tasks` empty rings of `size` slots for examples of the shapes and dtypes of `example`."""
    slots = jax.tree.map(lambda leaf: jnp.zeros((n_tasks, size, *jnp.shape(leaf)), jnp.asarray(leaf).dtype), example)
    return TaskRings(slots, jnp.zeros(n_tasks, jnp.int32))


def store_in_ring(memory: TaskRings, example: Example) -> TaskRings:
    """Return the memory with `example` in its task's ring, in place of the oldest there if the ring is full."""
    task, size = example.task, memory.examples.y.shape[1]
    slot = memory.seen[task] % size
    examples = jax.tree.map(lambda leaf, new: leaf.at[task, slot].set(new), memory.examples, example)
    # After the most rounds that an integer can count, a ring is counted as having gone round once.
    n = memory.seen[task] + 1
    n = jnp.where(n == LARGEST_COUNT // size * size, size, n)
    return TaskRings(examples, memory.seen.at[task].set(n))


def ring(memory: TaskRings, task: Int[Array, ""]) -> tuple[Example, Bool[Array, " size"]]:
    """Return a task's slots, and which of them are filled."""
    examples = jax.tree.map(lambda leaf: jax.lax.dynamic_index_in_dim(leaf, task, keepdims=False), memory.examples)
    return examples, jnp.arange(memory.examples.y.shape[1], dtype=jnp.int32) < memory.seen[task]


def draw_past(memory: TaskRings, task: Int[Array, ""], draws: int, key: PRNGKeyArray) -> Example:
    """Draw examples uniformly and with replacement from the rings of tasks before `task`, leaves (draws, ...).

    If no such ring holds anything, what is returned means nothing.
    """
    n_tasks, size = memory.examples.y.shape[:2]
    held = jnp.where(jnp.arange(n_tasks, dtype=jnp.int32) < task, jnp.minimum(memory.seen, size), 0)
    ends = jnp.cumsum(held)
    drawn = jax.random.randint(key, (draws,), 0, jnp.maximum(ends[-1], 1), jnp.int32)
    of_task = jnp.minimum(jnp.searchsorted(ends, drawn, side="right"), n_tasks - 1)
    slot = drawn - (ends - held)[of_task]
    return jax.tree.map(lambda leaf: leaf[of_task, slot], memory.examples)
