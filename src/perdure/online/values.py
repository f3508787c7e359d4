"""What a value of a row is: a number, a category, or missing."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np

_TIMES = np.datetime64 | np.timedelta64
_MICROSECONDS = 1_000_000


def is_missing(value: Any) -> bool:
    """Tell None, NaN of any kind, and pandas' and NumPy's missing values."""
    if value is None or isinstance(value, str):
        return value is None
    if isinstance(value, float | np.floating):
        return math.isnan(value)
    if isinstance(value, Decimal):
        return value.is_nan()
    if isinstance(value, _TIMES):
        return bool(np.isnat(value))
    if _is_scalar_array(value):
        return is_missing(value.item())
    return type(value).__name__ in ("NAType", "NaTType")


def number_of(value: Any) -> float | None:
    """Return a number, the seconds of a duration, or those since 1970 of a date; None if it is none of these.

    What is too large for a float is infinite. One that is missing is no number either.
    """
    if isinstance(value, str) or is_missing(value):
        return None
    if isinstance(value, _TIMES):
        return float(seconds_of(np.asarray(value)))
    if isinstance(value, Real | Decimal | np.bool_):
        try:
            return float(value)
        except OverflowError:  # a whole number of more than 308 digits
            return math.inf
    if isinstance(value, date):
        return seconds(value)
    if isinstance(value, timedelta):
        return value.total_seconds()
    return number_of(value.item()) if _is_scalar_array(value) else None


def category_of(value: Any) -> str | None:
    """Return a category as a text; None if it is missing."""
    return None if is_missing(value) else str(value)


def can_be_category(value: Any) -> bool:
    """Tell whether the text of a value names it, in every process: that of a set or of a bare object does not."""
    if isinstance(value, complex | np.complexfloating | set | frozenset | np.ndarray):
        return False
    kind = type(value)
    return kind.__repr__ is not object.__repr__ or kind.__str__ is not object.__str__


def seconds(time: date) -> float:
    """Return the seconds since 1970 of a date, or of a point in time; one without a time zone is taken as UTC."""
    if not isinstance(time, datetime):
        time = datetime(time.year, time.month, time.day)
    return (time if time.tzinfo is not None else time.replace(tzinfo=UTC)).timestamp()


def seconds_of(times: np.ndarray) -> np.ndarray:
    """Return NumPy's durations, or points in time since 1970, in seconds; NaN where there is none."""
    return np.where(np.isnat(times), np.nan, times.astype(f"{times.dtype.kind}8[us]").astype(np.int64) / _MICROSECONDS)


def _is_scalar_array(value: Any) -> bool:
    """Tell an array of no dimensions, of any library."""
    return getattr(value, "ndim", None) == 0 and not isinstance(value, np.generic) and hasattr(value, "item")
