"""Own code by name: `my_method.py:MyLearner`, `my_package.methods:MyLearner`, and what installed packages offer.

A package offers names by entry points of the groups `perdure.learners`, `perdure.benchmarks`, `perdure.models` and
`perdure.environments`; a name of perdure's own catalogues comes before one of a package.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from hashlib import sha256
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any, NamedTuple, Protocol, runtime_checkable

LEARNERS, BENCHMARKS, MODELS, ENVIRONMENTS = (
    f"perdure.{it}" for it in ("learners", "benchmarks", "models", "environments")
)
"""Groups of entry points."""

_PACKAGE = str(Path(__file__).parent)
_executed_here: dict[str, Path] = {}
"""Files that were executed by their path, by the name of their module."""
_copies: list[TemporaryDirectory[str]] = []
"""Folders of files that another process sent; they are removed when this one ends."""


class OwnCodeError(ValueError):
    """Own code cannot be found or imported, or is something else; the message tells what to do."""


def is_reference(text: str) -> bool:
    """Tell whether a text names own code, as `my_method.py:MyLearner`, not an entry of a catalogue."""
    return ":" in text or text.endswith(".py")


@runtime_checkable
class Offer(Protocol):
    """An entry point, of `importlib.metadata` or of its backport, which takes over where another library loads it."""

    @property
    def value(self) -> str:
        """Where the object is: `my_package.methods:MyLearner`."""
        ...

    def load(self) -> Any:
        """Import and return the object."""
        ...


def offered(group: str) -> Mapping[str, Offer]:
    """Return what installed packages offer in a group of entry points, by name."""
    return {it.name: it for it in entry_points(group=group)}


def is_own(text: str, group: str) -> bool:
    """Tell whether a text names own code, or what an installed package offers in a group of entry points."""
    return is_reference(text) or text in offered(group)


def load_own(text: str, group: str) -> Any:
    """Return the object that a text names, of a file, a module or an installed package.

    Args:
        text: as `my_method.py:MyLearner`, `my_package.methods:MyLearner` or the name of an entry point.
        group: of entry points.

    Raises:
        OwnCodeError: if the file does not exist, fails to import or has no such object; the message names the line.
    """
    if not is_reference(text):
        return _loaded(text, offered(group)[text])
    place, colon, name = text.rpartition(":") if not text.endswith(".py") else (text, "", "")
    module = _module_of(place)
    if not colon or not name:
        known = ", ".join(f"{place}:{it}" for it in _public(module)) or "nothing yet"
        raise OwnCodeError(f"{text} is a file, expected FILE.py:NAME; it has {known}")
    if not hasattr(module, name):
        near = get_close_matches(name, _public(module), n=1, cutoff=0.4)
        hint = f"did you mean {place}:{near[0]}?" if near else f"it has {', '.join(_public(module)) or 'none'}"
        raise OwnCodeError(f"{place} has no {name}; {hint}")
    return getattr(module, name)


def absolute(text: str) -> str:
    """Return a text that names own code so that it does in any folder: with the whole path of a file."""
    place, colon, name = text.rpartition(":")
    return f"{Path(place).resolve()}:{name}" if colon and place.endswith(".py") else text


def short_name(text: str) -> str:
    """Return own code in a few words that may be part of a file's name: `my_stream.make`."""
    place, _, name = text.rpartition(":")
    return ".".join(it for it in (Path(place).stem if place.endswith(".py") else place, name) if it)


class Source(NamedTuple):
    """A file of own code, as another process may need it."""

    module: str
    """Name of its module."""
    path: Path
    content: bytes


def sources() -> list[Source]:
    """Return the files of own code that this process has executed, and what they have imported from beside them."""
    executed = {name: it for name, it in _executed_here.items() if name in sys.modules}
    folders = {it.parent for it in executed.values()}
    files = {name: _file_of(module) for name, module in list(sys.modules.items()) if name.isidentifier()}
    beside = {name: it for name, it in files.items() if it is not None and it.parent in folders}
    return [
        Source(name, it, it.read_bytes())
        for name, it in {**executed, **beside}.items()
        if it.suffix == ".py" and it.is_file()
    ]


def provide(given: Sequence[Source]) -> None:
    """Make own code of another process, which may be on another machine, importable here.

    A file is executed where it is; if it is not here, or not the same, a copy of it is.
    """
    if not all(it.path.is_file() and it.path.read_bytes() == it.content for it in given):
        _copies.append(TemporaryDirectory(prefix="perdure-own-"))
        here = Path(_copies[-1].name).resolve()
        given = [it._replace(path=here / it.path.name) for it in given]
        for it in given:
            it.path.write_bytes(it.content)
    for it in given:
        if it.module not in sys.modules:
            _execute(it.module, it.path, str(it.path))


def kind_of(thing: Any) -> str:
    """Return of what class an object is, with its article: "an int"."""
    name = type(thing).__name__
    return f"{'an' if name[0].lower() in 'aeio' else 'a'} {name}"


def own_line(error: BaseException) -> str:
    """Return where in code that is no library's an error came from, in parentheses; nothing if nowhere."""
    frames = [it for it in traceback.extract_tb(error.__traceback__) if not _is_of_library(it.filename)]
    return f" (line {frames[-1].lineno} of {Path(frames[-1].filename).name}, in {frames[-1].name})" if frames else ""


def _is_of_library(file: str) -> bool:
    return file.startswith((_PACKAGE, "<")) or "site-packages" in file or f"{os.sep}lib{os.sep}python" in file


def _loaded(name: str, entry: Offer) -> Any:
    try:
        return entry.load()
    except Exception as cause:
        package = getattr(getattr(entry, "dist", None), "name", "a package")
        raise OwnCodeError(
            f"{name} of {package} ({entry.value}) fails to import: {type(cause).__name__}: {cause}; install the "
            "package again or ask its authors"
        ) from cause


def _module_of(place: str) -> ModuleType:
    if not place.endswith(".py"):
        try:
            return import_module(place)
        except Exception as cause:
            raise OwnCodeError(
                f"module {place} cannot be imported: {type(cause).__name__}: {cause}; give an installed module, or a "
                "file as my_method.py:MyLearner"
            ) from cause
    path = Path(place).resolve()
    if not path.is_file():
        near = get_close_matches(path.name, [it.name for it in path.parent.glob("*.py")], n=1, cutoff=0.75)
        hint = f"did you mean {near[0]}?" if near else "give the path of your file"
        raise OwnCodeError(f"{place} does not exist; {hint}")
    return _executed(path, place)


def _executed(path: Path, place: str) -> ModuleType:
    """Return the module in a file, executed once; what lies beside the file can be imported by it."""
    name = path.stem
    there = sys.modules.get(name)
    if there is not None and _file_of(there) == path:
        return there
    if there is not None or not name.isidentifier() or find_spec(name) is not None:
        # Not under the name of a library, which would take its place for everybody.
        name = f"own_{name}_{sha256(str(path).encode()).hexdigest()[:8]}"
        if name in sys.modules:
            return sys.modules[name]
    return _execute(name, path, place)


def _execute(name: str, path: Path, place: str) -> ModuleType:
    spec = spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    try:
        spec.loader.exec_module(module)
    except BaseException as cause:
        del sys.modules[name]
        if not isinstance(cause, Exception | SystemExit):
            raise
        raise OwnCodeError(f"{place} fails to import{_where(cause, path)}: {type(cause).__name__}: {cause}") from cause
    _executed_here[name] = path
    return module


def _file_of(module: ModuleType) -> Path | None:
    file = getattr(module, "__file__", None)
    return None if file is None else Path(file).resolve()


def _where(cause: BaseException, path: Path) -> str:
    """Return the line of a file that an error came from, and the line's text."""
    if isinstance(cause, SyntaxError) and cause.filename == str(path):
        return f" at line {cause.lineno}, {(cause.text or '').strip()!r}"
    frames = [it for it in traceback.extract_tb(cause.__traceback__) if it.filename == str(path)]
    return f" at line {frames[-1].lineno}, {frames[-1].line!r}" if frames else ""


def _public(module: ModuleType) -> list[str]:
    """Return the names of what a module itself defines and others may use."""
    return [
        name
        for name, it in vars(module).items()
        if not name.startswith("_") and getattr(it, "__module__", None) == module.__name__ and callable(it)
    ]
