"""Benchmarks in the files that the authors of GEM and MER made them into: `mnist_rotations.pt` and the like."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from perdure.streams.benchmark import Benchmark, LabelledSet, stream_of
from perdure.streams.labels import count_outputs, warn_unused
from perdure.streams.raw.registry import DataError
from perdure.streams.tasks import check_task_count, complete_order, draw_subset, named_rng
from perdure.streams.torch_tasks import class_ranges, read_torch_file

OPTIONS = ("tasks", "examples_per_task", "task_order")
FILE_DIGEST = "file_sha256"

IMAGE_SHAPE = (3, 32, 32)
"""Channels, height and width of CIFAR's images."""


@dataclass(frozen=True)
class DataFileRecipe:
    """A benchmark in a `.pt` file before its seed is known: call it with a seed.

    Raises:
        TypeError: if there is no such option.
        DataError: if the file's name does not end in `.pt`, there is no such file, or its digest is not the one in the
            options.
    """

    path: Path
    """The file, `NAME.pt`: a run is recorded, and resumed, by the name."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of `file_benchmark`, and the SHA-256 of the file, `file_sha256`: the file must have it, where it is
    given, and it is filled in where it is not."""

    def __post_init__(self) -> None:
        unknown = [option for option in self.options if option not in (*OPTIONS, FILE_DIGEST)]
        if unknown:
            raise TypeError(
                f"a data file has no option {', '.join(unknown)}, expected some of: {', '.join(OPTIONS)}; "
                "leave it out or correct its spelling"
            )
        if self.path.suffix != ".pt":
            raise DataError(
                f"{self.path} ends in {self.path.suffix!r}, expected a name that ends in '.pt'; rename the file"
            )
        found = _sha256(self.path)
        expected = self.options.get(FILE_DIGEST, found)
        if found != expected:
            raise DataError(
                f"{self.path} has sha256 {found}, expected {expected}; give the file that the run began with"
            )
        object.__setattr__(self, "options", {**self.options, FILE_DIGEST: found})

    @property
    def name(self) -> str:
        """Name of the benchmark: that of the file, without its ending."""
        return self.path.stem

    @property
    def network(self) -> str:
        """Name of the default network, a function of `perdure.models`; the file is read.

        It is the reduced ResNet-18 for images with classes as in `cifar100.pt`, and the perceptron for other files.
        """
        train, _ = read_torch_file(self.path)
        images = _are_images(train[0].x) and class_ranges(self.path, self.options.get("tasks") or len(train))
        return "reduced_resnet18" if images else "benchmark_mlp"

    def __call__(self, seed: int) -> Benchmark:
        """Return the benchmark of a seed, as `file_benchmark`."""
        return file_benchmark(self.path, seed, **{name: it for name, it in self.options.items() if name in OPTIONS})


def file_benchmark(
    path: Path,
    seed: int,
    *,
    tasks: int | None = None,
    examples_per_task: int | None = None,
    task_order: Sequence[int] | None = None,
) -> Benchmark:
    """Return the benchmark in a `.pt` file, with a random subset of each task's training examples.

    x is float32, as on file, and every task is tested on all its test examples. Where the tasks' info tells which
    classes they show, as in the authors' `cifar100.pt`, the outputs of the other tasks' classes are masked, there are
    as many outputs as classes in the tasks that are shown, and rows of 3,072 pixels become images (3, 32, 32).

    Source of the layout: the released code of Lopez-Paz and Ranzato (2017) and of Riemer et al. (2019).

    Args:
        path: the file.
        seed: of the subsets and their order, ≥ 0.
        tasks: number of tasks, the first n; all if None.
        examples_per_task: training examples of each task; all of each if None.
        task_order: at position i of the stream, which task to show there; in order if None.

    Raises:
        ValueError: if an argument is out of range.
        DataError: if the file is missing or holds something else.
        ModuleNotFoundError: if PyTorch is not installed.
    """
    train, test = read_torch_file(path)
    n_tasks = len(train) if tasks is None else tasks
    check_task_count(n_tasks, len(train))
    order = list(map(int, complete_order(task_order, n_tasks)))
    parts = []
    for task in order:
        x, y = train[task]
        n_shown = len(y) if examples_per_task is None else examples_per_task
        subset = draw_subset(named_rng(seed, f"subsets/{task}"), len(y), n_shown)
        parts.append(LabelledSet(x[subset], y[subset]))
    tests = [test[task] for task in order]
    classes = class_ranges(path, n_tasks)
    if classes is None:
        labels = [y for _, y in (*train, *test)]
        n_outputs = count_outputs(labels)
        warn_unused(labels, n_outputs)
        return Benchmark(path.stem, stream_of(parts), tests, n_outputs)
    if _are_images(train[0].x):
        parts, tests = ([_shaped(it, IMAGE_SHAPE) for it in sets] for sets in (parts, tests))
    class_tasks = _class_tasks(classes, order)
    return Benchmark(path.stem, stream_of(parts), tests, len(class_tasks), class_tasks)


def _are_images(x: np.ndarray) -> bool:
    """Tell whether inputs have the size of CIFAR's images, which are stored flat."""
    return x.shape[1:] in (IMAGE_SHAPE, (math.prod(IMAGE_SHAPE),))


def _class_tasks(classes: list[range], order: Sequence[int]) -> tuple[int, ...]:
    """Return for each class the place in the stream of the task that shows it."""
    owner = {label: place for place, task in enumerate(order) for label in classes[task]}
    return tuple(owner[label] for label in range(len(owner)))


def _shaped(part: LabelledSet, shape: tuple[int, ...]) -> LabelledSet:
    return LabelledSet(part.x.reshape(-1, *shape), part.y)


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}; give the path of a .pt file") from error
