"""Pages as one HTML file that needs nothing else: styles and figures are inside."""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Sequence
from html import escape

from perdure.report.blocks import Block, Heading, Paragraph, Picture, Table

_STYLE = """
:root { color-scheme: light; }
body { margin: 0 auto; padding: 1rem; max-width: 60rem; background: #fff; color: #222;
       font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1, h2, h3 { line-height: 1.25; }
h2 { margin-top: 3rem; padding-top: 1rem; border-top: 1px solid #ddd; }
h3 { margin-top: 2rem; }
p { max-width: 46rem; }
code { background: #f3f3f3; padding: .1em .3em; border-radius: .2em; font-size: .9em; }
.wide { overflow-x: auto; margin: 1rem 0; }
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


def html_page(blocks: Sequence[Block]) -> str:
    """Return a page; its title is its first heading."""
    title = next(block.text for block in blocks if isinstance(block, Heading))
    body = "\n".join(_html(block) for block in blocks)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _html(block: Block) -> str:
    if isinstance(block, Heading):
        return f"<h{block.level}>{_inline(block.text)}</h{block.level}>"
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

    bold = [[column for at, column in table.bold if at == place] for place in range(len(table.rows))]
    rows = "\n".join(row("td", cells, its) for cells, its in zip(table.rows, bold, strict=True))
    head = f"<thead>{row('th', table.headers, ())}</thead>"
    return f'<div class="wide"><table>\n{head}\n<tbody>\n{rows}\n</tbody>\n</table></div>'


def _cell(text: str, *, bold: bool) -> str:
    return f"<strong>{_inline(text)}</strong>" if bold else _inline(text)


def _attribute(cell: str, is_text: bool) -> str:
    classes = [name for name, given in (("text", is_text), ("long", len(cell) > _LONG)) if given]
    classes += [_CLASSES[cell]] if cell in _CLASSES else []
    return f' class="{" ".join(classes)}"' if classes else ""


def _inline(text: str) -> str:
    """Return text as HTML, code where there are backticks."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(text))
