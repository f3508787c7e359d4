"""What is tested: one set for each task, one for all, or arriving examples only."""

import io

import numpy as np
import pytest
from rich.console import Console

from perdure.core import PerdureWarning
from perdure.experiments.supervised.program import Evaluator
from perdure.experiments.tuning.tune import tune
from perdure.learners.er import ER
from perdure.learners.lda import LDA
from perdure.learners.online import Online
from perdure.records.learner import RunRecord
from perdure.records.listing import list_records
from perdure.report.figures import save_figures
from perdure.report.tables import comparison_table, runs_table
from perdure.streams.catalog import BenchmarkRecipe

SMALL = {"tasks": 3, "examples_per_task": 30}


def digits(**options):
    return BenchmarkRecipe("digits-split", {**SMALL, **options})


def text(table):
    file = io.StringIO()
    Console(width=120, file=file).print(table)
    return file.getvalue()


def test_one_test_set_for_all_tasks_is_answered_once_at_each_end(quick_run, numpy_accuracy, monkeypatch):
    calls = []
    score = Evaluator.score
    monkeypatch.setattr(Evaluator, "score", lambda *arguments: calls.append(arguments[3]) or score(*arguments))
    result = quick_run(Online(0.1), digits(tests="all"), seeds=2, evaluation="full")
    assert len(calls) == 2 * 4
    assert (result.accuracy == result.accuracy[:, :, :1]).all()
    for seed in range(2):
        expected = numpy_accuracy(result.states.model, seed, digits(tests="all")(seed).test[0])
        assert result.accuracy[seed, -1, 0] == pytest.approx(expected, abs=1e-12)
    assert result.metrics["learning_accuracy"].mean == pytest.approx(result.accuracy[:, 1:, 0].mean())


def test_hidden_tasks_are_learned_as_shown_ones(quick_run):
    """What is hidden is no more than numbers: a method that reads none comes to the same, bit for bit."""
    shown, hidden = (quick_run(ER(0.1, 10, 4), digits(hides_tasks=it), seeds=2) for it in (False, True))
    np.testing.assert_array_equal(shown.losses, hidden.losses)
    np.testing.assert_array_equal(shown.accuracy, hidden.accuracy)


@pytest.fixture
def prequential_run(quick_run, tmp_path):
    folder = tmp_path / "runs" / "alone"
    return quick_run(Online(0.1), digits(tests="none"), seeds=2, folder=folder), folder


def test_without_test_sets_arriving_examples_are_all_that_is_measured(quick_run, prequential_run):
    result, folder = prequential_run
    assert np.isnan(result.accuracy).all()
    assert np.isnan(result.metrics["retained_accuracy"].mean)
    tested = quick_run(Online(0.1), digits(), seeds=2)
    assert result.metrics["prequential_accuracy"] == tested.metrics["prequential_accuracy"]
    record = RunRecord.load(folder)
    assert record.accuracy is None
    assert record.finished


def test_a_record_without_tests_is_listed_and_shown(prequential_run, tmp_path):
    result, folder = prequential_run
    record = RunRecord.load(folder)
    expected = f"{100 * result.metrics['prequential_accuracy'].mean:.2f}"
    shown = text(comparison_table([record]))
    assert "PA" in shown
    assert expected in shown
    assert "RA" not in shown.replace("PA: preq", "").splitlines()[0]
    assert f"PA {expected}" in text(runs_table(list_records(folder.parent)))
    assert save_figures([record], tmp_path / "figures") == []


def test_nothing_is_chosen_by_tests_that_are_not_there():
    with pytest.raises(ValueError, match="tests is 'none', but hyper-parameters are chosen by retained accuracy on"):
        tune("online", digits(tests="none"), {"learning_rate": [0.1, 0.2]}, progress=False)


def test_tests_of_tasks_that_have_none_are_refused(quick_run):
    with pytest.raises(ValueError, match=r"--full-matrix\), but digits-split has no test sets; leave it out"):
        quick_run(Online(0.1), digits(tests="none"), evaluation="full")


def test_a_run_that_measures_nothing_warns(quick_run):
    with pytest.warns(PerdureWarning, match=r"nothing will be measured: .* and lda does not answer each example"):
        quick_run(LDA(), digits(tests="none"))
    quick_run(LDA(), digits(tests="all"))
