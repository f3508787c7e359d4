"""Methods side by side on one reading of a file, and the record of it."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from perdure.core import PerdureWarning
from perdure.machine.signals import InterruptedRunError
from perdure.online import stream
from perdure.online.durable import DurableModel
from perdure.online.errors import RowError
from perdure.online.estimators import OnlineClassifier, OnlineRegressor
from perdure.online.prequential import prequential
from perdure.online.stream import StreamSpec, methods_given, resume_stream, run_stream
from perdure.records.errors import ResultsError
from perdure.records.listing import ListedRun, list_records
from perdure.records.stream import StreamRecord
from perdure.storage.reading import ContentError

N = 600


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=N), "b": rng.normal(size=N), "c": rng.choice(["x", "y"], N)})
    frame["state"] = np.where(frame["a"] > frame["b"], "up", "down")
    frame["price"] = 100 + 5 * frame["a"]
    return frame


@pytest.fixture
def spec_of(rows, tmp_path):
    path = tmp_path / "rows.csv"
    rows.drop(columns="price").to_csv(path, index=False)

    def make(**changes):
        settings: dict[str, Any] = {"source": str(path), "label": "state", "methods": ("online", "er")}
        settings |= {"hidden_sizes": (8,), "memory_size": 20, "window": 50, **changes}
        return StreamSpec(**settings)

    return make


def test_a_file_comes_to_the_same_as_an_array(spec_of, rows, tmp_path):
    record = run_stream(spec_of(), tmp_path / "run", progress=False)
    assert [it.method for it in record.results] == ["online", "er"]
    for it in record.results:
        model = OnlineClassifier(it.method, memory_size=20, hidden_sizes=(8,))
        found = prequential(model, rows[["a", "b", "c"]], rows["state"], window=50)
        assert it.metrics == pytest.approx(found.metrics)
        assert it.recall == found.recall
        np.testing.assert_array_equal(it.values, found.curve.values)
    assert record.n_rows == N
    assert record.best.metrics["accuracy"] > 0.8


def test_a_finished_record_is_read_and_another_file_refused(spec_of, tmp_path, monkeypatch):
    first = run_stream(spec_of(methods=("online",)), tmp_path / "run", progress=False)
    monkeypatch.setattr(stream, "_measure", None)
    again = run_stream(spec_of(methods=("online",)), tmp_path / "run", progress=False)
    assert again.results[0].metrics == first.results[0].metrics
    with pytest.raises(ResultsError, match="methods"):
        run_stream(spec_of(), tmp_path / "run", progress=False)
    path = tmp_path / "rows.csv"
    path.write_text(path.read_text() + "0,0,x,up\n")
    with pytest.raises(ResultsError, match="was begun on other data"):
        run_stream(spec_of(methods=("online",)), tmp_path / "run", progress=False)


def test_a_run_that_was_stopped_begins_again(spec_of, tmp_path):
    spec, folder = spec_of(methods=("online",)), tmp_path / "run"

    def stop(update):
        raise InterruptedRunError("stopped", 2)

    with pytest.raises(InterruptedRunError):
        run_stream(spec, folder, progress=stop)
    assert not StreamRecord.load(folder).finished
    (listed,) = list_records(folder)
    assert isinstance(listed, ListedRun)
    assert (listed.finished, listed.what) == (False, "online on rows.csv")
    assert resume_stream(folder, progress=False).finished
    assert StreamSpec.of_config(StreamRecord.load(folder).config) == spec


@pytest.mark.long
def test_numbers_are_learned_with_a_delay(rows, tmp_path):
    path = tmp_path / "prices.parquet"
    rows.drop(columns="state").to_parquet(path, index=False)
    spec = StreamSpec(str(path), "price", ("online",), regression=True, hidden_sizes=(8,), delay=3)
    result = run_stream(spec, tmp_path / "run", progress=False).results[0]
    model = OnlineRegressor("online", hidden_sizes=(8,))
    found = prequential(model, rows[["a", "b", "c"]], rows["price"], delay=3)
    assert result.metrics == pytest.approx(found.metrics)
    assert result.metrics["mae"] < 5


@pytest.mark.long
def test_labels_that_come_late_are_learned_late():
    """With a delay of n, row k is answered by a model of k − n rows."""
    x = np.arange(12.0)[:, None] % 5
    y = (x[:, 0] > 2).astype(int)
    for delay in (1, 4):
        found = prequential(OnlineClassifier("online", hidden_sizes=(4,)), x, y, delay=delay)
        expected = []
        for row in range(12):
            model = OnlineClassifier("online", hidden_sizes=(4,))
            known = max(row - delay, 0)
            if known:
                model.partial_fit(x[:known], y[:known])
            expected.append(bool(known) and model.predict(x[row : row + 1])[0] == y[row])
        assert found.metrics["accuracy"] == pytest.approx(np.mean(expected))


def test_a_bad_row_is_named_by_its_number_in_the_file(spec_of, tmp_path):
    path = tmp_path / "rows.csv"
    lines = path.read_text().splitlines()
    lines[301] = "inf,0,x,up"
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(RowError, match="row 301, column 'a' is inf"):
        run_stream(spec_of(methods=("online",)), tmp_path / "run", progress=False)
    with pytest.raises(ContentError, match=r"rows\.csv has no column 'stat'; did you mean 'state'"):
        run_stream(spec_of(label="stat"), tmp_path / "other", progress=False)


def test_the_history_of_a_model_is_a_stream(rows, tmp_path):
    with DurableModel.open(tmp_path / "model", method="online", hidden_sizes=(8,)) as model:
        model.learn(rows[["a", "b"]], rows["state"].to_numpy())
        expected = model.backtest(["online"])["online"]
    spec = StreamSpec(str(tmp_path / "model"), "", ("online",), hidden_sizes=(8,))
    result = run_stream(spec, tmp_path / "run", progress=False).results[0]
    assert result.metrics == pytest.approx(expected.metrics)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda content: content.pop("rows"), "has no 'rows'"),
        (lambda content: content["methods"].pop("online"), "has no 'online'"),
        (lambda content: content["methods"]["online"]["metrics"].update(accuracy="high"), "accuracy|'high'"),
    ],
)
def test_damaged_records_are_refused(change, words, spec_of, tmp_path):
    run_stream(spec_of(methods=("online",)), tmp_path / "run", progress=False)
    path = tmp_path / "run" / "summary.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(ResultsError, match=words):
        StreamRecord.load(tmp_path / "run")


@pytest.mark.parametrize("text", ["", "er,er", "er,none"])
def test_methods_that_do_not_exist_are_refused(text):
    with pytest.raises(ValueError, match=r"methods (are|has) '.*', expected different ones of online, er"):
        methods_given(text, ("online", "er"))


def test_a_method_that_is_misspelled_is_named_with_the_one_that_is_like_it():
    with pytest.raises(ValueError, match=r"methods has 'merr', expected .*; did you mean mer\?"):
        methods_given("lda,merr", ("lda", "mer"))


def test_numbers_with_fractions_are_no_classes(rows, spec_of, tmp_path):
    for ending, write in (("csv", rows.to_csv), ("parquet", rows.to_parquet)):
        path = tmp_path / f"prices.{ending}"
        write(path, index=False)
        with pytest.raises(ContentError, match=r"'price' holds numbers such as .*, expected classes; .* --regression"):
            run_stream(spec_of(source=str(path), label="price"), tmp_path / f"run {ending}", progress=False)


def test_many_whole_numbers_are_hardly_classes(rows, spec_of, tmp_path):
    rows["price"] = np.arange(N) // 2
    rows["stars"] = np.arange(N) % 5
    path = tmp_path / "whole.csv"
    rows.to_csv(path, index=False)
    spec = spec_of(source=str(path), label="price", methods=("nearest-mean",))
    with pytest.warns(PerdureWarning, match=r"'price' holds 300 different numbers in 600 rows, .* add --regression"):
        run_stream(spec, tmp_path / "run", progress=False)
    run_stream(spec_of(source=str(path), label="stars", methods=("nearest-mean",)), tmp_path / "stars", progress=False)


def test_a_history_may_have_classes_with_fractions(spec_of, tmp_path):
    with DurableModel.open(tmp_path / "model", method="nearest-mean") as model:
        model.learn([{"a": 1.0}, {"a": 2.0}], [0.5, 1.5])
    run_stream(spec_of(source=str(tmp_path / "model"), methods=("nearest-mean",)), tmp_path / "run", progress=False)


def test_what_cannot_run_leaves_no_record(spec_of, tmp_path):
    for changes in ({"methods": ("online", "lda"), "regression": True}, {"memory_rule": "lifo"}, {"window": 0}):
        with pytest.raises(ValueError, match=r"lda|lifo|window"):
            run_stream(spec_of(**changes), tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_progress_says_nothing_of_methods_without_a_figure_yet(spec_of, tmp_path):
    updates = []
    run_stream(spec_of(methods=("nearest-mean", "lda")), tmp_path / "run", progress=updates.append)
    assert all(not it.words.startswith(",") and not it.words.endswith(", ") for it in updates)
