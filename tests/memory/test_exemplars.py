"""Exemplars: how many each class keeps, and in which slots."""

import jax.numpy as jnp
import numpy as np
import pytest

from perdure.memory.exemplars import exemplar_slots, keep_exemplars, no_exemplars, plan_exemplars
from tests.memory.examples import numbered


@pytest.mark.parametrize(
    ("class_tasks", "task_sizes", "memory_size", "classes", "sizes"),
    [
        ((0, 0, 1, 1, 2, 2), (16, 16, 16), 12, [[0, 1], [2, 3], [4, 5]], [6, 6, 3, 3, 2, 2]),
        ((1, 0, 1, 1), (9, 9), 9, [[1, -1, -1], [0, 2, 3]], [2, 9, 2, 2]),
        ((0, 0, 1), (3, 3), 100, [[0, 1], [2, -1]], [3, 3, 3]),
    ],
    ids=["even", "uneven and out of order", "more room than examples"],
)
def test_a_tasks_classes_share_the_memory_with_all_before(class_tasks, task_sizes, memory_size, classes, sizes):
    plan = plan_exemplars(class_tasks, task_sizes, memory_size)
    np.testing.assert_array_equal(plan.classes, classes)
    np.testing.assert_array_equal(plan.sizes, sizes)
    np.testing.assert_array_equal(plan.starts, [sum(sizes[:label]) for label in range(len(sizes))])


@pytest.mark.parametrize("n", [0, 1, 2])
def test_exemplars_are_kept_in_the_slots_of_their_class(n):
    plan = plan_exemplars((0, 1, 1), (4, 4), 6)
    np.testing.assert_array_equal(plan.sizes, [4, 2, 2])
    memory = no_exemplars(numbered(0), plan)
    memory = keep_exemplars(memory, plan, jnp.asarray(2), jnp.full((4, 2), 3.0), jnp.asarray(2, jnp.int32))
    x = jnp.arange(1.0, 9.0).reshape(4, 2)
    memory = keep_exemplars(memory, plan, jnp.asarray(1), x, jnp.asarray(n, jnp.int32))
    np.testing.assert_array_equal(memory.held, [0, n, 2])
    np.testing.assert_array_equal(memory.x, [*[[0, 0]] * 4, *x[:n], *[[0, 0]] * (2 - n), *[[3, 3]] * 2])
    np.testing.assert_array_equal(exemplar_slots(plan, jnp.asarray(1))[:2], [4, 5])
    assert memory.outputs.shape == (8, 3)
