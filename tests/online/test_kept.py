"""What a folder keeps is what its model has learned: nothing is acknowledged that does not come back."""

import shutil
import threading
from datetime import date

import numpy as np
import pandas as pd
import pytest

from perdure import DurableModel, PerdureWarning
from perdure.online.errors import RowError
from perdure.online.history import replay
from perdure.storage.files import StorageError

SMALL = {"method": "online", "hidden_sizes": (4,)}


@pytest.fixture
def model(tmp_path):
    with DurableModel.open(tmp_path / "m", **SMALL) as model:
        yield model


def relearned(model):
    """Return the model that the journal alone makes."""
    found = model.settings.new_model()
    replay(model._journal, found, 0, model.position)
    return found


def test_forgetting_what_decides_a_columns_kind_is_refused_and_changes_nothing(model, assert_same_state):
    model.learn([{"c": "a"}, {"c": 1}, {"c": "b"}], ["x", "y", "x"], ids=["1", "2", "3"])
    with pytest.raises(RowError, match="row 3, column 'c' is 'b', expected a number"):
        model.forget("1")
    assert model.n_examples == 3
    assert_same_state(model.model, relearned(model))
    model.learn({"c": "d"}, "y")


@pytest.mark.parametrize("settings", [{"regression": True}, {"allow_missing": False}, {"method": "best"}])
def test_settings_that_do_not_suit_the_history_are_not_adopted(model, settings, assert_same_state):
    model.learn([{"c": 1.0}, {"d": 2.0}], ["x", "y"])
    before = model.settings
    with pytest.raises(ValueError, match=r"row|method"):
        model.adopt(**settings)
    assert model.settings == before
    assert_same_state(model.model, relearned(model))
    model.adopt("er", memory_size=10)
    assert_same_state(model.model, relearned(model))


@pytest.mark.parametrize(
    ("label", "words"),
    [(("a", "b"), "row 0 has the target"), (date(2024, 1, 1), "row 0"), (float("inf"), "row 0"), (object(), "row 0")],
)
def test_a_label_that_does_not_come_back_is_refused(model, label, words):
    with pytest.raises(RowError, match=words):
        model.learn({"c": 1.0}, label)
    assert (model.position, model.n_examples, model.classes) == (0, 0, [])


VALUES = {
    "texts and numbers of NumPy": [{"c": "t"}, {"c": np.float32(0.1)}, {"c": np.int64(3)}],
    "a tuple among texts": [{"c": "t"}, {"c": (1, 2)}],
    "dates": [{"c": date(2024, 1, 1)}, {"c": date(2024, 1, 2)}],
    "missing values of pandas": pd.DataFrame({"c": pd.array([1, None, 3], "Int64"), "d": pd.array(["a", None, "b"])}),
    "times of pandas": pd.DataFrame({"c": pd.to_datetime(["2024-01-01", None, "2024-01-03"])}),
    "times of NumPy": np.array([["2020-01-01"], ["2020-01-02"]], "M8[ns]"),
    "a row with nothing in it": [{}, {"c": 1.0}],
    "many digits": [{"c": np.longdouble(1)}, {"c": 10**30}],
}


@pytest.mark.parametrize("name", VALUES)
def test_what_is_learned_is_what_is_kept(name, model, assert_same_state):
    rows = VALUES[name]
    model.learn(rows, ["x", "y", "x"][: len(rows)])
    assert_same_state(model.model, relearned(model))


def test_ids_are_texts_or_whole_numbers_or_none(model):
    model.learn([{"a": 1.0}] * 4, ["x", "y", "x", "y"], ids=["i", None, None, 7])
    assert model.n_examples == 4
    assert model.forget([7]) == 1
    model.relabel("i", "y")
    for ids, words in [(["i", 0.5], "the id 0.5"), (["\ud800", "j"], "no text of Unicode"), (5, "2 rows and 1 ids")]:
        with pytest.raises(RowError, match=words):
            model.learn([{"a": 1.0}] * 2, ["x", "y"], ids=ids)
    with pytest.raises(RowError, match="2 rows and 1 targets"):
        model.learn([{"a": 1.0}] * 2, "xy")


def test_the_rows_of_a_batch_keep_their_numbers(model):
    model.learn([{"a": 1.0}] * 3, ["x", "y", "x"], ids=["0", "1", "2"])
    rows = [{"a": 1.0}] * 5 + [{"a": "bad"}]
    with pytest.raises(RowError, match="row 5, column 'a' is 'bad'"):
        model.learn(rows, ["x"] * 6, ids=[str(n) for n in range(6)])


def test_a_model_whose_examples_are_all_undone_begins_again(model):
    model.learn({"a": 1.0}, "x", ids="1")
    assert model.undo().id == "1"
    assert model.undo() is None
    model.snapshot()
    assert model.predict({"a": 1.0}) == [None]
    model.learn({"b": 1.0}, "y")


def test_an_interrupt_in_the_middle_leaves_what_the_journal_holds(model, assert_same_state, monkeypatch):
    model.learn([{"a": float(n)} for n in range(200)], ["x", "y"] * 100)

    def interrupted(examples):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(model._journal, "append", interrupted)
        with pytest.raises(KeyboardInterrupt):
            model.learn([{"a": float(n)} for n in range(200)], ["x", "z"] * 100)
    assert model.classes == ["x", "y"]
    assert_same_state(model.model, relearned(model))


def test_a_folder_that_was_deleted_acknowledges_nothing(tmp_path):
    model = DurableModel.open(tmp_path / "gone", **SMALL)
    model.learn({"a": 1.0}, "x")
    shutil.rmtree(tmp_path / "gone")
    with pytest.raises(StorageError, match="was deleted or put in another place"):
        model.learn({"a": 1.0}, "x")
    with pytest.warns(PerdureWarning, match="no snapshot could be made"):
        model.close()


def test_threads_share_a_model(model, assert_same_state):
    def teach(start):
        for n in range(start, start + 40):
            model.learn({"a": float(n)}, "xy"[n % 2])
            model.predict({"a": 1.0})

    threads = [threading.Thread(target=teach, args=(40 * n,)) for n in range(3)]
    for it in threads:
        it.start()
    for it in threads:
        it.join()
    assert model.position == 120
    assert_same_state(model.model, relearned(model))
