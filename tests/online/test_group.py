"""Requests that are learned together come to the same as one after another, and each stands for itself."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perdure import DurableModel
from perdure.online.answers import predicted
from perdure.online.errors import RowError
from perdure.online.group import Learned, request_of
from perdure.online.history import replay
from perdure.online.journal import JournalError

VALUES = st.one_of(st.floats(-5, 5, width=16), st.sampled_from(["x", "y", None]), st.just(float("inf")))
EXAMPLES = st.tuples(
    st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3),
    st.sampled_from(["up", "down", "up", 3]),
    st.sampled_from(["1", "2", "3", "4", None, None]),
)
REQUESTS = st.lists(st.lists(EXAMPLES, min_size=1, max_size=3), min_size=1, max_size=5)


def learn_one_by_one(model, requests):
    results = []
    for request in requests:
        try:
            results.extend(model.learn_group([request_of(*request)]).results)
        except RowError as error:  # it cannot be kept
            results.append(error)
    return results


def learn_together(model, requests):
    results, kept = [], []
    for request in requests:
        try:
            kept.append(request_of(*request))
            results.append(None)
        except RowError as error:
            results.append(error)
    learned = iter(model.learn_group(kept).results)
    return [next(learned) if it is None else it for it in results]


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(groups=st.lists(REQUESTS, min_size=1, max_size=3))
@pytest.mark.parametrize("allow_missing", [True, False])
def test_a_group_equals_its_requests_one_after_another(tmp_path_factory, assert_same_state, groups, allow_missing):
    folder = tmp_path_factory.mktemp("group")
    options = {"method": "nearest-mean", "allow_missing": allow_missing}
    with DurableModel.open(folder / "a", **options) as one, DurableModel.open(folder / "b", **options) as other:
        for group in groups:
            requests = [tuple(map(list, zip(*rows, strict=True))) for rows in group]
            first, second = learn_one_by_one(one, requests), learn_together(other, requests)
            assert [type(it) for it in first] == [type(it) for it in second]
            assert [str(it) for it in first if isinstance(it, RowError)] == [
                str(it) for it in second if isinstance(it, RowError)
            ]
            assert [it.positions for it in first if isinstance(it, Learned)] == [
                it.positions for it in second if isinstance(it, Learned)
            ]
        if one.position:
            assert_same_state(one.model, other.model)
        relearned = other.settings.new_model()
        replay(other._journal, relearned, 0, other.position)
        if one.position:
            assert_same_state(relearned, other.model)


@pytest.fixture
def model(tmp_path):
    with DurableModel.open(tmp_path / "m", method="nearest-mean") as model:
        yield model


def test_answers_are_those_before_learning(model):
    requests = [request_of({"a": 1.0}, "up"), request_of([{"a": -1.0}, {"a": -1.0}], ["down", "down"], ["n", "n"])]
    group = model.learn_group(requests)
    answers = group.answers.wait()
    assert predicted(answers, model.classes) == [None, "up"]
    assert [it.positions for it in group.results] == [[1], [2, 2]]
    assert [it.places for it in group.results] == [[0], [1, None]]
    again = model.learn_group([requests[1], request_of({"a": -2.0}, "down")])
    assert [it.positions for it in again.results] == [[2, 2], [3]]
    assert predicted(again.answers.wait(), model.classes) == ["down"]


def test_a_bad_row_refuses_its_own_request_only(model, assert_same_state, tmp_path):
    good = [request_of({"a": float(n)}, "up") for n in range(3)]
    bad = request_of([{"a": 1.0}, {"a": "text"}], ["up", "up"])
    group = model.learn_group([good[0], bad, *good[1:]])
    assert [type(it) for it in group.results] == [Learned, RowError, Learned, Learned]
    assert group.results[1].row == 1
    with DurableModel.open(tmp_path / "other", method="nearest-mean") as other:
        other.learn([{"a": float(n)} for n in range(3)], ["up"] * 3)
        assert_same_state(model.model, other.model)


def test_an_id_of_a_refused_request_is_not_taken(model):
    model.learn({"a": 1.0}, "up")
    bad, good = request_of({"a": "text"}, "up", ["1"]), request_of({"a": 2.0}, "up", ["1"])
    refused, learned = model.learn_group([bad, good]).results
    assert isinstance(refused, RowError)
    assert learned == Learned([2], [0])


def test_a_group_is_committed_at_once(model, monkeypatch):
    before = model._journal.n_examples
    calls = []
    append = model._journal.append
    monkeypatch.setattr(model._journal, "append", lambda it: calls.append(len(it)) or append(it))
    model.learn_group([request_of({"a": float(n)}, "up") for n in range(7)])
    assert (calls, model._journal.n_examples) == ([7], before + 7)


def test_what_cannot_be_written_was_not_learned(model, monkeypatch, assert_same_state):
    model.learn({"a": 1.0}, "up")
    before = np.array(model.predict_proba([{"a": 1.0}]))

    def full(rows):
        raise JournalError(28, "the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(model._journal, "append", full)
        with pytest.raises(JournalError, match="full"):
            model.learn_group([request_of({"a": 5.0, "b": 1.0}, "down")])
    np.testing.assert_array_equal(model.predict_proba([{"a": 1.0}]), before)
    assert (model.position, model.classes) == (1, ["up"])


def test_a_column_that_came_late_is_not_missing_before_when_learned_again(tmp_path, assert_same_state):
    """Also where no value may be missing: the rows before could not have it."""
    rows = [{"a": 1.0}, {"a": 2.0, "b": 1.0}, {"a": 3.0, "b": 2.0}, {"a": 3.0, "b": 2.0, "c": "t"}]
    with DurableModel.open(tmp_path / "m", method="nearest-mean", allow_missing=False) as model:
        for row in rows:
            model.learn(row, "up")
        relearned = model.settings.new_model()
        replay(model._journal, relearned, 0, model.position)
        assert_same_state(relearned, model.model)
        with pytest.raises(RowError, match="row 0, column 'b' is missing"):
            model.learn(rows[0], "up")
        assert model.backtest(["gaussian"])["gaussian"].scores.n == 4
