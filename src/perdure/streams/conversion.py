"""From what people hold their data in to NumPy arrays, or a refusal where that would lose something."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from typing import Any

import numpy as np

NUMBER_LABELS = "classes, y = np.unique(y, return_inverse=True), with the labels of all tasks in one y"


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
        raise TypeError(f"{where} holds {_first_object(array)}, expected numbers; {_remedy(array)}")
    return array


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


def _first_object(array: np.ndarray) -> str:
    """Name the first object that is no number, or else the objects, and its place."""
    for place, it in np.ndenumerate(array):
        if not isinstance(it, int | float | np.number):
            at = f" at [{', '.join(map(str, place))}]" if place else ""
            return f"{_named(it)}{at}"
    return "objects (dtype object)"


def _named(it: Any) -> str:
    return repr(it) if isinstance(it, str | None) else f"a {type(it).__name__}"


def _remedy(array: np.ndarray) -> str:
    if array.ndim == 0:
        return "give an array, a row for each example"
    if all(isinstance(it, str) for it in array.flat):
        return f"number the labels: {NUMBER_LABELS}"
    return "fill or drop what is missing, turn the rest into numbers, then convert it with .astype('float32')"
