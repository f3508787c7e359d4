"""The models of a folder."""

from __future__ import annotations

import re
import secrets
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from perdure.online.folder import JOURNAL
from perdure.service.limits import Limits
from perdure.service.problems import ProblemError
from perdure.service.served import Served
from perdure.storage.files import make_folder

_NAME = re.compile(r"[a-z0-9_-][a-z0-9._-]{0,63}")
_DELETED = ".deleted-"
_RESERVED = ("tokens.json",)


def checked_name(name: str) -> str:
    """Return a name that a model can have: one folder, in the folder served.

    Raises:
        ProblemError: if it is none.
    """
    if not _NAME.fullmatch(name) or name in _RESERVED:
        raise ProblemError(
            "bad-name",
            f"the name {name[:80]!r} was given, expected 1 to 64 of a-z, 0-9, '.', '_' and '-', without a '.' at its "
            "beginning; such as mail-2",
            field="/name",
        )
    return name


class Registry:
    """Each folder in the folder that holds a journal is a model, called as its folder."""

    def __init__(self, folder: Path, limits: Limits):
        """Find the models; load none yet."""
        make_folder(folder)
        for left in folder.glob(f"{_DELETED}*"):
            shutil.rmtree(left, ignore_errors=True)
        self.folder = folder
        self._limits = limits
        self._changing = threading.Lock()
        found = sorted(path.parent for path in folder.glob(f"*/{JOURNAL}") if _NAME.fullmatch(path.parent.name))
        self._models = {path.name: Served(path, limits) for path in found}

    def __iter__(self) -> Iterator[Served]:
        """Yield the models by name."""
        models = self._models
        return iter([models[name] for name in sorted(models)])

    def load(self) -> None:
        """Load all models, several at a time; one that fails keeps no other from it."""
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(_load, self))

    def find(self, name: str) -> Served:
        """Return a model.

        Raises:
            ProblemError: if there is none of this name.
        """
        found = self._models.get(name)
        if found is None:
            known = ", ".join(sorted(self._models)[:10]) or "none yet; make one: POST /v1/models"
            raise ProblemError("no-model", f"there is no model {name[:80]!r}; there are: {known}")
        return found

    def create(self, name: str, settings: dict[str, Any]) -> Served:
        """Make a model.

        Raises:
            ProblemError: if there is one of this name, no model can have the name or the settings, or it cannot be
                written.
        """
        path = self.folder / checked_name(name)
        with self._changing:
            if name in self._models or path.exists():
                raise ProblemError("exists", f"there is {name!r} already; choose another name", field="/name")
            if len(self._models) >= self._limits.models:
                raise ProblemError(
                    "too-many-models", f"there are {len(self._models)} models, expected at most that; delete one"
                )
            served = Served(path, self._limits)
            try:
                served.load(create=True, **settings)
            except ValueError as error:
                raise ProblemError("bad-settings", str(error)) from error
            if served.state != "ready":
                shutil.rmtree(path, ignore_errors=True)
                raise ProblemError("disk-full", f"{name!r} could not be made: {served.reason}")
            self._models = {**self._models, name: served}  # readers keep the old ones
        return served

    def delete(self, name: str) -> None:
        """Delete a model with all that it has learned.

        Raises:
            ProblemError: if there is none of this name, or it cannot be deleted.
        """
        with self._changing:
            served = self.find(name)
            served.close(self._limits.stop_seconds)
            gone = self.folder / f"{_DELETED}{secrets.token_hex(8)}"
            try:
                served.folder.rename(gone)  # at once, whatever happens while its files are removed
            except OSError as error:
                raise ProblemError("busy", f"{name!r} could not be deleted: {error.strerror}") from error
            self._models = {it: model for it, model in self._models.items() if it != name}
        shutil.rmtree(gone, ignore_errors=True)

    def close(self, seconds: float) -> None:
        """Close all models at the same time."""
        with ThreadPoolExecutor(max(len(self._models), 1)) as pool:
            list(pool.map(lambda it: it.close(seconds), self))


def _load(served: Served) -> None:
    try:
        served.load()
    except Exception as error:  # told by /readyz, and by every request to this model
        served.give_up(f"{type(error).__name__}: {error}")
