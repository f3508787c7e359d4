"""What decides a result, in words and numbers that JSON holds."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import jax
import numpy as np


def describe(part: Any) -> dict[str, Any]:
    """Return the name and settings of a record of settings, and a checksum of each array in it, ready for JSON."""
    described: dict[str, Any] = {"name": type(part).__name__}
    for field in dataclasses.fields(part):
        value = getattr(part, field.name)
        if dataclasses.is_dataclass(value):
            described[field.name] = dataclasses.asdict(value)  # pyright: ignore[reportArgumentType]
        elif isinstance(value, int | float | str | None):
            described[field.name] = value
        elif isinstance(value, tuple) and not hasattr(value, "_fields"):
            described[field.name] = list(value)
        else:
            described[field.name] = {"sha256": digest(value)}
    return described


def digest(tree: Any) -> str:
    """Return half of the SHA-256 of all arrays of a tree, in hexadecimal."""
    sum_ = hashlib.sha256()
    for leaf in map(np.asarray, jax.tree.leaves(tree)):
        sum_.update(f"{leaf.dtype}{leaf.shape}".encode())
        sum_.update(np.ascontiguousarray(leaf).tobytes())
    return sum_.hexdigest()[:32]
