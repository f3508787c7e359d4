"""Runs held against a baseline: only where they share their streams."""

import dataclasses

import pytest

from perdure.metrics.transfer import mean_and_interval
from perdure.report.differences import (
    Difference,
    difference,
    differences_legend,
    differences_table,
    pairings,
    stream_notes,
)


def test_er_is_the_baseline_and_else_the_first(made_up_run):
    online, er, mer = made_up_run("online", {}), made_up_run("er"), made_up_run("mer")
    assert pairings([online, er, mer]).pairs[0].baseline is er
    assert pairings([mer, online]).pairs[0].baseline is mer
    assert pairings([online, er, mer], "online").pairs[0].baseline is online
    assert pairings([online, er, mer], mer.folder.name).pairs[0].baseline is mer
    assert pairings([online, er, mer], "mer, memory 200").pairs[0].others == [online, er]


def test_the_table_has_difference_interval_and_p_value(made_up_run):
    runs = [made_up_run("er", retained=0.6), made_up_run("mer", retained=0.7), made_up_run("online", {}, retained=0.4)]
    table = differences_table(pairings(runs), runs)
    assert table is not None
    assert list(table.headers) == ["run", "against", "difference", "p"]
    assert table.rows == [
        ["mer, memory 200", "er, memory 200", "+6.67 ± 0.00", "0.062"],
        ["online", "er, memory 200", "-13.33 ± 0.00", "0.062"],
    ]
    legend = differences_legend(pairings(runs))
    assert "of 5 seeds" in legend
    assert "retained accuracy" in legend


@pytest.mark.parametrize("changed", [{"seeds": 4}, {"options": {"tasks": 5}}, {"benchmark": "digits-rotations"}])
def test_runs_of_other_streams_are_not_held_against_each_other(made_up_run, changed):
    runs = [made_up_run("er"), made_up_run("mer", **changed)]
    assert difference(runs[1], runs[0]) is None
    found = pairings(runs)
    assert (found.pairs, found.alone) == ([], runs)
    assert differences_table(found, runs) is None
    (note,) = stream_notes(found, runs)
    assert note.startswith(
        "streams differ, and no difference is taken between them: er, memory 200 (on mnist-rotations"
    )
    assert "seeds 0–4)" in note


def test_other_data_are_another_stream(made_up_run):
    one, other = (
        dataclasses.replace(made_up_run(name), environment={"data_checksums": {"seed 0": sum_}})
        for name, sum_ in (("er", "a"), ("mer", "b"))
    )
    assert difference(other, one) is None
    assert difference(dataclasses.replace(other, environment=one.environment), one) is not None


def test_runs_of_one_stream_have_no_note(made_up_run):
    runs = [made_up_run("er"), made_up_run("mer")]
    assert stream_notes(pairings(runs), runs) == []
    assert stream_notes(pairings(runs[:1]), runs[:1]) == []


def test_each_stream_has_its_own_baseline(made_up_run):
    runs = [made_up_run(name, benchmark=it) for it in ("mnist-rotations", "digits-rotations") for name in ("er", "mer")]
    found = pairings(runs)
    assert [it.baseline for it in found.pairs] == [runs[0], runs[2]]
    table = differences_table(found, runs)
    assert table is not None
    assert [row[1] for row in table.rows] == ["MNIST Rotations", "digits-rotations"]


def test_a_diverged_run_is_not_held_against_a_sound_one(made_up_run):
    one, other = made_up_run("er"), made_up_run("mer", retained=float("nan"))
    assert difference(other, one) is None


@pytest.mark.parametrize(
    ("baseline", "message"),
    [
        (
            "gem",
            r"the baseline is gem, expected one of the runs: mer, memory 200, learning rate 0\.1, mer, memory 200,",
        ),
        ("mer", r"names several runs; give one of their folders: mer-0 \(mer, memory 200, learning rate 0\.1\), mer-1"),
    ],
)
def test_a_baseline_that_names_no_run_or_two_is_refused(made_up_run, baseline, message):
    runs = [made_up_run("mer", {"memory_size": 200, "learning_rate": it}) for it in (0.1, 0.2)]
    with pytest.raises(ValueError, match=message):
        pairings(runs, baseline)


def test_one_seed_has_no_p_value():
    assert Difference(mean_and_interval([0.01]), 1.0).p_text == "–"
    assert Difference(mean_and_interval([0.01, 0.02]), 0.0001).p_text == "< 0.001"
