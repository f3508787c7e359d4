"""What decides a figure, in words and numbers that JSON holds: every field of every object, and the code of own ones.

Code that comes from an installed library, perdure's own included, is described by its name; anybody else's by its name
and a fingerprint of its source, so that edited code is told from the old. The source counts without comments and
layout, together with that of own functions, classes and values that it refers to by name.
"""

from __future__ import annotations

import ast
import dataclasses
import enum
import functools
import hashlib
import inspect
import json
import math
import sys
import sysconfig
import textwrap
from collections.abc import Mapping, Set
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

_LIBRARIES = tuple(sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib"))
_DIGITS = 16


def describe(thing: Any, where: str = "it") -> Any:
    """Return a description of a value that JSON holds; equal descriptions mean equal figures.

    Args:
        thing: numbers, texts, arrays, containers, dataclasses, functions, classes, and plain objects of them.
        where: what errors call it.

    Raises:
        TypeError: naming the part that cannot be described, such as an open file.
    """
    return _Describer().describe(thing, where)


def fields_of(record: Any, where: str, without: Set[str] = frozenset()) -> dict[str, Any]:
    """Return descriptions of the fields of a dataclass that are not None, but those named in `without`.

    Raises:
        TypeError: as `describe`.
    """
    values = {it.name: getattr(record, it.name) for it in dataclasses.fields(record) if it.name not in without}
    return {name: describe(value, f"{where}.{name}") for name, value in values.items() if value is not None}


def fingerprint(code: Any) -> str | None:
    """Return a fingerprint of the source of an own function, class or callable object; None for a library's.

    Raises:
        TypeError: as `describe`.
    """
    code = _unwrapped(code)
    owner = code if isinstance(code, type | FunctionType | MethodType) else type(code)
    return None if _is_library(owner) else _Describer().source(owner, owner.__qualname__)


def name_of(function: Any) -> str:
    """Return a function's name, with the arguments that `functools.partial` gives it, or the class of a callable."""
    if isinstance(function, functools.partial):
        given = [_argument(it) for it in function.args]
        given += [f"{name}={_argument(it)}" for name, it in sorted(function.keywords.items())]
        return f"{name_of(function.func)}({', '.join(given)})"
    return getattr(function, "__name__", type(function).__name__)


def digest(tree: Any) -> str:
    """Return half of the SHA-256 of all arrays of a tree, in hexadecimal."""
    import jax

    sum_ = hashlib.sha256()
    for leaf in map(np.asarray, jax.tree.leaves(tree)):
        _add_array(sum_, leaf)
    return sum_.hexdigest()[:32]


class _Describer:
    """Describes one value; remembers the objects and the code that it is in the middle of."""

    def __init__(self) -> None:
        self._open: list[int] = []
        self._sources: set[int] = set()

    def describe(self, thing: Any, where: str) -> Any:
        if isinstance(thing, bool | str | int | None):
            return thing
        if isinstance(thing, float):
            return thing if math.isfinite(thing) else str(thing)
        if id(thing) in self._open:
            raise TypeError(f"{where} refers to itself, which a record cannot hold; {_REMEDY}")
        self._open.append(id(thing))
        try:
            return self._compound(thing, where)
        finally:
            self._open.pop()

    def _compound(self, thing: Any, where: str) -> Any:
        if isinstance(thing, Path):
            return str(thing)
        if isinstance(thing, enum.Enum):
            return f"{type(thing).__name__}.{thing.name}"
        if isinstance(thing, Mapping):
            return {str(key): self.describe(value, f"{where}[{key!r}]") for key, value in thing.items()}
        if isinstance(thing, tuple) and hasattr(thing, "_fields"):
            return self._record(thing, thing._asdict(), where)  # pyright: ignore[reportAttributeAccessIssue]
        if isinstance(thing, list | tuple | range):
            return [self.describe(value, f"{where}[{place}]") for place, value in enumerate(thing)]
        if isinstance(thing, Set):
            return sorted((self.describe(value, where) for value in thing), key=json.dumps)
        if hasattr(thing, "dtype") and hasattr(thing, "shape"):
            return _array(thing)
        if isinstance(thing, functools.partial):
            arguments = {str(place): value for place, value in enumerate(thing.args)} | thing.keywords
            return {"partial": self.describe(thing.func, where), "arguments": self.describe(arguments, where)}
        if isinstance(thing, MethodType):
            return {"method": thing.__name__, "of": self.describe(thing.__self__, where)}
        plain = _unwrapped(thing)
        if isinstance(plain, type | FunctionType) or inspect.isbuiltin(plain) or isinstance(plain, np.ufunc):
            return self._code(plain, where)
        if dataclasses.is_dataclass(thing):
            return self._record(thing, {it.name: getattr(thing, it.name) for it in dataclasses.fields(thing)}, where)
        if isinstance(thing, ModuleType) or not hasattr(thing, "__dict__"):
            raise TypeError(f"{where} is {thing!r}, which a record cannot describe; {_REMEDY}")
        return self._record(thing, vars(thing), where)

    def _record(self, thing: Any, values: Mapping[str, Any], where: str) -> dict[str, Any]:
        """Return the class, and its source if it is an own one, with all fields."""
        cls = type(thing)
        described: dict[str, Any] = {"class" if "name" in values else "name": cls.__name__}
        if not _is_library(cls):
            described["source"] = self.source(cls, where)
        return described | {name: self.describe(value, f"{where}.{name}") for name, value in values.items()}

    def _code(self, code: Any, where: str) -> dict[str, Any]:
        if _is_library(code):
            return {"name": f"{getattr(code, '__module__', None) or 'builtins'}.{code.__qualname__}"}
        described = {"name": code.__qualname__, "source": self.source(code, where)}
        kept = _closure(code)
        return described | ({"closure": self.describe(kept, where)} if kept else {})

    def source(self, code: Any, where: str) -> str:
        """Return the fingerprint of own code and of all own code and values that it names."""
        self._sources.add(id(code))
        text = _source_text(code)
        parts = [text, *(f"{name}={self._named(value, f'{where}: {name}')}" for name, value in _globals_of(code))]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:_DIGITS]

    def _named(self, value: Any, where: str) -> str:
        """Return what a value that own code names decides: its own code, or its description; nothing for the rest."""
        value = _unwrapped(value)
        if isinstance(value, ModuleType):
            return value.__name__ if _is_library(value) else hashlib.sha256(_module_text(value).encode()).hexdigest()
        if isinstance(value, type | FunctionType):
            if _is_library(value) or id(value) in self._sources:
                return value.__qualname__
            return self.source(value, where)
        try:
            return json.dumps(self.describe(value, where), sort_keys=True)
        except TypeError:  # a global that no record can hold, a logger, say: its class is what is known of it
            return type(value).__qualname__


_REMEDY = "make it numbers, texts, arrays, a dataclass of them or a function defined with def, or run without a folder"


def _argument(argument: Any) -> str:
    """Return a value as it is written; only the name of what is written with its place in memory, or at length."""
    if isinstance(argument, tuple | list):
        return f"({', '.join(map(_argument, argument))})"
    return repr(argument) if isinstance(argument, int | float | str | None) else name_of(argument)


def _unwrapped(thing: Any) -> Any:
    """Return the function inside what is no function of Python itself, such as `jax.jit` makes."""
    if isinstance(thing, type | FunctionType | MethodType) or not callable(thing):
        return thing
    return getattr(thing, "__wrapped__", thing)


def _is_library(code: Any) -> bool:
    """Does code belong to an installed library, to Python or to perdure itself?"""
    name = code.__name__ if isinstance(code, ModuleType) else getattr(code, "__module__", None)
    if name is None or name.partition(".")[0] in ("perdure", "builtins"):
        return True
    module = sys.modules.get(name)
    file = getattr(module, "__file__", None)
    if module is None or file is None:
        return name in sys.builtin_module_names
    return file.startswith(_LIBRARIES)


def _array(array: Any) -> Any:
    import jax
    import jax.numpy as jnp

    if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        array = jax.random.key_data(array)
    values = np.asarray(array)
    if values.ndim == 0 and values.dtype.kind in "fiub":
        number = values.item()
        return number if math.isfinite(number) else str(number)
    sum_ = hashlib.sha256()
    _add_array(sum_, values)
    return {"array": f"{values.dtype}{list(values.shape)}", "sha256": sum_.hexdigest()[:32]}


def _add_array(sum_: Any, leaf: np.ndarray) -> None:
    sum_.update(f"{leaf.dtype}{leaf.shape}".encode())
    sum_.update(np.ascontiguousarray(leaf).tobytes())


def _source_text(code: Any) -> str:
    """Return source without comments and layout; where there is none, or it is a part of a line, the compiled code."""
    try:
        # Of the code object, since the source of a decorated function would be that of the function inside.
        source = inspect.getsource(code if isinstance(code, type) else code.__code__)
        return ast.unparse(ast.parse(textwrap.dedent(source)))
    except (OSError, TypeError, SyntaxError):
        return "\n".join(_compiled_text(it.__code__) for it in _functions_of(code))


def _module_text(module: ModuleType) -> str:
    try:
        return inspect.getsource(module)
    except (OSError, TypeError):
        return module.__name__


def _functions_of(code: Any) -> list[FunctionType]:
    if isinstance(code, FunctionType):
        return [code]
    members = [_unwrapped(getattr(it, "__func__", it)) for it in vars(code).values()]
    return [it for it in members if isinstance(it, FunctionType) and it.__module__ == code.__module__]


def _compiled_text(code: CodeType) -> str:
    inner = [_compiled_text(it) if isinstance(it, CodeType) else repr(it) for it in code.co_consts]
    return f"{code.co_code.hex()} {code.co_names} {inner}"


def _names_in(code: CodeType) -> set[str]:
    inner = (_names_in(it) for it in code.co_consts if isinstance(it, CodeType))
    return set(code.co_names).union(*inner)


def _globals_of(code: Any) -> list[tuple[str, Any]]:
    """Return the global values that own code refers to by name; of a class also its own bases."""
    named = {
        name: function.__globals__[name]
        for function in _functions_of(code)
        for name in _names_in(function.__code__)
        if name in function.__globals__
    }
    if isinstance(code, type):
        named |= {base.__qualname__: base for base in code.__mro__[1:] if not _is_library(base)}
    return sorted(named.items())


def _closure(code: Any) -> dict[str, Any]:
    """Return the values that a function holds besides its source: those of enclosing functions, and its defaults."""
    if not isinstance(code, FunctionType):
        return {}
    cells = zip(code.__code__.co_freevars, code.__closure__ or (), strict=True)
    held = {name: cell.cell_contents for name, cell in cells}
    defaults = {str(place): value for place, value in enumerate(code.__defaults__ or ())} | (code.__kwdefaults__ or {})
    return {name: value for name, value in (held | defaults).items() if value is not code}
