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


def test_no_word_is_broken_where_there_are_many_columns():
    measured = ("retained", "against ER", "learning", "prequential", "anytime", "worst case", "gap")
    headers = ["method", "memory", *measured, "CPU ms", "kept kB"]
    file = io.StringIO()
    row = ["La-MAML", "50", *["82.19 ± 10.73"] * len(measured), "0.0433", "145"]
    Console(file=file, width=100).print(terminal_page([Table(headers, [row], text_columns=(0,))]))
    printed = file.getvalue().split()
    assert all(printed.count(word) == 1 for header in headers for word in header.split())
