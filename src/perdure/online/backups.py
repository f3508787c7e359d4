"""Copies of a whole folder of models."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from perdure.online.backup import check_backup, check_destination, check_place, copy_model, permissions, restore_model
from perdure.online.folder import JOURNAL
from perdure.storage.files import StorageError
from perdure.storage.folders import new_folder


def models_in(folder: Path) -> list[Path]:
    """Return the folders in a folder that hold models, by name; hidden ones are not looked at."""
    return sorted(path.parent for path in folder.glob(f"*/{JOURNAL}") if not path.parent.name.startswith("."))


def backup_models(folder: Path, destination: Path) -> dict[str, int]:
    """Copy all models of a folder to a new one, as `backup_model` does; return the last position of each, by name.

    Each is copied as it is at one moment, one after another.

    Raises:
        StorageError: if there is no model, something is at the destination, or a model could not be copied: the
            message tells which; the others are at the destination all the same.
    """
    if not (models := models_in(folder)):
        raise StorageError(
            None,
            f"{folder} holds no model, and no folder in it does, so there is nothing to back up; give the folder of a "
            "model, or one of models",
        )
    check_destination(destination, folder)
    with new_folder(destination, permissions(folder)) as new:

        def copy(model: Path) -> int:
            into = new.path / model.name
            into.mkdir(permissions(model))
            try:
                return copy_model(model, into)
            except BaseException:
                shutil.rmtree(into)
                raise

        done, failed = _each(models, copy)
        if done:
            new.place()
    _tell(failed, f"{len(done)} of {len(models)} models were backed up" + (f" to {destination}" if done else ""))
    return done


def restore_models(backup: Path, folder: Path, *, set_aside: Path | None = None) -> dict[str, int]:
    """Put copies of all models of a backup in a folder, as `restore_model` does; return the last position of each.

    Args:
        backup: folder that `backup_models` has made.
        folder: of the models; those that the backup does not have stay.
        set_aside: folder for the models that are replaced; None: none is.

    Raises:
        FolderInUseError: if a process owns a model.
        StorageError: as `restore_model`; before anything is done if a place is not free. The message tells which models
            could not be restored; the others were.
    """
    if not (models := models_in(backup)):
        raise StorageError(
            None, f"{backup} holds no backup of models; give a folder that perdure model backup has made"
        )

    def aside(model: Path) -> Path | None:
        return None if set_aside is None else set_aside / model.name

    for model in models:
        check_backup(model)
        check_place(folder / model.name, aside(model), model)
    done, failed = _each(models, lambda it: restore_model(it, folder / it.name, set_aside=aside(it)))
    _tell(failed, f"{len(done)} of {len(models)} models were restored")
    return done


def _each(models: list[Path], work: Callable[[Path], int]) -> tuple[dict[str, int], dict[str, StorageError]]:
    """Return what comes of each model, or why nothing does, by name."""
    done: dict[str, int] = {}
    failed: dict[str, StorageError] = {}
    for model in models:
        try:
            done[model.name] = work(model)
        except StorageError as error:
            failed[model.name] = error
    return done, failed


def _tell(failed: dict[str, StorageError], outcome: str) -> None:
    if failed:
        reasons = "; ".join(f"{name}: {error}" for name, error in failed.items())
        raise StorageError(next(iter(failed.values())).errno, f"{outcome}; {reasons}")
