"""Trained representations at rest: one safetensors file with weights and everything that tells how they came about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from perdure._version import __version__
from perdure.models import MLP
from perdure.representation.blocks import Block, BlockEncoder, features_shape
from perdure.representation.gated import GatedEncoder, gated_positions
from perdure.representation.network import (
    ConvEncoder,
    DenseEncoder,
    Encoder,
    GaussianPrior,
    Representation,
    he_head,
)
from perdure.storage.arrays import load_arrays, restored, save_arrays
from perdure.storage.reading import MAX_BYTES, ContentError, checked, entry

FORMAT = 1
"""Version of the layout; a file of another is refused, not guessed at."""
_SUFFIX = ".safetensors"
_MAX_WEIGHTS = MAX_BYTES // 4
_MAX_LAYERS = 100
_NAMED = ("method", "domain")
"""Parts of a training that have names."""
_PRIOR, _NO_HEAD = "gaussian prior", "none"
_ENCODERS = {"convolutional": ConvEncoder, "dense": DenseEncoder, "blocks": BlockEncoder, "gated": GatedEncoder}
_SHIPPED = resources.files("perdure.representation") / "trained"


class RepresentationError(Exception):
    """A file holds no representation, or not the one that is requested."""


class Trained(NamedTuple):
    """A trained representation."""

    model: Representation
    metadata: Mapping[str, Any]
    """`network`, its sizes; `training`, its configuration; `command`, what made it; `perdure`, by which version."""

    def __repr__(self) -> str:
        """Return in a line how it was trained and how large it is."""
        training = self.metadata["training"]
        names = [training.get(part, {}).get("name", "own") for part in _NAMED]
        weights = sum(leaf.size for leaf in jax.tree.leaves(self.model) if hasattr(leaf, "size"))
        steps = f", {training['steps']:,} steps" if "steps" in training else ""
        return f"Trained({names[0]} on {names[1]}{steps}, {weights:,} weights)"


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
    save_arrays(path, model, metadata)


def load_representation(name: str | Path) -> Trained:
    """Return a representation that comes with perdure, by its name, or one of a file or a training's folder.

    Raises:
        RepresentationError: if there is none of that name or path, the file is damaged or of another format, or its
            weights do not have the shapes that it says or are not finite.
    """
    path = _path_of(name)
    try:
        arrays, metadata = load_arrays(path)
        if metadata.get("format") != FORMAT:
            raise ContentError(f"{path}, 'format' is {metadata.get('format')!r}, expected {FORMAT}")
        _check_training(metadata, path)
        network = _checked_network(entry(metadata, "network", dict, path), f"{path}, 'network'")
        model = _restored(network_of(network), arrays, path)
    except ContentError as cause:
        raise RepresentationError(
            f"{cause}; give a file that `perdure features train` of this version has written, or get or train it again"
        ) from cause
    return Trained(model, metadata)


def _restored(template: Representation, arrays: Mapping[str, np.ndarray], path: Path) -> Representation:
    try:
        model = restored(template, arrays)
    except ContentError as cause:
        raise ContentError(f"{path}: {cause} for the network in its metadata") from cause
    for name, values in arrays.items():
        if not np.isfinite(values).all():
            raise ContentError(f"{path}: {name} has weights that are not finite, expected numbers")
    return model


def representation_name(name: str | Path) -> str:
    """Return what a representation is called in tables and figures: the last part of its name or path."""
    return Path(name).name.removesuffix(_SUFFIX)


def representation_place(name: str | Path) -> str:
    """Return a name or path from which the representation can be loaded again, from any folder."""
    is_shipped = str(name) in shipped_representations() and not Path(name).is_dir()
    return str(name) if is_shipped else str(Path(name).absolute())


def shipped_representations() -> list[str]:
    """Return the names of the representations that come with perdure."""
    return sorted(it.name.removesuffix(_SUFFIX) for it in _SHIPPED.iterdir() if it.name.endswith(_SUFFIX))


def describe_network(model: Representation) -> dict[str, Any]:
    """Return the sizes of a network, from which `network_of` makes one like it."""
    return {"encoder": _describe_encoder(model.encoder), "head": _describe_head(model.head)}


def _describe_encoder(encoder: Encoder) -> dict[str, Any]:
    if isinstance(encoder, BlockEncoder):
        blocks = [list(it) for it in encoder.blocks]
        shape = list(encoder.input_shape)
        return {"kind": "blocks", "input_shape": shape, "blocks": blocks, "shifted": encoder.shifted}
    if isinstance(encoder, GatedEncoder):
        networks = {"width": encoder.features, "gate_width": encoder.gating}
        widths = {name: len(it.scales[0]) for name, it in networks.items()}
        shape, convolutions = list(encoder.input_shape), len(encoder.features.filters)
        return {"kind": "gated", "input_shape": shape, **widths, "convolutions": convolutions}
    if isinstance(encoder, ConvEncoder):
        return {
            "kind": "convolutional",
            "input_shape": list(encoder.input_shape),
            "width": encoder.biases[0].shape[0],
            "strides": list(encoder.strides),
        }
    widths = [layer.weight.shape[0] for layer in encoder.layers]
    return {"kind": "dense", "in_size": encoder.layers[0].weight.shape[1], "widths": widths}


def _describe_head(head: MLP | GaussianPrior | None) -> dict[str, Any]:
    if isinstance(head, MLP):
        *hidden_sizes, out_size = (layer.weight.shape[0] for layer in head.layers)
        return {"hidden_sizes": hidden_sizes, "out_size": out_size}
    return {"kind": _NO_HEAD if head is None else _PRIOR}


def network_of(description: Mapping[str, Any]) -> Representation:
    """Return the network of such sizes: shapes and dtypes, no weights."""

    def build(key: Any) -> Representation:
        sizes = {name: it for name, it in description["encoder"].items() if name != "kind"}
        encoder = _ENCODERS[description["encoder"]["kind"]](**sizes, key=key)
        head = description["head"]
        if "kind" in head:
            return Representation(encoder, GaussianPrior(*[jnp.zeros(())] * 2) if head["kind"] == _PRIOR else None)
        return Representation(encoder, he_head(encoder.n_features, **head, key=key))

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


def _check_training(metadata: Mapping[str, Any], path: Path) -> None:
    training, where = entry(metadata, "training", dict, path), f"{path}, 'training'"
    for part in _NAMED:
        if part in training and "name" in entry(training, part, dict, where):
            entry(training[part], "name", str, f"{where}, {part!r}")
    if "steps" in training:
        entry(training, "steps", int, where)
    entry(metadata, "command", str, path)
    entry(metadata, "perdure", str, path)


def _checked_network(description: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the sizes of a network, known to be of the right kinds and no larger than a file may be.

    Raises:
        ContentError: naming what is wrong.
    """
    encoder, n_features, n_weights = _checked_encoder(entry(description, "encoder", dict, where), where)
    head = entry(description, "head", dict, where)
    if "kind" in head:
        if head["kind"] not in (_PRIOR, _NO_HEAD):
            raise ContentError(f"{where}, 'head', 'kind' is {head['kind']!r}, expected {_PRIOR!r} or {_NO_HEAD!r}")
        head = {"kind": head["kind"]}
    else:
        hidden_sizes = _sizes(head, "hidden_sizes", where, min_length=0)
        out_size = _size(entry(head, "out_size", int, where), f"{where}, 'out_size'")
        n_weights += _dense_size([n_features, *hidden_sizes, out_size])
        head = {"hidden_sizes": hidden_sizes, "out_size": out_size}
    if n_weights > _MAX_WEIGHTS:
        raise ContentError(f"{where} has {n_weights:,} weights, expected at most {_MAX_WEIGHTS:,}")
    return {"encoder": encoder, "head": head}


def _checked_encoder(encoder: Mapping[str, Any], where: str) -> tuple[dict[str, Any], int, int]:
    """Return the sizes of an encoder, and the numbers of its features and its weights."""
    kind = entry(encoder, "kind", str, where)
    if kind == "dense":
        in_size = _size(entry(encoder, "in_size", int, where), f"{where}, 'in_size'")
        widths = _sizes(encoder, "widths", where)
        return {"kind": kind, "in_size": in_size, "widths": widths}, widths[-1], _dense_size([in_size, *widths])
    if kind not in _ENCODERS:
        raise ContentError(f"{where}, 'kind' is {kind!r}, expected one of {', '.join(map(repr, _ENCODERS))}")
    shape = _sizes(encoder, "input_shape", where)
    if len(shape) != 3:
        raise ContentError(f"{where}, 'input_shape' is {shape}, expected channels, height and width")
    if kind == "blocks":
        blocks = [_block(it, f"{where}, 'blocks'") for it in _bounded(encoder, "blocks", where, min_length=1)]
        shifted = entry(encoder, "shifted", bool, where)
        sizes = {"input_shape": shape, "blocks": blocks, "shifted": shifted}
        return {"kind": kind, **sizes}, *_blocks_size(shape, blocks, where)
    if kind == "gated":
        names = ("width", "gate_width", "convolutions")
        gated = {name: _size(entry(encoder, name, int, where), f"{where}, {name!r}") for name in names}
        return {"kind": kind, "input_shape": shape, **gated}, *_gated_size(shape, **gated, where=where)
    width = _size(entry(encoder, "width", int, where), f"{where}, 'width'")
    sizes = {"input_shape": shape, "width": width, "strides": _sizes(encoder, "strides", where)}
    return {"kind": kind, **sizes}, *_convolutional_size(**sizes, where=where)


def _block(block: Any, where: str) -> Block:
    if not isinstance(block, list) or len(block) != 3:
        raise ContentError(f"{where} has {block!r}, expected lists of width, stride and whether it pools")
    width, stride = (_size(checked(it, int, where), where) for it in block[:2])
    return Block(width, stride, checked(block[2], bool, where))


def _sizes(table: Mapping[str, Any], name: str, where: str, min_length: int = 1) -> list[int]:
    place = f"{where}, {name!r}"
    return [_size(checked(it, int, place), place) for it in _bounded(table, name, where, min_length)]


def _bounded(table: Mapping[str, Any], name: str, where: str, min_length: int) -> list[Any]:
    found = entry(table, name, list, where)
    if not min_length <= len(found) <= _MAX_LAYERS:
        raise ContentError(
            f"{where}, {name!r} is a list of length {len(found)}, expected {min_length} to {_MAX_LAYERS} sizes"
        )
    return found


def _size(size: int, where: str) -> int:
    if not 1 <= size <= _MAX_WEIGHTS:
        raise ContentError(f"{where} is {size}, expected 1 to {_MAX_WEIGHTS:,}")
    return size


def _convolutional_size(input_shape: Sequence[int], width: int, strides: Sequence[int], where: str) -> tuple[int, int]:
    """Return the numbers of features and of weights of a `ConvEncoder`."""
    depth, *sides = input_shape
    n_weights = 0
    for stride in strides:
        sides = [(side - 3) // stride + 1 for side in sides]
        n_weights += (9 * depth + 1) * width
        depth = width
    if min(sides) < 1:
        raise ContentError(f"{where} has images of shape {list(input_shape)}, expected larger ones for its strides")
    return width * sides[0] * sides[1], n_weights


def _blocks_size(input_shape: Sequence[int], blocks: Sequence[Block], where: str) -> tuple[int, int]:
    """Return the numbers of features and of weights of a `BlockEncoder`."""
    channels, height, width = input_shape
    sides = features_shape((channels, height, width), blocks)
    if min(sides) < 1:
        raise ContentError(f"{where} has images of shape {list(input_shape)}, expected larger ones for its blocks")
    depths = [channels, *(it.width for it in blocks)]
    return prod(sides), sum((9 * depth + 4) * filters for depth, filters in pairwise(depths))


def _gated_size(
    input_shape: Sequence[int], width: int, gate_width: int, convolutions: int, where: str
) -> tuple[int, int]:
    """Return the numbers of features and of weights of a `GatedEncoder`."""
    if convolutions > _MAX_LAYERS:
        raise ContentError(f"{where}, 'convolutions' is {convolutions}, expected 1 to {_MAX_LAYERS}")
    depth, height, across = input_shape
    n_positions = gated_positions((depth, height, across), convolutions)
    if n_positions < 2:
        raise ContentError(
            f"{where} has images of shape {list(input_shape)}, expected larger ones for its convolutions"
        )
    n_weights = sum(
        (9 * (depth + (convolutions - 1) * filters) + 2 * convolutions) * filters for filters in (width, gate_width)
    )
    n_features = n_positions * width
    return n_features, n_weights + _dense_size([n_positions * gate_width, n_features])


def _dense_size(sizes: Sequence[int]) -> int:
    return sum((fan_in + 1) * fan_out for fan_in, fan_out in pairwise(sizes))
