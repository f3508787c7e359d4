"""Checkpoints: everything that a run needs to resume, bit for bit, from where it was.

A checkpoint is one safetensors file, `POSITION-CHECKSUM.safetensors`, whose name carries the SHA-256 of its content:
a truncated or altered file no longer fits its name. It is written atomically; the newest two are kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from perdure.named import resume_command
from perdure.storage.arrays import arrays_to_bytes, load_arrays, restored
from perdure.storage.files import remove_file, write_atomically
from perdure.storage.reading import ContentError

Tree = TypeVar("Tree")

MAX_CHECKPOINT_BYTES = 2**40
"""No limit in practice: a checkpoint is as large as what its run holds in memory, and its checksum is known."""
_KEPT = 2
_SUFFIX = ".safetensors"
_DIGITS = 12  # so that names sort as positions do in a listing; they are read as numbers all the same


class CheckpointError(Exception):
    """A checkpoint is damaged or belongs to another run."""


@dataclass(frozen=True)
class Checkpoint(Generic[Tree]):
    """A run at one position."""

    position: int
    """How far the run is, in its own unit."""
    tree: Tree
    """All that it computes with."""
    metadata: Mapping[str, Any]
    """What else is kept, as JSON has it."""


def save_checkpoint(folder: Path, position: int, tree: Any, metadata: Mapping[str, Any]) -> Path:
    """Write a checkpoint into `folder`, which must exist, and return its path; all but the newest two are removed.

    Raises:
        StorageError: if it cannot be written, because the disk is full, say; older checkpoints then remain.
    """
    content = arrays_to_bytes(tree, {**metadata, "position": position})
    path = folder / f"{position:0{_DIGITS}d}-{_checksum(content)}{_SUFFIX}"
    write_atomically(path, content)
    for old in checkpoint_files(folder)[_KEPT:]:
        remove_file(old)
    return path


def load_checkpoint(folder: Path, template: Tree, *, previous: bool = False) -> Checkpoint[Tree] | None:
    """Return the newest checkpoint in `folder`, None if there is none.

    Args:
        folder: where `save_checkpoint` wrote, `checkpoints` in a run's folder.
        template: a tree of the same run, for the names, shapes and dtypes of its arrays.
        previous: pass over damaged checkpoints, setting them aside with the ending `.damaged`.

    Raises:
        CheckpointError: if the newest checkpoint is damaged and `previous` is not given, none is good, or a
            good one has other arrays than the template.
    """
    paths = checkpoint_files(folder)
    good = next((path for path in paths if _fits_its_name(path)), None)
    damaged = paths[: paths.index(good)] if good else paths
    if damaged and not (previous and good):
        raise CheckpointError(_complaint(damaged[0], good))
    for path in damaged:
        path.replace(path.with_name(path.name + ".damaged"))
    return _read(good, template) if good else None


def checkpoint_files(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder, the newest first; none if there is no such folder."""
    paths = [path for path in folder.glob(f"*-*{_SUFFIX}") if path.name.partition("-")[0].isdecimal()]
    return sorted(paths, key=position_of, reverse=True)


def _complaint(damaged: Path, good: Path | None) -> str:
    what = f"checkpoint {damaged} is damaged: its content does not match the checksum in its name"
    run = damaged.parent.parent
    if good is None:
        return f"{what}, and there is no older one; delete the folder {run} and run again"
    return (
        f"{what}. The previous one, {good.name}, is good, at position {position_of(good):,}: "
        f"resume from it with `{resume_command(run, '--previous')}`"
    )


def _read(path: Path, template: Tree) -> Checkpoint[Tree]:
    try:
        arrays, metadata = load_arrays(path, MAX_CHECKPOINT_BYTES)
        tree = restored(template, arrays)
    except ContentError as cause:
        raise CheckpointError(
            f"checkpoint {path} belongs to another run: {cause}; resume with the configuration that wrote it"
        ) from cause
    return Checkpoint(position_of(path), tree, metadata)


def position_of(path: Path) -> int:
    """Return the position of a checkpoint, given its file."""
    return int(path.name.partition("-")[0])


def _fits_its_name(path: Path) -> bool:
    return path.is_file() and path.name.partition("-")[2] == _checksum(path.read_bytes()) + _SUFFIX


def _checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]
