from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.core import AnyArray
from perdure.streams.benchmark import LabelledSet
from perdure.streams.classes import class_benchmark
from perdure.streams.split import Split

TASK_OF_CLASS = np.array([0, 0, 1, 2, 2, 2])
AVAILABLE = np.array([16, 8, 24])


def make(seed: int = 0, **changes):
    """A benchmark of three tasks; x tells the part (0 training, 1 test) and the number of each example."""
    parts = []
    for part, each in enumerate((8, 3)):
        y = np.tile(np.arange(6), each)
        parts.append(LabelledSet(np.stack([np.full(len(y), part), np.arange(len(y))], axis=1).astype(np.uint8), y))
    sizes = {"sizes": AVAILABLE, "default_sizes": AVAILABLE}
    options = {"tasks": 3, **sizes, "task_order": None, "validation": False, "split": Split(), **changes}
    return class_benchmark("b", parts[0], parts[1], TASK_OF_CLASS, seed=seed, **options)


def rows(x: AnyArray) -> set[tuple[int, ...]]:
    return set(map(tuple, x.tolist()))


def test_a_task_shows_all_of_its_classes_and_is_tested_on_them():
    made = make()
    assert made.task_ends.tolist() == [16, 24, 48]
    assert made.n_outputs == 6
    assert made.class_tasks is None
    for task, test in enumerate(made.test):
        here = made.train.task == task
        classes = np.flatnonzero(task == TASK_OF_CLASS)
        assert sorted(made.train.y[here]) == sorted(np.tile(classes, 8))
        assert sorted(test.y) == sorted(np.tile(classes, 3))
        assert {part for part, _ in rows(test.x)} == {1}
    assert rows(made.train.x) == {(0, number) for number in range(48)}
    assert (made.train.x[:, 1] % 6 == made.train.y).all()
    assert made.train.y.dtype == made.test[0].y.dtype == np.int32


def test_the_order_within_a_task_is_the_seeds():
    first, again, other = make(0), make(0), make(1)
    np.testing.assert_array_equal(first.train.x, again.train.x)
    assert first.train.y[:16].tolist() != sorted(first.train.y[:16])
    assert first.train.x.tolist() != other.train.x.tolist()
    assert rows(first.train.x[:16]) == rows(other.train.x[:16])


def test_fewer_examples_are_the_first_of_more():
    more, fewer = make(), make(sizes=np.array([3, 5, 2]))
    assert fewer.task_ends.tolist() == [3, 8, 10]
    np.testing.assert_array_equal(fewer.train.x[:3], more.train.x[:3])
    np.testing.assert_array_equal(fewer.train.x[3:8], more.train.x[16:21])


def test_outputs_are_the_classes_of_the_tasks_shown():
    made = make(tasks=2, split=Split(scenario="task"))
    assert made.n_outputs == 3
    assert made.class_tasks == (0, 0, 1)


@given(st.permutations(range(3)))
def test_task_order_moves_whole_tasks_and_the_mask_with_them(order):
    plain, ordered = make(), make(task_order=order, split=Split(scenario="task"))
    for position, task in enumerate(order):
        here, there = ordered.train.task == position, plain.train.task == task
        np.testing.assert_array_equal(ordered.train.x[here], plain.train.x[there])
        np.testing.assert_array_equal(ordered.test[position].x, plain.test[task].x)
    assert ordered.class_tasks == tuple(order.index(task) for task in TASK_OF_CLASS)


def test_validation_divides_the_training_examples_of_a_task():
    made = make(validation=True)
    assert made.task_ends.tolist() == [12, 18, 36]
    for task, test in enumerate(made.test):
        trained = rows(made.train.x[made.train.task == task])
        tested = rows(test.x)
        assert not trained & tested
        assert trained | tested == {(0, number) for number in range(48) if TASK_OF_CLASS[number % 6] == task}
        assert len(tested) == AVAILABLE[task] // 4


def test_validation_keeps_to_what_no_reported_stream_shows_if_that_is_enough():
    options = {"tasks": 1, "sizes": np.array([2, 0, 0])}
    made = make(7, **options, validation=True)
    shown = set().union(*(rows(make(seed, **options).train.x) for seed in range(5)))
    used = rows(made.train.x).union(*(rows(test.x) for test in made.test))
    assert not used & shown
    assert len(made.train.y) == 2
    assert {part for part, _ in used} == {0}


def test_a_short_validation_stream_shows_nothing_of_whole_reported_ones():
    default = {"tasks": 1, "default_sizes": np.array([2, 0, 0])}
    made = make(7, **default, sizes=np.array([1, 0, 0]), validation=True)
    whole = set().union(*(rows(make(seed, **default, sizes=default["default_sizes"]).train.x) for seed in range(5)))
    assert whole.isdisjoint(rows(made.train.x).union(*(rows(test.x) for test in made.test)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": 0}, "number of tasks is 0, expected 1 to 3"),
        ({"tasks": 4}, "number of tasks is 4, expected 1 to 3"),
        ({"sizes": AVAILABLE + 1}, "examples per task is 17, expected 1 to 16"),
        ({"sizes": 0 * AVAILABLE}, "examples per task is 0, expected 1 to 16"),
        ({"sizes": AVAILABLE + 1, "validation": True}, "examples per task is 17, expected 1 to 16"),
        ({"sizes": 0 * AVAILABLE, "validation": True}, "examples per task is 0, expected 1 to 16"),
        ({"task_order": [0, 1]}, r"task_order is \[0, 1\], expected each of the 3"),
    ],
)
def test_refuses_options_out_of_range(changes, message):
    with pytest.raises(ValueError, match=message):
        make(**changes)
