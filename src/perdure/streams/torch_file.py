"""Benchmarks in the files that the authors of GEM and MER made them into: `mnist_rotations.pt` and the like."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from perdure.streams.benchmark import Benchmark, LabelledSet, stream_of
from perdure.streams.checks import check_examples
from perdure.streams.raw.registry import DataError
from perdure.streams.tasks import check_task_count, complete_order, draw_subset, named_rng

OPTIONS = ("tasks", "examples_per_task", "task_order")
FILE_DIGEST = "file_sha256"

_LAYOUT = "expected what torch.save wrote of [training tasks, test tasks], each task [info, x, y]"
_MAX_LABEL = np.iinfo(np.int32).max


@dataclass(frozen=True)
class DataFileRecipe:
    """A benchmark in a `.pt` file before its seed is known: call it with a seed.

    Raises:
        TypeError: if there is no such option.
        DataError: if the file's name does not end in `.pt`, there is no such file, or its digest is not the one in the
            options.
    """

    path: Path
    """The file, `NAME.pt`: a run is recorded, and gone on with, by the name."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of `file_benchmark`, and the SHA-256 of the file, `file_sha256`: the file must have it, where it is
    given, and it is filled in where it is not."""

    def __post_init__(self) -> None:
        unknown = [option for option in self.options if option not in (*OPTIONS, FILE_DIGEST)]
        if unknown:
            raise TypeError(
                f"a data file has no option {', '.join(unknown)}, expected some of: {', '.join(OPTIONS)}; "
                "leave it out or mend its spelling"
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

    def __call__(self, seed: int) -> Benchmark:
        """Return the benchmark of a seed, as `file_benchmark`."""
        return file_benchmark(self.path, seed, **{name: it for name, it in self.options.items() if name in OPTIONS})


def file_benchmark(
    path: Path,
    seed: int,
    *,
    tasks: int | None = None,
    examples_per_task: int = 1000,
    task_order: Sequence[int] | None = None,
) -> Benchmark:
    """Return the benchmark in a `.pt` file, with a random subset of each task's training examples.

    x is float32, as on file, and every task is tested on all its test examples.

    Source of the layout: the released code of Lopez-Paz and Ranzato (2017) and of Riemer et al. (2019).

    Args:
        path: the file.
        seed: of the subsets and their order, ≥ 0.
        tasks: number of tasks, the first so many; all if None.
        examples_per_task: training examples of each task.
        task_order: at position i of the stream, which task to show there; in order if None.

    Raises:
        ValueError: if an argument is out of range.
        DataError: if the file is missing or holds something else.
        ModuleNotFoundError: if PyTorch is not installed.
    """
    train, test = read_torch_file(path)
    n_tasks = len(train) if tasks is None else tasks
    check_task_count(n_tasks, len(train))
    order = complete_order(task_order, n_tasks)
    parts = []
    for task in order:
        x, y = train[task]
        subset = draw_subset(named_rng(seed, f"subsets/{task}"), len(y), examples_per_task)
        parts.append(LabelledSet(x[subset], y[subset]))
    tests = [test[task] for task in order]
    n_outputs = 1 + max(int(y.max()) for _, y in (*train, *test))
    return Benchmark(path.stem, stream_of(parts), tests, n_outputs)


def read_torch_file(path: Path) -> tuple[list[LabelledSet], list[LabelledSet]]:
    """Return the training sets and the test sets in a `.pt` file, one a task.

    Nothing in the file is run: it is read with `weights_only`. It is read once in a process, as long as it does not
    change.

    Raises:
        DataError: if the file is missing or holds something else than tasks of finite float inputs and labels.
        ModuleNotFoundError: if PyTorch is not installed.
    """
    try:
        facts = path.stat()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}; give the path of a .pt file") from error
    return _read_torch_file(path, facts.st_mtime_ns, facts.st_size)


@cache
def _read_torch_file(path: Path, _mtime_ns: int, _size: int) -> tuple[list[LabelledSet], list[LabelledSet]]:
    content = _load(path)
    if not isinstance(content, list | tuple) or len(content) != 2:
        raise DataError(f"{path} holds {_described(content)}, {_LAYOUT}; give such a file")
    train, test = (_task_list(it, f"{path}, {part}") for it, part in zip(content, ("train", "test"), strict=True))
    if len(train) != len(test):
        raise DataError(f"{path} holds {len(train)} training and {len(test)} test tasks, expected as many of both")
    shapes = {x.shape[1:] for x, _ in (*train, *test)}
    if len(shapes) > 1:
        raise DataError(f"{path} holds inputs of the shapes {sorted(shapes)}, expected one shape; give such a file")
    return train, test


def _load(path: Path) -> Any:
    try:
        import torch
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{path} was written by PyTorch, which is not installed; install it with: pip install 'perdure[torch]'"
        ) from error
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises what it likes for what is no file of its own
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise DataError(
            f"{path} is no data file of tensors ({reason}), {_LAYOUT}; nothing in it was run, get another copy"
        ) from error


def _task_list(tasks: Any, where: str) -> list[LabelledSet]:
    if not isinstance(tasks, list | tuple) or not tasks:
        raise DataError(f"{where} is {_described(tasks)}, {_LAYOUT}; give such a file")
    return [_task(it, f"{where}[{number}]") for number, it in enumerate(tasks)]


def _task(task: Any, where: str) -> LabelledSet:
    if not isinstance(task, list | tuple) or len(task) != 3:
        raise DataError(f"{where} is {_described(task)}, {_LAYOUT}; give such a file")
    _, x, y = task
    try:
        x, y = x.numpy(), y.numpy()
    except (AttributeError, RuntimeError, TypeError) as error:  # no tensor, or not one of plain numbers
        raise DataError(
            f"{where} has x of type {type(x).__name__} and y of type {type(y).__name__}, {_LAYOUT}"
        ) from error
    if x.dtype != np.float32 or x.ndim < 2:
        raise DataError(f"{where}.x is {x.dtype}{list(x.shape)}, expected float32 [examples, inputs]; give such a file")
    try:
        check_examples(where, x, y, _MAX_LABEL)
    except (TypeError, ValueError) as error:
        raise DataError(str(error)) from error
    return LabelledSet(x, y.astype(np.int32))


def _described(it: Any) -> str:
    return f"a {type(it).__name__}" + (f" of length {len(it)}" if isinstance(it, list | tuple) else "")


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}; give the path of a .pt file") from error
