"""Reading the `.pt` files that the programs of GEM's and MER's authors write, without running what is in them."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from perdure.streams.benchmark import LabelledSet
from perdure.streams.checks import check_examples
from perdure.streams.labels import MAX_OUTPUTS
from perdure.streams.raw.registry import DataError
from perdure.streams.tasks import MAX_TASKS

SPARE_BYTES = 1 << 25
"""Bytes that the tensors of a file may have beyond twice the file's size: tasks may share what is stored once."""

_LAYOUT = "expected what torch.save wrote of [training tasks, test tasks], each task [info, x, y]"
_MAX_LABEL = np.iinfo(np.int32).max


class TaskFile(NamedTuple):
    """What is in a file, one of each for every task."""

    sets: tuple[list[LabelledSet], list[LabelledSet]]
    """Training sets and test sets, x float32."""
    infos: tuple[list[Any], list[Any]]
    """What the training tasks and the test tasks say of themselves: an angle, a permutation, a pair of classes."""


def read_torch_file(path: Path) -> tuple[list[LabelledSet], list[LabelledSet]]:
    """Return the training sets and the test sets in a `.pt` file, one per task.

    Nothing in the file is run: it is read with `weights_only`. It is read once in a process, as long as it does not
    change.

    Raises:
        DataError: if the file is missing or holds something else than tasks of finite float inputs and labels, or
            tensors far larger than itself.
        ModuleNotFoundError: if PyTorch is not installed.
    """
    return read_task_file(path).sets


def read_task_file(path: Path) -> TaskFile:
    """Return all that is in a `.pt` file; errors as `read_torch_file`."""
    try:
        stat = path.stat()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}; give the path of a .pt file") from error
    return _read_task_file(path, stat.st_mtime_ns, stat.st_size)


def class_ranges(path: Path, n_tasks: int) -> list[range] | None:
    """Return the classes of each of a file's first tasks, as its info tells them; None if it tells something else.

    The info of a task of `cifar100.pt` is a pair of whole numbers: the task's first class, and the class after its
    last; files that give the last class itself are understood too. Outputs of other tasks' classes are masked in the
    authors' programs.

    Args:
        path: the file.
        n_tasks: number of tasks, the first n.

    Raises:
        DataError: if all tasks have such a pair, but the pairs of the first n tasks do not divide the classes from 0
            on among them, or a label is outside its task's pair; otherwise as `read_torch_file`.
    """
    content = read_task_file(path)
    pairs, test_pairs = (infos[:n_tasks] for infos in content.infos)
    if not all(_is_pair(info) for infos in content.infos for info in infos):
        return None
    # Of the two readings at most one leaves no gap and no overlap, unless there is one task; there its labels tell.
    for last in (0, 1):
        ranges = [range(first, end + last) for first, end in pairs]
        if [tuple(it) for it in pairs] == [tuple(it) for it in test_pairs] and _divide(ranges, content.sets):
            return ranges
    raise DataError(
        f"{path} says that the classes of its first {n_tasks} tasks are {[tuple(it) for it in pairs]}, expected pairs "
        "(first class, last class + 1) that divide the classes from 0 on among the tasks, equal for training and test, "
        "with each label in the range of its task; choose all tasks, or save another info, such as None, if the pairs "
        "mean something else"
    )


def _is_pair(info: Any) -> bool:
    return isinstance(info, tuple | list) and len(info) == 2 and all(type(it) is int for it in info)


def _divide(ranges: list[range], sets: Sequence[list[LabelledSet]]) -> bool:
    """Tell whether ranges follow one another from 0 on, in whatever order, and hold the labels of their tasks."""
    ordered = sorted(ranges, key=lambda it: it.start)
    starts = [0, *(it.stop for it in ordered[:-1])]
    if ordered[-1].stop > MAX_OUTPUTS or any(not it for it in ranges) or [it.start for it in ordered] != starts:
        return False
    tasks = [(its_range, y) for part in sets for its_range, (_, y) in zip(ranges, part, strict=False)]
    return all(y.min() >= its_range.start and y.max() < its_range.stop for its_range, y in tasks)


@cache
def _read_task_file(path: Path, _mtime_ns: int, size: int) -> TaskFile:
    content = _load(path, size)
    if not isinstance(content, list | tuple) or len(content) != 2:
        raise DataError(f"{path} holds {_described(content)}, {_LAYOUT}; give such a file")
    train, test = (_task_list(tasks, f"{path}, {part}") for tasks, part in zip(content, ("train", "test"), strict=True))
    _check_size(path, size, [*train, *test])
    sets = tuple(
        [_labelled_set(it, f"{path}, {part}[{number}]") for number, it in enumerate(tasks)]
        for tasks, part in ((train, "train"), (test, "test"))
    )
    if len(train) != len(test):
        raise DataError(f"{path} holds {len(train)} training and {len(test)} test tasks, expected as many of both")
    shapes = {x.shape[1:] for part in sets for x, _ in part}
    if len(shapes) > 1:
        raise DataError(f"{path} holds inputs of the shapes {sorted(shapes)}, expected one shape; give such a file")
    return TaskFile((sets[0], sets[1]), ([info for info, _, _ in train], [info for info, _, _ in test]))


def _load(path: Path, size: int) -> Any:
    try:
        import torch
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{path} was written by PyTorch, which is not installed; install it with: pip install 'perdure[torch]'"
        ) from error
    try:
        _check_packing(path, size)
        return torch.load(path, map_location="cpu", weights_only=True)
    except DataError:
        raise
    except Exception as error:  # torch.load raises what it likes for what is no file of its own
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise DataError(
            f"{path} is no data file of tensors ({reason}), {_LAYOUT}; nothing in it was run, get another copy"
        ) from error


def _check_packing(path: Path, size: int) -> None:
    """Check that a file in PyTorch's present format, a zip archive, holds no more bytes than it has."""
    with path.open("rb") as file:
        if file.read(2) != b"PK":
            return
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(member.file_size for member in archive.infolist())
    if unpacked > size:
        raise DataError(
            f"{path} has {size:,} bytes and unpacks to {unpacked:,}, expected tensors that are stored as they are, as "
            "torch.save does; nothing was unpacked, get another copy"
        )


def _task_list(tasks: Any, where: str) -> list[Any]:
    if not isinstance(tasks, list | tuple) or not tasks:
        raise DataError(f"{where} is {_described(tasks)}, {_LAYOUT}; give such a file")
    if len(tasks) > MAX_TASKS:
        raise DataError(f"{where} has {len(tasks):,} tasks, expected at most {MAX_TASKS:,}; give a smaller file")
    for number, task in enumerate(tasks):
        if not isinstance(task, list | tuple) or len(task) != 3:
            raise DataError(f"{where}[{number}] is {_described(task)}, {_LAYOUT}; give such a file")
    return list(tasks)


def _check_size(path: Path, size: int, tasks: list[Any]) -> None:
    """Check that tensors take about as much memory as the file, before any is looked at.

    A tensor says itself how often it repeats what is stored, so that a small file may hold a huge one.
    """
    import torch

    tensors = [it for _, *arrays in tasks for it in arrays if isinstance(it, torch.Tensor)]
    total = sum(it.numel() * it.element_size() for it in tensors)
    limit = 2 * size + SPARE_BYTES
    if total > limit:
        raise DataError(
            f"{path} has {size:,} bytes, but its tensors would take {total:,}, expected at most {limit:,}: they repeat "
            "what is stored; nothing of them was read, save them with x.clone() in place of an expanded x"
        )


def _labelled_set(task: Any, where: str) -> LabelledSet:
    _, x, y = task
    try:
        x, y = x.detach().numpy(), y.detach().numpy()
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
