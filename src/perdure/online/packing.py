"""A tree of many arrays as few arrays: each one costs a call of a compiled program a microsecond or two."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

_LARGEST_PACKED = 2_048
"""Elements of an array up to which copying it takes less time than passing it."""
_PACKED = np.dtype(np.uint32)
_FLAG = np.dtype(bool)
_PACKABLE = (_FLAG, _PACKED, np.dtype(np.int32), np.dtype(np.float32))


class Packing(NamedTuple):
    """How the arrays of a tree are put together: small ones of 32 bits and flags one after another, others as they are.

    Bits stay what they are.
    """

    structure: Any
    """Of the tree, as JAX has it."""
    shapes: tuple[tuple[int, ...], ...]
    """Of each leaf."""
    dtypes: tuple[Any, ...]

    @classmethod
    def of(cls, tree: Any) -> Packing:
        """Return how to pack trees like this one."""
        leaves, structure = jax.tree.flatten(tree)
        return cls(structure, tuple(it.shape for it in leaves), tuple(it.dtype for it in leaves))

    def pack(self, tree: Any) -> list[Any]:
        """Return the tree's arrays, the packed ones first; NumPy's are packed by NumPy, others by JAX."""
        leaves = jax.tree.leaves(tree)
        parts = [_as_bits(leaf) for leaf, is_packed in zip(leaves, self._is_packed(), strict=True) if is_packed]
        own = [leaf for leaf, is_packed in zip(leaves, self._is_packed(), strict=True) if not is_packed]
        xp = np if all(isinstance(part, np.ndarray) for part in parts) else jnp
        return [xp.concatenate([*parts, xp.zeros(0, _PACKED)]), *own]

    def unpack(self, arrays: Sequence[Any]) -> Any:
        """Return the tree whose arrays `pack` returned."""
        packed, own = arrays[0], iter(arrays[1:])
        leaves, start = [], 0
        for shape, dtype, is_packed in zip(self.shapes, self.dtypes, self._is_packed(), strict=True):
            if not is_packed:
                leaves.append(next(own))
                continue
            stop = start + math.prod(shape)
            leaves.append(_of_bits(packed[start:stop], dtype).reshape(shape))
            start = stop
        return jax.tree.unflatten(self.structure, leaves)

    def _is_packed(self) -> list[bool]:
        return [
            math.prod(shape) <= _LARGEST_PACKED and dtype in _PACKABLE
            for shape, dtype in zip(self.shapes, self.dtypes, strict=True)
        ]


def _as_bits(leaf: Any) -> Any:
    return leaf.ravel().astype(_PACKED) if leaf.dtype == _FLAG else leaf.ravel().view(_PACKED)


def _of_bits(bits: Any, dtype: Any) -> Any:
    return bits != 0 if dtype == _FLAG else bits.view(dtype)
