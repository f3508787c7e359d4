"""Tables of runs in every format: what users named stays text, and the best stands out."""

import csv
import io
from html.parser import HTMLParser

import pytest
from rich import table as rich_table
from rich.console import Group
from rich.text import Text

from perdure.report.blocks import Heading, Paragraph, Table
from perdure.report.csv_file import csv_file
from perdure.report.differences import pairings
from perdure.report.html import html_page
from perdure.report.latex import latex_page
from perdure.report.markdown import markdown_page
from perdure.report.runs import runs_blocks, values_of_runs
from perdure.report.tables import comparison_table, flat_table
from perdure.report.translation import headed, translated

HOSTILE = "a|b_c *d* `e` <i>f</i> $g$ 50% #1 & \\h{x} ~^ --"
TABLE = Table(["name", "x"], [[HOSTILE, "-1.50 ± 0.10"], ["plain", "2"]], (0,), [(1, 1)])
BLOCKS = [Heading(1, "Title"), Paragraph(f"Of {HOSTILE}", is_literal=True), Paragraph("Run `a_b`."), TABLE]


@pytest.fixture
def runs(made_up_run):
    return [made_up_run("er", retained=0.6), made_up_run("mer", retained=0.7)]


def test_markdown_shows_names_as_they_are():
    escaped = r"a\|b_c \*d\* \`e\` \<i\>f\</i\> \$g\$ 50% #1 \& \\h{x} \~^ --"
    page = markdown_page(BLOCKS)
    assert f"Of {escaped}\n" in page
    assert f"| {escaped} |" in page
    assert "Run `a_b`." in page
    assert "**2**" in page
    assert len({line.replace(r"\|", "").count("|") for line in page.splitlines() if line.startswith("|")}) == 1


def test_underscores_that_would_emphasize_are_escaped():
    assert r"| \_a\_ |" in markdown_page([Table(["n"], [["_a_"]], (0,))])


def test_latex_shows_names_as_they_are():
    page = latex_page(BLOCKS)
    escaped = (
        r"a\textbar{}b\_c *d* \textasciigrave{}e\textasciigrave{} "
        r"\textless{}i\textgreater{}f\textless{}/i\textgreater{} "
        r"\$g\$ 50\% \#1 \& \textbackslash{}h\{x\} \textasciitilde{}\textasciicircum{} -{}-"
    )
    assert f"Of {escaped}\n" in page
    assert rf"{escaped} & $-$1.50 $\pm$ 0.10 \\" in page
    assert r"Run \texttt{a\_b}." in page
    assert r"plain & \textbf{2} \\" in page
    assert r"\begin{tabular}{lr}" in page
    assert [page.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]


def test_html_shows_names_as_they_are():
    class Cells(HTMLParser):
        found, tags = [], []

        def handle_starttag(self, tag, attrs):
            self.tags.append(tag)

        def handle_data(self, data):
            self.found.append(data)

    parser = Cells()
    parser.feed(html_page([Heading(1, "Title"), BLOCKS[1]]))
    assert f"Of {HOSTILE}" in parser.found
    assert "i" not in parser.tags
    assert "code" not in parser.tags


def test_csv_holds_any_name():
    names = ["a,b", 'c "d"', "e\nf", HOSTILE]
    text = csv_file([Table(["name"], [[it] for it in names], (0,))])
    assert [row[0] for row in csv.reader(io.StringIO(text))] == ["name", *names]


def test_csv_computes_nothing_that_users_named():
    named = ["=HYPERLINK(1)", "+1", "-1", "@x", "\tx", "er"]
    text = csv_file([Table(["name", "x"], [[it, "-0.5"] for it in named], (0,))])
    read = list(csv.reader(io.StringIO(text)))[1:]
    assert read == [*([f"'{it}", "-0.5"] for it in named[:-1]), ["er", "-0.5"]]
    assert "'\rx" in csv_file([Table(["name"], [["\rx"]], (0,))])


def test_latex_has_quotation_marks_of_every_encoding():
    assert r"a \char34{}b\char34{}" in latex_page([Paragraph('a "b"', is_literal=True)])


def test_csv_has_all_digits_and_the_differences(runs):
    found = pairings(runs)
    rows = list(csv.DictReader(io.StringIO(csv_file([values_of_runs(runs, found)]))))
    for row, run in zip(rows, runs, strict=True):
        assert float(row["retained_accuracy"]) == run.summary.metrics["retained_accuracy"].mean
        assert float(row["retained_accuracy_ci95"]) == run.summary.metrics["retained_accuracy"].ci95
        assert row["folder"] == str(run.folder)
    assert rows[0]["difference"] == rows[0]["baseline"] == ""
    assert rows[1]["baseline"] == "er, memory 200"
    assert float(rows[1]["difference"]) == pytest.approx(2 / 30)
    assert float(rows[1]["p_value"]) == 2 / 32


def test_the_best_of_a_benchmark_is_bold(made_up_run, runs):
    other = made_up_run("online", {}, benchmark="digits-rotations", retained=0.9)
    table = flat_table([*runs, other])
    retained = table.headers.index("RA")
    assert (1, retained) in table.bold
    assert (0, retained) not in table.bold
    assert all(row != 2 for row, _ in table.bold)  # alone on its benchmark
    assert "**76.67 ± 1.96**" in markdown_page(runs_blocks(runs, pairings(runs)))
    cells = comparison_table([*runs, other]).columns[2].cells
    assert [it.style for it in cells if isinstance(it, Text)] == ["", "bold", ""]


def test_the_best_is_sought_among_runs_on_one_stream(made_up_run):
    short, long = {"examples_per_task": 60}, {"examples_per_task": 200}
    runs = [made_up_run(retained=it, options=options) for options, it in ((short, 0.6), (short, 0.7), (long, 0.9))]
    table = flat_table(runs)
    assert {row for row, place in table.bold if table.headers[place] == "RA"} == {1}


def test_what_costs_or_forgets_least_is_best(made_up_run):
    runs = [made_up_run("er", state_bytes=9_000), made_up_run("mer", state_bytes=1_000, retained=0.6)]
    table = flat_table(runs)
    assert {row for row, place in table.bold if table.headers[place] == "Kept kB"} == {1}
    assert {row for row, place in table.bold if table.headers[place] == "Forg."} == {0}


def test_tables_of_the_terminal_become_blocks():
    printed = rich_table.Table(caption="what [b]x[/b]")
    printed.add_column("a", justify="left")
    printed.add_column(Text("b"), justify="right")
    printed.add_row(Text("[red]"), "1", style="bold green")
    blocks = translated([Group(Text(" title\n"), printed)])
    assert blocks == [
        Paragraph("title", is_literal=True),
        Paragraph("what [b]x[/b]", is_literal=True),
        Table(["a", "b"], [["[red]", "1"]], [0], {(0, 0), (0, 1)}),
    ]
    assert headed(blocks, "Runs")[0] == Heading(1, "Runs")
    assert headed(headed(blocks, "Runs"), "Other")[0] == Heading(1, "Runs")
