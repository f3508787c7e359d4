"""What a command has measured, in a page that people write."""

from __future__ import annotations

from pathlib import Path

_MARKS = ("<!-- measured -->", "<!-- end -->")


def write_measured(path: Path, text: str) -> None:
    """Put a text between the marks of a page, in place of what stood there.

    Raises:
        ValueError: if the page does not have both marks.
    """
    before, start, rest = path.read_text(encoding="utf-8").partition(_MARKS[0])
    _, end, after = rest.partition(_MARKS[1])
    if not start or not end:
        raise ValueError(f"{path} has no {' and '.join(_MARKS)}; put them where the figures belong")
    path.write_text(f"{before}{start}\n\n{text}\n\n{end}{after}", encoding="utf-8")
