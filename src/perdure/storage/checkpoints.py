"""Checkpoints: everything a run needs to go on, bit for bit, from where it was.

A checkpoint is one safetensors file, `POSITION-CHECKSUM.safetensors`, whose name carries the SHA-256 of its content:
a truncated or altered file no longer fits its name. It is written atomically; the newest two are kept.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from perdure.storage.files import make_folder, write_atomically

SAME_COMMAND = "the same command and `--previous`"
"""What goes on with trainings that are their command's to resume."""
_KEPT = 2
_SUFFIX = ".safetensors"


class CheckpointError(Exception):
    """A checkpoint is damaged or belongs to another run."""


@runtime_checkable
class Checkpointable(Protocol):
    """What can be kept in a checkpoint: a NamedTuple of numbers and of trees of arrays or random keys."""

    @property
    def position(self) -> int:
        """How far the run is."""
        ...

    def _asdict(self) -> dict[str, Any]: ...

    def _replace(self, **changes: Any) -> Any: ...


K = TypeVar("K", bound=Checkpointable)


def save_checkpoint(folder: Path, snapshot: Checkpointable) -> Path:
    """Write a checkpoint into `folder` and return its path; older ones but the last are removed.

    Raises:
        StorageError: if it cannot be written, because the disk is full, say; older checkpoints then remain.
    """
    make_folder(folder)
    metadata = {name: it for name, it in snapshot._asdict().items() if isinstance(it, int | float)}
    content = safetensors.numpy.save(_arrays(snapshot), metadata={"perdure": json.dumps(metadata)})
    path = folder / f"{snapshot.position:09d}-{_checksum(content)}{_SUFFIX}"
    write_atomically(path, content)
    for old in _newest_first(folder)[_KEPT:]:
        old.unlink()
    return path


def load_checkpoint(folder: Path, template: K, *, previous: bool = False, remedy: str | None = None) -> K | None:
    """Return the newest checkpoint in `folder`, None if there is none.

    Args:
        folder: where `save_checkpoint` wrote.
        template: a snapshot of the same run, for the names, shapes and dtypes of its arrays.
        previous: pass over damaged checkpoints, setting them aside with the ending `.damaged`.
        remedy: what does so, for the message; None for `perdure resume`.

    Raises:
        CheckpointError: if the newest checkpoint is damaged and `previous` is not given, none is good, or a
            good one has other arrays than the template.
    """
    for stale in folder.glob(f".*{_SUFFIX}.*.tmp"):  # left by a killed process
        stale.unlink()
    paths = _newest_first(folder)
    good = next((path for path in paths if _fits_its_name(path)), None)
    damaged = paths[: paths.index(good)] if good else paths
    if damaged and not (previous and good):
        raise CheckpointError(_complaint(damaged[0], good, remedy))
    for path in damaged:
        path.replace(path.with_name(path.name + ".damaged"))
    return _read(good, template) if good else None


def _complaint(damaged: Path, good: Path | None, remedy: str | None) -> str:
    what = f"checkpoint {damaged} is damaged: its content does not match the checksum in its name"
    if good is None:
        return f"{what}, and there is no older one; delete the run's folder and run again"
    run = damaged.parent.parent
    return (
        f"{what}. The previous one, {good.name}, is good, at example {_position(good):,}: "
        f"go on from it with {remedy or f'`perdure resume {run} --previous`'}"
    )


def _read(path: Path, template: K) -> K:
    with safetensors.safe_open(path, framework="numpy") as file:
        metadata = json.loads(file.metadata()["perdure"])
    arrays = safetensors.numpy.load_file(path)
    expected = _arrays(template)
    for name in sorted(expected.keys() | arrays.keys()):
        found, wanted = (_form(it.get(name)) for it in (arrays, expected))
        if found != wanted:
            raise CheckpointError(
                f"checkpoint {path} belongs to another run: {name} is {found}, expected {wanted}; "
                "resume with the configuration that wrote it"
            )
    tensors = iter(arrays[name] for name in expected)
    trees = jax.tree.map(lambda leaf: _alike(next(tensors), leaf), _trees(template))
    return template._replace(**dict(zip(_names(template), trees, strict=True)), **metadata)


def _alike(array: np.ndarray, leaf: Any) -> Any:
    """Return a stored array as what it was: a NumPy array, random keys or a JAX array."""
    if isinstance(leaf, np.ndarray):
        return array
    restored = jnp.asarray(array)
    return jax.random.wrap_key_data(restored) if _is_key(leaf) else restored


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _names(snapshot: Checkpointable) -> list[str]:
    """Return the names of the fields that hold arrays."""
    return [name for name, it in snapshot._asdict().items() if not isinstance(it, int | float)]


def _trees(snapshot: Checkpointable) -> list[Any]:
    fields = snapshot._asdict()
    return [fields[name] for name in _names(snapshot)]


def _arrays(snapshot: Checkpointable) -> dict[str, np.ndarray]:
    """Return a snapshot's arrays by the path of each in the snapshot, in the order of its fields."""
    arrays = {}
    for name, tree in zip(_names(snapshot), _trees(snapshot), strict=True):
        for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
            inside = jax.tree_util.keystr(path, simple=True, separator=".")
            values = np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)
            arrays[f"{name}.{inside}" if inside else name] = np.asarray(values, order="C")
    return arrays


def _form(array: np.ndarray | None) -> str:
    return "absent" if array is None else f"{array.dtype}{list(array.shape)}"


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*-*{_SUFFIX}"), reverse=True)


def _position(path: Path) -> int:
    return int(path.name.partition("-")[0])


def _fits_its_name(path: Path) -> bool:
    return path.name.partition("-")[2] == _checksum(path.read_bytes()) + _SUFFIX


def _checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]
