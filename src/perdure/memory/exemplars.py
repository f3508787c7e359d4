"""Examples that were chosen of each class."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Shaped

from perdure.core import Example


class ExemplarPlan(NamedTuple):
    """How many exemplars of each class are kept, and where; fixed before the first example.

    When a task ends, each of its classes gets an equal share of the memory among all classes seen by then.
    """

    classes: Int[np.ndarray, "tasks most"]
    """Classes of each task in ascending order, then −1."""
    sizes: Int[np.ndarray, " classes"]
    """Slots of each class."""
    starts: Int[np.ndarray, " classes"]
    """First slot of each class."""


def plan_exemplars(class_tasks: tuple[int, ...], task_sizes: tuple[int, ...], memory_size: int) -> ExemplarPlan:
    """Return the plan for classes that come in tasks.

    Args:
        class_tasks: for each class the task that it belongs to.
        task_sizes: number of examples of each task; no class gets more slots.
        memory_size: what is shared, at least the number of classes.
    """
    members = [np.flatnonzero(np.asarray(class_tasks) == task) for task in range(len(task_sizes))]
    classes = np.full((len(members), max(map(len, members))), -1)
    for task, own in enumerate(members):
        classes[task, : len(own)] = own
    seen = np.cumsum([len(own) for own in members])
    shares = np.minimum(memory_size // np.maximum(seen, 1), task_sizes)
    sizes = shares[np.asarray(class_tasks)]
    return ExemplarPlan(classes, sizes, np.cumsum(sizes) - sizes)


class Exemplars(NamedTuple):
    """Chosen examples of each class, class after class as an `ExemplarPlan` has it."""

    x: Shaped[Array, "slots ..."]
    """Inputs; slots not filled hold zeros."""
    outputs: Float[Array, "slots outputs"]
    """What the network answered to them when it had learned its last task."""
    held: Int[Array, " classes"]
    """Number of exemplars of each class."""


def no_exemplars(example: Example, plan: ExemplarPlan) -> Exemplars:
    """Return a memory that holds none yet, for examples of the shape and dtype of `example`; a class is an output."""
    slots, n_classes = int(plan.sizes.sum()), len(plan.sizes)
    x = jnp.zeros((slots, *jnp.shape(example.x)), jnp.asarray(example.x).dtype)
    return Exemplars(x, jnp.zeros((slots, n_classes)), jnp.zeros(n_classes, jnp.int32))


def exemplar_slots(plan: ExemplarPlan, label: Int[Array, ""]) -> Int[Array, " most"]:
    """Return the slots of a class, as many as the class with most of them has; those too many are other classes'."""
    return jnp.asarray(plan.starts, jnp.int32)[label] + jnp.arange(plan.sizes.max(), dtype=jnp.int32)


def keep_exemplars(
    memory: Exemplars, plan: ExemplarPlan, label: Int[Array, ""], x: Shaped[Array, "most ..."], n: Int[Array, ""]
) -> Exemplars:
    """Return the memory with the first `n` of the inputs as a class's exemplars, n at most its slots in the plan."""
    held = jnp.arange(len(x), dtype=jnp.int32) < n
    slots = jnp.where(held, exemplar_slots(plan, label), len(memory.x))
    return memory._replace(x=memory.x.at[slots].set(x, mode="drop"), held=memory.held.at[label].set(n))
