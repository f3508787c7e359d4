"""What decides a figure, in words and numbers that JSON holds: every field of every object, and the code of own ones.

Code that comes from an installed library, perdure's own included, is described by its name; anybody else's by its name
and a fingerprint of its source, so that edited code is told from the old (`perdure.records.source`). The source counts
without comments and layout, together with that of own functions, classes and values that it refers to by name, and
with what its functions hold: the values of enclosing functions, and defaults.
"""

from __future__ import annotations

import array
import copyreg
import dataclasses
import datetime
import enum
import functools
import hashlib
import inspect
import json
import math
import operator
import re
from collections import deque
from collections.abc import Mapping, Set
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from types import FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from perdure.records.source import (
    base_classes,
    class_values,
    fields_in,
    functions_of,
    held_by,
    home_of,
    is_library,
    is_named_by_library,
    module_text,
    names_in,
    own_imports,
    own_modules,
    rules_of,
    solid_base,
    source_text,
    unwrapped,
)

_DIGITS = 16
_PLAIN_SIZE = type("Plain", (), {}).__basicsize__
_LONGEST_LIST = 1000
"""Longer ones are described by a fingerprint: a record is to be read by people too."""
_WITH_CONTENT = (dict, list, tuple, set, frozenset, str, bytes, int, float, complex, deque, Fraction, Decimal)
"""Classes that own ones may extend: what an instance holds besides fields is what these make of it."""
_BY_VALUE = (
    *(complex, Fraction, Decimal, slice, deque, bytearray, array.array, re.Pattern),
    *(operator.itemgetter, operator.attrgetter, operator.methodcaller),
    *(datetime.date, datetime.time, datetime.timedelta, datetime.tzinfo),
)
"""Classes of Python without fields, described by what would make such a value again."""


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
    code = unwrapped(code)
    owner = code if isinstance(code, type | FunctionType) else type(code)
    return None if is_library(owner) else _Describer().source(owner, owner.__qualname__)


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
        self._is_lenient = False

    def describe(self, thing: Any, where: str) -> Any:
        if isinstance(thing, bool | str | int | None) and is_library(type(thing)):
            return thing
        if isinstance(thing, float) and is_library(type(thing)):
            return thing if math.isfinite(thing) else str(thing)
        if id(thing) in self._open:
            code = unwrapped(thing)
            if isinstance(code, type | FunctionType):  # functions that call each other
                return {"name": code.__qualname__}
            return self._refusal(thing, f"{where} refers to itself, which a record cannot hold")
        self._open.append(id(thing))
        try:
            return self._compound(thing, where)
        finally:
            self._open.pop()

    def _compound(self, thing: Any, where: str) -> Any:
        if isinstance(thing, Path | range | np.dtype):
            return str(thing)
        if type(thing) is object or (isinstance(thing, ModuleType) and is_library(thing)):
            return {"name": getattr(thing, "__name__", "object")}
        if isinstance(thing, enum.Enum):
            return self._member(thing, where)
        if _is_own_value(thing):
            return self._record(thing, _held_in(thing), where)
        if isinstance(thing, bytes):
            return {"bytes": len(thing), "sha256": _sha256(thing)}
        if isinstance(thing, _BY_VALUE):
            return self._by_value(thing, where)
        if isinstance(thing, Mapping):
            return {str(key): self.describe(value, f"{where}[{key!r}]") for key, value in thing.items()}
        if isinstance(thing, tuple) and hasattr(thing, "_fields"):
            return self._record(thing, thing._asdict(), where)  # pyright: ignore[reportAttributeAccessIssue]
        if isinstance(thing, list | tuple):
            return _short([self.describe(value, f"{where}[{place}]") for place, value in enumerate(thing)])
        if isinstance(thing, Set):
            return _short(sorted((self.describe(value, where) for value in thing), key=json.dumps))
        if _is_array(thing):
            return self.describe(thing.tolist(), where) if thing.dtype == object else _array(thing)
        if isinstance(thing, functools.partial):
            arguments = {str(place): value for place, value in enumerate(thing.args)} | thing.keywords
            return {"partial": self.describe(thing.func, where), "arguments": self.describe(arguments, where)}
        if isinstance(thing, MethodType):
            return {"method": thing.__name__, "of": self.describe(thing.__self__, where)}
        code = unwrapped(thing)
        if rules := {} if _is_named(code) else rules_of(thing):
            self._sources.add(id(thing))
            return {"function": self.describe(code, where), "rules": self.describe(rules, where)}
        if isinstance(code, type | FunctionType) or inspect.isbuiltin(code) or _is_named(code):
            return self._code(code, where)
        if dataclasses.is_dataclass(thing):
            return self._record(thing, {it.name: getattr(thing, it.name) for it in dataclasses.fields(thing)}, where)
        if isinstance(thing, ModuleType) or not _has_only_fields(thing):
            return self._refusal(thing, f"{where} is {thing!r}, which a record cannot describe")
        return self._record(thing, vars(thing), where)

    def _record(self, thing: Any, values: Mapping[str, Any], where: str) -> dict[str, Any]:
        """Return the class, and its source if it is an own one, with all fields."""
        cls = type(thing)
        described: dict[str, Any] = {"class" if "name" in values else "name": cls.__name__}
        if not is_library(cls):
            described["source"] = self.source(cls, where)
        fields = {name: self.describe(value, f"{where}.{name}") for name, value in values.items()}
        return {**described, "fields": fields} if described.keys() & fields.keys() else described | fields

    def _member(self, member: enum.Enum, where: str) -> Any:
        """Return the name of a member of an enumeration; of an own one also its value, and the source of its class."""
        cls, name = type(member), f"{type(member).__name__}.{member.name}"
        if is_library(cls):
            return name
        source = {} if id(cls) in self._sources else {"source": self.source(cls, where)}
        return {"name": name, **source, "value": self.describe(member.value, f"{where}.value")}

    def _by_value(self, thing: Any, where: str) -> dict[str, Any]:
        reduced = copyreg.dispatch_table.get(type(thing), lambda it: it.__reduce_ex__(2))
        made, arguments, *rest = reduced(thing)
        held = {"from": made, "arguments": arguments, "items": list(rest[1] or ()) if len(rest) > 1 else []}
        return {"name": type(thing).__name__} | {name: self.describe(it, where) for name, it in held.items() if it}

    def _code(self, code: Any, where: str) -> dict[str, Any]:
        owner = getattr(code, "__self__", None)
        if inspect.isbuiltin(code) and not isinstance(owner, ModuleType | None):
            return {"method": code.__name__, "of": self.describe(owner, where)}
        if is_library(code):
            described = {"name": ".".join(home_of(code))}
            held = {} if is_named_by_library(code) else held_by(code)
        else:
            described = {"name": code.__qualname__, "source": self.source(code, where)}
            held = held_by(code)
        if not held:
            return described
        # A library's decorator may hold what nobody can describe, beside the function that it decorates.
        is_decorator = is_library(code) and hasattr(code, "__wrapped__")
        return described | {"closure": self._leniently(held, where) if is_decorator else self.describe(held, where)}

    def _refusal(self, thing: Any, what: str) -> Any:
        """Return what is known of a value that own code names, or has in its class: of what kind it is; else refuse."""
        if self._is_lenient:
            return {"type": type(thing).__qualname__}
        raise TypeError(f"{what}; {_REMEDY}")

    def source(self, code: Any, where: str) -> str:
        """Return the fingerprint of own code, of what its functions hold, and of all own code and values it names."""
        self._sources.add(id(code))
        functions = functions_of(code)
        parts = [source_text(it) for it in (code, *functions)]
        for function in functions:
            held = {name: value for name, value in held_by(function).items() if value is not code}
            parts.append(json.dumps(self.describe(held, f"{where}.{function.__name__}"), sort_keys=True))
        named = {f"base {base.__qualname__}": base for base in base_classes(code)} | class_values(code)
        attributes: set[str] = set()
        for function in functions:
            globals_, its_attributes, imported = names_in(function)
            attributes |= its_attributes
            named |= {name: function.__globals__[name] for name in globals_ if name in function.__globals__}
            parts += [f"import {name} {text}" for name, text in own_imports(function, imported)]
        modules: dict[str, ModuleType] = {}
        while new := own_modules(named.values()).items() - modules.items():
            modules |= dict(new)
            for name, module in sorted(new):
                parts.append(module_text(module))
                named |= {f"{name}.{it}": vars(module)[it] for it in attributes & vars(module).keys()}
        parts += [f"{name}={self._named(named[name], f'{where}: {name}')}" for name in sorted(named)]
        return _sha256("\n".join(parts).encode())[:_DIGITS]

    def _named(self, value: Any, where: str) -> str:
        """Return what a value that own code names decides."""
        code = unwrapped(value)
        if isinstance(code, ModuleType):
            return code.__name__
        if not rules_of(value) and not _is_own_value(value):
            value = code
        if isinstance(code, type | FunctionType) and id(value) in self._sources:
            return code.__qualname__
        return json.dumps(self._leniently(value, where), sort_keys=True)

    def _leniently(self, value: Any, where: str) -> Any:
        was_lenient, self._is_lenient = self._is_lenient, True
        try:
            return self.describe(value, where)
        finally:
            self._is_lenient = was_lenient


_REMEDY = "make it numbers, texts, arrays, a dataclass of them or a function defined with def, or run without a folder"


def _is_array(thing: Any) -> bool:
    """Is this an array of a library, or a random key? Spaces of Gymnasium have dtype and shape too, but no content."""
    has_content = hasattr(thing, "__array__") or hasattr(thing, "aval")
    return has_content and hasattr(thing, "dtype") and hasattr(thing, "shape") and not isinstance(thing, type)


def _has_only_fields(thing: Any) -> bool:
    """Is all that an object holds in its `__dict__`, as of a class without slots, and none of it in C as of a file?"""
    return hasattr(thing, "__dict__") and type(thing).__basicsize__ <= _PLAIN_SIZE


def _is_own_value(thing: Any) -> bool:
    """Is this an object of an own class that holds fields, and the content of a class of Python, and no more?"""
    if isinstance(thing, type) or is_library(type(thing)):
        return False
    base = solid_base(type(thing))
    if base in _WITH_CONTENT:
        return True
    return base.__basicsize__ <= _PLAIN_SIZE and not (dataclasses.is_dataclass(thing) or hasattr(thing, "_fields"))


def _held_in(thing: Any) -> dict[str, Any]:
    """Return the fields of an object of an own class, and its content."""
    base = solid_base(type(thing))
    return fields_in(thing) | ({"content": base(thing)} if base in _WITH_CONTENT else {})


def _is_named(code: Any) -> bool:
    return callable(code) and hasattr(code, "__name__") and is_named_by_library(code)


def _argument(argument: Any) -> str:
    """Return a value as it is written; only the name of what is written with its place in memory, or at length."""
    if isinstance(argument, tuple | list):
        return f"({', '.join(map(_argument, argument))})"
    return repr(argument) if isinstance(argument, int | float | str | None) else name_of(argument)


def _short(described: list[Any]) -> Any:
    if len(described) <= _LONGEST_LIST:
        return described
    return {"list": len(described), "sha256": _sha256(json.dumps(described).encode())}


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


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]
