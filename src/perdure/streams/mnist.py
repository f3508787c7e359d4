"""The MNIST benchmarks: Rotations, Permutations and Many Permutations of Meta-Experience Replay, and Split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8

from perdure.streams.benchmark import Benchmark, LabelledSet, pixel_map_benchmark
from perdure.streams.classes import ClassData, split_benchmark
from perdure.streams.drift import turning_benchmark
from perdure.streams.raw.files import load_idx
from perdure.streams.split import split_of
from perdure.streams.tasks import StreamSize, permutation_maps, rotation_maps
from perdure.streams.validation import stream_prefix

SIDE = 28
N_CLASSES = 10
CLASSES_PER_TASK = 2
"""Of Split MNIST."""
DEFAULT_SIZE = StreamSize(tasks=20, examples_per_task=1000)
"""Of Rotations and Permutations."""
DEFAULT_MANY = StreamSize(tasks=100, examples_per_task=200)
"""Of Many Permutations."""
EXAMPLES_PER_CLASS = 500
"""Of Split MNIST."""


def mnist_rotations(
    seed: int,
    *,
    tasks: int = DEFAULT_SIZE.tasks,
    examples_per_task: int = DEFAULT_SIZE.examples_per_task,
    task_order: Sequence[int] | None = None,
    data_dir: Path | None = None,
    validation: bool = False,
) -> Benchmark:
    """Return MNIST Rotations: every task shows the digits at one angle of its own.

    The angle of task t is uniform inside the t-th of `tasks` equal bins of [0, 180) degrees. x is uint8,
    (N, 28, 28); every task is tested on all 10,000 test images, turned by its angle.

    Source: Riemer et al. (2019), section 4; Lopez-Paz and Ranzato (2017), section 5.1.

    Args:
        seed: of the angles, the subsets and their order, ≥ 0.
        tasks: number of tasks, ≥ 1.
        examples_per_task: training examples of each task, 1 to 60,000.
        task_order: at position i of the stream, which task to show there; in order if None.
        data_dir: folder to search first for the files of MNIST.
        validation: for choosing hyper-parameters: training and test images are both from the 60,000, from those that
            no reported stream shows, of this size or the default one, if they are enough; angles and draws are others
            than any reported stream's.

    Raises:
        ValueError: if an argument is out of range.
        DataError: if the files cannot be found or downloaded, or are not MNIST's.
    """
    maps = rotation_maps(seed, tasks, SIDE, SIDE, stream_prefix(validation))
    return _mnist_benchmark(
        "mnist-rotations", maps, DEFAULT_SIZE, seed, examples_per_task, task_order, data_dir, validation
    )


def mnist_permutations(
    seed: int,
    *,
    tasks: int = DEFAULT_SIZE.tasks,
    examples_per_task: int = DEFAULT_SIZE.examples_per_task,
    task_order: Sequence[int] | None = None,
    data_dir: Path | None = None,
    validation: bool = False,
) -> Benchmark:
    """Return MNIST Permutations: every task shows the digits through one permutation of the 784 pixels.

    The first task is permuted too. x is uint8, (N, 28, 28); every task is tested on all 10,000 test
    images, permuted likewise. Arguments and errors: see `mnist_rotations`.

    Source: Riemer et al. (2019), section 4; Kirkpatrick et al. (2017).
    """
    maps = permutation_maps(seed, tasks, SIDE * SIDE, stream_prefix(validation))
    name = "mnist-permutations"
    return _mnist_benchmark(name, maps, DEFAULT_SIZE, seed, examples_per_task, task_order, data_dir, validation)


def mnist_many_permutations(
    seed: int,
    *,
    tasks: int = DEFAULT_MANY.tasks,
    examples_per_task: int = DEFAULT_MANY.examples_per_task,
    task_order: Sequence[int] | None = None,
    data_dir: Path | None = None,
    validation: bool = False,
) -> Benchmark:
    """Return MNIST Many Permutations: as `mnist_permutations`, with shorter tasks and more of them.

    Arguments and errors: see `mnist_rotations`. Source: Riemer et al. (2019), section 4.
    """
    maps = permutation_maps(seed, tasks, SIDE * SIDE, stream_prefix(validation))
    name = "mnist-many-permutations"
    return _mnist_benchmark(name, maps, DEFAULT_MANY, seed, examples_per_task, task_order, data_dir, validation)


def mnist_turning(
    seed: int,
    *,
    tasks: int = DEFAULT_SIZE.tasks,
    examples_per_task: int = DEFAULT_SIZE.examples_per_task,
    degrees: float | int = 180.0,
    data_dir: Path | None = None,
    validation: bool = False,
) -> Benchmark:
    """Return MNIST whose images turn continuously: gradual drift without boundaries, see `turning_benchmark`.

    x is uint8, (N, 28, 28); every stretch is tested on all 10,000 test images, turned by the
    angle in its middle.

    Args:
        seed: of the images and their order, ≥ 0.
        tasks: number of stretches, between which nothing happens, ≥ 1.
        examples_per_task: training examples of each stretch, 1 to 60,000.
        degrees: by how much images turn over the whole stream.
        data_dir: folder to search first for the files of MNIST.
        validation: for choosing hyper-parameters: a quarter of the training images are for testing and training is on
            the others, which reported streams show too.

    Raises:
        ValueError: if an argument is out of range.
        DataError: if the files cannot be found or downloaded, or are not MNIST's.
    """
    train_x, train_y, test_x, test_y = load_mnist(data_dir)
    train, test = LabelledSet(train_x, train_y), LabelledSet(test_x, test_y)
    return turning_benchmark(
        "mnist-turning",
        train,
        test,
        seed=seed,
        n_outputs=N_CLASSES,
        tasks=tasks,
        examples_per_task=examples_per_task,
        degrees=degrees,
        validation=validation,
    )


def mnist_split(
    seed: int,
    *,
    tasks: int | None = None,
    examples_per_task: int | None = None,
    task_order: Sequence[int] | None = None,
    data_dir: Path | None = None,
    validation: bool = False,
    **split: Any,
) -> Benchmark:
    """Return Split MNIST: two new digits per task, 0 and 1, then 2 and 3, and so on, with a single head for all.

    A task trains on a random subset of its digits' training images, by default 500 for each of its digits (our
    choice), and is tested on all test images of its digits. x is uint8, (N, 28, 28); there are as many outputs as
    digits in the first `tasks` tasks, 10 in all. Other arguments and errors: see `mnist_rotations`.

    Source: Zenke et al. (2017), section 4.1, who give each task a head of its own: `scenario="task"`.

    Args:
        seed: of the subsets, the order within a task and what `split` leaves to chance, ≥ 0.
        tasks: number of tasks, the first n; all if None.
        examples_per_task: training examples of each task; 500 for each of its digits if None.
        task_order: at position i of the stream, which task to show there; in order if None.
        data_dir: folder to search first for the files of MNIST.
        validation: as in `mnist_rotations`.
        **split: fields of `perdure.streams.split.Split`: scenario, classes per task, boundaries and others.
    """
    train_x, train_y, test_x, test_y = load_mnist(data_dir)
    data = ClassData(
        "mnist-split",
        LabelledSet(train_x, train_y),
        LabelledSet(test_x, test_y),
        np.arange(N_CLASSES) // CLASSES_PER_TASK,
        EXAMPLES_PER_CLASS,
    )
    return split_benchmark(
        data,
        seed,
        split_of(split),
        tasks=tasks,
        examples_per_task=examples_per_task,
        task_order=task_order,
        validation=validation,
    )


def load_mnist(
    data_dir: Path | None = None,
) -> tuple[
    UInt8[np.ndarray, "train 28 28"],
    UInt8[np.ndarray, " train"],
    UInt8[np.ndarray, "test 28 28"],
    UInt8[np.ndarray, " test"],
]:
    """Return MNIST as read-only arrays: 60,000 training x and y, 10,000 test x and y, all as on file: uint8.

    Args:
        data_dir: folder to search first for the files.

    Raises:
        DataError: if a file cannot be found or downloaded, or is not MNIST's.
    """
    return (
        load_idx("train-images-idx3-ubyte", data_dir),
        load_idx("train-labels-idx1-ubyte", data_dir),
        load_idx("t10k-images-idx3-ubyte", data_dir),
        load_idx("t10k-labels-idx1-ubyte", data_dir),
    )


def _mnist_benchmark(
    name: str,
    maps: Int[np.ndarray, "tasks 784"],
    default_size: StreamSize,
    seed: int,
    examples_per_task: int,
    task_order: Sequence[int] | None,
    data_dir: Path | None,
    validation: bool,
) -> Benchmark:
    train_x, train_y, test_x, test_y = load_mnist(data_dir)
    return pixel_map_benchmark(
        name,
        LabelledSet(train_x, train_y),
        LabelledSet(test_x, test_y),
        maps,
        n_outputs=N_CLASSES,
        seed=seed,
        examples_per_task=examples_per_task,
        default_size=default_size,
        task_order=task_order,
        validation=validation,
    )
