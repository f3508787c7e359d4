"""A class is either abstract or final: nothing overrides a concrete method, and no concrete class is derived from."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from importlib import import_module
from pathlib import Path

import pytest

import perdure

PACKAGE = Path(perdure.__file__).parent
MODULES = [
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted(PACKAGE.rglob("*.py"))
    if path.name != "__main__.py"
]


def classes():
    for name in MODULES:
        module = import_module(name)
        yield from (it for it in vars(module).values() if inspect.isclass(it) and it.__module__ == name)


def own_bases(cls):
    return [it for it in cls.__mro__[1:] if it.__module__.partition(".")[0] == "perdure" or it.__module__ == __name__]


def overridden(cls):
    """Return the concrete methods of bases that a class overrides; dunder methods are those of Python's protocols."""
    return [
        f"{cls.__qualname__}.{name} overrides {base.__qualname__}.{name}"
        for base in own_bases(cls)
        for name, method in vars(base).items()
        if name in vars(cls) and not name.startswith("__") and is_concrete(method)
    ]


def is_concrete(method):
    function = getattr(method, "fget", None) or getattr(method, "func", None) or getattr(method, "__func__", method)
    return inspect.isfunction(function) and not getattr(function, "__isabstractmethod__", False)


@pytest.mark.parametrize("module", sorted({name.partition(".")[2].partition(".")[0] for name in MODULES} - {""}))
def test_nothing_overrides_a_concrete_method(module):
    found = [text for cls in classes() if cls.__module__.startswith(f"perdure.{module}") for text in overridden(cls)]
    assert found == []


class Abstract(ABC):
    @abstractmethod
    def step(self) -> int:
        """Must be given."""

    def walk(self) -> int:
        return self.step()

    @property
    def length(self) -> int:
        return 1


class Final(Abstract):
    def step(self) -> int:
        return 1


class OverridesAMethod(Abstract):
    def step(self) -> int:
        return 1

    def walk(self) -> int:
        return 2


class OverridesAProperty(Final):
    @property
    def length(self) -> int:
        return 2


class OverridesAFinalClass(Final):
    def step(self) -> int:
        return 2


@pytest.mark.parametrize(
    ("cls", "methods"),
    [(Final, []), (OverridesAMethod, ["walk"]), (OverridesAProperty, ["length"]), (OverridesAFinalClass, ["step"])],
)
def test_the_check_sees_what_is_overridden(cls, methods):
    assert [text.split()[0].partition(".")[2] for text in overridden(cls)] == methods
