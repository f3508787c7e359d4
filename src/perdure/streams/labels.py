"""What labels are: how many outputs they need, and when floats are labels in disguise."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from perdure.core import PerdureWarning
from perdure.streams.conversion import NUMBER_LABELS

MAX_OUTPUTS = 100_000
"""Outputs that labels alone may ask for; more are made where their number is given."""
MAX_FEW = 100
"""Different whole numbers that are few in any case, so that they are more likely classes than measurements."""
_REPEATS = 10
"""Examples of each value, on average, that make more than `MAX_FEW` values few."""
_NAMED = 5


def count_outputs(labels: Sequence[np.ndarray]) -> int:
    """Return the number of outputs that integer labels ≥ 0 need, the largest label + 1.

    Args:
        labels: of each set of examples, (n,).

    Raises:
        ValueError: if that were more than `MAX_OUTPUTS` outputs.
    """
    used = np.unique(np.concatenate([np.unique(y) for y in labels]))
    n_outputs = 1 + int(used[-1])
    if n_outputs > MAX_OUTPUTS:
        raise ValueError(
            f"the {len(used):,} different labels go up to {n_outputs - 1:,} and would need {n_outputs:,} outputs, "
            f"expected at most {MAX_OUTPUTS:,}; number the labels from 0: {NUMBER_LABELS}; or give n_outputs if all "
            "outputs are meant"
        )
    return n_outputs


def warn_unused(labels: Sequence[np.ndarray], n_outputs: int) -> None:
    """Warn by a `PerdureWarning` that names them if some labels below `n_outputs` are never used.

    Each has an output that is only ever trained to be low, and labels that start at 1 or are identifiers are a common
    oversight. Nothing is said of a single label, with which there is nothing to tell apart.

    Args:
        labels: of each set of examples, (n,).
        n_outputs: number of outputs.
    """
    used = np.unique(np.concatenate([np.unique(y) for y in labels]))
    unused = np.setdiff1d(np.arange(n_outputs), used)
    if len(used) > 1 and len(unused):
        names = ", ".join(map(str, unused[:_NAMED])) + (f" and {len(unused) - _NAMED:,} more" * (len(unused) > _NAMED))
        warnings.warn(
            f"no example has the label{'s' * (len(unused) > 1)} {names}, yet labels go up to {n_outputs - 1} and the "
            f"network gets {n_outputs:,} outputs; number the labels from 0: {NUMBER_LABELS}; or give "
            f"n_outputs={n_outputs} if all outputs are meant",
            PerdureWarning,
            stacklevel=3,
        )


def warn_many_numbers(where: str, labels: np.ndarray) -> None:
    """Warn by a `PerdureWarning` if labels are so many different whole numbers that they are hardly classes.

    Args:
        where: name of the labels.
        labels: of all examples, (n,).
    """
    n_values = len(np.unique(labels))
    if labels.dtype.kind in "iuf" and not _are_few(n_values, len(labels)):
        warnings.warn(
            f"{where} holds {n_values:,} different whole numbers in {len(labels):,} examples, and each becomes a "
            "class; to learn numbers, give y.astype('float32') to from_arrays, with regression=True, or the file to "
            "perdure stream, with --regression",
            PerdureWarning,
            stacklevel=4,
        )


def refuse_labels_as_floats(where: str, targets: Sequence[np.ndarray]) -> None:
    """Refuse float targets that are in all likelihood labels, which would be regressed on without a word.

    They are if each is a whole number ≥ 0 and there are few different ones: at most `MAX_FEW`, or one for ten
    examples; or if each row is one-hot.

    Args:
        where: name of the first targets, for the error.
        targets: of each set of examples, (n, k).

    Raises:
        TypeError: if they are.
    """
    if not all(np.issubdtype(y.dtype, np.floating) and y.ndim == 2 for y in targets):
        return
    values = np.unique(np.concatenate([np.unique(y) for y in targets]))
    if not (len(values) and np.isfinite(values).all() and values[0] >= 0 and (values == np.floor(values)).all()):
        return
    n_examples, columns = sum(map(len, targets)), {y.shape[1] for y in targets}
    if columns == {1} and _are_few(len(values), n_examples):
        shown = ", ".join(f"{it:g}" for it in values[:_NAMED]) + ", …" * (len(values) > _NAMED)
        raise TypeError(
            f"{where} has dtype {targets[0].dtype} and holds only the whole numbers {shown}, which look like labels of "
            "classes, expected integers for labels; convert them with y.astype(int), in training and test alike, or "
            "give regression=True if the targets are numbers to predict"
        )
    if columns != {1} and values[-1] == 1 and all((y.sum(axis=1) == 1).all() for y in targets):
        raise TypeError(
            f"{where} has dtype {targets[0].dtype} and a single 1 in each row, which looks like one-hot labels of "
            "classes, expected integers for labels; convert them with y.argmax(axis=1), in training and test alike, or "
            "give regression=True if the targets are numbers to predict"
        )


def _are_few(n_values: int, n_examples: int) -> bool:
    return n_values <= max(MAX_FEW, n_examples // _REPEATS)
