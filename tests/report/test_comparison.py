"""The page of a comparison: who is first, by how much, and at what cost."""

import pytest

from perdure.records.methods import Method, MethodsRecord, MethodsRequest
from perdure.report.blocks import Heading, Paragraph, Picture, Table
from perdure.report.cells import cost_table, values_table
from perdure.report.comparison import best_first, comparison_blocks, comparison_table, save_comparison
from perdure.report.html import html_page
from perdure.report.markdown import markdown_page


@pytest.fixture
def compared(made_up_run, tmp_path):
    """Three methods, one of which is not finished."""
    runs = [
        made_up_run("online", {"learning_rate": 0.1}, retained=0.4, state_bytes=1_000),
        made_up_run("er", retained=0.6),
        made_up_run("mer", retained=0.7),
    ]
    methods = [Method(it.learner, it.config["learner"]["hyperparameters"], it.folder.name) for it in runs]
    methods.append(Method("der", {}, "der-unfinished"))
    config = {"benchmark": {"name": "mnist-rotations", "options": {}}, "seeds": list(range(5)), "evaluation": "full"}
    return MethodsRecord(tmp_path, config, MethodsRequest(methods, "er", "perdure compare <all>"), True)


def column(table, header):
    return [row[table.headers.index(header)] for row in table.rows]


def bold_in(table, header):
    return {row for row, place in table.bold if place == table.headers.index(header)}


def test_those_that_retain_most_come_first(compared):
    assert [it.learner for it in best_first(compared.runs)] == ["mer", "er", "online"]


def test_differences_to_the_baseline_are_taken_seed_by_seed(compared):
    table = comparison_table(best_first(compared.runs), "er")
    assert column(table, "method") == ["MER", "ER", "Online"]
    # Retained: 0.9 on the last of three tasks, and 0.7, 0.6 or 0.4 on two; all seeds are shifted alike.
    assert column(table, "retained") == ["76.67 ± 1.96", "70.00 ± 1.96", "56.67 ± 1.96"]
    assert column(table, "against ER") == ["+6.67 ± 0.00", "–", "-13.33 ± 0.00"]
    assert column(table, "memory") == ["200", "200", "–"]


def test_the_best_of_each_column_stands_out(compared):
    table = comparison_table(best_first(compared.runs), "er")
    assert bold_in(table, "retained") == {0}
    assert bold_in(table, "learning") == {0, 1, 2}
    assert bold_in(table, "kept kB") == {2}  # the smallest
    assert bold_in(table, "method") == bold_in(table, "against ER") == set()


def test_the_smallest_stability_gap_is_the_best(made_up_run):
    table = comparison_table([made_up_run("er", gap=0.2), made_up_run("mer", gap=0.125)], "er")
    assert column(table, "gap") == ["20.00 ± 0.00", "12.50 ± 0.00"]
    assert bold_in(table, "gap") == {1}


def test_columns_without_values_are_left_out(compared):
    headers = comparison_table(best_first(compared.runs), "er").headers
    assert "anytime" not in headers
    assert "prequential" not in headers
    assert "against DER" not in comparison_table(best_first(compared.runs), "der").headers


def test_the_page_has_table_frontier_and_what_is_missing(compared):
    blocks = comparison_blocks(compared)
    texts = [it.text for it in blocks if isinstance(it, Paragraph)]
    assert next(it.text for it in blocks if isinstance(it, Heading)) == "3 methods on MNIST Rotations"
    assert "Not finished, and not in the table: der." in texts
    assert any("seed by seed, ± their 95 % interval" in it for it in texts)
    assert sum(isinstance(it, Table) for it in blocks) == 3
    assert any("frontier" in it.caption for it in blocks if isinstance(it, Picture))


def test_what_stands_out_is_marked_in_every_language(compared):
    blocks = comparison_blocks(compared)
    assert "**76.67 ± 1.96**" in markdown_page(blocks)
    page = html_page(blocks)
    assert "<strong>76.67 ± 1.96</strong>" in page
    assert "perdure compare &lt;all&gt;" in page
    assert "**" not in page


def test_pages_and_figures_are_written(compared, tmp_path):
    paths = save_comparison(compared, tmp_path / "a" / "page.md", tmp_path / "page.html")
    assert all(path.stat().st_size > 0 for path in paths)
    assert {"page.md", "page.html", "accuracy-against-cost-mnist-rotations.png"} <= {path.name for path in paths}


def test_a_comparison_of_which_nothing_is_finished_says_so(compared, tmp_path):
    request = MethodsRequest(compared.request.methods[-1:], "der", "typed")
    blocks = comparison_blocks(MethodsRecord(tmp_path, compared.config, request, False))
    assert blocks[-1] == Paragraph("Nothing has been measured yet.")


def test_without_test_sets_methods_are_compared_by_their_prequential_accuracy(made_up_run, tmp_path):
    runs = [made_up_run(name, prequential=it, state_bytes=n) for name, it, n in (("er", 0.5, 9), ("mer", 0.6, 99))]
    methods = [Method(it.learner, it.config["learner"]["hyperparameters"], it.folder.name) for it in runs]
    record = MethodsRecord(tmp_path, runs[0].config, MethodsRequest(methods, "er", "typed"), True)
    assert [it.learner for it in best_first(record.runs)] == ["mer", "er"]
    captions = [it.caption for it in comparison_blocks(record) if isinstance(it, Picture)]
    assert len(captions) == 1
    assert captions[0].startswith("Prequential accuracy against what one seed keeps")
    saved = {it.name for it in save_comparison(record, tmp_path / "page.md", tmp_path / "page.html")}
    assert {it for it in saved if it.endswith(".png")} == {"accuracy-against-cost-mnist-rotations.png"}


def test_methods_of_one_name_are_told_apart(made_up_run):
    runs = [made_up_run("Mine", {}), made_up_run("Mine", {})]
    for table in (comparison_table(runs, "Mine"), cost_table(runs), values_table(runs)):
        names = [next(cell for cell in row if "Mine" in cell) for row in table.rows]
        assert names == [it.folder.name for it in runs]
