"""Trained representations at rest: one safetensors file with weights and everything that tells how they came about."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from perdure._version import __version__
from perdure.representation.network import ConvEncoder, DenseEncoder, Representation, he_head
from perdure.storage.files import write_atomically

FORMAT = 1
"""Version of the layout; a file of another is refused, not guessed at."""
_SUFFIX = ".safetensors"
_SHIPPED = resources.files("perdure.representation") / "trained"


class RepresentationError(Exception):
    """A file holds no representation, or not the one that is requested."""


class Trained(NamedTuple):
    """A trained representation."""

    model: Representation
    metadata: Mapping[str, Any]
    """`network`, its sizes; `training`, its configuration; `command`, what made it; `perdure`, by which version."""


def save_representation(path: Path, model: Representation, training: Mapping[str, Any], command: str) -> None:
    """Write a representation to a file.

    Args:
        path: file to create or replace; its folder must exist.
        model: float32 weights.
        training: configuration of its training.
        command: what makes it again.

    Raises:
        StorageError: if it cannot be written.
    """
    metadata = {
        "format": FORMAT,
        "perdure": __version__,
        "network": describe_network(model),
        "training": training,
        "command": command,
    }
    write_atomically(path, safetensors.numpy.save(_arrays(model), metadata={"perdure": json.dumps(metadata)}))


def load_representation(name: str | Path) -> Trained:
    """Return a representation that comes with perdure, by its name, or one of a file or a training's folder.

    Raises:
        RepresentationError: if there is none of that name or path, the file is damaged or of another format, or its
            weights do not have the shapes that it says.
    """
    path = _path_of(name)
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = json.loads((file.metadata() or {}).get("perdure", "null"))
        arrays = safetensors.numpy.load_file(path)
    except (OSError, ValueError, safetensors.SafetensorError) as cause:
        raise RepresentationError(f"{path} cannot be read as safetensors ({cause}); get or train it anew") from cause
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT:
        found = metadata.get("format") if isinstance(metadata, dict) else None
        raise RepresentationError(
            f"{path} has format {found!r}, expected {FORMAT}; read it with the version of perdure that wrote it, or "
            "give a file that `perdure oml train` has written"
        )
    template = network_of(metadata["network"])
    expected = {key: (leaf.shape, str(leaf.dtype)) for key, leaf in _named(template)}
    found = {key: (array.shape, str(array.dtype)) for key, array in arrays.items()}
    for key in sorted(expected.keys() | found.keys()):
        if expected.get(key) != found.get(key):
            raise RepresentationError(
                f"{path}: {key} is {_form(found.get(key))}, expected {_form(expected.get(key))} for the network "
                f"{metadata['network']}; the file was altered, get or train it anew"
            )
    leaves = [jnp.asarray(arrays[key]) for key, _ in _named(template)]
    return Trained(jax.tree.unflatten(jax.tree.structure(template), leaves), metadata)


def representation_name(name: str | Path) -> str:
    """Return what a representation is called in tables and figures: the last part of its name or path."""
    return Path(name).name.removesuffix(_SUFFIX)


def shipped_representations() -> list[str]:
    """Return the names of the representations that come with perdure."""
    return sorted(it.name.removesuffix(_SUFFIX) for it in _SHIPPED.iterdir() if it.name.endswith(_SUFFIX))


def describe_network(model: Representation) -> dict[str, Any]:
    """Return the sizes of a network, from which `network_of` makes one like it."""
    *hidden_sizes, out_size = (layer.weight.shape[0] for layer in model.head.layers)
    head = {"hidden_sizes": hidden_sizes, "out_size": out_size}
    if isinstance(model.encoder, ConvEncoder):
        encoder = {
            "kind": "convolutional",
            "input_shape": list(model.encoder.input_shape),
            "width": model.encoder.biases[0].shape[0],
            "strides": list(model.encoder.strides),
        }
    else:
        layers = model.encoder.layers
        encoder = {
            "kind": "dense",
            "in_size": layers[0].weight.shape[1],
            "widths": [layer.weight.shape[0] for layer in layers],
        }
    return {"encoder": encoder, "head": head}


def network_of(description: Mapping[str, Any]) -> Representation:
    """Return the network of such sizes: shapes and dtypes, no weights."""

    def build(key: Any) -> Representation:
        sizes = {name: it for name, it in description["encoder"].items() if name != "kind"}
        kind = {"convolutional": ConvEncoder, "dense": DenseEncoder}[description["encoder"]["kind"]]
        encoder = kind(**sizes, key=key)
        return Representation(encoder, he_head(encoder.n_features, **description["head"], key=key))

    return eqx.filter_eval_shape(build, jax.random.key(0))


def _path_of(name: str | Path) -> Path:
    path = Path(name)
    if path.is_dir():
        path = path / f"representation{_SUFFIX}"
    elif str(name) in shipped_representations():
        path = Path(str(_SHIPPED / f"{name}{_SUFFIX}"))
    if not path.is_file():
        raise RepresentationError(
            f"there is no representation {str(name)!r}; choose one of {', '.join(shipped_representations())}, or give "
            "a file or the folder of a finished training"
        )
    return path


def _named(model: Any) -> list[tuple[str, Any]]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(model)
    return [(jax.tree_util.keystr(path, simple=True, separator="."), leaf) for path, leaf in leaves]


def _arrays(model: Representation) -> dict[str, np.ndarray]:
    return {name: np.array(leaf, order="C") for name, leaf in _named(model)}


def _form(shape_and_dtype: tuple[Any, str] | None) -> str:
    return "absent" if shape_and_dtype is None else f"{shape_and_dtype[1]}{list(shape_and_dtype[0])}"
