"""What scikit-learn's estimators are given, as the online model takes it."""

from __future__ import annotations

from typing import Any

import numpy as np

from perdure.online.rows import Rows, is_data_frame

_MOST_REPEATED = 10_000_000
"""Rows that weights may make of fewer."""


def n_features(X: Any, rows: Rows) -> int:
    """Return the number of features of rows, as scikit-learn counts them."""
    if is_data_frame(X):
        return len(X.columns)
    return int(np.prod(rows.inputs.shape[1:])) if isinstance(rows.inputs, np.ndarray) else len(rows.inputs.columns)


def seed(random_state: Any) -> int:
    """Return the seed that scikit-learn's `random_state` stands for."""
    if random_state is None:
        return int(np.random.default_rng().integers(2**31))
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31 - 1))
    if isinstance(random_state, bool) or not isinstance(random_state, int | np.integer):
        raise ValueError(
            f"random_state is {random_state!r}, expected a whole number from 0, a numpy.random.RandomState, or None"
        )
    return int(random_state)


def is_plain(classes: list[Any]) -> bool:
    """Are all classes of one kind that an array holds as it is?"""
    kinds = {type(it) for it in classes}
    return len(kinds) == 1 and kinds <= {int, float, str, bool}


def objects(values: list[Any]) -> np.ndarray:
    """Return an array of Python objects, (values,)."""
    array = np.empty(len(values), object)
    array[:] = values
    return array


def repeated(rows: Rows, targets: np.ndarray, weight: Any, seed: tuple[int, int]) -> tuple[Rows, np.ndarray]:
    """Return each row as often as its weight says; a part of a whole number counts with that probability."""
    if weight is None:
        return rows, targets
    weight = np.asarray(weight, np.float64)
    if weight.ndim == 0:
        weight = np.broadcast_to(weight, (rows.n,))
    if weight.shape != (rows.n,):
        raise ValueError(f"sample_weight has shape {weight.shape}, expected {rows.n} numbers, one for each row")
    if (bad := ~(np.isfinite(weight) & (weight >= 0))).any():
        row = int(bad.argmax())
        raise ValueError(
            f"row {rows.number(row)} has sample_weight {weight[row]}, expected a finite number ≥ 0; correct or drop it"
        )
    if not weight.any():
        raise ValueError("sample_weight is zero for all rows, expected at least one row to learn")
    if weight.sum() > max(_MOST_REPEATED, 2 * rows.n):
        raise ValueError(
            f"sample_weight is {weight.sum():.3g} in all, which is how many rows would be learned; scale it down: "
            "sample_weight / np.mean(sample_weight)"
        )
    times = np.floor(weight).astype(int)
    for row in np.flatnonzero(weight > times):  # one generator a row, so that rows in parts come to the same
        times[row] += np.random.default_rng((seed[0], seed[1] + int(row))).random() < weight[row] - times[row]
    places = np.repeat(np.arange(rows.n), times)
    return rows.take(places), targets[places]
