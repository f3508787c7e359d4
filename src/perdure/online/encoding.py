"""Examples as text."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from perdure.online.values import is_missing, number_of


def checksum_of(x: str, y: str) -> int:
    """Return the checksum of a row and a target as JSON."""
    return zlib.crc32(f"{x}\n{y}".encode())


def to_json(value: Any) -> str:
    """Return a row or a target as JSON; NaN, which JSON has not, as null, which is missing too.

    Raises:
        TypeError: if it is of a type that cannot be kept.
    """
    try:
        return _ENCODER.encode(value)
    except ValueError:
        return _ENCODER.encode(_without_nan(value))


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_nan(it) for name, it in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(it) for it in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _plain(value: Any) -> Any:
    if isinstance(value, np.integer | np.bool_):
        return value.item()
    if is_missing(value):  # also those that are no floats of Python
        return None
    if (number := number_of(value)) is not None:  # dates and durations too
        return number
    if hasattr(value, "tolist"):  # a number of NumPy
        return _without_nan(value.tolist())
    raise TypeError(
        f"{value!r} of type {type(value).__name__} cannot be kept; give numbers, texts, dates, durations, True, False "
        "or None"
    )


_ENCODER = json.JSONEncoder(allow_nan=False, default=_plain)
"""Made once: making it takes as long as a row."""
