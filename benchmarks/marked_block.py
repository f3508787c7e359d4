"""What a command has measured, in a page that people write."""

from __future__ import annotations

from pathlib import Path

_END = "<!-- end -->"


def write_measured(path: Path, text: str, what: str | None = None) -> None:
    """Put a text between the marks of a page, in place of what stood there.

    Args:
        path: of the page.
        text: to put there.
        what: names the block, where a page has several.

    Raises:
        ValueError: if the page does not have both marks.
    """
    mark = "<!-- measured -->" if what is None else f"<!-- measured: {what} -->"
    before, start, rest = path.read_text(encoding="utf-8").partition(mark)
    _, end, after = rest.partition(_END)
    if not start or not end:
        raise ValueError(f"{path} has no {mark} and {_END}; put them where the figures belong")
    path.write_text(f"{before}{start}\n\n{text}\n\n{end}{after}", encoding="utf-8")
