"""Handwritten digits of 8×8 pixels that come with the package: a benchmark that needs no download.

Source: Alpaydin and Kaynak (1998), Optical Recognition of Handwritten Digits, UCI Machine Learning Repository.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from perdure.streams.benchmark import Benchmark, LabelledSet, pixel_map_benchmark
from perdure.streams.classes import ClassData, split_benchmark
from perdure.streams.drift import turning_benchmark
from perdure.streams.split import split_of
from perdure.streams.tasks import StreamSize, rotation_maps
from perdure.streams.validation import stream_prefix

SIDE = 8
N_CLASSES = 10
CLASSES_PER_TASK = 2
"""Of Split Digits."""
DEFAULT_SIZE = StreamSize(tasks=10, examples_per_task=500)
TEST_SHARE = 5
"""One example in five of each class, the last ones, is for testing."""

_FILE = Path(__file__).parent / "data" / "digits.npz"


def digits_rotations(
    seed: int,
    *,
    tasks: int = DEFAULT_SIZE.tasks,
    examples_per_task: int = DEFAULT_SIZE.examples_per_task,
    task_order: Sequence[int] | None = None,
    data_dir: Path | None = None,
    validation: bool = False,
) -> Benchmark:
    """Return Digits Rotations: every task shows the 8×8 digits at one angle of its own.

    The angle of task t is uniform inside the t-th of `tasks` equal bins of [0, 180) degrees. x is uint8,
    (N, 8, 8); every task is tested on the same 355 test images, turned by its angle.

    Args:
        seed: of the angles, the subsets and their order, ≥ 0.
        tasks: number of tasks, ≥ 1.
        examples_per_task: training examples of each task, 1 to 1442.
        task_order: at position i of the stream, which task to show there; in order if None.
        data_dir: not needed: the digits come with the package.
        validation: for choosing hyper-parameters: a quarter of the training images are for testing and training is on
            the others, which reported streams show too; angles and draws are others than any reported stream's.

    Raises:
        ValueError: if an argument is out of range.
    """
    train, test = load_digits()
    return pixel_map_benchmark(
        "digits-rotations",
        train,
        test,
        rotation_maps(seed, tasks, SIDE, SIDE, stream_prefix(validation)),
        n_outputs=N_CLASSES,
        seed=seed,
        examples_per_task=examples_per_task,
        default_size=DEFAULT_SIZE,
        task_order=task_order,
        validation=validation,
    )


def digits_turning(
    seed: int,
    *,
    tasks: int = DEFAULT_SIZE.tasks,
    examples_per_task: int = DEFAULT_SIZE.examples_per_task,
    degrees: float | int = 180.0,
    data_dir: Path | None = None,
    validation: bool = False,
) -> Benchmark:
    """Return digits that turn continuously: gradual drift without boundaries, see `turning_benchmark`.

    x is uint8, (N, 8, 8); every stretch is tested on the same 355 test images, turned by the
    angle in its middle.

    Args:
        seed: of the images and their order, ≥ 0.
        tasks: number of stretches, between which nothing happens, ≥ 1.
        examples_per_task: training examples of each stretch, 1 to 1442.
        degrees: by how much images turn over the whole stream.
        data_dir: not needed: the digits come with the package.
        validation: for choosing hyper-parameters: a quarter of the training images are for testing and training is on
            the others, which reported streams show too.

    Raises:
        ValueError: if an argument is out of range.
    """
    train, test = load_digits()
    return turning_benchmark(
        "digits-turning",
        train,
        test,
        seed=seed,
        n_outputs=N_CLASSES,
        tasks=tasks,
        examples_per_task=examples_per_task,
        degrees=degrees,
        validation=validation,
    )


def digits_split(
    seed: int,
    *,
    tasks: int | None = None,
    examples_per_task: int | None = None,
    task_order: Sequence[int] | None = None,
    data_dir: Path | None = None,
    validation: bool = False,
    **split: Any,
) -> Benchmark:
    """Return Split Digits: two new digits per task, 0 and 1, then 2 and 3, and so on, with a single head for all.

    A task trains on all training images of its digits, about 290, in random order, and is tested on all test images of
    its digits. x is uint8, (N, 8, 8); there are as many outputs as digits in the first `tasks` tasks, 10 in all.

    Args:
        seed: of the order within a task and what `split` leaves to chance, ≥ 0.
        tasks: number of tasks, the first n; all if None.
        examples_per_task: training examples of each task; all that there are if None.
        task_order: at position i of the stream, which task to show there; in order if None.
        data_dir: not needed: the digits come with the package.
        validation: for choosing hyper-parameters: a quarter of the training images are for testing and training is on
            the others, which reported streams show too.
        **split: fields of `perdure.streams.split.Split`: scenario, classes per task, boundaries and others.

    Raises:
        ValueError: if an argument is out of range.
    """
    train, test = load_digits()
    return split_benchmark(
        ClassData("digits-split", train, test, np.arange(N_CLASSES) // CLASSES_PER_TASK),
        seed,
        split_of(split),
        tasks=tasks,
        examples_per_task=examples_per_task,
        task_order=task_order,
        validation=validation,
    )


@cache
def load_digits() -> tuple[LabelledSet, LabelledSet]:
    """Return training and test digits: read-only x (n, 8, 8) uint8, 0..255, and y (n,) int32, 0..9.

    The split does not depend on any seed: the last fifth of each class, in the data set's order, is for
    testing.
    """
    with np.load(_FILE, allow_pickle=False) as arrays:
        x = np.rint(arrays["pixels"] * (255 / 16)).astype(np.uint8)
        y = arrays["labels"].astype(np.int32)
    is_test = last_of_each_class(y)
    return _read_only(x[~is_test], y[~is_test]), _read_only(x[is_test], y[is_test])


def last_of_each_class(y: np.ndarray) -> np.ndarray:
    """Return a mask of the last fifth, rounded down, of the examples of each label, in order."""
    mask = np.zeros(len(y), dtype=bool)
    for label in np.unique(y):
        members = np.flatnonzero(y == label)
        mask[members[len(members) - len(members) // TEST_SHARE :]] = True
    return mask


def _read_only(x: np.ndarray, y: np.ndarray) -> LabelledSet:
    x.flags.writeable = y.flags.writeable = False
    return LabelledSet(x, y)
