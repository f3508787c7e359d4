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


def test_a_narrow_table_wraps_between_words_and_cuts_off_nothing():
    headers = [
        "method",
        "memory",
        "retained",
        "against ER",
        "p",
        "published",
        "learning",
        "prequential",
        "CPU ms",
        "kept kB",
    ]
    row = ["Ridge on random Fourier features", "–", "88.52 ± 0.23", "+19.60 ± 1.09", "0.062", "–", "87.83 ± 0.21"]
    row += ["80.10 ± 0.20", "0.971", "72,285"]
    file = io.StringIO()
    Console(file=file, width=100).print(terminal_page([Table(headers, [row], text_columns=(0,))]))
    words = file.getvalue().split()
    assert sorted(words) == sorted(" ".join([*headers, *row]).split())
