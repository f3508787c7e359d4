"""A benchmark whose tasks are classes of one data set: first these classes, then those."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int, Integer

from perdure.streams.benchmark import Benchmark, LabelledSet, stream_of
from perdure.streams.schedules import Places, blurry_tasks, gaussian_order, imbalanced, in_rounds
from perdure.streams.split import Split, grouped_classes, labels_in
from perdure.streams.tasks import check_task_count, complete_order, draw_subset, named_rng
from perdure.streams.validation import reported_subsets, stream_prefix, validation_split


class ClassData(NamedTuple):
    """A data set of classes, with what is the default of its streams."""

    name: str
    """Of the benchmark."""
    train: LabelledSet
    """All training examples."""
    test: LabelledSet | None
    """All test examples; None if there are none."""
    task_of_class: Int[np.ndarray, " classes"]
    """For each class its task unless `classes_per_task` is given; never less than the one before."""
    examples_per_class: int | None = None
    """Training examples that a task shows for each of its classes by default; all that there are if None."""
    takes_fewer: bool = False
    """Does a task that has fewer examples than requested show those that it has? Otherwise it is an error."""


def split_benchmark(
    data: ClassData,
    seed: int,
    split: Split,
    *,
    tasks: int | None = None,
    examples_per_task: int | None = None,
    task_order: Sequence[int] | None = None,
    validation: bool = False,
) -> Benchmark:
    """Return the benchmark of a data set's classes, as `class_benchmark`.

    Args:
        data: the data set.
        seed: of the order of the classes, the subsets and all other chance, ≥ 0.
        split: how classes become a stream.
        tasks: number of tasks, the first n; all if None.
        examples_per_task: training examples of each task; None for the data set's default.
        task_order: at position i of the stream, which task to show there; in order if None.
        validation: train and test on training examples only.

    Raises:
        ValueError: if an option is out of range.
    """
    task_of_class = grouped_classes(data.task_of_class, split.classes_per_task)
    rank = np.arange(len(task_of_class), dtype=np.int32)
    if split.shuffle_classes:
        rank = named_rng(seed, f"{stream_prefix(validation)}classes").permutation(rank)
    train = LabelledSet(data.train.x, rank[data.train.y])
    test = None if data.test is None else LabelledSet(data.test.x, rank[data.test.y])
    available = np.bincount(task_of_class[train.y], minlength=task_of_class[-1] + 1)
    by_default = available if data.examples_per_class is None else data.examples_per_class * np.bincount(task_of_class)
    sizes = by_default if examples_per_task is None else np.full(len(available), examples_per_task)
    return class_benchmark(
        data.name,
        train,
        test,
        task_of_class,
        seed=seed,
        tasks=len(available) if tasks is None else tasks,
        sizes=np.minimum(sizes, available) if data.takes_fewer else sizes,
        default_sizes=by_default,
        task_order=task_order,
        validation=validation,
        split=split,
    )


def class_benchmark(
    name: str,
    train: LabelledSet,
    test: LabelledSet | None,
    task_of_class: Integer[np.ndarray, " classes"],
    *,
    seed: int,
    tasks: int,
    sizes: Integer[np.ndarray, " all_tasks"],
    default_sizes: Integer[np.ndarray, " all_tasks"],
    task_order: Sequence[int] | None,
    validation: bool,
    split: Split,
) -> Benchmark:
    """Return the benchmark that shows the classes of one task after those of another.

    A task trains on a random subset of the training examples of its classes, in random order, and is tested on
    all test examples of its classes. It keeps its subset wherever `task_order` puts it. The outputs are the
    classes of the tasks that are shown, or positions within the task.

    Args:
        name: of the benchmark.
        train: all training examples.
        test: all test examples; None if there are none, so that `split.tests` must be "none".
        task_of_class: for each class its task; never less than the one before.
        seed: of the subsets, ≥ 0.
        tasks: number of tasks, the first n.
        sizes: number of training examples, for each task that there can be.
        default_sizes: what `sizes` are in the streams that figures are reported of.
        task_order: at position i of the stream, which task to show there; in order if None.
        validation: train and test on training examples only, as `validation_split` divides them.
        split: scenario, boundaries and the rest; its classes are in order and grouped already.

    Raises:
        ValueError: if `tasks`, a size or `task_order` is out of range, or there is nothing to test on.
    """
    check_task_count(tasks, len(sizes))
    _check_tests(test, split, validation)
    order = complete_order(task_order, tasks)
    shown, tests = [], []
    for task in map(int, order):
        pool = np.flatnonzero(task_of_class[train.y] == task)
        held_out = _of_classes(test, task_of_class == task)
        size = sizes[task].item()
        if validation:
            # Classes in an order of each seed have no pool that all reported streams share.
            reported = reported_subsets(len(pool), {task: size}, {task: int(default_sizes[task])})
            trained, tested = validation_split(len(pool), () if split.shuffle_classes else reported, size)
            held_out = LabelledSet(train.x[pool[tested]], train.y[pool[tested]])
            pool, size = pool[trained], min(size, len(trained))
        rng = named_rng(seed, f"{stream_prefix(validation)}subsets/{task}")
        shown.append(pool[draw_subset(rng, len(pool), size)])
        tests.append(held_out)
    shown = _scheduled(shown, train.y, order, task_of_class, split, seed, stream_prefix(validation))
    label_of_class = labels_in(split.scenario, task_of_class).astype(np.int32)
    stream = stream_of([LabelledSet(train.x[places], label_of_class[train.y[places]]) for places in shown])
    classes = task_of_class[task_of_class < tasks]
    class_tasks = tuple(map(int, np.argsort(order)[classes])) if split.scenario == "task" else None
    return Benchmark(
        name,
        stream,
        _test_sets([LabelledSet(it.x, label_of_class[it.y]) for it in tests], split),
        int(label_of_class[: len(classes)].max()) + 1,
        class_tasks,
        hides_tasks=split.are_tasks_hidden,
    )


def _scheduled(
    tasks: list[Places],
    classes: Int[np.ndarray, " n"],
    order: Int[np.ndarray, " tasks"],
    task_of_class: Int[np.ndarray, " classes"],
    split: Split,
    seed: int,
    prefix: str,
) -> list[Places]:
    """Return the places of the tasks' examples with the split's imbalance, boundaries and rounds."""
    if split.imbalance > 1:
        tasks = imbalanced(tasks, classes, split.imbalance, seed=seed, prefix=prefix)
    if split.boundaries == "blurry":
        chances: dict[str, Any] = {"disjoint_share": split.disjoint_share, "blur": split.blur}
        tasks = blurry_tasks(tasks, classes, **chances, rng=named_rng(seed, f"{prefix}blurry"))
    if split.boundaries == "gaussian":
        shown = np.flatnonzero(task_of_class < len(order))
        in_order = shown[np.argsort(np.argsort(order)[task_of_class[shown]], kind="stable")]
        rng, rank = named_rng(seed, f"{prefix}gaussian"), np.argsort(in_order)
        ranks = rank[np.minimum(classes, len(rank) - 1)]  # of classes that are not shown the rank does not matter
        places = gaussian_order(np.concatenate(tasks), ranks, n_classes=len(shown), width=split.gaussian_width, rng=rng)
        tasks = np.array_split(places, len(tasks))
    return in_rounds(tasks, split.rounds) if split.rounds > 1 else tasks


def _test_sets(tests: list[LabelledSet], split: Split) -> list[LabelledSet]:
    """Return a test set for each task that the stream shows, all the same one if there is one for all; or none."""
    if split.tests == "none":
        return []
    if split.tests == "all":
        x, y = (np.concatenate(parts) for parts in zip(*tests, strict=True))
        tests = [LabelledSet(x, y)] * len(tests)
    return tests * split.rounds


def _check_tests(test: LabelledSet | None, split: Split, validation: bool) -> None:
    if test is None and split.tests != "none" and not validation:
        raise ValueError(
            f"tests is {split.tests!r}, but the data set has no test examples; give some, or choose tests='none' to "
            "measure how arriving examples are predicted before they are learned"
        )


def _of_classes(examples: LabelledSet | None, chosen: np.ndarray) -> LabelledSet:
    if examples is None:
        return LabelledSet(np.empty(0), np.empty(0, np.int32))
    which = np.flatnonzero(chosen[examples.y])
    return LabelledSet(examples.x[which], examples.y[which])
