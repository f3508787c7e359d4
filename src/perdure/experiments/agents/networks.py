"""The networks of a finished run of an agent: one safetensors file, leaves (seeds, ...)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy
from jaxtyping import PyTree

from perdure.records.errors import REPAIR, ResultsError
from perdure.storage.files import write_atomically


def save_networks(path: Path, networks: PyTree) -> None:
    """Write networks to a file.

    Raises:
        StorageError: if it cannot be written.
    """
    write_atomically(path, safetensors.numpy.save(_arrays(networks)))


def load_network(path: Path, template: Any, seed: int) -> PyTree:
    """Return the network of one seed.

    Args:
        path: what `save_networks` wrote.
        template: shapes and dtypes of one network.
        seed: its place among the seeds.

    Raises:
        ResultsError: if the file is missing or damaged, or holds other networks.
    """
    try:
        arrays = safetensors.numpy.load_file(path)
    except (OSError, safetensors.SafetensorError) as cause:
        raise ResultsError(f"{path} cannot be read as safetensors ({cause}); {REPAIR}") from cause
    leaves, treedef = jax.tree.flatten(template)
    names = [f"leaf-{number}" for number in range(len(leaves))]
    found = [arrays[name].shape[1:] if name in arrays else None for name in names]
    expected = [leaf.shape for leaf in leaves]
    if found != expected or len(arrays) != len(leaves):
        raise ResultsError(
            f"{path} holds networks with weights {found}, expected {expected}: it was made with other observations or "
            "another network; play with those of the run"
        )
    return jax.tree.unflatten(treedef, [jnp.asarray(arrays[name][seed]) for name in names])


def _arrays(networks: PyTree) -> dict[str, np.ndarray]:
    return {f"leaf-{number}": np.asarray(leaf) for number, leaf in enumerate(jax.tree.leaves(networks))}
