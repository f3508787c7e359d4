"""A benchmark: a training stream, its test sets, and the checks both must pass."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import index
from typing import Any, NamedTuple, SupportsIndex

import numpy as np
from jaxtyping import Int

from perdure.core import Example
from perdure.streams.tasks import apply_pixel_map, complete_order, draw_subset, mapped_stream, named_rng

INPUT_DTYPES = ("uint8", "float32", "float64")


class TestSet(NamedTuple):
    """Test examples of one task."""

    __test__ = False  # not a test case, whatever pytest thinks of the name

    x: np.ndarray
    """Inputs, (n, ...), `uint8` pixels or floats."""
    y: np.ndarray
    """Labels, (n,), int32."""


class PixelMapTests(Sequence[TestSet]):
    """Test sets that are one set of images seen through one pixel map a task, made when asked for.

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
        _check_maps(images, maps)
        self.images = images
        self.labels = labels
        self.maps = maps

    def __len__(self) -> int:
        return len(self.maps)

    def __getitem__(self, task: SupportsIndex) -> TestSet:  # pyright: ignore[reportIncompatibleMethodOverride]
        return TestSet(apply_pixel_map(self.images, self.maps[index(task)]), self.labels)


@dataclass(frozen=True)
class Benchmark:
    """A stream to learn from and the test sets to be judged by; validated on construction.

    Raises:
        ValueError: naming the array and the place, if shapes disagree, a label or task number is
            out of range, an input is NaN or infinite, tasks do not come in order, or a task is empty.
        TypeError: naming the array, if its dtype is not one a benchmark may have.
    """

    name: str
    train: Example
    """Training stream in order of arrival: x (N, ...), y (N,), task (N,)."""
    test: Sequence[TestSet]
    """One test set a task."""
    n_outputs: int
    """Number of classes, so that 0 ≤ y < n_outputs."""

    def __post_init__(self) -> None:
        validate(self)

    @property
    def n_tasks(self) -> int:
        """Number of tasks."""
        return len(self.test)

    @property
    def task_ends(self) -> np.ndarray:
        """Position in the stream just after the last example of each task, (n_tasks,)."""
        return np.searchsorted(np.asarray(self.train.task), np.arange(self.n_tasks), side="right")


def checksum(benchmark: Benchmark) -> str:
    """Return the SHA-256, in hexadecimal, of all that a benchmark holds: training stream, test sets, outputs."""
    test = benchmark.test
    arrays = [np.asarray(leaf) for leaf in benchmark.train]
    if isinstance(test, PixelMapTests):
        arrays += [test.images, test.labels, test.maps]
    else:
        arrays += [array for one in test for array in one]
    digest = hashlib.sha256(f"{benchmark.n_outputs}".encode())
    for array in arrays:
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def pixel_map_benchmark(
    name: str,
    train: TestSet,
    test: TestSet,
    maps: Int[np.ndarray, "tasks pixels"],
    *,
    n_outputs: int,
    seed: int,
    examples_per_task: int,
    task_order: Sequence[int] | None,
) -> Benchmark:
    """Return the benchmark whose tasks show one set of images, each through its own pixel map.

    Every task trains on a random subset of its own and is tested on all test images. A task keeps its map
    and its subset wherever `task_order` puts it.

    Raises:
        ValueError: if `examples_per_task` or `task_order` is out of range.
    """
    order = complete_order(task_order, len(maps))
    subsets = [draw_subset(named_rng(seed, f"subsets/{t}"), len(train.x), examples_per_task) for t in order]
    shown = maps[order]
    stream = mapped_stream(train.x, train.y, shown, subsets)
    return Benchmark(name, stream, PixelMapTests(test.x, test.y, shown), n_outputs)


def validate(benchmark: Benchmark) -> None:
    """Check everything a learner and an evaluator take for granted.

    Test sets made from pixel maps are checked once for all tasks, not made.

    Raises:
        ValueError: if shapes or lengths disagree, a label or task number is out of range, an input is NaN
            or infinite, tasks do not come in order, or a task is empty.
        TypeError: if a dtype is not one a benchmark may have.
    """
    check_output_count(benchmark.n_outputs)
    train_x, train_y, train_task = (np.asarray(leaf) for leaf in benchmark.train)
    check_examples("train", train_x, train_y, benchmark.n_outputs)
    _check_tasks(train_task, len(train_y), benchmark.n_tasks)
    for where, x, y in _distinct_tests(benchmark.test):
        check_examples(where, x, y, benchmark.n_outputs)
        _check_like_train(where, x, train_x)


def check_output_count(n_outputs: int) -> None:
    """Check that there is at least one class.

    Raises:
        ValueError: if there is none.
    """
    if n_outputs < 1:
        raise ValueError(
            f"n_outputs is {n_outputs}, expected 1 or more; give the number of classes, the largest label + 1"
        )


def check_examples(where: str, x: np.ndarray, y: np.ndarray, n_outputs: int) -> None:
    """Check one set of labelled examples; `where` names it in errors.

    Raises:
        ValueError: if lengths disagree, there is no example, an input is not finite or a label not one of
            0..n_outputs−1.
        TypeError: if the inputs are neither `uint8` nor floats, or the labels not integers.
    """
    if x.dtype not in INPUT_DTYPES:
        raise TypeError(
            f"{where}.x has dtype {x.dtype}, expected one of {', '.join(INPUT_DTYPES)}; convert it: "
            "x.astype('uint8') for pixels 0..255, x.astype('float32') for anything else"
        )
    if x.ndim == 0:
        raise ValueError(f"{where}.x is a single number, expected a leading axis of examples; stack them")
    _check_integers(f"{where}.y", y, len(x), f"as {where}.x has")
    if len(x) == 0:
        raise ValueError(f"{where} is empty, expected at least one example; add some or leave the task out")
    _check_finite(f"{where}.x", x)
    _refuse_first(
        f"{where}.y",
        y,
        (y < 0) | (y >= n_outputs),
        f"a label from 0 to {n_outputs - 1}; mend the label, or raise n_outputs if there are more classes",
    )


def _distinct_tests(test: Sequence[TestSet]) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    if isinstance(test, PixelMapTests):
        yield "test", test.images, test.labels
    else:
        for task, (x, y) in enumerate(test):
            yield f"test[{task}]", np.asarray(x), np.asarray(y)


def _check_maps(images: np.ndarray, maps: np.ndarray) -> None:
    n_pixels = math.prod(images.shape[1:])
    if images.ndim != 3 or maps.ndim != 2 or maps.shape[1] != n_pixels:
        raise ValueError(
            f"images have shape {images.shape} and pixel maps {maps.shape}, expected (n, height, width) and "
            "(tasks, height · width); make the maps for images of this size"
        )
    if not np.issubdtype(maps.dtype, np.integer):
        raise TypeError(f"maps have dtype {maps.dtype}, expected integers; give each pixel its source")
    wrong = (maps < -1) | (maps >= n_pixels)
    _refuse_first("maps", maps, wrong, f"a pixel from 0 to {n_pixels - 1}, or -1 for a zero; mend the map")


def _check_tasks(task: np.ndarray, n_examples: int, n_tasks: int) -> None:
    if n_tasks == 0:
        raise ValueError("test has no test sets, expected one for every task; add them")
    _check_integers("train.task", task, n_examples, "as train.x has")
    out_of_range = (task < 0) | (task >= n_tasks)
    _refuse_first(
        "train.task",
        task,
        out_of_range,
        f"a task from 0 to {n_tasks - 1}, as there are {n_tasks} test sets; mend the tasks or add test sets",
    )
    backwards = np.concatenate([[False], task[1:] < task[:-1]])
    _refuse_first("train.task", task, backwards, "no less than the one before it; sort the stream by task")
    counts = np.bincount(task.astype(np.int64), minlength=n_tasks)
    if not counts.all():
        raise ValueError(
            f"train has no example of task {int(counts.argmin())}, expected at least one of each of the "
            f"{n_tasks} tasks; add some, or number the tasks without gaps"
        )


def _check_integers(where: str, values: np.ndarray, n: int, why: str) -> None:
    if not np.issubdtype(values.dtype, np.integer):
        raise TypeError(f"{where} has dtype {values.dtype}, expected integers; convert it with {where}.astype('int32')")
    if values.shape != (n,):
        raise ValueError(f"{where} has shape {values.shape}, expected ({n},), {why}; give one per example")


def _check_finite(where: str, x: np.ndarray) -> None:
    if np.issubdtype(x.dtype, np.floating):
        _refuse_first(where, x, ~np.isfinite(x), "a finite number; clean or drop the example")


def _check_like_train(where: str, x: np.ndarray, train_x: np.ndarray) -> None:
    if x.shape[1:] != train_x.shape[1:] or x.dtype != train_x.dtype:
        raise ValueError(
            f"{where}.x has examples of shape {x.shape[1:]} and dtype {x.dtype}, expected "
            f"{train_x.shape[1:]} and {train_x.dtype} as in train.x; prepare both alike"
        )


def _refuse_first(where: str, values: np.ndarray, wrong: np.ndarray, expected: str) -> None:
    if wrong.any():
        place: tuple[Any, ...] = np.unravel_index(int(wrong.argmax()), wrong.shape)
        at = ", ".join(str(axis) for axis in place)
        raise ValueError(f"{where}[{at}] is {values[place]}, expected {expected}")
