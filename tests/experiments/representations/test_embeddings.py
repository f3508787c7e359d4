"""Methods on features from any network: agreement with closed forms on all data, invariance, records."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet
from sklearn.datasets import load_iris, load_wine
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import RidgeClassifier
from sklearn.neighbors import NearestCentroid
from sklearn.preprocessing import StandardScaler

from perdure.experiments.representations import embeddings
from perdure.experiments.representations.embedding_methods import embedding_classifier, embedding_method
from perdure.experiments.representations.embeddings import compare_embeddings, resume_embeddings, run_embeddings
from perdure.experiments.representations.embeddings_spec import EmbeddingsPlan, EmbeddingsSpec
from perdure.learners.lda import LDA
from perdure.machine.signals import InterruptedRunError
from perdure.online.estimators import OnlineClassifier
from perdure.records.embeddings import EmbeddingsRecord
from perdure.records.errors import ResultsError
from perdure.records.listing import ListedRun, list_records
from perdure.storage.reading import ContentError
from perdure.streams.embeddings import checked_embeddings, divide
from tests.conftest import first_short

HEADS = ("nearest-mean", "lda", "ridge")


def division(order="classes", seed=0, data=load_wine):
    return divide(checked_embeddings(*data(return_X_y=True)), order=order, test_share=0.3, seed=seed)


def predictions(method, part):
    return embedding_classifier(method).fit(part.x, part.y).predict(part.test_x)


def discriminants(part):
    """Return scikit-learn's LDA with the same covariance, all classes equally probable."""
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.2).fit(part.x.astype(float), part.y)
    model.intercept_ -= np.log(model.priors_)
    return model


def ridge(part):
    """Return scikit-learn's ridge with the same penalty."""
    x = part.x.astype(float)
    return RidgeClassifier(alpha=0.01 * np.mean(np.sum((x - x.mean(axis=0)) ** 2, axis=0))).fit(x, part.y)


@pytest.mark.parametrize("data", [load_wine, load_iris])
@pytest.mark.parametrize("order", ["classes", "shuffled", "file"])
@pytest.mark.parametrize(
    ("method", "rival"),
    [
        ("lda", discriminants),
        ("ridge", ridge),
        ("nearest-mean", lambda part: NearestCentroid().fit(part.x.astype(float), part.y)),
    ],
)
def test_one_pass_predicts_what_scikit_learn_does_on_all_data_at_once(method, rival, order, data):
    part = division(order, data=data)
    np.testing.assert_array_equal(predictions(method, part), rival(part).predict(part.test_x.astype(float)))


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31), n_classes=st.integers(2, 5), method=st.sampled_from(HEADS))
def test_the_order_is_of_no_matter_to_heads_in_closed_form(seed, n_classes, method):
    rng = np.random.default_rng(seed)
    y = np.arange(60) % n_classes
    data = checked_embeddings(rng.normal(size=(60, 4)) + 2 * rng.normal(size=(n_classes, 4))[y], y)
    scores = []
    for order in ("file", "classes", "shuffled"):
        part = divide(data, order=order, test_share=0.3, seed=0)
        model = embedding_classifier(method).fit(part.x, part.y)
        scores.append(model.predict_proba(part.test_x)[np.lexsort(part.test_x.T)])
    for other in scores[1:]:
        np.testing.assert_allclose(other, scores[0], atol=2e-3)


@pytest.mark.parametrize(
    "method", first_short(["lda", "er", "nearest-mean", "ridge", "gaussian", "slda", "online", "mer", "averaged-er"], 2)
)
def test_units_of_the_features_are_of_no_matter(method):
    x, y = load_wine(return_X_y=True)
    scale = 10.0 ** np.arange(-6, 7)
    found = [
        compare_embeddings(own, y, methods=[method], order="shuffled", memory_size=50).results[0].held_out
        for own in (x, (x - 3) * scale)
    ]
    assert found[1] == pytest.approx(found[0], abs=0.03)
    assert found[0] > 0.8


def test_the_table_is_what_a_classifier_of_one_s_own_comes_to():
    x, y = load_wine(return_X_y=True)
    found = compare_embeddings(x, y, test_x=x[::2], test_y=y[::2], methods=["lda", "mer"], order="file")
    scaler = StandardScaler().fit(x)
    for it in found.results:
        model = OnlineClassifier(
            found.learners[it.method], hidden_sizes=(), standardize=False, allow_missing=False
        ).fit(scaler.transform(x), y)
        assert model.score(scaler.transform(x[::2]), y[::2]) == it.held_out
    assert "lda" in repr(found)


def test_answers_come_before_what_they_are_about_is_learned():
    """With one class after another, the first example of each is answered wrong, and the others of it right."""
    y = np.repeat(np.arange(4), 20)
    x = 10 * np.eye(4)[y] + np.random.default_rng(0).normal(size=(80, 4))
    (found,) = compare_embeddings(x, y, methods=["nearest-mean"]).results
    assert (found.n_answered, found.prequential) == (64, 60 / 64)
    assert list(found.rows) == [16, 32, 48, 64]  # the ends of the classes
    assert list(found.curve) == [1.0] * 4
    assert found.held_out == 1.0


@pytest.mark.parametrize(
    ("order", "n_classes", "rows"),
    [
        ("classes", 4, [8, 16, 24, 32]),
        ("classes", 13, [8, 16, 24, 40, 48, 56, 72, 80, 88, 104]),
        ("shuffled", 4, [3, 6, 9, 12, 16, 19, 22, 25, 28, 32]),
    ],
)
def test_one_class_after_another_is_measured_at_the_ends_of_classes(order, n_classes, rows):
    """A class of which few examples have been learned would seem forgotten."""
    y = np.repeat(np.arange(n_classes), 10)
    (found,) = compare_embeddings(np.eye(n_classes)[y], y, methods=["nearest-mean"], order=order).results
    assert list(found.rows) == rows


def test_of_long_streams_some_answers_are_enough(monkeypatch):
    monkeypatch.setattr(embeddings, "N_ANSWERED", 10)
    x, y = load_wine(return_X_y=True)
    for it in compare_embeddings(x, y, methods=["lda"], order="shuffled", seeds=2).results:
        assert it.n_answered == 10
        assert it.prequential > 0.6


def test_an_encoder_takes_the_place_of_features():
    x, y = load_wine(return_X_y=True)
    own = np.random.default_rng(0).normal(size=(13, 8))
    for held_out in ({}, {"test_x": x[:50], "test_y": y[:50]}):
        inside = compare_embeddings(x, y, encode=lambda batch: batch @ own, methods=["lda"], **held_out)
        before = {name: it @ own if name == "test_x" else it for name, it in held_out.items()}
        outside = compare_embeddings(x @ own, y, methods=["lda"], **before)
        assert inside.results[0].held_out == outside.results[0].held_out


def test_rates_are_in_proportion_to_the_features():
    for name in ("online", "er", "mer", "averaged-er"):
        one, many = embedding_method(name, 1), embedding_method(name, 100)
        assert float(many.learning_rate) == pytest.approx(float(one.learning_rate) / 100)  # pyright: ignore
    assert embedding_method("lda", 5) == "lda"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"methods": ["ldaa"]}, "methods has 'ldaa', expected different ones of auto, online"),
        ({"encode": lambda it: it, "x": (it for it in [1])}, "inputs of encode are a generator"),
        ({"methods": []}, "methods are ''"),
        ({"order": "random"}, "order is 'random', expected one of classes, shuffled, file"),
        ({"x": np.eye(6, 300_000, dtype=np.float32), "y": [0, 1] * 3}, "makes lda keep .* use nearest-mean"),
        ({"seeds": 0}, "seeds = 0"),
        ({"seeds": 10**12}, "seeds is 1000000000000, expected at most 1000"),
        ({"memory_size": 10**22}, "memory_size is 1.*, expected at most 2147483647"),
        ({"memory_size": 0}, "memory_size = 0"),
        ({"test_share": 0.0}, "test_share is 0, expected more than 0"),
    ],
)
def test_what_cannot_be_compared_is_refused(change, words):
    x, y = load_wine(return_X_y=True)
    with pytest.raises((TypeError, ValueError), match=words):
        compare_embeddings(**{"x": x, "y": y, **change})


@pytest.mark.usefixtures("types_unchecked")
def test_values_of_other_types_are_named():
    x, y = load_wine(return_X_y=True)
    with pytest.raises(TypeError, match=r"methods is \[LDA\(.*expected names such as \['lda', 'er'\]"):
        compare_embeddings(x, y, methods=[LDA()])  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match=r"seeds is 1\.5, expected a whole number"):
        compare_embeddings(x, y, seeds=1.5)  # pyright: ignore[reportArgumentType]


@pytest.fixture
def spec(tmp_path):
    x, y = load_iris(return_X_y=True)
    np.savez(tmp_path / "iris.npz", x=x, y=np.array(["setosa", "versicolor", "virginica"])[y])
    return EmbeddingsSpec(str(tmp_path / "iris.npz"), None, "y", None, EmbeddingsPlan(("nearest-mean", "lda"), seeds=2))


def test_a_run_that_was_stopped_is_resumed(spec, tmp_path, monkeypatch):
    whole = run_embeddings(spec, tmp_path / "whole", progress=False)
    assert [(it.method, it.seed) for it in whole.results] == [(m, s) for m in spec.plan.methods for s in (0, 1)]
    measured, done = embeddings._measured, []

    def stopping(part, method, memory_size, seed, advanced):
        if len(done) == 2:
            raise InterruptedRunError("stopped", 2)
        done.append((method, seed))
        return measured(part, method, memory_size, seed, advanced)

    monkeypatch.setattr(embeddings, "_measured", stopping)
    with pytest.raises(InterruptedRunError, match="stopped after 2 of 4 methods and seeds"):
        run_embeddings(spec, tmp_path / "run", progress=False)
    (listed,) = list_records(tmp_path / "run")
    assert isinstance(listed, ListedRun)
    assert (listed.finished, listed.progress) == (False, "2 of 4 methods and seeds")
    done.clear()
    again = resume_embeddings(tmp_path / "run", progress=False)
    assert done == [("nearest-mean", 1), ("lda", 1)]
    assert again.finished
    for one, other in zip(again.results, whole.results, strict=True):
        assert (one.method, one.seed, one.held_out, one.prequential) == (
            other.method,
            other.seed,
            other.held_out,
            other.prequential,
        )
    monkeypatch.setattr(embeddings, "_measured", None)
    assert run_embeddings(spec, tmp_path / "run", progress=False).results == again.results
    assert EmbeddingsSpec.of_config(EmbeddingsRecord.load(tmp_path / "run").config) == spec


def test_a_folder_belongs_to_its_data(spec, tmp_path):
    folder = spec.default_folder(tmp_path)
    run_embeddings(spec, folder, progress=False)
    x, y = load_iris(return_X_y=True)
    np.savez(spec.source, x=x + 1e-3, y=y)
    assert spec.default_folder(tmp_path) != folder
    with pytest.raises(ResultsError, match="begun on other data"):
        run_embeddings(spec, folder, progress=False)


def test_a_test_file_is_held_out(spec, tmp_path):
    x, _ = load_iris(return_X_y=True)
    np.savez(tmp_path / "test.npz", x=x[:10], y=np.full(10, "setosa"))
    plan = EmbeddingsPlan(("lda",), seeds=1)
    own = EmbeddingsSpec(spec.source, None, "y", str(tmp_path / "test.npz"), plan)
    (found,) = run_embeddings(own, tmp_path / "run", progress=False).results
    assert (found.rows[-1], found.held_out) == (150, 1.0)


@pytest.mark.parametrize("where", ["x", "test"])
def test_features_that_are_none_are_named_by_their_place_in_the_file(where, tmp_path):
    x, y = load_iris(return_X_y=True)
    bad = x.copy()
    bad[7, 2] = np.inf
    names = ["a", "b", "c", "d"]
    lists = pa.array(bad.tolist(), pa.list_(pa.float64()))
    parquet.write_table(pa.table({"e": lists, "y": y}), tmp_path / "bad.parquet")
    pd.DataFrame(bad, columns=names).assign(y=y).to_csv(tmp_path / "bad.csv", index=False)
    np.savez(tmp_path / "bad.npz", x=bad, y=y)
    np.savez(tmp_path / "good.npz", x=x, y=y)
    for name, words in (
        ("bad.csv", "column 'c' has inf in row 8, counted from 1, expected finite"),
        ("bad.parquet", "the column of lists has inf in row 8, counted from 1, number 3 of the list, expected"),
        ("bad.npz", "array 'x' has inf in row 7, column 2, counted from 0, expected"),
    ):
        files = (name, None) if where == "x" else ("good.npz", name)
        source, test = (None if it is None else str(tmp_path / it) for it in files)
        assert source is not None
        with pytest.raises(ContentError, match=f"{name}, {words}") as found:
            EmbeddingsSpec(source, None, "y", test, EmbeddingsPlan(("lda",))).load()
        assert "np.isfinite" not in str(found.value)


def test_bad_content_is_named_with_its_file_before_a_folder_is_made(spec, tmp_path):
    x, y = load_iris(return_X_y=True)
    x[7, 2] = np.nan
    np.savez(spec.source, x=x, y=y)
    with pytest.raises(ContentError, match=r"iris\.npz, array 'x' has nan in row 7, column 2, counted from 0"):
        run_embeddings(spec, tmp_path / "run", progress=False)
    np.savez(spec.source, x=np.eye(6, 300_000, dtype=np.float32), y=[0, 1] * 3)
    with pytest.raises(ValueError, match="makes lda keep"):
        run_embeddings(spec, tmp_path / "run", progress=False)
    np.savez(spec.source, x=np.ones((3, 2)), y=[0, 0, 1])
    with pytest.raises(ValueError, match=r"iris\.npz: y has a single example of the class 1"):
        run_embeddings(spec, tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()
