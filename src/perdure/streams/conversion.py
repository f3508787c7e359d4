"""From what people hold their data in to NumPy arrays, or a refusal where that would lose something."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from typing import Any

import numpy as np

NUMBER_LABELS = "classes, y = np.unique(y, return_inverse=True), with the labels of all tasks in one y"

_NUMBERS = int | float | np.number


def as_array(where: str, values: Any) -> np.ndarray:
    """Return values as a NumPy array, which shares memory with them where that is possible.

    Args:
        where: what errors call them.
        values: an array of NumPy, JAX or PyTorch, a column or table of pandas, or nested lists of one length.

    Raises:
        TypeError: if something would be lost, or cannot be an array: a masked or sparse array, a tensor that requires
            a gradient, an iterator, objects that are not numbers.
        ValueError: if lists have different lengths.
    """
    _refuse(where, values)
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ValueError(
            f"{where} has rows of different lengths, expected an array; bring all rows to one length"
        ) from error
    except Exception as error:  # whatever the values' own type raises
        raise TypeError(
            f"{where} is a {type(values).__name__}, which cannot be read as an array "
            f"({str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__}); "
            "convert it with numpy.asarray first"
        ) from error
    if array.dtype == object:
        raise TypeError(f"{where} {_objects(array)}")
    return array


def as_labels(values: Any) -> np.ndarray:
    """Return labels as an array; as objects if only some are texts, since NumPy would make texts of the others."""
    array = np.asarray(values)
    if array.dtype.kind != "U":
        return array
    objects = np.asarray(values, dtype=object)
    return array if all(isinstance(it, str) for it in objects.flat) else objects


def _refuse(where: str, values: Any) -> None:
    kind = type(values).__name__
    if isinstance(values, np.ma.MaskedArray):
        raise TypeError(
            f"{where} is a masked array, whose masked values would be learned as if they were data; fill them with "
            "x.filled(value), or drop their examples"
        )
    if isinstance(values, Iterator | Mapping | Set):
        raise TypeError(f"{where} is a {kind}, expected an array; collect what it holds: numpy.array(list({kind}))")
    if hasattr(values, "toarray") and hasattr(values, "nnz"):
        raise TypeError(f"{where} is a sparse {kind}, expected an array; convert it with x.toarray()")
    if getattr(values, "requires_grad", False):
        raise TypeError(
            f"{where} is a tensor that requires a gradient, expected plain numbers; give x.detach().cpu().numpy()"
        )


def _objects(array: np.ndarray) -> str:
    """Say what an array of objects holds in place of numbers, and what to do."""
    if array.ndim == 0:
        return f"is a {type(array.item()).__name__}, expected an array; give an array, a row for each example"
    wrong = next(((place, it) for place, it in np.ndenumerate(array) if not isinstance(it, _NUMBERS)), None)
    large = next(((place, it) for place, it in np.ndenumerate(array) if isinstance(it, int) and abs(it) >= 2**63), None)
    if wrong is None and large is not None:
        place, it = large
        return (
            f"holds a whole number of {it.bit_length()} bits at [{', '.join(map(str, place))}], expected numbers of at "
            f"most 64 bits; number labels from 0: {NUMBER_LABELS}; or scale inputs down: "
            "(x / np.abs(x).max()).astype('float32')"
        )
    if wrong is None:
        return "has dtype object, expected numbers; convert it with .astype('float32'), or labels with .astype(int)"
    place, it = wrong
    held = repr(it) if isinstance(it, str | None) else f"a {type(it).__name__}"
    if all(isinstance(it, str) for it in array.flat):
        remedy = f"number the labels: {NUMBER_LABELS}"
    else:
        remedy = "fill or drop what is missing and turn the rest into numbers, then convert it with .astype('float32')"
    return f"has dtype object and holds {held} at [{', '.join(map(str, place))}], expected numbers; {remedy}"
