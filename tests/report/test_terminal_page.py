"""Pages for the terminal."""

import io

from rich.console import Console

from perdure.report.blocks import Heading, Paragraph, Picture, Table
from perdure.report.terminal_page import terminal_page


def test_a_page_is_printed_without_its_pictures_and_text_as_text():
    blocks = [
        Heading(1, "Title [red]"),
        Paragraph("Written by `perdure [b]`."),
        Table(["learner", "RA"], [["[/x]", "1.50"], ["mer", "20.25"]], text_columns=(0,)),
        Picture(b"<svg/>", "a caption"),
    ]
    file = io.StringIO()
    Console(file=file, width=60).print(terminal_page(blocks))
    lines = [line.rstrip() for line in file.getvalue().splitlines() if line.strip()]
    assert lines == ["Title [red]", "Written by perdure [b].", "learner     RA", "[/x]      1.50", "mer      20.25"]
