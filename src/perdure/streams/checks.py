"""What arrays must be like to be learned from and tested on; the errors name the array and the place."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

INPUT_DTYPES = ("uint8", "float32", "float64")
TARGET_DTYPES = ("float32", "float64")


def check_output_count(n_outputs: int) -> None:
    """Check that there is at least one output.

    Raises:
        ValueError: if there is none.
    """
    if n_outputs < 1:
        raise ValueError(
            f"n_outputs is {n_outputs}, expected 1 or more; give the number of classes, the largest label + 1"
        )


def check_examples(where: str, x: np.ndarray, y: np.ndarray, n_outputs: int, *, regression: bool = False) -> None:
    """Check one set of examples; `where` names it in errors.

    Args:
        where: name of the set.
        x: inputs, (n, ...), `uint8` or floats.
        y: integer labels, (n,); for regression float targets, (n, n_outputs).
        n_outputs: number of classes, or of targets.
        regression: are there targets instead of labels?

    Raises:
        ValueError: if lengths disagree, there is no example, a float is not finite or a label not one of
            0..n_outputs−1.
        TypeError: if the inputs are neither `uint8` nor floats, the labels not integers or the targets not floats.
    """
    if x.dtype not in INPUT_DTYPES:
        raise TypeError(
            f"{where}.x has dtype {x.dtype}, expected one of {', '.join(INPUT_DTYPES)}; convert it: "
            "x.astype('uint8') for pixels 0..255, x.astype('float32') for anything else"
        )
    if x.ndim == 0:
        raise ValueError(f"{where}.x is a single number, expected a leading axis of examples; stack them")
    if regression:
        _check_target_array(f"{where}.y", y, (len(x), n_outputs))
    else:
        _check_integers(f"{where}.y", y, len(x), f"as {where}.x has")
    if len(x) == 0:
        raise ValueError(f"{where} is empty, expected at least one example; add some or leave the task out")
    _check_finite(f"{where}.x", x)
    _check_finite(f"{where}.y", y)
    if not regression:
        refuse_first(
            f"{where}.y",
            y,
            (y < 0) | (y >= n_outputs),
            f"a label from 0 to {n_outputs - 1}; mend the label, or raise n_outputs if there are more classes",
        )


def check_like_train(where: str, x: np.ndarray, train_x: np.ndarray) -> None:
    """Check that test inputs are of the training inputs' shape and dtype.

    Raises:
        ValueError: if they are not.
    """
    if x.shape[1:] != train_x.shape[1:] or x.dtype != train_x.dtype:
        raise ValueError(
            f"{where}.x has examples of shape {x.shape[1:]} and dtype {x.dtype}, expected "
            f"{train_x.shape[1:]} and {train_x.dtype} as in train.x; prepare both alike"
        )


def check_varied(where: str, y: np.ndarray) -> None:
    """Check that the targets of a test set differ, for otherwise R² is undefined.

    Raises:
        ValueError: if they are all the same.
    """
    if (y == y[:1]).all():
        raise ValueError(
            f"{where}.y has the same targets in all {len(y)} examples, expected some that differ, as R² divides by "
            "their variance; give the task a larger test set or leave it out"
        )


def check_maps(images: np.ndarray, maps: np.ndarray) -> None:
    """Check that pixel maps are for images of this size.

    Raises:
        ValueError: if shapes disagree, or a source is no pixel.
        TypeError: if the maps are not integers.
    """
    n_pixels = math.prod(images.shape[1:])
    if images.ndim != 3 or maps.ndim != 2 or maps.shape[1] != n_pixels:
        raise ValueError(
            f"images have shape {images.shape} and pixel maps {maps.shape}, expected (n, height, width) and "
            "(tasks, height · width); make the maps for images of this size"
        )
    if not np.issubdtype(maps.dtype, np.integer):
        raise TypeError(f"maps have dtype {maps.dtype}, expected integers; give each pixel its source")
    wrong = (maps < -1) | (maps >= n_pixels)
    refuse_first("maps", maps, wrong, f"a pixel from 0 to {n_pixels - 1}, or -1 for a zero; mend the map")


def check_tasks(task: np.ndarray, n_examples: int, n_tasks: int) -> None:
    """Check the task numbers of a stream.

    Raises:
        ValueError: if there are no tasks, numbers are missing, out of range or out of order, or a task is empty.
        TypeError: if they are not integers.
    """
    if n_tasks == 0:
        raise ValueError("test has no test sets, expected one for every task; add them")
    _check_integers("train.task", task, n_examples, "as train.x has")
    out_of_range = (task < 0) | (task >= n_tasks)
    refuse_first(
        "train.task",
        task,
        out_of_range,
        f"a task from 0 to {n_tasks - 1}, as there are {n_tasks} test sets; mend the tasks or add test sets",
    )
    backwards = np.concatenate([[False], task[1:] < task[:-1]])
    refuse_first("train.task", task, backwards, "no less than the one before it; sort the stream by task")
    counts = np.bincount(task.astype(np.int64), minlength=n_tasks)
    if not counts.all():
        raise ValueError(
            f"train has no example of task {int(counts.argmin())}, expected at least one of each of the "
            f"{n_tasks} tasks; add some, or number the tasks without gaps"
        )


def refuse_first(where: str, values: np.ndarray, wrong: np.ndarray, expected: str) -> None:
    """Raise a ValueError that names the first value that is marked wrong and its place, if one is."""
    if wrong.any():
        place: tuple[Any, ...] = np.unravel_index(int(wrong.argmax()), wrong.shape)
        at = ", ".join(str(axis) for axis in place)
        raise ValueError(f"{where}[{at}] is {values[place]}, expected {expected}")


def _check_integers(where: str, values: np.ndarray, n: int, why: str) -> None:
    if not np.issubdtype(values.dtype, np.integer):
        raise TypeError(f"{where} has dtype {values.dtype}, expected integers; convert it with {where}.astype('int32')")
    if values.shape != (n,):
        raise ValueError(f"{where} has shape {values.shape}, expected ({n},), {why}; give one per example")


def _check_target_array(where: str, values: np.ndarray, shape: tuple[int, int]) -> None:
    if values.dtype not in TARGET_DTYPES:
        raise TypeError(
            f"{where} has dtype {values.dtype}, expected {' or '.join(TARGET_DTYPES)}, as the first training targets "
            f"are floats; convert it with {where}.astype('float32')"
        )
    if values.shape != shape:
        raise ValueError(
            f"{where} has shape {values.shape}, expected {shape}, a number for each example and output; "
            "labels of classes must be integers"
        )


def _check_finite(where: str, values: np.ndarray) -> None:
    if np.issubdtype(values.dtype, np.floating):
        refuse_first(where, values, ~np.isfinite(values), "a finite number; clean or drop the example")
