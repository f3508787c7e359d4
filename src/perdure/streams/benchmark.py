"""A benchmark: a training stream, its test sets, and the checks both must pass."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import index
from typing import Any, NamedTuple, SupportsIndex

import jax
import numpy as np
from jaxtyping import Int

from perdure.core import Example
from perdure.streams.checks import (
    check_examples,
    check_like_train,
    check_maps,
    check_name,
    check_output_count,
    check_tasks,
    check_varied,
    refuse_first,
)
from perdure.streams.conversion import as_array
from perdure.streams.ranges import describe_range, warn_merged, warn_unscaled
from perdure.streams.tasks import StreamSize, apply_pixel_map, complete_order, draw_subsets, mapped_stream
from perdure.streams.validation import reported_subsets, stream_prefix, validation_split


class LabelledSet(NamedTuple):
    """Labelled examples: of one task, or of a data set."""

    __test__ = False  # not a test case, whatever pytest thinks of the name

    x: np.ndarray
    """Inputs, (n, ...), `uint8` pixels or floats."""
    y: np.ndarray
    """Labels, (n,), int32; or for regression targets, (n, n_outputs), floats."""


class PixelMapSets(Sequence[LabelledSet]):
    """Test sets that are one set of images seen through one pixel map per task, made when requested.

    Only the images and the maps are stored: 100 tasks of 10,000 images take 8 MB instead of 784 MB.
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray, maps: np.ndarray):
        """Store the images and their labels, and the maps to see them through.

        Args:
            images: (n, height, width), `uint8` pixels or floats.
            labels: (n,) integers.
            maps: (tasks, height · width) integers, for each pixel its source pixel or −1 for a zero.

        Raises:
            ValueError: if the maps are not for images of this size, or a source is no pixel.
            TypeError: if the maps are not integers.
        """
        images, labels = as_array("images", images), as_array("labels", labels)
        check_maps(images, maps)
        self.images = images
        self.labels = labels
        self.maps = maps

    def __len__(self) -> int:
        return len(self.maps)

    def __getitem__(self, task: SupportsIndex) -> LabelledSet:  # pyright: ignore[reportIncompatibleMethodOverride]
        return LabelledSet(apply_pixel_map(self.images, self.maps[index(task)]), self.labels)


@dataclass(frozen=True)
class Benchmark:
    """A stream to learn from and the test sets to be judged by; validated on construction.

    Raises:
        ValueError: naming the array and the place, if shapes disagree, a label or task number is
            out of range, a float is NaN or infinite in the precision that is computed in (float32), tasks do not come
            in order, or a task is empty; if targets to regress on are all the same in a test set; if a label is another
            task's.
        TypeError: naming the array, if its dtype is not one a benchmark may have, or it is masked, sparse or no array.

    Warns by a `PerdureWarning` of float inputs beyond ±100, for which learning rates are usually too high, and of
    columns whose different values float32 merges, such as time stamps.
    """

    name: str
    train: Example
    """Training stream in order of arrival: x (N, ...), y (N,) or for regression (N, n_outputs), task (N,)."""
    test: Sequence[LabelledSet]
    """One test set per task, which may all be one; or empty if arriving examples are all that is tested on."""
    n_outputs: int
    """Number of classes, so that 0 ≤ y < n_outputs; or of targets, for regression."""
    class_tasks: tuple[int, ...] | None = None
    """For each output the task it belongs to, where the others are masked at training and at test; else None."""
    hides_tasks: bool = False
    """Are task numbers there for evaluation only, not for the learner to read?"""

    def __post_init__(self) -> None:
        train = Example(*(_array(f"train.{name}", it) for name, it in zip(Example._fields, self.train, strict=True)))
        object.__setattr__(self, "train", train)
        if isinstance(self.test, list | tuple):
            made = {id(it): _array_pair(f"test[{task}]", it) for task, it in reversed([*enumerate(self.test)])}
            object.__setattr__(self, "test", [made[id(it)] for it in self.test])
        if self.class_tasks is not None:
            object.__setattr__(self, "class_tasks", tuple(np.asarray(self.class_tasks).tolist()))
        validate(self)

    @property
    def regression(self) -> bool:
        """Are the targets numbers, not labels?"""
        return np.issubdtype(self.train.y.dtype, np.floating)

    @property
    def n_tasks(self) -> int:
        """Number of tasks."""
        return len(self.test) or int(np.asarray(self.train.task)[-1]) + 1

    @property
    def has_one_test(self) -> bool:
        """Is there one test set for all tasks?"""
        return isinstance(self.test, list) and len(self.test) > 1 and all(it is self.test[0] for it in self.test)

    @property
    def task_ends(self) -> np.ndarray:
        """Position in the stream just after the last example of each task, (n_tasks,)."""
        return np.searchsorted(np.asarray(self.train.task), np.arange(self.n_tasks), side="right")


def input_range(benchmark: Benchmark) -> str:
    """Say in which range a benchmark's training inputs lie and, if they are unscaled, which scaler to use.

    For messages about learning that diverges.
    """
    return describe_range(np.asarray(benchmark.train.x))


def checksum(benchmark: Benchmark) -> str:
    """Return the SHA-256, in hexadecimal, of all that a benchmark holds but its name."""
    test = benchmark.test
    arrays = [np.asarray(leaf) for leaf in benchmark.train]
    if isinstance(test, PixelMapSets):
        arrays += [test.images, test.labels, test.maps]
    else:
        arrays += [array for one in test for array in one]
    digest = hashlib.sha256(f"{benchmark.n_outputs}".encode())
    if benchmark.class_tasks is not None:
        arrays.append(np.asarray(benchmark.class_tasks, dtype=np.int32))
    for array in arrays:
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def stream_of(parts: Sequence[LabelledSet]) -> Example:
    """Return the stream that shows the examples given, task after task: one (x, y) per task, all of them alike."""
    sizes = [len(y) for _, y in parts]
    return Example(
        x=np.concatenate([x for x, _ in parts]),
        y=np.concatenate([y for _, y in parts]),
        task=np.repeat(np.arange(len(parts), dtype=np.int32), sizes),
    )


def pixel_map_benchmark(
    name: str,
    train: LabelledSet,
    test: LabelledSet,
    maps: Int[np.ndarray, "tasks pixels"],
    *,
    n_outputs: int,
    seed: int,
    examples_per_task: int,
    default_size: StreamSize,
    task_order: Sequence[int] | None,
    validation: bool = False,
) -> Benchmark:
    """Return the benchmark whose tasks show one set of images, each through its own pixel map.

    Every task trains on a random subset of its own and is tested on all test images. A task keeps its map
    and its subset wherever `task_order` puts it. With `validation`, training and test images are both
    training images, as `validation_split` has it, and the test images given are not used; `default_size` is the size
    of the streams that figures are reported of.

    Raises:
        ValueError: if `examples_per_task` or `task_order` is out of range.
    """
    order = complete_order(task_order, len(maps))
    if validation:
        requested = dict.fromkeys(range(len(maps)), examples_per_task)
        reported = reported_subsets(
            len(train.x), requested, dict.fromkeys(range(default_size.tasks), default_size.examples_per_task)
        )
        chosen = validation_split(len(train.x), reported, examples_per_task)
        train, test = (LabelledSet(train.x[part], train.y[part]) for part in chosen)
        examples_per_task = min(examples_per_task, len(train.x))
    subsets = draw_subsets(seed, order, len(train.x), examples_per_task, prefix=stream_prefix(validation))
    shown = maps[order]
    stream = mapped_stream(train.x, train.y, shown, subsets)
    return Benchmark(name, stream, PixelMapSets(test.x, test.y.astype(np.int32), shown), n_outputs)


def validate(benchmark: Benchmark) -> None:
    """Check everything a learner and an evaluator take for granted.

    Test sets made from pixel maps are checked once for all tasks, not made.

    Raises:
        ValueError: if shapes or lengths disagree, a label or task number is out of range, an input is NaN
            or infinite, tasks do not come in order, or a task is empty.
        TypeError: if a dtype is not one a benchmark may have.

    Warns as `Benchmark`.
    """
    check_name(benchmark.name)
    check_output_count(benchmark.n_outputs)
    train_x, train_y, train_task = (np.asarray(leaf) for leaf in benchmark.train)
    check_examples("train", train_x, train_y, benchmark.n_outputs, regression=benchmark.regression)
    check_tasks(train_task, len(train_y), len(benchmark.test) or None)
    for where, x, y in _distinct_tests(benchmark.test):
        check_examples(where, x, y, benchmark.n_outputs, regression=benchmark.regression)
        check_like_train(where, x, train_x)
        if benchmark.regression:
            check_varied(where, y)
    if benchmark.class_tasks is not None:
        _check_class_tasks(benchmark, benchmark.class_tasks)
        _check_known_tasks(benchmark)
    warn_unscaled("train.x", train_x)
    warn_merged("train.x", train_x)
    if benchmark.regression:
        warn_merged("train.y", train_y)


def _array(where: str, values: Any) -> np.ndarray | jax.Array:
    """Return values as an array; arrays, JAX's too, as they are."""
    return values if isinstance(values, jax.Array) else as_array(where, values)


def _array_pair(where: str, pair: Any) -> LabelledSet:
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise TypeError(f"{where} is a {type(pair).__name__}, expected a pair (x, y); give inputs and labels")
    return LabelledSet(*(as_array(f"{where}.{name}", it) for name, it in zip(LabelledSet._fields, pair, strict=True)))


def _distinct_tests(test: Sequence[LabelledSet]) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    if isinstance(test, PixelMapSets):
        yield "test", test.images, test.labels
    else:
        for task, (x, y) in enumerate(test):
            if task and test[task] is test[task - 1]:  # one for all tasks
                continue
            yield f"test[{task}]", as_array(f"test[{task}].x", x), as_array(f"test[{task}].y", y)


def _check_class_tasks(benchmark: Benchmark, class_tasks: tuple[int, ...]) -> None:
    if benchmark.regression:
        raise ValueError("class_tasks is given, but targets are floats and have no classes; leave it out")
    if len(class_tasks) != benchmark.n_outputs:
        raise ValueError(
            f"class_tasks has length {len(class_tasks)}, expected {benchmark.n_outputs}; give each output its task"
        )
    tasks_of = np.asarray(class_tasks)
    last = benchmark.n_tasks - 1
    refuse_first("class_tasks", tasks_of, (tasks_of < 0) | (tasks_of > last), f"a task from 0 to {last}; correct it")
    labels = [("train", np.asarray(benchmark.train.y), np.asarray(benchmark.train.task))]
    labels += [(f"test[{task}]", y, np.full(len(y), task)) for task, y in enumerate(labels_of(benchmark.test))]
    for where, y, task in labels:
        expected = "a label whose task in class_tasks is that of the example; correct the label or class_tasks"
        refuse_first(f"{where}.y", y, tasks_of[y] != task, expected)


def _check_known_tasks(benchmark: Benchmark) -> None:
    if benchmark.hides_tasks:
        raise ValueError(
            f"{benchmark.name} hides tasks and has class_tasks, by which outputs of other tasks are masked, so that "
            "nobody knows which; leave out class_tasks, or give hides_tasks=False"
        )


def labels_of(test: Sequence[LabelledSet]) -> list[np.ndarray]:
    """Return the labels of each task's test set, (n,), without making the inputs of those from pixel maps."""
    if isinstance(test, PixelMapSets):
        return [test.labels] * len(test)
    return [np.asarray(y) for _, y in test]
