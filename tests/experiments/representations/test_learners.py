"""Learners on top of fixed features: the streams they learn, the rates they get, and the record of what they reach."""

import numpy as np
import pytest
from perdure.records.feature_learners import LearnerCell, LearnersAsked, load_cells, save_cells

from perdure.execution.job import DivergedError, run
from perdure.experiments.representations import learners as feature_learners
from perdure.experiments.representations.learners import class_tasks_benchmark, compare_learners, linear_head
from perdure.learners.er import ER
from perdure.learners.online import Online
from perdure.machine.signals import InterruptedRunError
from perdure.records.describe import digest
from perdure.records.errors import ResultsError

pytestmark = pytest.mark.usefixtures("compile_quickly")

ASKED = LearnersAsked(2, (("oml", "ab" * 16), ("raw", "cd" * 16)))
CELLS = [
    LearnerCell("oml", "online", "1×50", 0.1, (0.5, 0.25), (64.7, 2.6)),
    LearnerCell("sr-nn", "mer", "5×20", 0.003, (1.0, 0.0), None),
]


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
    monkeypatch.setattr(feature_learners, "_PUBLISHED", {("2×4", name): {} for name in ("online", "again")})

    def on_features(name, data_dir):
        noise = np.random.default_rng(len(name)).normal(0, 0.01, features.shape).astype(np.float32)
        return feature_learners._Inputs(name, features, features + noise, linear_head)

    monkeypatch.setattr(feature_learners, "_on_features", on_features)
    return features


def test_a_comparison_goes_on_after_the_last_figure(little, tmp_path, monkeypatch):
    record = tmp_path / "learners.json"
    whole = compare_learners(["a", "bb"], raw=False, seeds=2)
    assert [(it.representation, it.learner) for it in whole] == [
        ("a", "online"),
        ("a", "again"),
        ("bb", "online"),
        ("bb", "again"),
    ]
    assert compare_learners(["a"], raw=False, seeds=2, record=record) == whole[:2]
    measured = []
    cell = feature_learners._cell
    monkeypatch.setattr(feature_learners, "_cell", lambda *given: measured.append(given) or cell(*given))
    assert compare_learners(["a", "bb"], raw=False, seeds=2, record=record) == whole
    assert len(measured) == 2
    assert compare_learners(["a", "bb"], raw=False, seeds=2, record=record) == whole
    assert len(measured) == 2
    for names, seeds in ((["bb"], 2), (["a", "bb"], 3), (["a"], 2)):
        with pytest.raises(ResultsError, match=r"asked for was one on .* another folder with --out"):
            compare_learners(names, raw=False, seeds=seeds, record=record)
    assert len(load_cells(record, LearnersAsked(2, feature_inputs(["a", "bb"])))) == 4


def feature_inputs(names):
    given = [feature_learners._on_features(name, None) for name in names]
    return tuple((it.kind, digest((it.validation, it.evaluation))) for it in given)


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


def test_stopping_says_what_is_kept(little, tmp_path, monkeypatch):
    def stop(*given, **others):
        raise InterruptedRunError("stopped at example 3", 15)

    monkeypatch.setattr(feature_learners, "run", stop)
    with pytest.raises(InterruptedRunError, match="after 0 of 2 figures; nothing was kept"):
        compare_learners(["a"], raw=False, seeds=2)
    with pytest.raises(InterruptedRunError, match="after 0 of 2 figures; the same command goes on"):
        compare_learners(["a"], raw=False, seeds=2, record=tmp_path / "learners.json")


def test_the_record_comes_back(tmp_path):
    path = tmp_path / "learners.json"
    assert load_cells(path, ASKED) == []
    save_cells(path, ASKED, CELLS)
    assert load_cells(path, ASKED) == CELLS


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"rate"', '"speed"', "lacks or misspells a field"),
        ('"format": 1', '"format": 9', "has format 9, expected 1"),
        ("{", "[", "cannot be read as JSON"),
    ],
)
def test_a_damaged_record_is_told(tmp_path, old, new, message):
    path = tmp_path / "learners.json"
    save_cells(path, ASKED, CELLS)
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ResultsError, match=message):
        load_cells(path, ASKED)
