"""The user's own arrays as a benchmark."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from typing import Any

import numpy as np

from perdure.streams.benchmark import Benchmark, LabelledSet, stream_of
from perdure.streams.checks import check_examples, check_name, check_output_count
from perdure.streams.conversion import as_array
from perdure.streams.labels import count_outputs, refuse_labels_as_floats, warn_unused

MAX_LABEL = np.iinfo(np.int32).max


def from_arrays(
    train: Sequence[Any],
    test: Sequence[Any] | None,
    *,
    name: str = "arrays",
    n_outputs: int | None = None,
    hides_tasks: bool = False,
    regression: bool | None = None,
) -> Benchmark:
    """Return the benchmark that shows the given arrays, task after task, in the order given.

    Args:
        train: one pair (x, y) per task: x (n, ...) `uint8` pixels 0..255, `float32` or `float64`; y (n,)
            integer labels ≥ 0; or, for regression, y (n,) or (n, k) floats everywhere. Shape per example and
            dtype are the same everywhere; n may differ.
        test: likewise, one pair per task, which may all be the same one; None if arriving examples, predicted before
            they are learned, are all that is tested on.
        name: of the benchmark, for reports.
        n_outputs: number of classes; the largest label + 1 if None, which must then be at most 100,000, with a
            `PerdureWarning` if some labels below it are never used. For regression k, also if None.
        hides_tasks: are tasks there for evaluation only? A learner that needs their numbers is then refused.
        regression: are targets numbers to predict rather than labels of classes? If None, floats are numbers and
            integers labels. Floats that are whole numbers ≥ 0, at most 100 different ones or one for ten examples, and
            one-hot rows, may be either and are refused unless it is given: `np.loadtxt` reads labels as floats.

    Raises:
        ValueError: naming the array, if numbers of tasks, shapes, labels or values are not as described; if the name
            is empty or has control characters.
        TypeError: naming the array, if it has another dtype, is masked, sparse or no array, or floats look like labels;
            if the name is no text.
    """
    check_name(name)
    _check_tasks(train, test)
    test = [] if test is None else test
    if n_outputs is not None:
        check_output_count(n_outputs)
    train_sets = [_task_arrays(f"train[{task}]", pair) for task, pair in enumerate(train)]
    made = {id(pair): _task_arrays(f"test[{task}]", pair) for task, pair in reversed([*enumerate(test)])}
    test_sets = [made[id(pair)] for pair in test]
    targets = [y for _, y in (*train_sets, *test_sets)]
    if regression is None:
        refuse_labels_as_floats("train[0].y", targets)
        regression = bool(np.issubdtype(targets[0].dtype, np.floating))
    n_columns = targets[0].shape[1] if targets[0].ndim == 2 else 1
    known = int(n_outputs or (n_columns if regression else MAX_LABEL))
    for where, sets in (("train", train_sets), ("test", test_sets)):
        for task, (x, y) in enumerate(sets):
            check_examples(f"{where}[{task}]", x, y, known, regression=regression)
    _check_alike(train_sets)
    if regression:
        return Benchmark(name, stream_of(train_sets), test_sets, known, hides_tasks=hides_tasks)
    n_classes = int(n_outputs or count_outputs(targets))
    train_sets = [LabelledSet(x, y.astype(np.int32)) for x, y in train_sets]
    once = {id(it): LabelledSet(it.x, it.y.astype(np.int32)) for it in test_sets}
    test_sets = [once[id(it)] for it in test_sets]
    benchmark = Benchmark(name, stream_of(train_sets), test_sets, n_classes, hides_tasks=hides_tasks)
    if n_outputs is None:
        warn_unused(targets, n_classes)
    return benchmark


def _check_tasks(train: Any, test: Any) -> None:
    for part, pairs in (("train", train), ("test", [] if test is None else test)):
        if not isinstance(pairs, Sized):
            raise TypeError(
                f"{part} is a {type(pairs).__name__}, expected a list of pairs (x, y), one per task; give list({part})"
            )
    n_tests = len(train) if test is None else len(test)
    if len(train) != n_tests or len(train) == 0:
        raise ValueError(
            f"train has {len(train)} tasks and test has {n_tests}, expected the same number, at least one; "
            "give one (x, y) pair per task in both, or test=None to test on arriving examples only"
        )


def _task_arrays(where: str, pair: Any) -> LabelledSet:
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise TypeError(f"{where} is {_described(pair)}, expected a pair (x, y); give inputs and labels")
    x, y = as_array(f"{where}.x", pair[0]), as_array(f"{where}.y", pair[1])
    if y.ndim == 1 and np.issubdtype(y.dtype, np.floating):
        y = y[:, None]
    if y.ndim > 1 and 0 in y.shape[1:]:
        raise ValueError(
            f"{where}.y has shape {y.shape}, no number for any example, expected (n,) or (n, k) with k ≥ 1; "
            "give each example a label or at least one target"
        )
    return LabelledSet(x, y)


def _described(pair: Any) -> str:
    return f"a {type(pair).__name__}" + (f" of length {len(pair)}" if hasattr(pair, "__len__") else "")


def _check_alike(train: list[LabelledSet]) -> None:
    first = train[0].x
    for task, (x, _) in enumerate(train):
        if x.shape[1:] != first.shape[1:] or x.dtype != first.dtype:
            raise ValueError(
                f"train[{task}].x has examples of shape {x.shape[1:]} and dtype {x.dtype}, expected "
                f"{first.shape[1:]} and {first.dtype} as in train[0].x; prepare all tasks alike"
            )
