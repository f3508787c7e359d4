"""Trees of arrays as safetensors files, each array under its path in the tree."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import safetensors
import safetensors.numpy

from perdure.storage.files import StorageError, write_atomically
from perdure.storage.reading import MAX_BYTES, ContentError, open_file, parse_json, shortened

Tree = TypeVar("Tree")

_METADATA = "perdure"


def named_arrays(tree: Any) -> dict[str, np.ndarray]:
    """Return the arrays of a tree by their paths, "memory.examples.x", in the order of its leaves.

    Random keys are returned as the integers they are made of.
    """
    import jax

    arrays = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        values = np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)
        arrays[jax.tree_util.keystr(path, simple=True, separator=".")] = np.asarray(values, order="C")
    return arrays


def restored(template: Tree, arrays: Mapping[str, np.ndarray]) -> Tree:
    """Return a tree like a template with the arrays given.

    Args:
        template: arrays, random keys, or shapes and dtypes (`jax.ShapeDtypeStruct`); what is NumPy's stays NumPy's.
        arrays: by path, as `named_arrays` returns them.

    Raises:
        ContentError: naming the first array that is missing, too many or of another shape or dtype.
    """
    import jax

    leaves, structure = jax.tree_util.tree_flatten_with_path(template)
    named = {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}
    expected = {name: _form(_stored_form(leaf)) for name, leaf in named.items()}
    found = {name: _form(array) for name, array in arrays.items()}
    for name in sorted(expected.keys() | found.keys()):
        if found.get(name) != expected.get(name):
            raise ContentError(
                f"{name or 'the array'} is {found.get(name, 'absent')}, expected {expected.get(name, 'none')}"
            )
    return jax.tree.unflatten(structure, [_like(arrays[name], leaf) for name, leaf in named.items()])


def arrays_to_bytes(tree: Any, metadata: Mapping[str, Any]) -> bytes:
    """Return a tree and its metadata, which JSON must hold, as the content of a safetensors file."""
    return safetensors.numpy.save(named_arrays(tree), metadata={_METADATA: json.dumps(metadata, allow_nan=False)})


def save_arrays(path: Path, tree: Any, metadata: Mapping[str, Any]) -> None:
    """Write a tree of arrays and its metadata to a safetensors file, atomically.

    Raises:
        StorageError: if it cannot be written, or if `load_arrays` would refuse it.
    """
    write_atomically(path, readable_bytes(path, tree, metadata))


def readable_bytes(path: Path, tree: Any, metadata: Mapping[str, Any]) -> bytes:
    """Return what `save_arrays` writes.

    Raises:
        StorageError: naming the path, if `load_arrays` would refuse it.
    """
    try:
        parse_json(json.dumps(metadata, allow_nan=False).encode(), f"{path}, metadata")
    except ContentError as cause:
        raise StorageError(
            None, f"{path} was not written, since it could not be read again: {cause}; correct or shorten its texts"
        ) from cause
    content = arrays_to_bytes(tree, metadata)
    if len(content) > MAX_BYTES:
        raise StorageError(
            None,
            f"{path} was not written, since it could not be read again: it has {len(content):,} bytes, expected at "
            f"most {MAX_BYTES:,}; make the networks or the memory smaller",
        )
    return content


def load_arrays(path: Path, limit: int = MAX_BYTES) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the arrays in a safetensors file by name, and its metadata.

    Raises:
        ContentError: if the file cannot be read, is larger than `limit` bytes, or is no safetensors file of perdure.
    """
    try:
        with open_file(path) as opened:
            size = os.fstat(opened.fileno()).st_size
        if size > limit:
            raise ContentError(f"{path} has {size:,} bytes, expected at most {limit:,}")
        with safetensors.safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get(_METADATA)
        arrays = safetensors.numpy.load_file(path)
    except ContentError:
        raise
    except OSError as cause:
        raise ContentError(f"{path} cannot be read: {cause.strerror or cause}") from cause
    except (ValueError, KeyError, AttributeError, TypeError, safetensors.SafetensorError) as cause:
        # Some of these come from types of numbers that safetensors knows and NumPy does not.
        raise ContentError(f"{path} cannot be read as safetensors: {cause}") from cause
    for name, array in arrays.items():
        if array.dtype.kind not in "biufc":  # such as bfloat16, which NumPy itself does not know
            raise ContentError(f"{path} has {shortened(name)!r} of type {array.dtype}, expected numbers that NumPy has")
    if text is None:
        raise ContentError(f"{path} has no metadata of perdure, expected a safetensors file that perdure has written")
    return arrays, parse_json(text.encode(), f"{path}, metadata")


def _is_key(leaf: Any) -> bool:
    import jax
    import jax.numpy as jnp

    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _stored_form(leaf: Any) -> Any:
    """Return shape and dtype of a leaf at rest."""
    import jax

    return jax.eval_shape(jax.random.key_data, leaf) if _is_key(leaf) else leaf


def _form(array: Any) -> str:
    return f"{np.asarray(array).dtype if not hasattr(array, 'dtype') else array.dtype}{list(np.shape(array))}"


def _like(array: np.ndarray, leaf: Any) -> Any:
    """Return a stored array as what it was: a NumPy array, random keys or a JAX array."""
    import jax
    import jax.numpy as jnp

    if isinstance(leaf, np.ndarray):
        return array
    on_device = jnp.asarray(array)
    return jax.random.wrap_key_data(on_device) if _is_key(leaf) else on_device
