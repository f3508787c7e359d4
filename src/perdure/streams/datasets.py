"""Data sets as people hold them, of NumPy, files, pandas, PyTorch, Hugging Face and Avalanche, as examples."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from perdure.core import PerdureWarning
from perdure.streams.arrays import from_arrays
from perdure.streams.benchmark import Benchmark, LabelledSet
from perdure.streams.checks import check_examples, check_like_train, check_name, refuse_first
from perdure.streams.classes import ClassData, split_benchmark
from perdure.streams.conversion import as_array, as_labels
from perdure.streams.kinds import examples_of, items_of
from perdure.streams.labels import warn_many_numbers
from perdure.streams.ranges import warn_merged
from perdure.streams.raw.embeddings import TEST, read_embeddings
from perdure.streams.raw.npz import open_npz
from perdure.streams.raw.tables import read_pieces
from perdure.streams.split import split_of

CLASSES_PER_TASK = 2
"""Unless told otherwise."""


@dataclass(frozen=True)
class DatasetRecipe:
    """Classes of a data set as a stream before its seed is known: call it with a seed; made by `from_dataset`."""

    data: ClassData
    options: Mapping[str, Any] = field(default_factory=dict)
    """`tasks`, `examples_per_task`, `task_order`, and fields of `perdure.streams.split.Split`, those given."""

    @property
    def name(self) -> str:
        """Name of the benchmark."""
        return self.data.name

    def __call__(self, seed: int) -> Benchmark:
        """Return the benchmark of a seed.

        Raises:
            ValueError: if an option is out of range.
        """
        own = {name: it for name, it in self.options.items() if name in _SIZES}
        split = {name: it for name, it in self.options.items() if name not in _SIZES}
        return split_benchmark(self.data, seed, split_of(split), **own)


_SIZES = ("tasks", "examples_per_task", "task_order")


def from_dataset(
    train: Any,
    test: Any = None,
    *,
    name: str = "dataset",
    label: str | None = None,
    features: str | None = None,
    tasks: int | None = None,
    examples_per_task: int | None = None,
    task_order: Sequence[int] | None = None,
    **split: Any,
) -> DatasetRecipe:
    """Return what makes a stream of a data set's classes for a seed; give it to `perdure.run` as its benchmark.

    Classes are numbered in sorted order, texts too. All training examples are shown unless `examples_per_task` says
    otherwise, two classes to a task unless `classes_per_task` does.

    Args:
        train: a pair (x, y) of arrays; the path of a file; a table of pandas, a data set of Hugging Face; or anything
            with a length whose items are (x, y), as data sets of PyTorch have it. Inputs are `uint8` pixels or numbers,
            of one shape.
        test: likewise; None for the arrays `test_x` and `test_y` of a `.npz` file, or for no test examples: `tests` is
            then "none".
        name: of the benchmark, for reports.
        label: column, or array of a `.npz` file, of the classes; None for "y" in a file, and elsewhere for "label", "y"
            or another usual name.
        features: column, or array of a `.npz` file, of the inputs; None for the only one, or for all other columns,
            which must be numbers.
        tasks: number of tasks, the first n; all if None.
        examples_per_task: training examples of each task; all that there are if None.
        task_order: at position i of the stream, which task to show there; in order if None.
        **split: fields of `perdure.streams.split.Split`: scenario, classes per task, boundaries and others.

    Raises:
        TypeError: if a data set is something else, or an option of another kind.
        ValueError: if inputs differ in shape, a class is missing among the training examples, or an option is out of
            range.
        DataError: if a file cannot be read or holds something else.
    """
    check_name(name)
    test = _tests_beside(train, label, features) if test is None else test
    if test is None:
        split = {"tests": "none", **split}
    split_of(split)
    x, y = examples_of("train", train, label=label, features=features)
    names = {} if isinstance(test, _Beside) else {"label": label, "features": features}
    held_out = None if test is None else examples_of("test", test, **names)
    for where, labels in (("train.y", y), *(() if held_out is None else (("test.y", held_out[1]),))):
        _refuse_objects(where, labels)
        _refuse_other_kind(where, labels, y)
    _refuse_numbers("train.y", y)
    if isinstance(train, str | Path):
        warn_many_numbers(f"{label or 'y'} of {train}", y)
    classes = np.unique(y)
    if len(classes) == 1:
        _warn_one_class(classes[0])
    train_set = _numbered("train", x, y, classes)
    test_set = None if held_out is None else _numbered("test", *held_out, classes)
    if test_set is not None:
        check_like_train("test", test_set.x, train_set.x)
    data = ClassData(name, train_set, test_set, np.arange(len(classes)) // CLASSES_PER_TASK)
    sizes = {"tasks": tasks, "examples_per_task": examples_per_task, "task_order": task_order}
    return DatasetRecipe(data, {**{key: it for key, it in sizes.items() if it is not None}, **split})


class _Beside(NamedTuple):
    """Test examples in the same archive as those for training."""

    x: np.ndarray
    y: np.ndarray


def _tests_beside(train: Any, label: str | None, features: str | None) -> _Beside | None:
    if not isinstance(train, str | Path) or not (names := _names_beside(Path(train), label, features)):
        return None
    with open_npz(Path(train)) as archive:
        return _Beside(*map(archive.read, names))


def _names_beside(path: Path, label: str | None, features: str | None) -> tuple[str, str] | None:
    """Return the names of the test inputs and labels that a `.npz` file has beside its training examples, if any."""
    names = TEST + (features or "x"), TEST + (label or "y")
    return names if path.suffix.lower() == ".npz" and all(_has_column(path, name) for name in names) else None


def from_table(
    train: Path | str,
    test: Path | str | None = None,
    *,
    label: str | None = None,
    task: str,
    features: str | None = None,
    name: str | None = None,
) -> Benchmark:
    """Return the stream of a file in which each example tells its task: tasks come in the order of their first example.

    Classes are numbered in sorted order, texts too; numbers that are not whole are targets of regression.

    Args:
        train: a `.npz`, `.csv`, `.tsv`, `.parquet` or `.ndjson` file.
        test: likewise, with the same tasks or, without the column of tasks, for all tasks; None for the arrays
            `test_x`, `test_y` and, if it is there, `test_` with the name of `task` of a `.npz` file, or for no tests.
        label: column, or array of a `.npz` file, of the labels; None for "y".
        task: column, or array, of the tasks.
        features: column, or array, of the inputs; None for all other columns, which must be numbers, for the only
            column of vectors of a `.parquet` file, or for `x` of a `.npz` file.
        name: of the benchmark, for reports; None for that of the file.

    Raises:
        ValueError: if the tests have other tasks or classes than the training examples, or a label or task is missing.
        DataError: if a file cannot be read or holds something else.
    """
    parts = _by_task("train", Path(train), label, task, features)
    tests = _tests_by_task(Path(train), None if test is None else Path(test), label, task, features)
    if tests is not None and None not in tests and (other := tests.keys() ^ parts.keys()):
        raise ValueError(
            f"task {next(iter(other))!r} is in only one of {train} and {test or 'the tests in it'}, expected the same "
            "tasks in both; leave out the examples, or the tasks of the tests if they are for all tasks"
        )
    first, *others = (y for part in (parts, tests or {}) for _, y in part.values())
    for other in others:
        _refuse_other_kind(f"{label or 'y'} of {test or train}", other, first)
    _number_labels(f"{label or 'y'} of {train}", parts, tests)
    held_out = None if tests is None else [tests[None if None in tests else it] for it in parts]
    return from_arrays(list(parts.values()), held_out, name=name or Path(train).stem)


def _tests_by_task(
    train: Path, test: Path | None, label: str | None, task: str, features: str | None
) -> dict[Any, tuple[np.ndarray, np.ndarray]] | None:
    """Return the test examples as `_by_task` does, of a file of their own or beside the training examples, if any."""
    if test is None:
        names = _names_beside(train, label, features)
        if names is None:
            return None
        test, (features, label), task = train, names, TEST + task
    return _by_task("test", test, label, task if _has_column(test, task) else None, features)


def _by_task(
    where: str, path: Path, label: str | None, task: str | None, features: str | None
) -> dict[Any, tuple[np.ndarray, np.ndarray]]:
    """Return inputs and labels by task in the order of their first example; by None if there are no tasks."""
    read = read_embeddings(path, features, label or "y", task)
    x, y = as_array(f"{where}.x", read.x), as_labels(read.y)
    _refuse_objects(f"{where}.y", y)
    x = _as_floats(f"{where}.x", x)
    if read.task is None:
        return {None: (x, y)}
    of_task = as_labels(read.task)
    _refuse_missing_tasks(f"{where}.{task}", of_task)
    return {it: (x[of_task == it], y[of_task == it]) for it in dict.fromkeys(of_task.tolist())}


def _has_column(path: Path, name: str) -> bool:
    if path.suffix.lower() == ".npz":
        with open_npz(path) as archive:
            return name in archive
    return name in next(iter(read_pieces(path))).columns


def _number_labels(where: str, *parts: dict[Any, tuple[np.ndarray, np.ndarray]] | None) -> None:
    """Number the labels of several parts alike; numbers that are not whole are left, and many whole ones warned of."""
    labels = np.concatenate([y for part in parts if part for _, y in part.values()])
    if labels.dtype.kind == "f" and not (np.isfinite(labels).all() and (labels == np.round(labels)).all()):
        return
    warn_many_numbers(where, labels)
    classes = np.unique(labels)
    for part in parts:
        for task, (x, y) in (part or {}).items():
            part[task] = (x, np.searchsorted(classes, y).astype(np.int32))  # pyright: ignore[reportOptionalSubscript]


def from_avalanche(benchmark: Any, *, name: str = "avalanche") -> Benchmark:
    """Return a benchmark of Avalanche with the same experiences as tasks; nothing of Avalanche is imported.

    Args:
        benchmark: with `train_stream` and `test_stream`, as many experiences in both, or one of tests for all; each has
            a `dataset` whose items begin with (x, y).
        name: of the benchmark, for reports.

    Raises:
        TypeError: if it is something else.
        ValueError: if there are other numbers of tests, or examples are not as `from_arrays` expects.
    """
    if not (hasattr(benchmark, "train_stream") and hasattr(benchmark, "test_stream")):
        raise TypeError(
            f"benchmark is a {type(benchmark).__name__}, expected a benchmark of Avalanche, which has train_stream and "
            "test_stream; for a data set use from_dataset, for arrays from_arrays"
        )
    for part in ("train_stream", "test_stream"):
        stream = getattr(benchmark, part)
        if not len(stream):
            raise ValueError(f"{part} is empty, expected at least one experience; make the benchmark with some")
        if wrong := [n for n, it in enumerate(stream) if not hasattr(it, "dataset")]:
            raise TypeError(
                f"{part}[{wrong[0]}] is a {type(stream[wrong[0]]).__name__} without a dataset, expected an experience "
                "of Avalanche; give it a dataset whose items begin with (x, y)"
            )
    train, test = (
        [items_of(f"{part}_stream[{n}].dataset", experience.dataset) for n, experience in enumerate(stream)]
        for part, stream in (("train", benchmark.train_stream), ("test", benchmark.test_stream))
    )
    if len(test) == 1:
        test = test * len(train)
    return from_arrays(train, test, name=name, n_outputs=_n_classes(benchmark))


def _numbered(where: str, x: np.ndarray, y: np.ndarray, classes: np.ndarray) -> LabelledSet:
    """Return checked examples, the labels numbered from 0."""
    if len(unknown := np.setdiff1d(y, classes)):
        shown = ", ".join(map(str, unknown[:5].tolist()))
        raise ValueError(
            f"{where} has the class{'es' * (len(unknown) > 1)} {shown}, which no training example has; leave them out, "
            "or train on them too"
        )
    x = _as_floats(f"{where}.x", x)
    numbers = np.searchsorted(classes, y).astype(np.int32)
    check_examples(where, x, numbers, len(classes))
    return LabelledSet(x, numbers)


def _as_floats(where: str, x: np.ndarray) -> np.ndarray:
    """Return whole numbers but pixels, and float16, as float32; warn if it merges many of them. Others stay."""
    if x.dtype == np.float16:
        return x.astype(np.float32)
    if x.dtype == np.uint8 or x.dtype.kind not in "iub":
        return x
    warn_merged(where, x)
    return x.astype(np.float32)


def _refuse_objects(where: str, y: np.ndarray) -> None:
    """Refuse labels that are missing, or neither texts nor numbers, or some of them texts and others numbers.

    Raises:
        ValueError: naming the first place.
    """
    if y.dtype != object:
        return
    is_text = isinstance(y.flat[0], str) if y.size else False
    for n, it in enumerate(y.flat):
        is_label = isinstance(it, str) if is_text else isinstance(it, int | float | np.number | np.bool_) and it == it
        if not is_label:
            kind = f"a {'text' if is_text else 'number'}, as the first label is" if n else "a text or a number"
            raise ValueError(
                f"{where}[{n}] is {it!r}, expected the label of a class, {kind}; give it one, or drop the example"
            )


def _refuse_other_kind(where: str, y: np.ndarray, train_y: np.ndarray) -> None:
    """Refuse labels that are texts where those of training are numbers, or the other way round.

    Raises:
        ValueError: showing the first of both.
    """
    if not (y.size and train_y.size):
        return
    first, first_train = y.flat[:1].tolist()[0], train_y.flat[:1].tolist()[0]
    if isinstance(first, str) != isinstance(first_train, str):
        raise ValueError(
            f"{where} begins with {first!r}, but the labels for training with {first_train!r}, expected texts in both "
            "or numbers in both; write them alike"
        )


def _refuse_missing_tasks(where: str, of_task: np.ndarray) -> None:
    """Refuse examples that do not tell their task.

    Raises:
        ValueError: naming the first.
    """
    for n, it in enumerate(of_task.tolist()):
        if it is None or it != it:
            raise ValueError(
                f"{where}[{n}] is missing, expected the task of each example; give it one, or drop the example"
            )


def _refuse_numbers(where: str, y: np.ndarray) -> None:
    """Refuse numbers that are not whole, which are no labels of classes.

    Raises:
        ValueError: naming the first place.
    """
    if y.dtype.kind == "f":
        refuse_first(
            where,
            y,
            ~np.isfinite(y) | (y != np.round(y)),
            "a label of a class, a text or a whole number; make classes of numbers, or learn numbers with from_arrays",
        )


def _warn_one_class(only: Any) -> None:
    """Warn that every answer will be right."""
    warnings.warn(
        f"train has one class only, {only}, so that every answer is right; give examples of others too, or check that "
        "label= names the right column",
        PerdureWarning,
        stacklevel=3,
    )


def _n_classes(benchmark: Any) -> int | None:
    """Return the number of classes that the experiences tell of; None if they do not."""
    told = [getattr(it, "classes_in_this_experience", None) for it in benchmark.train_stream]
    classes = [int(one) for its_own in told for one in its_own or ()]
    return 1 + max(classes) if all(told) else None
