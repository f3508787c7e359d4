"""States of a model on the disk, each of a position in its journal."""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from perdure.core import Learner, PerdureWarning
from perdure.online.history import replay
from perdure.online.journal import Journal
from perdure.online.model import OnlineModel
from perdure.online.settings import ModelSettings
from perdure.online.texts import with_texts, with_texts_apart
from perdure.online.view import ModelView
from perdure.storage.arrays import load_arrays, readable_bytes
from perdure.storage.files import make_folder, write_atomically
from perdure.storage.reading import ContentError, entry

_MOST = 2
"""Snapshots kept: if the newest is damaged there is one before it."""
_FORMAT = 3


class SavedModel(NamedTuple):
    """What a file holds."""

    model: OnlineModel
    settings: ModelSettings
    position: int
    """Of the last example that it has learned."""
    journal: str
    """`Journal.digest` of those examples; empty if it has no journal."""


class Schedule:
    """When the next snapshot is due."""

    def __init__(self, examples: int, seconds: float):
        """Begin now, after the first snapshot.

        Args:
            examples: a snapshot is due after this many, at least 1,
            seconds: or when this many have gone by, more than 0.

        Raises:
            ValueError: if one is out of range.
        """
        if examples < 1 or not seconds > 0:
            raise ValueError(
                f"snapshot_examples = {examples} and snapshot_seconds = {seconds} were given, expected at least 1 and "
                "more than 0"
            )
        self.position = 0
        """Of the newest snapshot."""
        self._examples = examples
        self._seconds = seconds
        self.tried(0)

    def tried(self, position: int) -> None:
        """Count examples and seconds from now on, whatever has come of it: a try that fails takes long, too."""
        self._tried, self._time = position, time.monotonic()

    def is_due(self, position: int) -> bool:
        """Is it time for a snapshot of this position?"""
        n_examples = position - max(self.position, self._tried)
        return n_examples >= self._examples or time.monotonic() - self._time >= self._seconds


class Snapshots:
    """The snapshots in a folder, named after their positions.

    Each holds the digest of its examples, so that one of another journal, or of examples that are others by now, is
    not taken for this journal's.
    """

    def __init__(self, folder: Path, journal: Journal):
        """Use a folder, which is made when there is something to write."""
        self._folder = folder
        self._journal = journal

    def write(self, position: int, model: OnlineModel, settings: ModelSettings) -> None:
        """Write the model's state at a position, and remove older ones but the one before.

        The position is the journal's last: snapshots of later ones are another journal's, and are removed.

        Raises:
            StorageError: if it cannot be written.
        """
        make_folder(self._folder)
        save_model(self._path(position), model, settings, position, self._journal.digest(position))
        self.drop(position + 1)
        for path in self._paths()[:-_MOST]:
            path.unlink(missing_ok=True)

    def nearest(self, position: int, settings: ModelSettings) -> tuple[OnlineModel, int]:
        """Return the newest sound model of a position up to `position`, and its position; a new model and 0 if none.

        One that is damaged, or of other settings or examples, is passed over with a warning.
        """
        for path in reversed(self._paths()):
            if int(path.stem) > position:
                continue
            try:
                saved = load_model(path)
                if saved.settings != settings or saved.position != int(path.stem):
                    raise ContentError(f"{path} is of a model with other settings, or was renamed")
                if saved.journal != self._journal.digest(saved.position):
                    raise ContentError(f"{path} has learned other examples than those of {self._journal.path}")
            except ContentError as cause:
                warnings.warn(
                    f"a snapshot is passed over: {cause}; the one before is used", PerdureWarning, stacklevel=3
                )
                continue
            return saved.model, saved.position
        return settings.new_model(), 0

    def relearned(self, settings: ModelSettings, changes: Mapping[int, Any]) -> tuple[OnlineModel, int, int]:
        """Return the model of a history in which examples have other targets, or were never learned.

        Args:
            settings: of the model.
            changes: the targets by position, or `perdure.online.history.LEFT_OUT`; at least one.

        Returns:
            The model, the position of the last example, and that of the snapshot from which on it learned again.

        Raises:
            RowError: naming the position of an example that cannot be learned so.
        """
        last = self._journal.last_position
        model, start = self.nearest(min(changes) - 1, settings)
        replay(self._journal, model, start, last, changes)
        return model, last, start

    def drop(self, position: int) -> None:
        """Remove the snapshots of this and later positions."""
        for path in self._paths():
            if int(path.stem) >= position:
                path.unlink(missing_ok=True)

    def _path(self, position: int) -> Path:
        return self._folder / f"{position:020d}.safetensors"

    def _paths(self) -> list[Path]:
        return snapshot_files(self._folder)


def snapshot_files(folder: Path) -> list[Path]:
    """Return the snapshots in a folder, the oldest first."""
    return sorted(folder.glob(f"{'[0-9]' * 20}.safetensors"))


def save_model(path: Path, model: OnlineModel, settings: ModelSettings, position: int, journal: str = "") -> None:
    """Write a model to one safetensors file, atomically; the arguments are those of `model_bytes`.

    Raises:
        StorageError: if it cannot be written, or could not be read again.
    """
    write_atomically(path, model_bytes(path, model, settings, position, journal))


def model_bytes(
    path: Path, model: OnlineModel | ModelView, settings: ModelSettings, position: int, journal: str = ""
) -> bytes:
    """Return the content of the safetensors file of a model.

    Args:
        path: of the file, for messages.
        model: which has learned something.
        settings: of the model.
        position: of the last example that it has learned.
        journal: `Journal.digest` of the examples; empty for a model without a journal.

    Raises:
        StorageError: if it could not be read again.
    """
    arrays, described = model.to_arrays()
    described, texts = with_texts_apart(described)
    arrays |= texts
    metadata = {
        "kind": "online model",
        "format": _FORMAT,
        "position": position,
        "journal": journal,
        "settings": settings.to_json(),
        "model": described,
    }
    return readable_bytes(path, arrays, metadata | {"sha256": _digest(arrays, metadata)})


def load_model(path: Path, method: Learner[Any] | None = None) -> SavedModel:
    """Return the model in a file.

    Args:
        path: the file.
        method: the learner, if the model was made with one instead of a name.

    Raises:
        ContentError: if the file is damaged, was altered, or holds something else.
    """
    arrays, metadata = _read(path)
    where = f"{path}, metadata"
    settings = ModelSettings.of_json(entry(metadata, "settings", dict, where), where, method)
    try:
        model = settings.new_model()
        described, arrays = with_texts(entry(metadata, "model", dict, where), arrays)
        model.restore(arrays, described)
    except ContentError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as cause:
        raise ContentError(f"{path} describes no model: {cause!r}") from cause
    return SavedModel(model, settings, entry(metadata, "position", int, where), entry(metadata, "journal", str, where))


def is_of(path: Path, journal: Journal) -> bool:
    """Has the snapshot in a file learned the examples of a journal, those up to its position?

    Raises:
        ContentError: if the file is damaged, was altered, or holds something else.
    """
    _, metadata = _read(path)
    position = entry(metadata, "position", int, f"{path}, metadata")
    return position == int(path.stem) and metadata.get("journal") == journal.digest(position)


def _read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the arrays in a model's file, and what is said about them.

    Raises:
        ContentError: if the file is damaged, was altered, or holds something else.
    """
    arrays, metadata = load_arrays(path)
    if metadata.get("kind") != "online model" or metadata.get("format") != _FORMAT:
        raise ContentError(
            f"{path} holds no online model of format {_FORMAT}, expected a file that a model has written"
        )
    described = {name: value for name, value in metadata.items() if name != "sha256"}
    if entry(metadata, "sha256", str, f"{path}, metadata") != _digest(arrays, described):
        raise ContentError(f"{path} was altered: its content has another checksum than what was written")
    return arrays, metadata


def _digest(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> str:
    """Return the SHA-256 of arrays and what is said about them."""
    total = hashlib.sha256(json.dumps(metadata).encode())
    for name in sorted(arrays):
        total.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        total.update(np.ascontiguousarray(arrays[name]).data)
    return total.hexdigest()
