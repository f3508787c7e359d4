"""Messages in terms of what is typed: Python's names of options become those of the command line.

What raises an error does not know whether a person typed a command or called a function; it writes an option as
`hides_tasks=True`, `hides_tasks is True`, or `hides_tasks` alone. The command that is running knows its options.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_TYPED: dict[str, str] = {}
"""Options of the command that is running, by their names in Python."""
_PLAIN_VALUE = r"'[^']*'|\[[^\]]*\]|-?\d(?:[\w.,+-]*\w)?|True\b|False\b|None\b"
_VALUE = rf"{_PLAIN_VALUE}|\w+|…"
_CALL = re.compile(r"(\w\((?:[^()]|\([^()]*\))*\))")
_START = r"(?<![\w.\-/='\"])"
"""What an option does not follow: part of another word, of a path, of METHOD.NAME=VALUE, of an own quotation."""


def speak_of(options: Mapping[str, str]) -> None:
    """Say which options the command that is running has; messages use their names from now on.

    Args:
        options: as they are typed, by their names in Python: {"hides_tasks": "--hide-tasks"}.
    """
    _TYPED.clear()
    _TYPED.update(options)


def as_typed(text: str) -> str:
    """Return a message with the options of the command that is running as they are typed."""
    return spelled(text, _TYPED)


def spelled(text: str, options: Mapping[str, str]) -> str:
    """Return a message with options as they are typed; calls and definitions in Python stay as they are.

    Args:
        text: the message.
        options: as they are typed, by their names in Python. Names of one word are recognised only where a value
            follows them, or among other options, for they may be words of a sentence.
    """
    if not options:
        return text
    return "".join(it if n % 2 else _spelled(it, options) for n, it in enumerate(_CALL.split(text)))


def _spelled(text: str, options: Mapping[str, str]) -> str:
    name = "|".join(sorted(options, key=len, reverse=True))
    compound = "|".join(it for it in sorted(options, key=len, reverse=True) if "_" in it)
    values = rf"{_START}\w+ = (?:{_VALUE})(?:, \w+ = (?:{_VALUE}))*(?P<refused>(?=, expected))?"
    text = re.sub(values, lambda it: _values(it[0], options, is_refused=it["refused"] is not None), text)
    text = re.sub(rf"{_START}({name})=({_VALUE})", lambda it: _given(options[it[1]], it[2]), text)
    text = re.sub(
        rf"(?:^|(?<=[;,] )|(?<=\b(?:and|but) )){_START}({name}) is ({_PLAIN_VALUE})",
        lambda it: _stated(options[it[1]], it[2]),
        text,
    )
    text = re.sub(
        rf"{_START}(?:{name})(?:, (?:{name}))+\b(?![=\w])",
        lambda it: ", ".join(options[one] for one in it[0].split(", ")),
        text,
    )
    text = re.sub(rf"(?<=no option )({name})\b", lambda it: options[it[1]], text)
    return re.sub(rf"{_START}({compound})\b(?! ?=|[\w('])", lambda it: options[it[1]], text) if compound else text


def _values(text: str, options: Mapping[str, str], *, is_refused: bool) -> str:
    """Return values, one after another, as they are typed, if all of them are options."""
    pairs = [it.split(" = ") for it in text.split(", ")]
    if not all(name in options for name, _ in pairs):
        return text
    put = _stated if is_refused else _given
    return ", ".join(put(options[name], value) for name, value in pairs)


def _given(option: str, value: str) -> str:
    """Return how an option is given a value."""
    if value in ("True", "False", "None"):
        return option if value == "True" else f"no {option}"
    return f"{option} {_plain(value)}"


def _stated(option: str, value: str) -> str:
    """Return the statement that an option has a value."""
    if value in ("True", "False", "None"):
        return f"{option} is {'given' if value == 'True' else 'not given'}"
    return f"{option} is {_plain(value)}"


def _plain(value: str) -> str:
    """Return a value as it is typed: a text without quotes, a list with commas only."""
    if value.startswith("'"):
        return value if " " in value or value == "''" else value[1:-1]
    return value[1:-1].replace(" ", "") if value.startswith("[") else value
