"""States of a model on the disk, each of a position in its journal."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from perdure.core import Learner, PerdureWarning
from perdure.online.model import OnlineModel
from perdure.online.settings import ModelSettings
from perdure.storage.arrays import load_arrays, save_arrays
from perdure.storage.files import make_folder
from perdure.storage.reading import ContentError, entry

_MOST = 2
"""Snapshots kept: if the newest is damaged there is one before it."""


class Snapshots:
    """The snapshots in a folder, named after their positions."""

    def __init__(self, folder: Path):
        """Use a folder, which is made when there is something to write."""
        self._folder = folder

    def write(self, position: int, model: OnlineModel, settings: ModelSettings) -> None:
        """Write the model's state at a position, and remove older ones but the one before.

        Raises:
            StorageError: if it cannot be written.
        """
        make_folder(self._folder)
        save_model(self._path(position), model, settings, position)
        for path in self._paths()[:-_MOST]:
            path.unlink(missing_ok=True)

    def nearest(self, position: int, settings: ModelSettings) -> tuple[OnlineModel, int]:
        """Return the newest sound model of a position up to `position`, and its position; a new model and 0 if none.

        One that is damaged, or of other settings, is passed over with a warning.
        """
        for path in reversed(self._paths()):
            if int(path.stem) > position:
                continue
            try:
                model, found, at = load_model(path)
                if found != settings or at != int(path.stem):
                    raise ContentError("it is of another model")
            except ContentError as cause:
                warnings.warn(
                    f"a snapshot is passed over: {cause}; the one before is used", PerdureWarning, stacklevel=3
                )
                continue
            return model, at
        return settings.new_model(), 0

    def drop(self, position: int) -> None:
        """Remove the snapshots of this and later positions."""
        for path in self._paths():
            if int(path.stem) >= position:
                path.unlink(missing_ok=True)

    def _path(self, position: int) -> Path:
        return self._folder / f"{position:020d}.safetensors"

    def _paths(self) -> list[Path]:
        """Return the files, the oldest first."""
        return sorted(self._folder.glob(f"{'[0-9]' * 20}.safetensors"))


def save_model(path: Path, model: OnlineModel, settings: ModelSettings, position: int) -> None:
    """Write a model to one safetensors file, atomically.

    Raises:
        StorageError: if it cannot be written.
    """
    arrays, described = model.to_arrays()
    metadata = {
        "kind": "online model",
        "format": 1,
        "position": position,
        "settings": settings.to_json(),
        "model": described,
        "sha256": _digest(arrays),
    }
    save_arrays(path, arrays, metadata)


def load_model(path: Path, method: Learner[Any] | None = None) -> tuple[OnlineModel, ModelSettings, int]:
    """Return the model in a file, its settings, and its position.

    Args:
        path: the file.
        method: the learner, if the model was made with one instead of a name.

    Raises:
        ContentError: if the file is damaged, was altered, or holds something else.
    """
    arrays, metadata = load_arrays(path)
    where = f"{path}, metadata"
    if metadata.get("kind") != "online model" or metadata.get("format") != 1:
        raise ContentError(f"{path} holds no online model of format 1, expected a file that a model has written")
    if entry(metadata, "sha256", str, where) != _digest(arrays):
        raise ContentError(f"{path} was altered: its arrays have another checksum than those that were written")
    settings = ModelSettings.of_json(entry(metadata, "settings", dict, where), where, method)
    try:
        model = settings.new_model()
        model.restore(arrays, entry(metadata, "model", dict, where))
    except ContentError:
        raise
    except (KeyError, TypeError, ValueError) as cause:
        raise ContentError(f"{path} describes no model: {cause!r}") from cause
    return model, settings, entry(metadata, "position", int, where)


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    total = hashlib.sha256()
    for name in sorted(arrays):
        total.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        total.update(np.ascontiguousarray(arrays[name]).data)
    return total.hexdigest()
