"""Learners on top of fixed features: the streams they learn, the rates they get, and the record of what they reach."""

import signal
from pathlib import Path

import numpy as np
import pytest

from perdure.execution.job import DivergedError
from perdure.experiments.representations import learners as feature_learners
from perdure.experiments.representations.learners import class_tasks_benchmark, compare_learners, linear_head
from perdure.experiments.supervised.run import run
from perdure.learners.er import ER
from perdure.learners.lda import LDA
from perdure.learners.nearest_mean import NearestMean
from perdure.learners.online import Online
from perdure.machine.signals import InterruptedRunError
from perdure.records.comparison import ComparisonRecord
from perdure.records.errors import ResultsError
from tests.conftest import first_short


@pytest.fixture(scope="module")
def features():
    """Return classes that differ in one large feature each: (classes, images, features)."""
    rng = np.random.default_rng(0)
    return (rng.normal(0, 0.1, (8, 20, 8)) + np.eye(8)[:, None]).astype(np.float32)


@pytest.mark.parametrize("learner", [Online(0.03), ER(0.03, memory_size=20, replay_batch_size=5)])
def test_learners_on_features(learner, features):
    benchmark = class_tasks_benchmark(features, 2, 3, 0)
    assert benchmark.n_tasks == 3
    assert benchmark.n_outputs == 6
    assert [len(test.y) for test in benchmark.test] == [10] * 3
    result = run(learner, benchmark, model=linear_head, progress=False)
    assert 0 <= result.metrics["retained_accuracy"].mean <= 1


def test_a_seed_chooses_the_classes(features):
    one, same, other = (class_tasks_benchmark(features, 1, 3, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.train.x, same.train.x)
    assert not np.array_equal(one.train.x, other.train.x)


@pytest.fixture
def little(monkeypatch, features):
    """Let comparisons be of two learners on 4 tasks of 2 classes, and return what they are compared on."""
    monkeypatch.setattr(feature_learners, "TASKS", {"2×4": (2, 4)})
    monkeypatch.setattr(feature_learners, "RATES", (0.1, 0.01))
    monkeypatch.setattr(feature_learners, "_LEARNERS", {"online": Online, "again": Online})
    monkeypatch.setattr(feature_learners, "_HEADS", {})
    monkeypatch.setattr(feature_learners, "_PUBLISHED", {("2×4", name): {} for name in ("online", "again")})

    def on_features(name, data_dir):
        name = Path(name).name  # a record has it with its folder
        noise = np.random.default_rng(len(name)).normal(0, 0.01, features.shape).astype(np.float32)
        return feature_learners._Inputs(name, features, features + noise, linear_head)

    monkeypatch.setattr(feature_learners, "_on_features", on_features)
    return features


def counted(monkeypatch):
    """Return a list of what is measured from now on."""
    measured = []
    figure = feature_learners._figure
    monkeypatch.setattr(feature_learners, "_figure", lambda *given: measured.append(given[2:4]) or figure(*given))
    return measured


@pytest.mark.long
def test_a_comparison_resumes_after_the_last_figure_and_may_grow(little, tmp_path, monkeypatch):
    whole = compare_learners(["a", "bb"], raw=False, seeds=2)
    assert [(it.representation, it.learner) for it in whole] == [
        ("a", "online"),
        ("a", "again"),
        ("bb", "online"),
        ("bb", "again"),
    ]
    folder = tmp_path / "learners"
    assert compare_learners(["a"], raw=False, seeds=2, folder=folder) == whole[:2]
    measured = counted(monkeypatch)
    assert compare_learners(["a", "bb"], raw=False, seeds=2, folder=folder) == whole
    assert len(measured) == 2
    assert compare_learners(["bb", "a"], raw=False, seeds=2, folder=folder) == [*whole[2:], *whole[:2]]
    assert compare_learners(["bb"], raw=False, seeds=2, folder=folder) == whole[2:]
    assert len(measured) == 2
    record = ComparisonRecord.load(folder)
    assert record.finished
    assert list(record.figures) == whole[2:]
    assert len(record.all_figures) == 4
    with pytest.raises(ResultsError, match=r"seeds: \[0, 1\] there, \[0, 1, 2\] requested"):
        compare_learners(["a"], raw=False, seeds=3, folder=folder)


@pytest.mark.long
def test_other_features_of_the_same_name_are_refused(little, tmp_path, monkeypatch):
    folder = tmp_path / "learners"
    compare_learners(["a"], raw=False, seeds=2, folder=folder)
    before = (folder / "request.json").read_bytes()
    monkeypatch.setattr(
        feature_learners, "_on_features", lambda *_: feature_learners._Inputs("a", little, little + 1, linear_head)
    )
    with pytest.raises(ResultsError, match=r"holds figures of a with other features: .* there, .* requested"):
        compare_learners(["a"], raw=False, seeds=2, folder=folder)
    assert (folder / "request.json").read_bytes() == before


def test_two_representations_of_one_kind_are_refused(little):
    with pytest.raises(ValueError, match="of the kinds a, a were given, expected one of each kind"):
        compare_learners(["a", "a"], raw=False, seeds=2)


@pytest.mark.long
@pytest.mark.parametrize("n_runs", first_short([5, 1]))
def test_a_comparison_that_was_stopped_resumes(little, tmp_path, monkeypatch, n_runs):
    calls = []

    def runs(*given, **options):
        calls.append(given)
        if len(calls) == n_runs:
            signal.raise_signal(signal.SIGTERM)
        return run(*given, **options)

    folder = tmp_path / "learners"
    with monkeypatch.context() as patch:
        patch.setattr(feature_learners, "run", runs)
        n_done = (n_runs - 1) // 3  # of two learners, each with two rates to choose from
        so_far = f"after {n_done} of 2 figures" if n_done else "before the first of 2 figures was finished"
        with pytest.raises(InterruptedRunError, match=f"stopped {so_far}.*perdure resume"):
            compare_learners(["a"], raw=False, seeds=2, folder=folder)
    record = ComparisonRecord.load(folder)
    assert (record.finished, len(record.figures)) == (False, n_done)
    assert feature_learners.resume_comparison(folder, progress=False) == compare_learners(["a"], raw=False, seeds=2)


@pytest.mark.long
def test_a_rate_that_diverges_is_no_choice(little, monkeypatch):
    refused = {0.1: [0, 1, 2]}  # seeds whose training diverges; the validation has two of them

    def runs(learner, benchmark, *, seeds, **others):
        if set(seeds) & set(refused.get(learner.learning_rate, [])):
            raise DivergedError("too fast")
        return run(learner, benchmark, seeds=seeds, **others)

    monkeypatch.setattr(feature_learners, "run", runs)
    assert {it.rate for it in compare_learners(["a"], raw=False, seeds=3)} == {0.01}
    refused[0.1] = [2]  # the validation does not see it
    assert {it.rate for it in compare_learners(["a"], raw=False, seeds=3)} == {0.01}
    refused[0.01] = [2]
    with pytest.raises(DivergedError, match=r"online on a, 2×4, diverges at all rates from 0\.01 to 0\.1"):
        compare_learners(["a"], raw=False, seeds=3)


def test_heads_in_closed_form_are_learners_without_a_rate(little, tmp_path, monkeypatch):
    monkeypatch.setattr(feature_learners, "_LEARNERS", {})
    monkeypatch.setattr(feature_learners, "_HEADS", {"nearest-mean": NearestMean(), "lda": LDA()})
    figures = compare_learners(["a"], raw=False, seeds=2, folder=tmp_path / "compared")
    assert [(it.learner, it.rate, it.published) for it in figures] == [
        ("nearest-mean", None, None),
        ("lda", None, None),
    ]
    assert min(min(it.retained) for it in figures) > 0.95
    record = ComparisonRecord.load(tmp_path / "compared")
    assert (record.finished, record.figures) == (True, figures)


def test_stopping_without_a_folder_says_that_nothing_is_kept(little, monkeypatch):
    def stop(*given, **others):
        raise InterruptedRunError("stopped at example 3", 15)

    monkeypatch.setattr(feature_learners, "run", stop)
    with pytest.raises(InterruptedRunError, match="before the first of 2 figures was finished; nothing is kept"):
        compare_learners(["a"], raw=False, seeds=2)
