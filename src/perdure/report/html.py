"""Pages as one HTML file that needs nothing else: styles and figures are inside."""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Sequence
from html import escape
from pathlib import Path

from perdure.report.blocks import Block, Heading, Paragraph, Picture, Table

_STYLE = """
:root { color-scheme: light; }
body { margin: 0 auto; padding: 1rem; max-width: 78rem; background: #fff; color: #222;
       font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1, h2, h3 { line-height: 1.25; }
h2 { margin-top: 3rem; padding-top: 1rem; border-top: 1px solid #ddd; }
h3 { margin-top: 2rem; }
p { max-width: 46rem; }
code { background: #f3f3f3; padding: .1em .3em; border-radius: .2em; font-size: .9em; }
.wide { overflow-x: auto; margin: 1rem 0; max-width: 100%; overflow-wrap: normal; }
nav ul { list-style: none; padding: 0; columns: 18rem; }
nav .level3 { padding-left: 1.2rem; }
a { color: #005a9c; }
th button { all: unset; cursor: pointer; font-weight: 600; }
th button::after { content: "\\2195" / ""; color: #767676; padding-left: .3em; font-weight: 400; }
th[aria-sort=ascending] button::after { content: "\\2191" / ""; color: inherit; }
th[aria-sort=descending] button::after { content: "\\2193" / ""; color: inherit; }
:focus-visible { outline: 2px solid #005a9c; outline-offset: 2px; }
details { margin: -.4rem 0 1.4rem; }
summary { cursor: pointer; }
.commands { padding-left: 1.2rem; }
.commands pre { white-space: pre-wrap; margin: .2rem 0 .6rem; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem 1rem .3rem 0; text-align: right; white-space: nowrap; vertical-align: top; }
th { border-bottom: 2px solid #222; }
td { border-bottom: 1px solid #e4e4e4; }
.text { text-align: left; }
.text:not(:first-child) { padding-left: .6rem; }
.long { white-space: normal; min-width: 16rem; }
.reached { color: #00704f; }
.missed { color: #b03a00; font-weight: 600; }
figure { margin: 1.5rem 0; }
figure img { display: block; width: 100%; min-width: 34rem; max-width: 48rem; height: auto; }
figcaption { max-width: 46rem; color: #555; font-size: .9rem; }
@media (max-width: 40rem) {
  h2 { margin-top: 2rem; }
  table { font-size: .78rem; }
  th, td { padding-right: .5rem; }
  figure img { min-width: 30rem; }
}
"""
_CLASSES = {"reached": "reached", "not reached": "missed"}
_LONG = 40  # characters, from which on a cell may be broken into lines


_SCRIPT = (Path(__file__).parent / "page.js").read_text(encoding="utf-8")
_MIN_CONTENTS = 3
"""Sections from which on a page has a list of them."""


def html_page(blocks: Sequence[Block]) -> str:
    """Return a page; its title is its first heading.

    A list of its sections stands before the first of them. Tables sort by a column at the press of its header, and what
    repeats a row's run can be shown and copied.
    """
    title = next(block.text for block in blocks if isinstance(block, Heading))
    parts = [_html(block, place) for place, block in enumerate(blocks)]
    sections = [place for place, it in enumerate(blocks) if isinstance(it, Heading) and it.level > 1]
    if len(sections) >= _MIN_CONTENTS:
        parts.insert(sections[0], _contents(blocks, sections))
    script = f"<script>\n{_SCRIPT}</script>\n" if any(isinstance(it, Table) for it in blocks) else ""
    body = "\n".join(parts)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n{body}\n{script}</body>\n</html>\n"
    )


def _contents(blocks: Sequence[Block], sections: Sequence[int]) -> str:
    """Return a list of links to the sections."""
    items = [
        f'<li class="level{block.level}"><a href="#part-{place}">{_inline(block.text)}</a></li>'
        for place in sections
        if isinstance(block := blocks[place], Heading)
    ]
    return "\n".join(['<nav aria-label="Contents"><ul>', *items, "</ul></nav>"])


def _html(block: Block, place: int) -> str:
    if isinstance(block, Heading):
        return f'<h{block.level} id="part-{place}">{_inline(block.text)}</h{block.level}>'
    if isinstance(block, Paragraph):
        return f"<p>{escape(block.text) if block.is_literal else _inline(block.text)}</p>"
    if isinstance(block, Picture):
        data = base64.b64encode(block.svg).decode("ascii")
        picture = f'<img src="data:image/svg+xml;base64,{data}" alt="{escape(block.caption)}">'
        return f'<figure><div class="wide">{picture}</div><figcaption>{_inline(block.caption)}</figcaption></figure>'
    return _table(block)


def _table(table: Table) -> str:
    def row(tag: str, cells: Sequence[str], bold: Collection[int]) -> str:
        inside = (
            f"<{tag}{_attribute(cell, number in table.text_columns)}>{_cell(cell, bold=number in bold)}</{tag}>"
            for number, cell in enumerate(cells)
        )
        return f"<tr>{''.join(inside)}</tr>"

    commands = table.commands or [None] * len(table.rows)
    bold = [[column for at, column in table.bold if at == place] for place in range(len(table.rows))]
    rows = "\n".join(row("td", cells, its) for cells, its in zip(table.rows, bold, strict=True))
    head = f"<thead>{row('th', table.headers, ())}</thead>"
    shown = (
        f'<div class="wide" tabindex="0"><table class="sortable">\n{head}\n<tbody>\n{rows}\n</tbody>\n</table></div>'
    )
    return shown + _commands([(cells[0], it) for cells, it in zip(table.rows, commands, strict=True) if it is not None])


def _commands(named: Sequence[tuple[str, str]]) -> str:
    """Return what repeats the runs of rows, folded away."""
    if not named:
        return ""
    items = [
        f'<li>{escape(name)} <button type="button" class="copy">copy</button>'
        f'<pre tabindex="0"><code>{escape(it)}</code></pre></li>'
        for name, it in named
    ]
    first = '\n<details><summary>Commands that repeat these runs</summary><ul class="commands">'
    return "\n".join([first, *items, "</ul></details>"])


def _cell(text: str, *, bold: bool) -> str:
    return f"<strong>{_inline(text)}</strong>" if bold else _inline(text)


def _attribute(cell: str, is_text: bool) -> str:
    classes = [name for name, given in (("text", is_text), ("long", len(cell) > _LONG)) if given]
    classes += [_CLASSES[cell]] if cell in _CLASSES else []
    return f' class="{" ".join(classes)}"' if classes else ""


def _inline(text: str) -> str:
    """Return text as HTML, code where there are backticks."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(text))
