"""A benchmark whose tasks are classes of one data set: first these classes, then those."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int, Integer

from perdure.streams.benchmark import Benchmark, LabelledSet, stream_of
from perdure.streams.tasks import check_task_count, complete_order, draw_subset, named_rng
from perdure.streams.validation import reported_subsets, stream_prefix, validation_split


def class_benchmark(
    name: str,
    train: LabelledSet,
    test: LabelledSet,
    task_of_class: Integer[np.ndarray, " classes"],
    *,
    seed: int,
    tasks: int,
    sizes: Integer[np.ndarray, " all_tasks"],
    default_sizes: Integer[np.ndarray, " all_tasks"],
    task_order: Sequence[int] | None,
    validation: bool,
    masked: bool = False,
) -> Benchmark:
    """Return the benchmark that shows the classes of one task after those of another.

    A task trains on a random subset of the training examples of its classes, in random order, and is tested on
    all test examples of its classes. It keeps its subset wherever `task_order` puts it. The outputs are the
    classes of the tasks that are shown.

    Args:
        name: of the benchmark.
        train: all training examples.
        test: all test examples.
        task_of_class: for each class its task; never less than the one before.
        seed: of the subsets, ≥ 0.
        tasks: number of tasks, the first n.
        sizes: number of training examples, for each task that there can be.
        default_sizes: what `sizes` are in the streams that figures are reported of.
        task_order: at position i of the stream, which task to show there; in order if None.
        validation: train and test on training examples only, as `validation_split` divides them.
        masked: are the outputs of other tasks masked?

    Raises:
        ValueError: if `tasks`, a size or `task_order` is out of range.
    """
    check_task_count(tasks, len(sizes))
    order = complete_order(task_order, tasks)
    train_parts, test_parts = [], []
    for task in map(int, order):
        pool = np.flatnonzero(task_of_class[train.y] == task)
        held_out = _taken(test, np.flatnonzero(task_of_class[test.y] == task))
        size = int(sizes[task])
        if validation:
            reported = reported_subsets(len(pool), {task: size}, {task: int(default_sizes[task])})
            trained, tested = validation_split(len(pool), reported, size)
            pool, held_out = pool[trained], _taken(train, pool[tested])
            size = min(size, len(pool))
        rng = named_rng(seed, f"{stream_prefix(validation)}subsets/{task}")
        train_parts.append(_taken(train, pool[draw_subset(rng, len(pool), size)]))
        test_parts.append(held_out)
    shown = task_of_class[task_of_class < tasks]
    positions = np.argsort(order)[shown]
    class_tasks = tuple(map(int, positions)) if masked else None
    return Benchmark(name, stream_of(train_parts), test_parts, len(shown), class_tasks)


def _taken(examples: LabelledSet, which: Int[np.ndarray, " n"]) -> LabelledSet:
    return LabelledSet(examples.x[which], examples.y[which].astype(np.int32))
