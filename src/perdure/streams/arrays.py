"""The user's own arrays as a benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from perdure.streams.benchmark import Benchmark, LabelledSet, stream_of
from perdure.streams.checks import check_examples, check_output_count

MAX_LABEL = np.iinfo(np.int32).max


def from_arrays(
    train: Sequence[Any],
    test: Sequence[Any],
    *,
    name: str = "arrays",
    n_outputs: int | None = None,
    hides_tasks: bool = False,
) -> Benchmark:
    """Return the benchmark that shows the given arrays, task after task, in the order given.

    Args:
        train: one pair (x, y) a task: x (n, ...) `uint8` pixels 0..255, `float32` or `float64`; y (n,)
            integer labels ≥ 0; or, for regression, y (n,) or (n, k) floats everywhere. Shape per example and
            dtype are the same everywhere; n may differ.
        test: likewise, one pair a task.
        name: of the benchmark, for reports.
        n_outputs: number of classes; the largest label + 1 if None. For regression k, also if None.
        hides_tasks: are tasks there for evaluation only? A learner that reads their numbers is then warned of.

    Raises:
        ValueError: naming the array, if numbers of tasks, shapes, labels or values are not as described.
        TypeError: naming the array, if it has another dtype.
    """
    if len(train) != len(test) or len(train) == 0:
        raise ValueError(
            f"train has {len(train)} tasks and test has {len(test)}, expected the same number, at least one; "
            "give one (x, y) pair a task in both"
        )
    if n_outputs is not None:
        check_output_count(n_outputs)
    train_sets = [_task_arrays(f"train[{task}]", pair) for task, pair in enumerate(train)]
    test_sets = [_task_arrays(f"test[{task}]", pair) for task, pair in enumerate(test)]
    first_y = train_sets[0].y
    regression = np.issubdtype(first_y.dtype, np.floating)
    if regression and n_outputs is None:
        n_outputs = first_y.shape[1] if first_y.ndim == 2 else 1
    for where, sets in (("train", train_sets), ("test", test_sets)):
        for task, (x, y) in enumerate(sets):
            check_examples(f"{where}[{task}]", x, y, n_outputs or MAX_LABEL, regression=regression)
    _check_alike(train_sets)
    if n_outputs is None:
        n_outputs = 1 + max(int(y.max()) for _, y in (*train_sets, *test_sets))
    if not regression:
        train_sets, test_sets = (
            [LabelledSet(x, y.astype(np.int32)) for x, y in sets] for sets in (train_sets, test_sets)
        )
    return Benchmark(name, stream_of(train_sets), test_sets, n_outputs, hides_tasks=hides_tasks)


def _task_arrays(where: str, pair: Any) -> LabelledSet:
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise TypeError(f"{where} is {_described(pair)}, expected a pair (x, y); give inputs and labels")
    x, y = np.asarray(pair[0]), np.asarray(pair[1])
    if y.ndim == 1 and np.issubdtype(y.dtype, np.floating):
        y = y[:, None]
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
