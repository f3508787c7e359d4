"""Pages in LaTeX, with tables of the package booktabs."""

from __future__ import annotations

import re
from collections.abc import Sequence

from perdure.report.blocks import Block, Heading, Paragraph, Picture, Table

_SECTIONS = {1: "section*", 2: "subsection*", 3: "subsubsection*"}
_ESCAPED = {
    **{character: f"\\{character}" for character in "#$%&_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\char34{}",  # \textquotedbl is not in the encoding that LaTeX begins with
    "[": "{[}",  # after \\ it would begin an optional argument
    "`": r"\textasciigrave{}",
    "–": r"\textendash{}",
    "±": r"$\pm$",
    "−": "$-$",
    "×": r"$\times$",
    "²": r"$^2$",
    "ⁿ": r"$^n$",
    "µ": r"$\mu$",
}
_ESCAPE = str.maketrans(_ESCAPED)


def latex_page(blocks: Sequence[Block]) -> str:
    r"""Return a page to be put into a document with \usepackage{booktabs}, without its pictures."""
    parts = [_latex(block) for block in blocks if not isinstance(block, Picture)]
    return "% needs \\usepackage{booktabs}, and {textcomp} before LaTeX 2020\n\n" + "\n\n".join(parts) + "\n"


def _latex(block: Heading | Paragraph | Table) -> str:
    if isinstance(block, Heading):
        return f"\\{_SECTIONS[block.level]}{{{_text(block.text)}}}"
    if isinstance(block, Paragraph):
        return _text(block.text) if block.is_literal else _with_code(block.text)
    columns = "".join("l" if place in block.text_columns else "r" for place in range(len(block.headers)))
    rows = [
        _row([_cell(cell, bold=(place, column) in block.bold) for column, cell in enumerate(cells)])
        for place, cells in enumerate(block.rows)
    ]
    head = _row([_text(header) for header in block.headers])
    lines = [f"\\begin{{tabular}}{{{columns}}}", r"\toprule", head, r"\midrule", *rows, r"\bottomrule"]
    return "\n".join([*lines, r"\end{tabular}"])


def _with_code(text: str) -> str:
    """Return text in which what stands between backticks is code."""
    parts = re.split(r"`([^`]*)`", text)
    return "".join(f"\\texttt{{{_text(it)}}}" if place % 2 else _text(it) for place, it in enumerate(parts))


def _row(cells: Sequence[str]) -> str:
    return f"{' & '.join(cells)} \\\\"


def _cell(text: str, *, bold: bool) -> str:
    return f"\\textbf{{{_text(text)}}}" if bold else _text(text)


def _text(text: str) -> str:
    """Return text as LaTeX that shows it, on one line; a minus sign before a number is one."""
    signed = re.sub(r"(?<!\S)-(?=\d)", "−", text)
    return re.sub(r"\s+", " ", signed).translate(_ESCAPE).replace("---", "-{}-{}-").replace("--", "-{}-")
