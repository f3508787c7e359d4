"""Examples as text."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping
from datetime import date
from typing import Any

import numpy as np

from perdure.online.columns import seconds


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
    return None if isinstance(value, float) and math.isnan(value) else value


def _plain(value: Any) -> Any:
    if type(value).__name__ in ("NAType", "NaTType"):  # pandas' missing values
        return None
    if isinstance(value, date):
        return seconds(value)
    if isinstance(value, np.floating):  # also those that NumPy has no number of Python for
        return _without_nan(float(value))
    if hasattr(value, "tolist"):  # a number of NumPy
        return _without_nan(value.tolist())
    raise TypeError(
        f"{value!r} of type {type(value).__name__} cannot be kept; give numbers, texts, dates, True, False or None"
    )


_ENCODER = json.JSONEncoder(allow_nan=False, default=_plain)
"""Made once: making it takes as long as a row."""
