"""Rows that cannot be learned leave no trace, and what is odd in rows is learned as it is or refused by name."""

import copy
import pickle
import threading
from datetime import UTC, date, datetime

import jax
import numpy as np
import pandas as pd
import pytest

from perdure import OnlineClassifier, OnlineRegressor, load, prequential
from perdure.online.errors import RowError

ROWS = [{"a": float(n), "c": "xyz"[n % 3]} for n in range(12)]
LABELS = ["up", "down"] * 6


@pytest.fixture
def taught():
    return OnlineClassifier("online", hidden_sizes=(4,)).partial_fit(ROWS, LABELS)


def learned(estimator):
    """Return all that an estimator knows."""
    model = estimator._model
    state = [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(model.state)]
    return state, model.columns.to_json(), model.classes, model.n_seen, estimator.n_features_in_


BAD = {
    "a number that is a text": ([{"a": "much", "c": "x", "new": 1.0}], ["up"], "row 0, column 'a' is 'much'"),
    "infinity after a new column": ([{"new": 1.0}, {"a": float("inf")}], ["up", "new"], "row 1, column 'a' is inf"),
    "infinity among categories": ([{"c": float("inf"), "new": 1.0}], ["up"], "row 0, column 'c' is inf, expected a"),
    "a class of another kind": ([{"new": 1.0}, {"a": 1.0}], ["new", 7], "row 1 has the class 7, a number"),
    "no class": ([{"new": 1.0}], [None], "row 0 has the class None"),
    "a missing class": ([{"new": 1.0}], [float("nan")], "row 0 has the class nan"),
    "a class beyond 64 bits": ([{"new": 1.0}], [2**70], "row 0 has the class a whole number of 71 bits"),
    "names that are one text": ([{1: 1.0, "1": 2.0}], ["up"], r"row 0 has two columns of one name among \[1, '1'\]"),
    "fewer classes": (ROWS, ["up"], "12 rows and 1 targets were given"),
    "images": (np.zeros((1, 2, 1)), ["up"], r"inputs of shape \(2, 1\) were given, expected rows of a table"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("act", ["partial_fit", "learn_many"])
def test_what_is_refused_leaves_no_trace(name, act, taught):
    rows, labels, words = BAD[name]
    before = learned(taught)
    with pytest.raises(ValueError, match=words):
        getattr(taught, act)(rows, labels)
    assert learned(taught) == before
    taught.learn_one({"a": 3.5, "c": "x"}, "up")  # and learns what comes next


def test_a_refused_fit_keeps_what_was_learned_before(taught):
    before = learned(taught)
    with pytest.raises(RowError, match="row 1, column 'b' is inf"):
        taught.fit([{"b": 1.0}, {"b": float("inf")}], ["x", "y"])
    assert learned(taught) == before


def test_classes_given_with_a_bad_row_are_not_taken_up(taught):
    with pytest.raises(RowError, match="row 0, column 'a' is inf"):
        taught.partial_fit([{"a": float("inf")}], ["up"], classes=["up", "down", "sideways"])
    assert list(taught.classes_) == ["down", "up"]


def test_a_refused_first_call_leaves_an_estimator_that_has_learned_nothing():
    model = OnlineClassifier("online")
    with pytest.raises(RowError):
        model.partial_fit(np.full((2, 3), np.inf), ["a", "b"])
    assert model.partial_fit(np.zeros((2, 4)), ["a", "b"]).n_features_in_ == 4


def test_predicting_decides_nothing():
    model = OnlineClassifier("auto")
    assert model.predict_one({"a": 1.0}) is None
    assert model.set_params(method="online").learn_one({"a": 1.0}, "x") is None
    assert model.expert_weights_ == {}


def test_columns_beyond_the_capacity_may_come_late_in_a_batch():
    rows = [{"a": 1.0, "b": 2.0}] * 3 + [{f"c{n}": float(n) for n in range(20)}] * 2
    together = OnlineClassifier("online", hidden_sizes=(4,)).partial_fit(rows, list("xyxyx"))
    alone = OnlineClassifier("online", hidden_sizes=(4,))
    for row, label in zip(rows, "xyxyx", strict=True):
        alone.learn_one(row, label)
    assert together._model.columns.to_json() == alone._model.columns.to_json()
    ours, theirs = (jax.tree.leaves(it._model.state) for it in (together, alone))
    assert all(np.array_equal(one, other) for one, other in zip(ours, theirs, strict=True))


def test_more_classes_than_there_is_room_for_may_be_known_beforehand():
    y = np.arange(400) % 20
    model = OnlineClassifier("online", hidden_sizes=(16,)).partial_fit(np.eye(20)[y], y, classes=np.arange(20))
    assert (model.predict(np.eye(20)) == np.arange(20)).mean() > 0.9


def test_labels_in_a_list_stay_what_they_are():
    model = OnlineClassifier("online", hidden_sizes=(4,)).partial_fit(np.eye(3), ["a\0", "a", "b"])
    assert model._model.classes == ["a\0", "a", "b"]
    with pytest.raises(ValueError, match="y is the text 'ab'"):
        model.partial_fit(np.eye(3)[:2], "ab")


def test_lists_of_numbers_and_texts_are_learned_alike_together_and_alone():
    rows, labels = [[1.0, "a"], [None, "b"], [3.5, "b"]], ["x", "y", "x"]
    together = OnlineClassifier("online", hidden_sizes=(4,)).partial_fit(rows, labels)
    alone = OnlineClassifier("online", hidden_sizes=(4,))
    for row, label in zip(rows, labels, strict=True):
        alone.partial_fit([row], [label])
    assert learned(together) == learned(alone)
    assert not together._model.columns.known["x0"].is_category


@pytest.mark.parametrize("standardize", [True, False])
def test_the_largest_numbers_are_harmless(standardize):
    model = OnlineClassifier("online", hidden_sizes=(), standardize=standardize)
    model.partial_fit([{"a": -3e38}, {"a": 3e38}, {"a": 1.0}], ["x", "y", "x"])
    model.learn_one({"a": 3e38}, "y")
    if standardize:
        assert np.isfinite(model.predict_proba([{"a": 2.0}])).all()
    else:
        assert model._model.columns.known["a"].offset == 0.0


@pytest.mark.parametrize("method", ["nearest-mean", "ridge"])
def test_numbers_whose_squares_a_head_cannot_sum_are_refused(method):
    model = OnlineClassifier(method, standardize=False)
    message = r"row 1, column 'a' is -1e\+16, expected a number up to 1e\+15, .*; set standardize=True, or divide"
    with pytest.raises(RowError, match=message):
        model.partial_fit([{"a": 1.0}, {"a": -1e16}], ["x", "y"])
    model.partial_fit([{"a": -1e15}, {"a": 1e15}], ["x", "y"])
    assert model.predict([{"a": -9e14}, {"a": 9e14}]).tolist() == ["x", "y"]
    with pytest.raises(RowError, match="row 0, column 'a' is 1e"):
        model.predict([{"a": 1e16}])
    with pytest.raises(RowError, match="column 'a' is 1e"):
        model.learn_one({"a": 1e16}, "y")
    OnlineClassifier(method).partial_fit([{"a": 1.0}, {"a": -1e16}], ["x", "y"])


def test_the_limit_of_a_head_is_that_of_the_model_read_from_a_file(tmp_path):
    model = OnlineClassifier("lda", standardize=False).partial_fit([{"a": 1.0}, {"a": 2.0}], ["x", "y"])
    model.save(tmp_path / "model.safetensors")
    with pytest.raises(RowError, match="column 'a' is 1e"):
        load(tmp_path / "model.safetensors").learn_one({"a": 1e16}, "y")


def test_classes_are_told_apart_by_scores_where_probabilities_are_equal():
    """Of features of about 10⁻⁶ the scores differ by 10⁻¹², too little for probabilities."""
    rng, y = np.random.default_rng(0), np.arange(60) % 6
    x = 1e-6 * (10 * rng.normal(size=(6, 8))[y] + rng.normal(size=(60, 8)))
    model = OnlineClassifier("nearest-mean", standardize=False, allow_missing=False).fit(x, y)
    assert model.score(x, y) == 1
    shares = model.predict_proba(x)
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-6)
    assert [model.predict_one({f"x{place}": it for place, it in enumerate(row)}) for row in x[:6]] == y[:6].tolist()


def test_images_beyond_float32_are_named():
    images = np.zeros((2, 3, 3))
    images[1, 2, 0] = 1e300
    model = OnlineClassifier("online", hidden_sizes=(4,))
    with pytest.raises(RowError, match=r"row 1, place \(2, 0\) is 1e\+300"):
        model.partial_fit(images, ["a", "b"])
    with pytest.raises(RowError, match="inputs are of type object, expected numbers"):
        model.partial_fit(images.astype(object), ["a", "b"])
    model.partial_fit(images[:1], ["a"])
    with pytest.raises(ValueError, match=r"expected inputs of shape \(3, 3\)"):
        model.learn_one({"a": 1.0}, "a")


def test_points_in_time_are_seconds():
    times = [datetime(2024, 1, 1), datetime(2024, 1, 2, tzinfo=UTC), date(2024, 1, 3)]
    model = OnlineClassifier("online", hidden_sizes=(4,))
    model.learn_many(pd.DataFrame({"t": pd.to_datetime(["2024-01-01", None]), "b": [1.0, 2.0]}), ["x", "y"])
    for it in times:
        model.learn_one({"t": it, "b": 1.0}, "x")
    column = model._model.columns.known["t"]
    assert (column.is_category, column.offset) == (False, 1704067200.0)


def test_surrogates_among_many_categories_are_learned():
    rows = [{"c": f"v{n}"} for n in range(70)] + [{"c": "\ud800"}]
    model = OnlineClassifier("online", hidden_sizes=(4,)).partial_fit(rows, ["x", "y"] * 35 + ["x"])
    assert model.predict_one({"c": "\ud800"}) in ("x", "y")


def test_rows_keep_their_numbers():
    rows, labels = [*[{"a": 1.0}] * 1400, {"a": "bad"}, *[{"a": 1.0}] * 99], ["x", "y"] * 750
    with pytest.raises(RowError, match="row 1400, column 'a'"):
        prequential(OnlineClassifier("online", hidden_sizes=(4,)), rows, labels)
    with pytest.raises(RowError, match="row 1400, column 'a'"):
        prequential(OnlineClassifier("online", hidden_sizes=(4,)), rows[:1420], labels[:1420], delay=3)
    with pytest.raises(RowError, match="row 2, column 'a'"):
        OnlineClassifier("online").fit([{"a": 1.0}] * 2 + rows[1400:1401], ["x"] * 3, sample_weight=[2, 2, 2])


def test_the_first_answer_is_none_and_is_not_right():
    found = prequential(OnlineClassifier("online", hidden_sizes=(4,)), [{"a": 1.0}] * 10, ["u"] * 10)
    assert found.metrics["accuracy"] == 0.9


def test_a_table_of_no_known_column_is_refused(taught):
    with pytest.raises(ValueError, match="X has columns x0, x1, none of which OnlineClassifier has learned"):
        taught.predict(np.zeros((3, 2)))


def test_several_targets_are_answered_one_row_at_a_time():
    model = OnlineRegressor("online", hidden_sizes=4)
    model.learn_one({"a": 1.0}, [1.0, 2.0])
    assert np.shape(model.predict_one({"a": 1.0})) == (2,)


def test_a_copy_with_what_was_learned_learns_for_itself(taught):
    before = learned(taught)
    taught.clone(include_attributes=True).partial_fit(ROWS, LABELS)
    assert learned(taught) == before


def test_threads_share_an_estimator(taught):
    """Predicting, learning and copying at once: each call sees the model before or after a row."""
    errors, stop = [], threading.Event()

    def repeat(act):
        try:
            while not stop.is_set():
                act()
        except Exception as error:
            errors.append(error)

    acts = [
        lambda: taught.predict_one(ROWS[0]),
        lambda: taught.predict(pd.DataFrame(ROWS)),
        lambda: taught.learn_one(ROWS[1], "up"),
        lambda: taught.partial_fit(ROWS, LABELS),
        lambda: copy.deepcopy(taught),
        lambda: pickle.dumps(taught),
    ]
    threads = [threading.Thread(target=repeat, args=(act,)) for act in acts]
    for it in threads:
        it.start()
    stop.wait(1.0)
    stop.set()
    for it in threads:
        it.join()
    assert errors == []


def test_an_interrupt_in_a_call_leaves_a_model_that_goes_on(monkeypatch):
    """An interrupt that comes when a block has been learned does not lose the state."""
    estimator = OnlineClassifier("online", hidden_sizes=(4,)).partial_fit(np.zeros((300, 2)), [0, 1] * 150)
    model, calls = estimator._model, []
    program = model._program

    def interrupted(packed, bits):
        calls.append(len(calls))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return program.learn(packed, bits)

    monkeypatch.setattr(model, "_program", program._replace(learn=interrupted))
    with pytest.raises(KeyboardInterrupt):
        estimator.partial_fit(np.zeros((300, 2)), [0, 1] * 150)
    assert model.n_seen == 300 + 128
    estimator.partial_fit(np.zeros((10, 2)), [0, 1] * 5)
    assert np.isfinite(estimator.predict_proba(np.zeros((1, 2)))).all()
