"""How programs that advance a run are compiled, and whether what they have computed is sound."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool

_CPU_OPTIONS: dict[str, Any] = {"xla_cpu_copy_insertion_use_region_analysis": True}
"""Without it XLA copies the whole memory at every example."""


def in_place_options() -> dict[str, Any] | None:
    """Return `compiler_options` of `jax.jit` with which a program changes memories in place."""
    return _CPU_OPTIONS if jax.default_backend() == "cpu" else None


def compiled(program: Any, *arguments: Any) -> Any:
    """Return a jitted function compiled for arguments like these, so that memories are changed in place."""
    return program.lower(*arguments).compile(in_place_options())


def bytes_of(tree: Any) -> int:
    """Return how many bytes the arrays of a tree take."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def finite(state: Any) -> Bool[np.ndarray, " seeds"]:
    """Tell for each seed whether all floats of its state are finite."""
    leaves = [leaf for leaf in jax.tree.leaves(state) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    return np.all([np.isfinite(np.asarray(leaf)).reshape(len(leaf), -1).all(axis=1) for leaf in leaves], axis=0)
