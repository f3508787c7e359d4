"""The page of the MER study: what it holds of runs, and how it is written."""

import numpy as np
import pytest

from perdure.report.blocks import Heading, Paragraph, Picture, Table
from perdure.report.study import study_blocks

EWC = {"learning_rate": 0.001, "fisher_examples": 10, "strength": 100.0}


def blocks_of(tables, timing=(), quick=False, study="mer"):
    return study_blocks(tables, timing, f"perdure reproduce {study}", study=study, quick=quick)


def tables_under(blocks, heading):
    """The tables between a heading and the next of its level."""
    start = next(n for n, block in enumerate(blocks) if isinstance(block, Heading) and block.text == heading)
    level = blocks[start].level
    rest = blocks[start + 1 :]
    ends = [n for n, block in enumerate(rest) if isinstance(block, Heading) and block.level <= level]
    return [block for block in rest[: ends[0] if ends else None] if isinstance(block, Table)]


def headings(blocks):
    return [block.text for block in blocks if isinstance(block, Heading)]


def text_of(blocks):
    return "\n".join(block.text for block in blocks if isinstance(block, Paragraph))


def test_retained_accuracy_stands_beside_the_published_one(made_up_run):
    blocks = blocks_of({"retained": [made_up_run(retained=0.7)]})
    (table,) = tables_under(blocks, "MNIST Rotations")
    assert table.headers == ["learner", "memory", "kept", "seeds", "measured", "published", "difference", "verdict"]
    assert table.rows == [["MER", "200", "400 kB", "5", "76.67 ± 1.96", "77.24 ± 0.47", "-0.57", "reached"]]


@pytest.mark.parametrize(
    ("learner", "values", "retained", "verdict"),
    [
        # Two tasks of three keep `retained`, the last 0.9. MER's published mean is 77.24, EWC's 57.96.
        ("mer", {"memory_size": 200}, 0.6982, "reached"),
        ("mer", {"memory_size": 200}, 0.6980, "not reached"),
        ("mer", {"memory_size": 200}, 0.9, "reached"),
        ("ewc", EWC, 0.3896, "reached"),
        ("ewc", EWC, 0.3892, "not reached"),
    ],
)
def test_a_figure_is_reached_within_its_tolerance_or_above(made_up_run, learner, values, retained, verdict):
    run = made_up_run(learner, values, retained=retained)
    (table,) = tables_under(blocks_of({"retained": [run]}), "MNIST Rotations")
    assert table.rows[0][-1] == verdict


def test_tolerances_are_on_the_page(made_up_run):
    text = text_of(blocks_of({"retained": [made_up_run()]}))
    assert "at most 2.0 points below it, 0.7 for MER" in text
    assert "`perdure reproduce mer`" in text


def test_what_was_not_published_has_no_verdict(made_up_run):
    (table,) = tables_under(blocks_of({"retained": [made_up_run("er")]}), "MNIST Rotations")
    assert table.rows[0][-3:] == ["–", "–", "–"]


def test_a_quick_pass_says_so_and_compares_nothing(made_up_run):
    run = made_up_run(options={"tasks": 3}, alignment=[0.1] * 5)
    tables = {"retained": [run], "alignment": [run], "variants": [run], "omniglot": []}
    blocks = blocks_of(tables, quick=True)
    assert blocks[0] == Heading(1, "Quick pass: not comparable with the published figures")
    for table in (block for block in blocks if isinstance(block, Table)):
        assert not {"published", "difference", "verdict"} & set(table.headers)


def test_alignment_is_told_before_and_after_and_as_a_cosine(made_up_run):
    run = made_up_run("er", alignment=[0.1, 0.2, 0.3, 0.4, 0.5])
    blocks = blocks_of({"alignment": [run]})
    (table,) = tables_under(blocks, "MNIST Rotations")
    assert table.headers == ["learner", "memory", "published", "before the update", "after the update", "cosine"]
    assert table.rows == [
        ["ER", "200", "-0.569 ± 0.077", "+0.300 ± 0.196", "+0.300 ± 0.196", "+0.3000 ± 0.1963"],
    ]
    # Nothing is claimed that these runs do not show: here the dot product does not change its sign.
    assert "positive in every cell" not in text_of(blocks)


def test_variants_have_a_row_a_setting_and_a_column_an_algorithm(made_up_run):
    runs = [made_up_run(), made_up_run("mer", {"memory_size": 500}), made_up_run("er")]
    (table,) = tables_under(blocks_of({"variants": runs}), "Variants of ER and MER")
    assert table.headers == ["benchmark", "memory", "MER", "ER"]
    assert table.rows == [
        ["MNIST Rotations", "200", "76.67 ± 1.96", "76.67 ± 1.96"],
        ["MNIST Rotations", "500", "76.67 ± 1.96", "–"],
    ]


def test_omniglot_is_published_and_not_run(made_up_run):
    blocks = blocks_of({"omniglot": []})
    (table,) = tables_under(blocks, "Incremental Omniglot: retained accuracy (%)")
    assert ["MER", "500", "32.05 ± 0.69"] in table.rows
    assert len(table.rows) == 5
    assert "not run here" in text_of(blocks)


def test_a_part_of_omniglot_is_held_against_nothing_and_the_whole_is(made_up_run):
    part = made_up_run("mer", {"memory_size": 500}, "omniglot", {"tasks": 10})
    blocks = blocks_of({"omniglot": [part]})
    measured, not_run = tables_under(blocks, "Incremental Omniglot: retained accuracy (%)")
    assert measured.headers == ["learner", "memory", "kept", "seeds", "measured"]
    assert len(not_run.rows) == 5
    assert "(tasks 10)" in text_of(blocks)
    whole = made_up_run("mer", {"memory_size": 500}, "omniglot")
    measured, not_run = tables_under(blocks_of({"omniglot": [whole]}), "Incremental Omniglot: retained accuracy (%)")
    assert measured.rows[0][5] == "32.05 ± 0.69"
    assert len(not_run.rows) == 4


@pytest.mark.parametrize(
    ("benchmark", "published"), [("mnist-rotations", "77.42"), ("mnist-permutations", "74.34 (remembered)")]
)
def test_what_is_remembered_of_the_paper_is_marked(made_up_run, benchmark, published):
    run = made_up_run("la-maml", {"memory_size": 200}, benchmark)
    blocks = blocks_of({"look-ahead": [run]}, study="la-maml")
    assert headings(blocks)[0] == "La-MAML, C-MAML and Sync, measured"
    (table,) = tables_under(blocks, "Retained accuracy (%)")
    assert table.rows[0][5] == published
    assert "remembered have not been checked" in text_of(blocks)


@pytest.mark.parametrize(("retained", "told"), [(0.6, True), (0.7, False)])
def test_that_sync_falls_short_is_told_if_it_does(made_up_run, retained, told):
    # Two tasks of three keep `retained`, the last 0.9; remembered are 70.54.
    run = made_up_run("sync", {"memory_size": 200}, "mnist-permutations", retained=retained - 0.1)
    text = text_of(blocks_of({"look-ahead": [run]}, study="la-maml"))
    assert ("Sync falls short on Permutations" in text) == told


def test_time_and_hyperparameters_are_told(made_up_run):
    blocks = blocks_of({"retained": [made_up_run()]}, [made_up_run(seeds=1)])
    (time,) = tables_under(blocks, "Time of one seed")
    assert time.rows == [
        ["MNIST Rotations", "MER", "200", "1", "–", "2,222 ms", "400 kB", "12.3 s", "1.0 s", "700 MiB"]
    ]
    (cost,) = tables_under(blocks, "Time and memory")
    assert cost.rows[0][3:8] == ["5", "–", "444 ms", "400 kB", "12.3 s"]
    (values,) = tables_under(blocks, "Hyper-parameters")
    assert values.rows == [["MNIST Rotations", "MER", "200", "learning_rate 0.1"]]


def test_figures_are_drawn_of_what_there_is(made_up_run):
    run = made_up_run(alignment=[0.1] * 5)
    captions = [
        block.caption for block in blocks_of({"retained": [run], "alignment": [run]}) if isinstance(block, Picture)
    ]
    assert len(captions) == 3
    partly = made_up_run(full=False)
    captions = [block.caption for block in blocks_of({"retained": [partly]}) if isinstance(block, Picture)]
    assert len(captions) == 1


def test_without_runs_there_are_no_empty_sections():
    assert headings(blocks_of({"retained": [], "alignment": [], "variants": []})) == [
        "Meta-Experience Replay, measured"
    ]


def test_an_alignment_that_is_no_number_is_a_dash(made_up_run):
    blocks = blocks_of({"alignment": [made_up_run(alignment=[np.nan] * 5)]}, quick=True)
    (table,) = tables_under(blocks, "MNIST Rotations")
    assert table.rows == [["MER", "200", "–", "–", "–"]]
