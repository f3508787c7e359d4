"""What the command line says at once, before it loads what the command needs."""

from __future__ import annotations

from collections.abc import Sequence

from perdure.machine.status import STATUS

_LASTING = ("run", "resume", "tune", "report", "reproduce", "features", "oml", "rl", "data")


def announce(arguments: Sequence[str]) -> None:
    """Say on standard error that a command which takes its time is loading, unless it was asked to be quiet."""
    words = label(arguments)
    if words and "--quiet" not in arguments and not asks_for_help(arguments):
        STATUS.show(f"{words}: loading …")


def asks_for_help(arguments: Sequence[str]) -> bool:
    """Tell whether a command line asks for help or the version, or gives no command."""
    return not _words(arguments) or any(it in arguments for it in ("--help", "-h", "--version"))


def label(arguments: Sequence[str]) -> str:
    """Return a command in a few words, as "mer on digits-rotations"; empty if it lasts for no time or is incomplete."""
    command, *words = _words(arguments) or [""]
    if command not in _LASTING or not words:
        return ""
    if command == "rl" and words[0] == "train":
        command, *words = words
    if command in ("run", "tune", "train") and len(words) > 1:
        return f"{words[0]} on {words[1]}"
    return " ".join([command, *words[:2]])


def _words(arguments: Sequence[str]) -> list[str]:
    """Return the arguments before the first option."""
    given = [it for it in arguments if it != "--debug"]
    first_option = next((place for place, it in enumerate(given) if it.startswith("-")), len(given))
    return given[:first_option]
