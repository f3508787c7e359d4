"""Blocks as Markdown and as one HTML file."""

import base64
import re
from html.parser import HTMLParser

from perdure.report.blocks import Heading, Paragraph, Picture, Table
from perdure.report.html import html_page
from perdure.report.markdown import aligned_markdown, markdown_page

BLOCKS = [
    Heading(1, "Results <1>"),
    Paragraph("Written by `a & b`."),
    Table(["name", "n", "verdict"], [["a", "1", "reached"], ["<b>", "22", "not reached"]], text_columns=(0, 2)),
    Picture(b"<svg/>", 'A "figure"'),
]


class Elements(HTMLParser):
    """Notes elements and checks that they are closed in order."""

    def __init__(self):
        super().__init__()
        self.found, self.open, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def elements_of(blocks):
    parser = Elements()
    parser.feed(html_page(blocks))
    assert parser.open == []
    return parser


def test_markdown_tables_line_up():
    table = aligned_markdown(["name", "n"], [["a", "1"], ["longer", "1000"]], text_columns=(0,))
    assert table.splitlines() == [
        "| name   |    n |",
        "| ------ | ---: |",
        "| a      |    1 |",
        "| longer | 1000 |",
    ]


def test_markdown_leaves_pictures_out():
    assert markdown_page([Heading(2, "Title"), BLOCKS[3], Paragraph("text")]) == "## Title\n\ntext\n"


def test_html_needs_nothing_else():
    page = html_page(BLOCKS)
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)
    assert "<script src" not in page
    assert "url(" not in page
    assert "http" not in page


def test_html_is_well_formed_and_text_stays_text():
    parser = elements_of(BLOCKS)
    assert "Results <1>" in parser.text
    assert "a & b" in parser.text
    assert "<b>" in parser.text
    assert ("code", {}) in parser.found
    assert [tag for tag, _ in parser.found if tag == "b"] == []


def test_html_holds_the_figure_and_says_what_it_is():
    ((_, image),) = (it for it in elements_of(BLOCKS).found if it[0] == "img")
    assert base64.b64decode(image["src"].removeprefix("data:image/svg+xml;base64,")) == b"<svg/>"
    assert image["alt"] == 'A "figure"'


def test_verdicts_are_told_apart():
    classes = [attributes.get("class", "") for tag, attributes in elements_of(BLOCKS).found if tag == "td"]
    assert classes == ["text", "", "text reached", "text", "", "text missed"]


def test_a_page_of_several_sections_lists_them_before_the_first():
    sections = [Heading(2, "One & two"), Heading(3, "Part"), Heading(2, "Three")]
    page = html_page([Heading(1, "Title"), Paragraph("text"), *sections])
    links = re.findall(r'<a href="#([^"]+)">([^<]+)</a>', page)
    assert [text for _, text in links] == ["One &amp; two", "Part", "Three"]
    for target, text in links:
        assert re.search(rf'<h\d id="{target}">{text}</h\d>', page)
    assert page.index("<nav") < page.index("<h2")
    assert "<nav" not in html_page([Heading(1, "Title"), *sections[:2]])


def test_a_table_shows_what_repeats_its_runs():
    table = Table(["name"], [["<a>"], ["own"]], (0,), commands=["perdure run er <b>", None])
    page = html_page([Heading(1, "Title"), table])
    assert "<code>perdure run er &lt;b&gt;</code>" in page
    assert page.count('class="copy"') == 1
    assert "&lt;a&gt; <button" in page
    assert "<details" not in html_page(BLOCKS)
