"""Features from a network that somebody else has trained: checked, divided, ordered and standardized."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int, Int64, Shaped

from perdure.streams.conversion import as_array
from perdure.streams.tasks import named_rng

ORDERS = ("classes", "shuffled", "file")
"""Of the examples: one class after another in an order that the seed draws, mixed, or as they were given."""
_LARGEST = float(np.finfo(np.float32).max)
_SHOWN = 5


class FeatureError(ValueError):
    """A feature cannot be learned or answered; whoever knows the file can say its place there."""

    def __init__(self, part: str, row: int, column: int, problem: str, remedy: str):
        """Say what is wrong.

        Args:
            part: "x" or "test_x".
            row: of the array, counted from 0.
            column: likewise.
            problem: what the array has there, and what was expected, with "{place}" for where that is.
            remedy: what to do with arrays.
        """
        place = f"row {row}, column {column}, counted from 0"
        super().__init__(f"{part} {problem.format(place=place)}; {remedy}")
        self.part = part
        self.row = row
        self.column = column
        self.problem = problem


@dataclass(frozen=True)
class Embeddings:
    """Features and classes, checked."""

    x: Float32[np.ndarray, "n d"]
    y: Int64[np.ndarray, " n"]
    """Numbers of the classes."""
    classes: Shaped[np.ndarray, " classes"]
    """What the classes are called."""
    test: tuple[Float32[np.ndarray, "m d"], Int64[np.ndarray, " m"]] | None = None
    """Features and numbers of the classes to be held out; None to divide those above."""


@dataclass(frozen=True)
class Division:
    """What is learned, in this order, and what is held out, standardized."""

    x: Float32[np.ndarray, "n d"]
    y: Int64[np.ndarray, " n"]
    test_x: Float32[np.ndarray, "m d"]
    test_y: Int64[np.ndarray, " m"]
    n_varying: int
    """Features that vary among the examples to be learned."""
    by_class: bool
    """Does one class come after another?"""


def encoded(inputs: Any, encode: Callable[[Any], Any], batch_size: int = 256) -> np.ndarray:
    """Return the features that a network has for inputs, a batch at a time.

    Args:
        inputs: anything with a length that slices can be taken of.
        encode: from a batch of inputs to its features, (batch, d).
        batch_size: inputs of a batch, at least 1.

    Raises:
        TypeError: if the inputs have no length, as a generator.
        ValueError: if `encode` returns other than one row for each input, of as many features as before.
    """
    if not hasattr(inputs, "__len__") or not hasattr(inputs, "__getitem__"):
        raise TypeError(
            f"the inputs of encode are a {type(inputs).__name__}, expected something with a length that slices can be "
            "taken of; collect them: np.stack(list(x))"
        )
    if batch_size < 1 or not len(inputs):
        raise ValueError(f"{len(inputs)} inputs and batch_size = {batch_size} were given, expected at least 1 of each")
    parts: list[np.ndarray] = []
    for start in range(0, len(inputs), batch_size):
        batch = inputs[start : start + batch_size]
        part = as_array("what encode returned", encode(batch))
        width = parts[0].shape[1:] if parts else ("d",)
        expected = (len(batch), *width)
        if part.ndim != 2 or (len(part), *(part.shape[1:] if parts else ("d",))) != expected:
            raise ValueError(
                f"encode returned an array of shape {part.shape} for inputs {start} to {start + len(batch) - 1}, "
                f"expected ({', '.join(map(str, expected))}): a row of features for each input; have it return "
                "features.reshape(len(batch), -1)"
            )
        parts.append(part)
    return np.concatenate(parts)


def checked_embeddings(x: Any, y: Any, test_x: Any = None, test_y: Any = None) -> Embeddings:
    """Return features and classes, once they are known to be learnable.

    Args:
        x: features, (n, d).
        y: a class for each example, numbers or texts, (n,).
        test_x: features to be held out, (m, d); None to hold out a part of those above.
        test_y: their classes, each of which `y` has too.

    Raises:
        TypeError: if something is no array of numbers, or the classes are of another kind than numbers and texts.
        ValueError: naming array, row and column, if shapes disagree, a feature is not finite or does not fit float32,
            a class is missing, or there are fewer than two classes.
    """
    if (test_x is None) != (test_y is None):
        raise ValueError("only one of test_x and test_y was given, expected both or none; give the other one too")
    features = _features("x", x)
    labels = _labels("y", y, len(features), "x")
    classes, numbers = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"y has {_named(classes)} only, expected two or more; give examples of other classes")
    if test_x is None:
        return Embeddings(features, numbers.astype(np.int64), classes)
    held_out = _features("test_x", test_x)
    if held_out.shape[1] != features.shape[1]:
        raise ValueError(
            f"test_x has {held_out.shape[1]} features, expected {features.shape[1]} as x has; encode both with the "
            "same network"
        )
    test_labels = _labels("test_y", test_y, len(held_out), "test_x")
    if (test_labels.dtype.kind == "U") != (labels.dtype.kind == "U"):
        raise ValueError(
            f"test_y has dtype {test_labels.dtype} and y {labels.dtype}, expected both numbers or both texts; convert "
            "one: test_y.astype(y.dtype)"
        )
    names, test_labels = _alike(classes, test_labels)
    if len(unknown := np.setdiff1d(test_labels, names)):
        raise ValueError(
            f"test_y has {_named(unknown)}, which y has not, expected classes that can be learned; leave those "
            "examples out: keep = np.isin(test_y, y)"
        )
    places = np.searchsorted(names, test_labels)
    return Embeddings(features, numbers.astype(np.int64), classes, (held_out, places.astype(np.int64)))


def divide(data: Embeddings, *, order: str, test_share: float, seed: int) -> Division:
    """Return what is learned and what is held out, standardized.

    Each feature is brought to mean 0 and deviation 1 among the examples to be learned, without regard to their classes,
    and is 0 where it is the same in all of them.

    Args:
        data: features and classes.
        order: one of `ORDERS`.
        test_share: part of each class that is held out, at least one example, if no test set was given.
        seed: of the examples held out and of the order.

    Raises:
        ValueError: if order or share are out of range, or a class has a single example, which cannot be divided.
        FeatureError: if a feature that is held out is so far from those to be learned that no float32 holds it.
    """
    check_division(order, test_share)
    if data.test is None:
        is_held_out = _held_out(data, test_share, seed)
        kept, held_out = np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)
        part, test_x, test_y = "x", data.x[held_out], data.y[held_out]
    else:
        kept, part, (test_x, test_y) = np.arange(len(data.y)), "test_x", data.test
        held_out = np.arange(len(test_y))
    kept = kept[_ordered(data.y[kept], order, seed)]
    mean, deviation = _moments(data.x, kept)
    return Division(
        _standardized(data.x[kept], mean, deviation, "x", kept),
        data.y[kept],
        _standardized(test_x, mean, deviation, part, held_out),
        test_y,
        int((deviation > 0).sum()),
        order == "classes",
    )


def check_division(order: str, test_share: float) -> None:
    """Check what `divide` takes.

    Raises:
        ValueError: if order or share are out of range.
    """
    if order not in ORDERS:
        raise ValueError(f"order is {order!r}, expected one of {', '.join(ORDERS)}")
    if not 0 < test_share < 1:
        raise ValueError(f"test_share is {test_share:g}, expected more than 0 and less than 1, such as 0.2")


def _held_out(data: Embeddings, share: float, seed: int) -> np.ndarray:
    counts = np.bincount(data.y)
    if (counts < 2).any():
        raise ValueError(
            f"y has a single example of {_named(data.classes[counts < 2])}, expected at least two, one to learn and "
            "one to hold out; give a test set, or leave them out"
        )
    held_out, rng = np.zeros(len(data.y), bool), named_rng(seed, "held out")
    for number, n in enumerate(counts):
        n_test = min(max(round(share * int(n)), 1), int(n) - 1)
        held_out[rng.permutation(np.flatnonzero(data.y == number))[:n_test]] = True
    return held_out


def _ordered(y: Int[np.ndarray, " n"], order: str, seed: int) -> Int[np.ndarray, " n"]:
    """Return the places of examples in the order in which they are learned."""
    if order == "file":
        return np.arange(len(y))
    rng = named_rng(seed, "order")
    if order == "shuffled":
        return rng.permutation(len(y))
    rank = rng.permutation(int(y.max()) + 1)
    return np.argsort(rank[y], kind="stable")


def _moments(x: Float32[np.ndarray, "n d"], rows: Int[np.ndarray, " kept"]) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and deviation of each feature over some rows, whatever their order; 0 for one that does not vary."""
    kept = x[np.sort(rows)]
    mean, deviation = kept.mean(axis=0, dtype=np.float64), kept.std(axis=0, dtype=np.float64)
    return mean, np.where(kept.min(axis=0) < kept.max(axis=0), deviation, 0.0)


def _standardized(
    x: Float32[np.ndarray, "n d"],
    mean: np.ndarray,
    deviation: np.ndarray,
    part: str,
    rows: Int[np.ndarray, " n"],
) -> Float32[np.ndarray, "n d"]:
    """Return features standardized; `part` and `rows` are where they come from."""
    scores = np.where(deviation > 0, (x - mean) / np.where(deviation > 0, deviation, 1.0), 0.0)
    if (bad := np.abs(scores) > _LARGEST).any():
        row, column = divmod(int(bad.argmax()), x.shape[1])
        raise FeatureError(
            part,
            int(rows[row]),
            column,
            f"has {x[row, column]!s} in {{place}}, which is {scores[row, column]:.2g} standard deviations from the "
            "mean of the examples to be learned, expected a number that fits float32 when it is standardized",
            "correct it, or leave the example out",
        )
    return scores.astype(np.float32)


def _features(where: str, values: Any) -> Float[np.ndarray, "n d"]:
    x = as_array(where, values)
    if x.dtype.kind not in "fiu":
        raise TypeError(
            f"{where} has dtype {x.dtype}, expected numbers, the features of a network; convert it: "
            f"{where}.astype('float32')"
        )
    if x.ndim != 2 or 0 in x.shape:
        remedy = {
            0: f"give an array: np.stack({where})",
            1: f"{where}.reshape(1, -1) if it is one example, {where}.reshape(-1, 1) if each has one feature",
            2: "give at least one of each",
        }.get(x.ndim, f"flatten them: {where}.reshape(len({where}), -1)")
        raise ValueError(f"{where} has shape {x.shape}, expected (examples, features); {remedy}")
    if x.dtype == np.float16:  # whose numbers cannot be compared with float32's largest
        x = x.astype(np.float32)
    bad = ~(np.abs(x) <= _LARGEST)
    if bad.any():
        row, column = divmod(int(bad.argmax()), x.shape[1])
        others = f" ({bad.sum() - 1:,} more are like it)" if bad.sum() > 1 else ""
        raise FeatureError(
            where,
            row,
            column,
            f"has {x[row, column]!s} in {{place}}{others}, expected finite numbers that fit float32",
            f"leave such examples out, with their classes: keep = np.isfinite({where}.astype('float32')).all(axis=1)",
        )
    return x.astype(np.float32)


def _labels(where: str, values: Any, n: int, features: str) -> np.ndarray:
    """Return classes as an array of whole numbers or of texts."""
    if hasattr(values, "to_numpy"):  # a column of pandas
        values = values.to_numpy()
    if isinstance(values, np.ndarray) and values.dtype == object:
        values = values.tolist()
    if isinstance(values, list | tuple):
        missing = [row for row, it in enumerate(values) if _is_missing(it)]
        if missing:
            raise _missing(where, missing[0], values[missing[0]])
        if any(isinstance(it, str) for it in values) and not all(isinstance(it, str) for it in values):
            raise TypeError(f"{where} has texts among numbers, expected one kind; convert it: list(map(str, {where}))")
    y = as_array(where, values)
    if y.ndim != 1:
        remedy = f"{where}.argmax(axis=1) if it is one-hot" if y.ndim == 2 and y.shape[1] > 1 else f"{where}.ravel()"
        raise ValueError(f"{where} has shape {y.shape}, expected a class for each example, ({n},); {remedy}")
    if len(y) != n:
        raise ValueError(
            f"{where} has {len(y):,} classes and {features} {n:,} rows, expected one class for each row; give both of "
            "the same examples"
        )
    if y.dtype.kind == "f":
        if np.isnan(y).any():
            row = int(np.isnan(y).argmax())
            raise _missing(where, row, y[row])
        if (y != np.round(y)).any() or not (np.abs(y) < 2**63).all():
            row = int(((y != np.round(y)) | ~(np.abs(y) < 2**63)).argmax())
            raise ValueError(
                f"{where} has {y[row]} in row {row}, counted from 0, expected classes: whole numbers or texts; for "
                "numbers to predict use perdure stream --regression, or OnlineRegressor"
            )
        return y.astype(np.int64)
    if y.dtype.kind not in "biuU":
        raise TypeError(f"{where} has dtype {y.dtype}, expected classes: whole numbers or texts; {where}.astype(str)")
    return y if y.dtype.kind == "U" else y.astype(np.int64 if y.dtype.kind == "b" else y.dtype)


def _alike(classes: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return classes so that they compare exactly: NumPy compares numbers with a sign to those without as floats."""
    kinds = {classes.dtype.kind, others.dtype.kind}
    if kinds != {"i", "u"}:
        return classes, others
    fits = all(int(it.max()) < 2**63 for it in (classes, others))
    dtype = np.dtype(np.int64 if fits else object)
    return classes.astype(dtype), others.astype(dtype)


def _is_missing(value: Any) -> bool:
    """Is a class None, NaN, NaT or the NA of pandas, which is no truth?"""
    return value is None or type(value).__name__ == "NAType" or bool(value != value)


def _missing(where: str, row: int, value: Any) -> ValueError:
    return ValueError(
        f"{where} is {value} in row {row}, counted from 0, expected a class for each example; name its class, or leave "
        "the example out"
    )


def _named(classes: np.ndarray) -> str:
    more = f" and {len(classes) - _SHOWN:,} more" if len(classes) > _SHOWN else ""
    plural = "the class" if len(classes) == 1 else "the classes"
    return f"{plural} {', '.join(repr(it) for it in classes[:_SHOWN].tolist())}{more}"
