"""Classes that are looked up by name, imported only then; and options and commands as they are typed."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple


class Entry(NamedTuple):
    """Where a class is and what it is."""

    module: str
    class_name: str
    summary: str


def named_class(entries: Mapping[str, Entry], kind: str, name: str) -> Any:
    """Return the class called `name`.

    Args:
        entries: by name.
        kind: what the entries are, for the error message.
        name: one of the entries'.

    Raises:
        ValueError: naming the nearest known names.
    """
    if name not in entries:
        near = difflib.get_close_matches(name, entries, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"unknown {kind} {name!r}; {hint}Known: {', '.join(entries)}")
    entry = entries[name]
    return getattr(import_module(entry.module), entry.class_name)


def name_of_class(entries: Mapping[str, Entry], cls: type) -> str | None:
    """Return the name of a class, None if it is no entry's."""
    names = {(entry.module, entry.class_name): name for name, entry in entries.items()}
    return names.get((cls.__module__, cls.__name__))


def typed_option(name: str) -> str:
    """Return an option of the command line by its name in Python: `--hide-tasks` for "hides_tasks"."""
    return "--hide-tasks" if name == "hides_tasks" else f"--{name.replace('_', '-')}"


def typed_options(options: Mapping[str, Any]) -> list[str]:
    """Return options as they are typed, a word each; those that are None are left out."""
    words: list[str] = []
    for name, value in options.items():
        option = typed_option(name)
        if value is True:
            words.append(option)
        elif value is False:
            words.append(f"--no-{option.removeprefix('--')}")
        elif value is not None:
            words += [option, ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)]
    return words


def resume_command(folder: Path, *options: str) -> str:
    """Return the command that resumes the run in a folder."""
    return shlex.join(["perdure", "resume", str(folder), *options])
