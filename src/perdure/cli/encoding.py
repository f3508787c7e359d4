"""Printing on what cannot show every character."""

from __future__ import annotations

import codecs
import sys

STAND_INS = {
    "–": "-",
    "—": "-",
    "−": "-",
    "×": "x",
    "±": "+/-",
    "…": "...",
    "≥": ">=",
    "≤": "<=",
    "→": "->",
    "←": "<-",
    "²": "2",
    "β": "beta",
    "γ": "gamma",
    "α": "alpha",
    "Σ": "sum",
    "•": "*",
    "’": "'",
    "‘": "'",
    "“": '"',
    "”": '"',
    "▀": "#",
    "█": "#",
    "━": "-",
    "╸": "-",
    "╺": "-",
    "─": "-",
    "│": "|",
}
"""What is printed in the place of a character; ``?`` for all others."""

_HANDLER = "perdure.stand_in"


def never_fail_to_print() -> None:
    """Let standard output and standard error print a stand-in for what their encoding lacks."""
    codecs.register_error(_HANDLER, _stand_in)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # not so where a test or a notebook has put its own in their place
            stream.reconfigure(errors=_HANDLER)  # pyright: ignore[reportAttributeAccessIssue]


def _stand_in(error: UnicodeError) -> tuple[str, int]:
    """Return what to print for the characters that could not be encoded, and where to go on."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    failed = error.object[error.start : error.end]
    text = "".join(STAND_INS.get(character, "?") for character in failed)
    return text, error.end
