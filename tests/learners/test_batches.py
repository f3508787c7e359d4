"""Examples collected into batches."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perdure.core import Example
from perdure.learners.batches import Batches


def example_of(n, task):
    return Example(jnp.full(1, n, jnp.float32), jnp.asarray(n, jnp.int32), jnp.asarray(task, jnp.int32))


def learned_batches(batches, tasks):
    """Return what is learned at each example of a stream of these tasks, whose inputs are their positions."""
    collected, learned = batches.init(example_of(0, 0)), []
    for n, task in enumerate(tasks):
        completes = batches.completes(collected, example_of(n, task))
        collected, ready = batches.add(collected, example_of(n, task))
        assert bool(ready.complete) == bool(completes) == bool(ready.mask.any())
        learned.append(ready.examples.y[ready.mask].tolist())
        np.testing.assert_array_equal(ready.examples.x[ready.mask, 0], ready.examples.y[ready.mask])
    return learned, collected.examples.y[: int(collected.n)].tolist()


@pytest.mark.parametrize(
    ("within_task", "tasks", "learned", "waiting"),
    [
        (False, [0, 0, 0, 0, 1, 1, 1], {2: [0, 1, 2], 5: [3, 4, 5]}, [6]),
        (True, [0, 0, 0, 0, 1, 1, 1], {2: [0, 1, 2], 4: [3], 6: [4, 5, 6]}, []),
        (True, [0, 1, 2, 2, 2, 0], {1: [0], 2: [1], 4: [2, 3, 4]}, [5]),
        (True, [0, 0], {}, [0, 1]),
    ],
    ids=["across tasks", "within tasks", "one example of a task", "nothing yet"],
)
def test_a_batch_is_learned_when_it_is_full_or_its_task_is_over(within_task, tasks, learned, waiting):
    expected = [learned.get(n, []) for n in range(len(tasks))]
    assert learned_batches(Batches(3, within_task=within_task), tasks) == (expected, waiting)


@pytest.mark.parametrize("within_task", [False, True])
def test_a_batch_of_one_is_each_example(within_task):
    tasks = [0, 0, 1, 1, 2]
    assert learned_batches(Batches(1, within_task=within_task), tasks) == ([[n] for n in range(5)], [])


@pytest.mark.parametrize("within_task", [False, True])
def test_what_waits_keeps_its_shapes_and_dtypes(within_task):
    batches = Batches(2, within_task=within_task)
    collected = batches.init(example_of(0, 0))
    after, _ = batches.add(collected, example_of(1, 1))
    assert [(it.shape, it.dtype) for it in jax.tree.leaves(after)] == [
        (it.shape, it.dtype) for it in jax.tree.leaves(collected)
    ]
