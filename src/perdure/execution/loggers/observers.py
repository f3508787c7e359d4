"""Loggers by name, and all loggers of a run together: what goes wrong with one is no harm to the run."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from perdure.execution.loggers.events import METHODS, RunStart
from perdure.execution.loggers.files import CSVLogger, JSONLinesLogger, TensorBoardLogger
from perdure.execution.loggers.mlflow_store import MLflowLogger
from perdure.execution.loggers.wandb_project import WandbLogger
from perdure.execution.warnings import warn
from perdure.storage.files import write_json
from perdure.storage.reading import entry, read_json

_KEPT = "loggers.json"


class _Named(NamedTuple):
    """A logger that has a name."""

    make: Callable[[], Any]
    package: str | None
    """What it needs, which is also in the extra of its name; None if that is perdure alone."""
    in_folder: bool
    """Does it write into the folder of the run?"""


LOGGERS: Mapping[str, _Named] = {
    "csv": _Named(CSVLogger, None, True),
    "jsonl": _Named(JSONLinesLogger, None, True),
    "tensorboard": _Named(TensorBoardLogger, "tensorboardX", True),
    "mlflow": _Named(MLflowLogger, "mlflow", False),
    "wandb": _Named(WandbLogger, "wandb", False),
}


def is_installed(name: str) -> bool:
    """Tell whether what a named logger needs is installed."""
    package = LOGGERS[name].package
    return package is None or find_spec(package) is not None


def make_loggers(given: Any, *, folder: object) -> list[Any]:
    """Return loggers, given names and objects.

    Args:
        given: names of `LOGGERS`, or objects with methods of `perdure.execution.loggers.events`.
        folder: of the run; None if it has none.

    Raises:
        ValueError: if there is no logger of a name, it is named twice, what it needs is not installed, or it needs a
            folder.
        TypeError: if an object has none of the methods, or there is no list of them.
    """
    if isinstance(given, str):
        given = [it.strip() for it in given.split(",") if it.strip()]
    if not isinstance(given, Iterable):
        raise TypeError(f"loggers is {given!r}, expected a list of names and objects, as ['csv'] or [my_logger]")
    given = list(given)
    if twice := [it for it in given if isinstance(it, str) and given.count(it) > 1]:
        raise ValueError(f"the logger {twice[0]} is named twice, expected each once; leave one out")
    return [_named(it, folder) if isinstance(it, str) else _checked(it, folder) for it in given]


def _named(name: str, folder: object) -> Any:
    if name not in LOGGERS:
        near = difflib.get_close_matches(name, LOGGERS, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"unknown logger {name!r}; {hint}Known: {', '.join(LOGGERS)}")
    if not is_installed(name):
        package = LOGGERS[name].package
        raise ValueError(f"the logger {name} needs {package}, which is not installed: pip install 'perdure[{name}]'")
    if LOGGERS[name].in_folder and folder is None:
        raise ValueError(f"the logger {name} writes into the folder of the run, which has none; give it a folder")
    return LOGGERS[name].make()


def _checked(logger: Any, folder: object) -> Any:
    if isinstance(logger, type) or not any(callable(getattr(logger, it, None)) for it in METHODS):
        raise TypeError(
            f"a logger is {logger!r}, expected one of the names {', '.join(LOGGERS)}, or an object with one or more of "
            f"the methods {', '.join(METHODS)}"
        )
    return logger


class Observers:
    """The loggers of a run. One that fails is left out from then on, and a warning says so once."""

    def __init__(self, loggers: Sequence[Any]):
        """Keep the loggers; none is called before the run starts."""
        self._loggers = list(loggers)

    def __bool__(self) -> bool:
        return bool(self._loggers)

    def start(self, run: RunStart) -> None:
        """Tell that the run begins, and keep in its folder what the loggers need to continue theirs."""
        kept = _read_kept(run.folder)
        if run.position:
            self._loggers += self._earlier(kept, run.folder)
        states = {}
        for it in list(self._loggers):
            name = _name(it)
            state = self._tell_one(it, "start", run._replace(known=kept.get(name, {}) if run.position else {}))
            is_lost = it not in self._loggers  # a server that is away now may be back when the run is resumed again
            states[name] = state if isinstance(state, dict) else kept.get(name, {}) if is_lost and run.position else {}
        named = {name: state for name, state in states.items() if name in LOGGERS}
        if run.folder is not None and named:
            self._keep(run.folder, named)

    def progress(self, position: int, values: Callable[[], Mapping[str, float]]) -> None:
        """Tell what the last stretch has measured."""
        self._tell_values("progress", position, values)

    def evaluation(self, position: int, values: Callable[[], Mapping[str, float]]) -> None:
        """Tell what an evaluation has measured."""
        self._tell_values("evaluation", position, values)

    def checkpoint(self, position: int, path: Path) -> None:
        """Tell that a checkpoint was written."""
        self._tell("checkpoint", position, path)

    def end(self, status: str) -> None:
        """Tell that the run has ended."""
        self._tell("end", status)

    def _tell_values(self, event: str, position: int, values: Callable[[], Mapping[str, float]]) -> None:
        if self._loggers:
            measured = {name: float(it) for name, it in values().items() if it == it}
            if measured:
                self._tell(event, position, measured)

    def _tell(self, event: str, *arguments: Any) -> None:
        for it in list(self._loggers):
            self._tell_one(it, event, *arguments)

    def _tell_one(self, logger: Any, event: str, *arguments: Any) -> Any:
        method = getattr(logger, event, None)
        try:
            return None if method is None else method(*arguments)
        except Exception as error:  # Whatever goes wrong in other people's stores must not cost hours of learning.
            self._loggers.remove(logger)
            cause = (str(error).splitlines() or [""])[0]
            warn(
                f"logging to {_name(logger)} has failed ({type(error).__name__}: {cause}); the run continues without it"
            )
            return None

    def _earlier(self, kept: Mapping[str, Any], folder: Path | None) -> list[Any]:
        """Return the named loggers that the run had before, beside those it has now."""
        there = {_name(it) for it in self._loggers}
        wanted = [name for name in kept if name in LOGGERS and name not in there]
        if absent := [name for name in wanted if not is_installed(name)]:
            warn(f"the run was logged to {', '.join(absent)}, which is not installed any more; it continues without")
        return [LOGGERS[name].make() for name in wanted if name not in absent]

    def _keep(self, folder: Path, states: Mapping[str, Any]) -> None:
        try:
            write_json(folder / _KEPT, {"loggers": states})
        except OSError as error:
            warn(f"{error}; after an interruption, the run would be logged as a new one")


def _name(logger: Any) -> str:
    return getattr(logger, "name", None) or type(logger).__name__


def _read_kept(folder: Path | None) -> Mapping[str, Any]:
    """Return what the loggers of a folder have kept; nothing if that is damaged, since figures do not depend on it."""
    if folder is None or not (folder / _KEPT).exists():
        return {}
    try:
        kept = entry(read_json(folder / _KEPT), "loggers", dict, folder / _KEPT)
        return {name: it for name, it in kept.items() if isinstance(it, dict)}
    except Exception as error:
        warn(f"{error}; the run is logged as a new one")
        return {}
