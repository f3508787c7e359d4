"""The estimators keep the contracts of scikit-learn and River."""

import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from perdure.learners.er import ER
from perdure.online.errors import RowError
from perdure.online.estimators import OnlineClassifier, OnlineRegressor
from perdure.online.saving import load
from perdure.storage.reading import ContentError

ORDER = "the order of the rows decides what is learned, and the check shuffles them"
TYPES = "the tests check types at every call, where the check wants none checked before fit; see the test after this"
COLUMNS = "named columns may appear at any time, where the check wants them refused"
EXPECTED = {
    "check_sample_weight_equivalence_on_dense_data": ORDER,
    "check_dataframe_column_names_consistency": COLUMNS,
    "check_do_not_raise_errors_in_init_or_set_params": TYPES,
}


@pytest.mark.long
@parametrize_with_checks(
    [OnlineClassifier("online", hidden_sizes=(16,)), OnlineRegressor("online", hidden_sizes=(16,))],
    expected_failed_checks=lambda estimator: EXPECTED,
)
@pytest.mark.filterwarnings("ignore")
def test_contract_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.long
def test_parameters_are_looked_at_by_fit_and_not_before():
    program = (
        "from sklearn.utils.estimator_checks import check_do_not_raise_errors_in_init_or_set_params as check\n"
        "from perdure import OnlineClassifier, OnlineRegressor\n"
        "for kind in (OnlineClassifier, OnlineRegressor):\n"
        "    check(kind.__name__, kind())"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", [OnlineClassifier, OnlineRegressor])
def test_contract_of_river(kind):
    """Its own checks; River does not know the class, so it is told what kind of estimator it is."""
    checks = pytest.importorskip("river.checks")
    checks.check_estimator(kind("online", hidden_sizes=(8,)))


def test_progressive_validation_of_river():
    evaluate = pytest.importorskip("river.evaluate")
    from river import datasets, metrics

    found = evaluate.progressive_val_score(
        datasets.Phishing().take(300), OnlineClassifier("online"), metrics.Accuracy()
    )
    assert found.get() > 0.75


def blobs(n=300):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, n)
    x = rng.normal(size=(n, 4)) + 3 * np.eye(4)[y]
    return x, np.asarray(["red", "green", "blue"])[y]


def test_text_classes_data_frames_and_pandas_output():
    x, y = blobs()
    frame = pd.DataFrame(x, columns=list("abcd"))
    frame["kind"] = np.where(x[:, 0] > 0, "p", "q")
    frame.loc[::9, "b"] = np.nan
    model = OnlineClassifier("online").fit(frame, y)
    assert list(model.classes_) == ["blue", "green", "red"]
    assert list(model.feature_names_in_) == ["a", "b", "c", "d", "kind"]
    assert model.score(frame, y) > 0.9
    later = frame.assign(extra=1.0)
    model.partial_fit(later, y)
    assert model.predict_proba(frame[["a", "kind"]]).shape == (300, 3)


def test_clones_pipelines_and_cross_validation():
    x, y = blobs()
    model = OnlineClassifier(ER(0.03, 50, 5), random_state=3)
    assert repr(clone(model)) == repr(model)
    scores = cross_val_score(make_pipeline(StandardScaler(), OnlineClassifier("online")), x, y, cv=3)
    assert scores.min() > 0.8


def test_partial_fit_continues_and_fit_starts_over():
    x, y = blobs()
    whole = OnlineClassifier("er", memory_size=40).fit(x, y)
    parts = OnlineClassifier("er", memory_size=40)
    for start in range(0, 300, 70):
        parts.partial_fit(x[start : start + 70], y[start : start + 70])
    np.testing.assert_array_equal(whole.predict_proba(x), parts.predict_proba(x))
    np.testing.assert_array_equal(whole.fit(x, y).predict_proba(x), parts.predict_proba(x))


def test_a_pickled_model_continues():
    x, y = blobs()
    model = OnlineClassifier("er", memory_size=40).fit(x, y)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.partial_fit(x, y).predict_proba(x), model.partial_fit(x, y).predict_proba(x))


def test_a_saved_model_continues(tmp_path):
    x, y = blobs()
    for method in ("er", ER(0.03, 50, 5)):
        model = OnlineClassifier(method, memory_size=40, hidden_sizes=(8,)).fit(x, y)
        model.save(tmp_path / "model.safetensors")
        again = load(tmp_path / "model.safetensors", method=method if method != "er" else None)
        assert isinstance(again, OnlineClassifier)
        assert again.get_params() == model.get_params()
        one, other = model.partial_fit(x, y).predict_proba(x), again.partial_fit(x, y).predict_proba(x)
        np.testing.assert_array_equal(one, other)
    with pytest.raises(ContentError, match="give a learner of that description"):
        load(tmp_path / "model.safetensors", method=ER(0.05, 50, 5))
    content = bytearray((tmp_path / "model.safetensors").read_bytes())
    content[-5] ^= 1
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(ContentError, match="was altered"):
        load(tmp_path / "model.safetensors", method=ER(0.03, 50, 5))


def test_rows_of_river():
    model = OnlineClassifier("online")
    assert model.predict_one({"a": 1.0}) is None
    assert model.predict_proba_one({"a": 1.0}) == {}
    for n in range(60):
        model.learn_one({"a": float(n % 2), "b": n} if n % 3 else {"a": float(n % 2), "c": "x"}, n % 2 == 1)
    assert model.predict_one({"a": 1.0}) is True
    assert model.predict_one({"a": 0.0, "never seen": 3}) is False
    regressor = OnlineRegressor("online")
    assert regressor.predict_one({"a": 1.0}) == 0
    regressor.learn_one({"a": 1.0}, 5.0)
    assert np.isfinite(regressor.predict_one({"a": 1.0}))


def test_weights_say_how_often_a_row_is_learned():
    x, y = blobs(30)
    weighted = OnlineClassifier("online").fit(x, y, sample_weight=np.tile([0, 1, 2], 10))
    repeated = OnlineClassifier("online").fit(*(np.repeat(it, np.tile([0, 1, 2], 10), axis=0) for it in (x, y)))
    np.testing.assert_array_equal(weighted.predict_proba(x), repeated.predict_proba(x))


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (np.asarray([[1.0, np.inf]]), ["a"], "row 0, column 'x1' is inf"),
        (np.zeros((0, 2)), [], "0 rows were given"),
        (np.zeros(3), [1, 2, 3], "Reshape your data"),
        (np.zeros((2, 2)), ["a"], "2 rows and 1 targets"),
        (np.zeros((2, 2)), [0.5, 1.5], "for numbers, use OnlineRegressor"),
        (np.zeros((1, 2)), [np.nan], "row 0 has the class nan"),
    ],
)
def test_bad_rows_are_named(x, y, words):
    with pytest.raises(ValueError, match=words) as refused:
        OnlineClassifier("online").partial_fit(x, y)
    assert isinstance(refused.value, RowError | ValueError)


def test_methods_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match="method is 'mr', expected a learner or one of auto, online"):
        OnlineClassifier("mr").fit(*blobs(5))
