"""Examples collected into batches, for methods that learn a batch at a time from a stream that comes one by one."""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int


class Collected(NamedTuple):
    """The examples that wait for their batch to be complete."""

    examples: Any
    """An `Example` or another tuple of arrays, leaves (size, ...); only the first `n` mean something."""
    n: Int[Array, ""]
    """Number of examples that wait, less than the size of a batch."""


class Ready(NamedTuple):
    """What is to be learned now, if anything."""

    examples: Any
    """Leaves (size, ...)."""
    mask: Bool[Array, " size"]
    """Which of them count: all, or only the first ones if a change of task has cut the batch short, or none."""
    complete: Bool[Array, ""]
    """Is the batch to be learned now?"""


class Batches(eqx.Module):
    """How a stream is cut into batches; a component of a learner, whose state holds a `Collected`.

    A batch is learned with the example that completes it; examples before that only wait. What waits when the stream
    ends is not learned, but stays in the state, and is learned once more examples complete its batch.

    By default batches know nothing of tasks and cross from one to the next. Batches `within_task` do not: the first
    example of another task has those learned that still wait, as a short batch, and begins a new one.

    Seeds side by side complete their batches at the same example, so that what a batch costs is not paid at each
    example (`perdure.updates.branches.where_needed`); only `within_task`, with tasks of different lengths, they may
    not.
    """

    size: int = eqx.field(static=True)
    """Examples of a batch."""
    within_task: bool = eqx.field(static=True, default=False, kw_only=True)
    """Does a change of task end a batch? Examples must then have a `task`."""

    def init(self, example: tuple) -> Collected:
        """Return that no example waits, for examples of the shapes and dtypes of `example`."""
        places = jax.tree.map(lambda leaf: jnp.zeros((self.size, *jnp.shape(leaf)), jnp.asarray(leaf).dtype), example)
        return Collected(places, jnp.zeros((), jnp.int32))

    def completes(self, collected: Collected, example: Any) -> Bool[Array, ""]:
        """Tell whether the arriving example has a batch learned."""
        return self._changes_task(collected, example) | (collected.n + 1 == self.size)

    def add(self, collected: Collected, example: Any) -> tuple[Collected, Ready]:
        """Return what waits after the arriving example, and the batch that is to be learned if it is complete."""
        changes, complete = self._changes_task(collected, example), self.completes(collected, example)
        examples = _put(collected.examples, example, collected.n)
        n_ready = jnp.where(complete, jnp.where(changes, collected.n, collected.n + 1), 0)
        ready = Ready(examples, jnp.arange(self.size, dtype=jnp.int32) < n_ready, complete)
        # An example of a new task stands behind the batch that it cuts short; then it is the first that waits.
        waiting = _put(examples, example, jnp.where(changes, 0, self.size))
        return Collected(waiting, collected.n + 1 - n_ready), ready

    def _changes_task(self, collected: Collected, example: Any) -> Bool[Array, ""]:
        if not self.within_task:
            return jnp.zeros((), bool)
        return (collected.n > 0) & (example.task != collected.examples.task[0])


def _put(places: Any, example: Any, place: Int[Array, ""]) -> Any:
    """Return the places with the example in one of them; a place that there is not leaves them as they were."""
    return jax.tree.map(lambda leaf, new: leaf.at[place].set(new, mode="drop"), places, example)
