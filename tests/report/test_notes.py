"""What is said beside a comparison."""

import pytest

from perdure.cli.report import report
from perdure.report.notes import ENOUGH_SEEDS, comparison_notes


def test_runs_of_few_seeds_are_named(made_up_run):
    runs = [made_up_run(seeds=5), made_up_run("er", seeds=2), made_up_run("er", {"memory_size": 500}, seeds=1)]
    (note,) = comparison_notes(runs)
    assert note.startswith("fewer than 3 seeds, too few to compare by: ")
    for run in runs[1:]:
        assert f"{run.title} ({len(run.seeds)})" in note
    assert f"{runs[0].title} (5)" not in note
    assert note.endswith("; run them with more")


@pytest.mark.parametrize("seeds", [[], [1], [ENOUGH_SEEDS, ENOUGH_SEEDS]])
def test_nothing_is_said_of_one_run_or_of_enough_seeds(made_up_run, seeds):
    assert comparison_notes([made_up_run(seeds=n) for n in seeds]) == []


@pytest.mark.parametrize(("seeds", "notes"), [(2, 1), (3, 0)])
def test_the_report_says_so(made_up_run, seeds, notes, capsys):
    report([made_up_run(learner, seeds=seeds).folder for learner in ("mer", "er")])
    assert capsys.readouterr().err.count("note: fewer than 3 seeds, too few to compare by: ") == notes
