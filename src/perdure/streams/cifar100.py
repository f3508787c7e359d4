"""CIFAR-100, from either of its two published archives; and the benchmark made of it."""

from __future__ import annotations

import io
import pickle
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from perdure.streams.benchmark import Benchmark, LabelledSet
from perdure.streams.classes import ClassData, split_benchmark
from perdure.streams.raw.archives import tar_members
from perdure.streams.raw.files import find_one, read_verified
from perdure.streams.raw.reading import GET_ANOTHER
from perdure.streams.raw.registry import DataError, RawFile
from perdure.streams.split import Scenario, split_of

N_CLASSES = 100
CLASSES_PER_TASK = 5
EXAMPLES_PER_CLASS = 500
"""For training: all that there are."""
SHAPE = (3, 32, 32)
RECORD = 2 + 3 * 32 * 32
"""Bytes of an example in the binary archive: coarse label, fine label, pixels."""


class Cifar100(NamedTuple):
    """Both parts of CIFAR-100, read-only, with the labels of the 100 classes."""

    train: LabelledSet
    """50,000 images, x (n, 3, 32, 32) uint8."""
    test: LabelledSet
    """10,000 images, likewise."""


def cifar100(
    seed: int,
    *,
    tasks: int | None = None,
    examples_per_task: int | None = None,
    task_order: Sequence[int] | None = None,
    data_dir: Path | None = None,
    validation: bool = False,
    scenario: Scenario = "task",
    **split: Any,
) -> Benchmark:
    """Return Incremental CIFAR-100: five new classes per task, and the outputs of the other tasks' classes masked.

    Task t shows the classes 5t to 5t + 4. x is uint8, (N, 3, 32, 32); a task is tested on the 500 test images of its
    classes. There are as many outputs as classes in the first `tasks` tasks, 100 in all.

    Source: Lopez-Paz and Ranzato (2017), section 5.1; Krizhevsky (2009).

    Args:
        seed: of the subsets, the order within a task and what `split` leaves to chance, ≥ 0.
        tasks: number of tasks, the first n, 1 to 20 of five classes; all if None.
        examples_per_task: training examples of each task, 1 to 2,500 of five classes; all 500 of each class if None.
        task_order: at position i of the stream, which task to show there; in order if None.
        data_dir: folder to search first for the archive.
        validation: for choosing hyper-parameters: a part of the training images are for testing and training is on
            the others, at most 375 for each class, which reported streams show too unless these leave enough.
        scenario: "task" masks the outputs of the other tasks' classes, "class" none; see `Split`.
        **split: other fields of `perdure.streams.split.Split`: classes per task, boundaries and others.

    Raises:
        ValueError: if an argument is out of range.
        DataError: if no archive can be found or downloaded, or it is not CIFAR-100's.
    """
    train, test = load_cifar100(data_dir)
    return split_benchmark(
        ClassData("cifar100", train, test, np.arange(N_CLASSES) // CLASSES_PER_TASK, EXAMPLES_PER_CLASS),
        seed,
        split_of({"scenario": scenario, **split}),
        tasks=tasks,
        examples_per_task=examples_per_task,
        task_order=task_order,
        validation=validation,
    )


def load_cifar100(data_dir: Path | None = None) -> Cifar100:
    """Return CIFAR-100, from the archive of binary records or that of pickles, whichever is found first.

    Raises:
        DataError: if no archive can be found or downloaded, or it is not CIFAR-100's.
    """
    path, raw = find_one("cifar100", data_dir)
    stat = path.stat()
    return _load_cifar100(path, raw, stat.st_mtime_ns, stat.st_size)


@cache
def _load_cifar100(path: Path, raw: RawFile, _mtime_ns: int, _size: int) -> Cifar100:
    content = read_verified(path, raw)
    read = read_binary_archive if "binary" in raw.name else read_python_archive
    return read(content, str(path))


def read_binary_archive(content: bytes, where: str) -> Cifar100:
    """Return what is in the archive of binary records, `cifar-100-binary.tar.gz`.

    Args:
        content: all bytes of the archive.
        where: what errors call it.

    Raises:
        DataError: if it is damaged or holds something else.
    """
    names = ["cifar-100-binary/train.bin", "cifar-100-binary/test.bin"]
    return Cifar100(*map(_from_records, tar_members(content, names, where), [f"{name} in {where}" for name in names]))


def read_python_archive(content: bytes, where: str) -> Cifar100:
    """Return what is in the archive of pickles, `cifar-100-python.tar.gz`, without running what a pickle may request.

    Args:
        content: all bytes of the archive.
        where: what errors call it.

    Raises:
        DataError: if it is damaged or holds something else than arrays, lists, numbers and text.
    """
    names = ["cifar-100-python/train", "cifar-100-python/test"]
    return Cifar100(*map(_from_pickle, tar_members(content, names, where), [f"{name} in {where}" for name in names]))


def _from_records(content: bytes, where: str) -> LabelledSet:
    if len(content) % RECORD or not content:
        raise DataError(
            f"{where} has {len(content)} bytes, expected a multiple of {RECORD}, the bytes of an image; {GET_ANOTHER}"
        )
    records = np.frombuffer(content, dtype=np.uint8).reshape(-1, RECORD)
    return _checked(records[:, 2:], records[:, 1], where)


def _from_pickle(content: bytes, where: str) -> LabelledSet:
    try:
        fields = _PlainUnpickler(io.BytesIO(content), encoding="bytes").load()
    except DataError as error:
        raise DataError(f"{where} {error}") from error
    except Exception as error:  # a damaged pickle may fail in any way
        raise DataError(f"{where} is a damaged pickle ({error!r}), expected a whole one; {GET_ANOTHER}") from error
    if not isinstance(fields, dict) or not {b"data", b"fine_labels"} <= fields.keys():
        raise DataError(f"{where} has no data and fine_labels, expected a dictionary of both; {GET_ANOTHER}")
    pixels, labels = fields[b"data"], fields[b"fine_labels"]
    if not isinstance(pixels, np.ndarray) or not isinstance(labels, list):
        raise DataError(
            f"{where} has data of type {type(pixels).__name__} and labels of type {type(labels).__name__}, "
            f"expected an array and a list; {GET_ANOTHER}"
        )
    if not all(type(label) is int and 0 <= label < N_CLASSES for label in labels):
        raise DataError(f"{where} has other labels than numbers from 0 to {N_CLASSES - 1}; {GET_ANOTHER}")
    return _checked(pixels, np.array(labels, dtype=np.uint8), where)


def _checked(pixels: np.ndarray, labels: UInt8[np.ndarray, " n"], where: str) -> LabelledSet:
    """Return images and labels, read-only, if there are as many of both and the labels are CIFAR-100's."""
    n = len(labels)
    if pixels.dtype != np.uint8 or pixels.shape != (n, RECORD - 2) or n == 0:
        raise DataError(
            f"{where} has {n} labels and data {pixels.dtype}{list(pixels.shape)}, expected uint8[n, {RECORD - 2}] "
            f"for n labels, at least 1; {GET_ANOTHER}"
        )
    if labels.max() >= N_CLASSES:
        raise DataError(f"{where} has the label {labels.max()}, expected 0 to {N_CLASSES - 1}; {GET_ANOTHER}")
    x, y = np.ascontiguousarray(pixels.reshape(n, *SHAPE)), labels.astype(np.int32)
    x.flags.writeable = y.flags.writeable = False
    return LabelledSet(x, y)


class _PlainUnpickler(pickle.Unpickler):
    """Rebuilds plain NumPy arrays, lists, dictionaries, numbers and text, and calls nothing else."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        """Return what stands for the few names that the pickle of a plain array needs."""
        name = f"{module_name}.{global_name}"
        if name not in _STAND_INS:
            raise DataError(
                f"asks for {name}, expected a pickle of plain arrays, which needs none but {', '.join(_STAND_INS)}; "
                "nothing was run; do not trust this file"
            )
        return _STAND_INS[name]


class _ArrayType:
    """Stands for the class `ndarray` where a pickle names it."""


def _empty_array(*_: object) -> np.ndarray:
    """Return the array that the pickle then fills."""
    return np.empty(0, dtype=np.uint8)


def _latin1(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise DataError(f"asks for the encoding {encoding!r}, expected 'latin1'; do not trust this file")
    return text.encode("latin1")


_STAND_INS = {
    "numpy.core.multiarray._reconstruct": _empty_array,
    "numpy._core.multiarray._reconstruct": _empty_array,
    "numpy.ndarray": _ArrayType,
    "numpy.dtype": np.dtype,
    "_codecs.encode": _latin1,
}
