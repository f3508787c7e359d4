"""What arrays must be like to be learned from and tested on; the errors name the array and the place."""

from __future__ import annotations

import math
import os
import unicodedata
from typing import Any

import numpy as np

from perdure.streams.conversion import NUMBER_LABELS
from perdure.streams.ranges import computed_dtype

INPUT_DTYPES = ("uint8", "float32", "float64")
TARGET_DTYPES = ("float32", "float64")
_TEXT = "UST"
"""Kinds of dtype that are text."""
LARGEST_OUTPUT_COUNT = 10_000_000
"""Outputs that a network may have: above 100 hidden units that many take 4 GB."""


def check_output_count(n_outputs: Any) -> None:
    """Check that the number of outputs is a whole number from 1 to `LARGEST_OUTPUT_COUNT`.

    Raises:
        TypeError: if it is no whole number.
        ValueError: if it is out of range.
    """
    remedy = "give the number of classes, the largest label + 1"
    if isinstance(n_outputs, bool) or not isinstance(n_outputs, int | np.integer):
        raise TypeError(f"n_outputs is {n_outputs!r}, expected a whole number; {remedy}, as an int")
    if n_outputs < 1:
        raise ValueError(f"n_outputs is {n_outputs}, expected 1 or more; {remedy}")
    if n_outputs > LARGEST_OUTPUT_COUNT:
        raise ValueError(f"n_outputs is {n_outputs:,}, expected at most {LARGEST_OUTPUT_COUNT:,}; {remedy}")


def check_name(name: Any) -> None:
    """Check that a benchmark's name can be shown and stored.

    Raises:
        TypeError: if it is no text.
        ValueError: if it is empty, or has control characters or half of a surrogate pair.
    """
    remedy = "give a name for reports, such as name='arrays'"
    if not isinstance(name, str):
        raise TypeError(f"name is {name!r}, expected a text; {remedy}")
    if not name.strip():
        raise ValueError(f"name is {name!r}, an empty text, expected some letters; {remedy}")
    if wrong := [it for it in name if unicodedata.category(it) in ("Cc", "Cs")]:
        raise ValueError(f"name is {name!r} and has the character {wrong[0]!r}, expected ones that show; {remedy}")


def check_examples(where: str, x: np.ndarray, y: np.ndarray, n_outputs: int, *, regression: bool = False) -> None:
    """Check one set of examples; `where` names it in errors.

    Args:
        where: name of the set.
        x: inputs, (n, ...), `uint8` or floats.
        y: integer labels, (n,); for regression float targets, (n, n_outputs).
        n_outputs: number of classes, or of targets.
        regression: are there targets instead of labels?

    Raises:
        ValueError: if lengths disagree, there is no example, a float is not finite in the precision that is computed
            in, a label not one of 0..n_outputs−1, or the inputs are larger than this computer's memory.
        TypeError: if the inputs are neither `uint8` nor floats, the labels not integers or the targets not floats.
    """
    if x.dtype not in INPUT_DTYPES:
        raise TypeError(
            f"{where}.x has dtype {x.dtype}, expected one of {', '.join(INPUT_DTYPES)}; {_input_remedy(x.dtype)}"
        )
    if x.ndim == 0:
        raise ValueError(f"{where}.x is a single number, expected a leading axis of examples; stack them")
    if regression:
        _check_target_array(f"{where}.y", y, (len(x), n_outputs))
    else:
        _check_integers(f"{where}.y", y, len(x), f"as {where}.x has")
    if len(x) == 0:
        raise ValueError(f"{where} is empty, expected at least one example; add some or leave the task out")
    if x.size == 0:
        raise ValueError(f"{where}.x has shape {x.shape}, no number in any example; give each example some")
    _check_memory(f"{where}.x", x)
    _check_finite(f"{where}.x", x)
    _check_finite(f"{where}.y", y)
    if not regression:
        refuse_first(
            f"{where}.y",
            y,
            (y < 0) | (y >= n_outputs),
            f"a label from 0 to {n_outputs - 1}; correct the label, or raise n_outputs if there are more classes",
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
    refuse_first("maps", maps, wrong, f"a pixel from 0 to {n_pixels - 1}, or -1 for a zero; correct the map")


def check_tasks(task: np.ndarray, n_examples: int, n_tests: int | None) -> None:
    """Check the task numbers of a stream.

    Args:
        task: of each example.
        n_examples: in the stream.
        n_tests: number of test sets, one for each task; None if there are none, so that the stream tells the tasks.

    Raises:
        ValueError: if numbers are missing, out of range or out of order, or a task is empty.
        TypeError: if they are not integers.
    """
    _check_integers("train.task", task, n_examples, "as train.x has")
    n_tasks = int(task.max()) + 1 if n_tests is None else n_tests
    out_of_range = (task < 0) | (task >= n_tasks)
    refuse_first(
        "train.task",
        task,
        out_of_range,
        f"a task from 0 to {n_tasks - 1}, as there are {n_tasks} test sets; correct the tasks or add test sets",
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
        place, at = _first_place(wrong)
        raise ValueError(f"{where}[{at}] is {values[place]}, expected {expected}")


def _first_place(wrong: np.ndarray) -> tuple[tuple[Any, ...], str]:
    """Return the index of the first True, and how it is written."""
    place = np.unravel_index(int(wrong.argmax()), wrong.shape)
    return place, ", ".join(map(str, place))


def _check_integers(where: str, values: np.ndarray, n: int, why: str) -> None:
    if values.dtype.kind in _TEXT:
        raise TypeError(f"{where} has dtype {values.dtype}, text, expected integers; number it: {NUMBER_LABELS}")
    if not np.issubdtype(values.dtype, np.integer):
        raise TypeError(f"{where} has dtype {values.dtype}, expected integers; convert it with y.astype(int)")
    if values.shape != (n,):
        raise ValueError(f"{where} has shape {values.shape}, expected ({n},), {why}; give one per example")


def _check_target_array(where: str, values: np.ndarray, shape: tuple[int, int]) -> None:
    if values.dtype not in TARGET_DTYPES:
        raise TypeError(
            f"{where} has dtype {values.dtype}, expected {' or '.join(TARGET_DTYPES)} for targets to regress on, "
            "the same everywhere; convert it with y.astype('float32')"
        )
    if values.shape != shape:
        raise ValueError(
            f"{where} has shape {values.shape}, expected {shape}, a number for each example and output; "
            "labels of classes must be integers: y.astype(int)"
        )


def _check_finite(where: str, values: np.ndarray) -> None:
    if np.issubdtype(values.dtype, np.floating):
        refuse_first(where, values, ~np.isfinite(values), "a finite number; clean or drop the example")
        _check_fits(where, values)


def _check_fits(where: str, values: np.ndarray) -> None:
    """Check that finite numbers stay finite in the precision that they are computed in."""
    computed = computed_dtype(values.dtype)
    if computed == values.dtype:
        return
    with np.errstate(over="ignore"):
        infinite = ~np.isfinite(values.astype(computed))
    if infinite.any():
        place, at = _first_place(infinite)
        raise ValueError(
            f"{where}[{at}] = {values[place]:g} does not fit {computed}, in which perdure computes (at most "
            f"{np.finfo(computed).max:.2g}); scale the column, or clean or drop the example"
        )


def _check_memory(where: str, x: np.ndarray) -> None:
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if x.nbytes > memory:
        raise ValueError(
            f"{where} has shape {x.shape} and takes {x.nbytes / 1e9:,.0f} GB, more than the {memory / 1e9:,.0f} GB of "
            "memory of this computer; give fewer examples"
        )


def _input_remedy(dtype: np.dtype) -> str:
    if dtype.kind in _TEXT:
        return "give numbers: one-hot columns for text that names something"
    if dtype.kind in "mM":
        return "give numbers, such as (x - x.min()) / np.timedelta64(1, 'D')"
    if dtype.kind in "biuf":
        return "convert it: x.astype('uint8') for pixels 0..255, x.astype('float32') for anything else"
    return "give real numbers, such as the columns x.real and x.imag of complex ones"
