"""The source of code: whose it is, its text, and all that it refers to.

The text in a file is that of the code that runs only as long as nobody has edited the file since it was imported;
after that, and for code that has no file, the compiled code stands in its place.
"""

from __future__ import annotations

import ast
import dis
import functools
import inspect
import linecache
import os
import site
import sys
import sysconfig
import textwrap
from collections.abc import Iterable, Iterator, Set
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

_PATHS = {sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
_LIBRARIES = tuple(path + os.sep for path in {*_PATHS, *site.getsitepackages(), site.getusersitepackages()})
_HEAP_TYPE = 1 << 9  # a class that was made while a program ran
_GENERATED = {"__init__", "__repr__", "__eq__", "__lt__", "__le__", "__gt__", "__ge__", "__hash__", "__replace__"}
"""What dataclasses generate, from fields that are described themselves."""
_RULES = ("fwd", "bwd", "jvp", "vmap_rule", "nondiff_argnums", "symbolic_zeros")
"""Attributes in which `jax.custom_vjp`, `jax.custom_jvp` and their like hold what is registered with them."""
_COPIED = {*functools.WRAPPER_ASSIGNMENTS, "__type_params__"}


def unwrapped(thing: Any) -> Any:
    """Return the function inside what is no function of Python itself, such as `jax.jit` makes."""
    while callable(thing) and not isinstance(thing, type | FunctionType | MethodType):
        inside = getattr(thing, "__wrapped__", None)
        if inside is None:
            break
        thing = inside
    return thing


def rules_of(thing: Any) -> dict[str, Any]:
    """Return what decorators of JAX hold besides the function: its derivatives, how it is batched."""
    rules: dict[str, Any] = {}
    while not isinstance(thing, type | FunctionType) and "__wrapped__" in (held := getattr(thing, "__dict__", {})):
        rules |= {name: held[name] for name in _RULES if held.get(name) not in (None, (), False)}
        thing = held["__wrapped__"]
    return rules


def fields_in(thing: Any) -> dict[str, Any]:
    """Return what an object holds in its `__dict__` and in slots; not what `functools.wraps` copies."""
    held = {name: value for name, value in getattr(thing, "__dict__", {}).items() if name not in _COPIED}
    for cls in type(thing).__mro__:
        slots = vars(cls).get("__slots__", ())
        for slot in [slots] if isinstance(slots, str) else slots:
            is_private = slot.startswith("__") and not slot.endswith("__")
            name = f"_{cls.__name__.lstrip('_')}{slot}" if is_private else slot
            if slot not in ("__dict__", "__weakref__") and hasattr(thing, name):
                held[name] = getattr(thing, name)
    return held


def solid_base(cls: type) -> type:
    """Return the class of a library that decides what an object of an own class holds besides fields."""
    while not is_library(cls):
        cls = cls.__base__ or object
    return cls


def is_library(code: Any) -> bool:
    """Does code belong to an installed library, to Python or to perdure itself?"""
    return _is_in_library(home_of(code)[0])


def is_named_by_library(code: Any) -> bool:
    """Is code what a library has under its name, so that the name tells all of it?"""
    module = _public_module(code)
    found: Any = sys.modules.get(module)
    for name in _name_of(code).split("."):
        found = getattr(found, name, None)
    return _is_in_library(module) and unwrapped(found) is code


def home_of(code: Any) -> tuple[str, str]:
    """Return the module of code and its name there; of what a decorator of a library returns, the library's."""
    if isinstance(code, ModuleType):
        return code.__name__, ""
    module, name = _public_module(code), _name_of(code)
    if not isinstance(code, FunctionType) or is_named_by_library(code):
        return module, name
    # Decorators copy the module and the name of what they decorate.
    return code.__globals__.get("__name__", module), code.__code__.co_qualname


def source_text(code: Any) -> str:
    """Return the source of a class or function without comments and layout, or its compiled code."""
    return _class_text(code) if isinstance(code, type) else _function_text(code)


def module_text(module: ModuleType) -> str:
    """Return the name and the source of a module without comments and layout."""
    return f"{module.__name__} {_file_text(getattr(module, '__file__', None))}"


def functions_of(code: Any) -> list[FunctionType]:
    """Return a function itself; of a class the own functions that it defines: methods, properties and so on."""
    if isinstance(code, FunctionType):
        return [code]
    return [it for member in vars(code).values() for it in _parts_of(member) if _is_own_function(it)]


def class_values(code: Any) -> dict[str, Any]:
    """Return the values that a class has besides functions: constants, defaults of fields; none of a function."""
    if not isinstance(code, type):
        return {}
    return {
        name: value
        for name, value in vars(code).items()
        if not name.startswith("__") and not any(isinstance(it, FunctionType) for it in _parts_of(value))
    }


def base_classes(code: Any) -> list[type]:
    """Return the own classes that a class inherits from, and its own metaclasses; none of a function."""
    if not isinstance(code, type):
        return []
    return [base for base in (*code.__mro__[1:], *inspect.getmro(type(code))) if not is_library(base)]


def held_by(function: Any) -> dict[str, Any]:
    """Return the values that a function holds besides its source: those of enclosing functions, and its defaults."""
    if not isinstance(function, FunctionType):
        return {}
    held = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with suppress(ValueError):  # a cell that is empty still
            held[name] = cell.cell_contents
    held |= {f"default {place}": value for place, value in enumerate(function.__defaults__ or ())}
    held |= {f"default {name}": value for name, value in (function.__kwdefaults__ or {}).items()}
    return {name: value for name, value in held.items() if value is not function}


def names_in(function: FunctionType) -> tuple[Set[str], Set[str], Set[str]]:
    """Return the names of globals, of attributes and of imported modules that a function refers to."""
    globals_, attributes, imported = set(), set(), set()
    for code in _codes_in(function.__code__):
        attributes |= set(code.co_names)
        for instruction in dis.get_instructions(code):
            if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
                globals_.add(instruction.argval)
            if instruction.opname == "IMPORT_NAME":
                imported.add(instruction.argval)
    return globals_, attributes, imported


def own_modules(values: Iterable[Any]) -> dict[str, ModuleType]:
    """Return those among some values that are modules of nobody's library, by name."""
    return {it.__name__: it for it in values if isinstance(it, ModuleType) and not is_library(it)}


def own_imports(function: FunctionType, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield name and source of own modules that a function imports when it is called."""
    package = function.__globals__.get("__package__")
    for name in sorted(names):
        for full in [name, f"{package}.{name}"] if package else [name]:
            with suppress(ImportError, ValueError):
                spec = find_spec(full)
                if spec is not None and spec.origin is not None and not _is_in_library(full, spec.origin):
                    yield full, _file_text(spec.origin)


def _public_module(code: Any) -> str:
    """Return the module that code is said to be of; none for what was made in no module, as by `exec`."""
    module = getattr(code, "__module__", None) or "builtins"
    is_made_here = isinstance(code, FunctionType) or (isinstance(code, type) and bool(code.__flags__ & _HEAP_TYPE))
    return "" if module == "builtins" and is_made_here else module


def _name_of(code: Any) -> str:
    return getattr(code, "__qualname__", None) or getattr(code, "__name__", type(code).__name__)


def _is_in_library(name: str, file: str | None = None) -> bool:
    if name.partition(".")[0] in ("perdure", "builtins"):
        return True
    file = file or getattr(sys.modules.get(name), "__file__", None)
    return name in sys.builtin_module_names if file is None else file.startswith(_LIBRARIES)


def _is_own_function(thing: Any) -> bool:
    return isinstance(thing, FunctionType) and not is_library(thing) and not _is_generated(thing)


def _is_generated(function: FunctionType) -> bool:
    return function.__name__ in _GENERATED and function.__code__.co_filename == "<string>"


def _parts_of(member: Any) -> list[Any]:
    """Return the functions that a member of a class is made of, or the member itself."""
    if isinstance(member, property):
        return [it for it in (member.fget, member.fset, member.fdel) if it is not None]
    if isinstance(member, functools.cached_property):
        return [member.func]
    return [unwrapped(getattr(member, "__func__", member))]


def _class_text(cls: type) -> str:
    try:
        return ast.unparse(ast.parse(textwrap.dedent(inspect.getsource(cls))))
    except (OSError, TypeError, SyntaxError):  # no file, as in an interactive session
        return cls.__qualname__


def _function_text(function: FunctionType) -> str:
    code = function.__code__
    linecache.checkcache(code.co_filename)
    tree, codes = _parsed("".join(linecache.getlines(code.co_filename, function.__globals__)))
    nodes = [node for node in ast.walk(tree) if _may_be_of(node, code)]
    if not nodes or code not in codes:
        return _compiled_text(code)
    return ast.unparse(min(nodes, key=_extent))


@functools.lru_cache(maxsize=32)
def _parsed(text: str) -> tuple[ast.Module, frozenset[CodeType]]:
    """Return the syntax tree of a file, and all that it compiles to."""
    try:
        return ast.parse(text), frozenset(_codes_in(compile(text, "", "exec", dont_inherit=True)))
    except SyntaxError:  # it is being edited
        return ast.Module([], []), frozenset()


def _may_be_of(node: ast.AST, code: CodeType) -> bool:
    """Is this the definition of the code, or a lambda around it?"""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        first = min([node.lineno, *(it.lineno for it in node.decorator_list)])
        return node.name == code.co_name and first == code.co_firstlineno
    if not isinstance(node, ast.Lambda) or code.co_name != "<lambda>" or node.lineno != code.co_firstlineno:
        return False
    body = node.body
    begin, end = (body.lineno, body.col_offset), (body.end_lineno or 0, body.end_col_offset or 0)
    # The first instructions have no place in the text.
    places = [place for place in code.co_positions() if None not in place and place[2:] != (0, 0)]
    return all(begin <= (line, column) and (last, to) <= end for line, last, column, to in places)


def _extent(node: Any) -> tuple[int, int]:
    return node.end_lineno - node.lineno, node.end_col_offset - node.col_offset


@functools.lru_cache(maxsize=256)
def _text_without_layout(text: str) -> str:
    return ast.unparse(ast.parse(text))


def _file_text(file: str | None) -> str:
    if file is None or not file.endswith(".py"):
        return str(file and Path(file).name)
    try:
        return _text_without_layout(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError):
        return Path(file).name


def _codes_in(code: CodeType) -> Iterator[CodeType]:
    """Yield code and all code inside it."""
    yield code
    for it in code.co_consts:
        if isinstance(it, CodeType):
            yield from _codes_in(it)


def _compiled_text(code: CodeType) -> str:
    inner = [_compiled_text(it) if isinstance(it, CodeType) else _constant_text(it) for it in code.co_consts]
    return f"{code.co_code.hex()} {code.co_names} {inner}"


def _constant_text(constant: Any) -> str:
    return repr(sorted(map(repr, constant)) if isinstance(constant, frozenset) else constant)
