"""What a folder keeps is what its model has learned: nothing is acknowledged that does not come back."""

import os
import shutil
import sqlite3
import threading
from contextlib import suppress
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from perdure import DurableModel, PerdureWarning
from perdure.online.errors import RowError
from perdure.online.history import positions_of, replay
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


CODES = ["a", 5, "b", 2.5, True, None, np.float32(0.1), 5]


def test_what_made_a_column_one_of_categories_can_be_forgotten(model, tmp_path, assert_same_state):
    for n, it in enumerate(CODES):
        model.learn({"c": it, "d": 1.0}, "xy"[n % 2], ids=f"{n}")
    model.learn(pd.DataFrame({"c": np.asarray([0.1, 7], np.float32), "d": [2.0, 3.0]}), ["x", "y"])
    assert model.forget(["0", "2"]) == 2
    assert model.model.columns.known["c"].is_category
    assert_same_state(model.model, relearned(model))
    kept = [it.x["c"] for it in model._journal.entries()]
    assert kept == ["5", "2.5", "True", None, "0.10000000149011612", "5", "0.1", "7.0"]
    with DurableModel.open(tmp_path / "other", **SMALL) as other:
        other.learn([{"c": it, "d": 1.0} for it in kept[:6]], list("yyxyxy"))
        other.learn([{"c": "0.1", "d": 2.0}, {"c": "7.0", "d": 3.0}], ["x", "y"])
        assert_same_state(model.model, other.model)


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


@pytest.mark.parametrize("replaced", [False, True])
def test_a_journal_that_was_deleted_or_replaced_acknowledges_nothing(tmp_path, replaced):
    with DurableModel.open(tmp_path / "other", **SMALL) as other:
        other.learn({"a": 1.0}, "x", ids="of the other")
    model = DurableModel.open(tmp_path / "m", **SMALL)
    model.learn({"a": 1.0}, "x", ids="mine")
    journal = tmp_path / "m" / "journal.sqlite"
    if replaced:
        (tmp_path / "other" / "journal.sqlite").replace(journal)
    else:
        journal.unlink()
    for change in (
        lambda: model.learn({"a": 1.0}, "x"),
        lambda: model.forget("mine"),
        lambda: model.relabel("mine", "y"),
        lambda: model.adopt("lda"),
    ):
        with pytest.raises(StorageError, match="was deleted or replaced while the model was open"):
            change()
    assert model.predict({"a": 1.0}) == ["x"]
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


def test_an_interrupt_while_the_journal_is_followed_leaves_no_example_learned_twice(model, monkeypatch, tmp_path):
    model.learn([{"c": float(n)} for n in range(3)], ["x", "y", "x"])
    with DurableModel.open(tmp_path / "m", read_only=True) as reader:
        model.learn([{"c": float(n)} for n in range(300)], ["x", "y"] * 150)
        interrupt_after_a_block(reader.model, monkeypatch)
        with pytest.raises(KeyboardInterrupt):
            reader.predict({"c": 1.0})
        np.testing.assert_array_equal(reader.predict_proba([{"c": 1.0}]), model.predict_proba([{"c": 1.0}]))


def interrupt_after_a_block(model, monkeypatch):
    """Let an interrupt come when a model has learned the first block of what it learns next."""
    program, calls = model._program, []

    def learn(packed, bits):
        calls.append(bits)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return program.learn(packed, bits)

    monkeypatch.setattr(model, "_program", program._replace(learn=learn))


@pytest.mark.parametrize("act", ["forget", "relabel", "adopt", "learn"])
@pytest.mark.parametrize("then", ["learn", "snapshot", "close"])
def test_an_interrupt_when_the_journal_has_changed_is_made_good(tmp_path, monkeypatch, assert_same_state, act, then):
    """Whatever is done next, the state that is kept is the journal's."""
    with DurableModel.open(tmp_path / "m", **SMALL) as model:
        model.learn([{"c": float(n)} for n in range(4)], list("xyxy"), ids=list("abcd"))
        acts = {
            "forget": ("_take_over", lambda: model.forget("b")),
            "relabel": ("_take_over", lambda: model.relabel("b", "x")),
            "adopt": ("_take_over", lambda: model.adopt(hidden_sizes=(3,))),
            "learn": ("_restore", lambda: model.learn({"c": 7.0}, "y")),
        }
        name, do = acts[act]

        def interrupted(*_):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(model, name, interrupted)
            if act == "learn":  # when it is written, and again while what is on the disk is read
                patch.setattr("perdure.online.group.Learned", interrupted)
            with pytest.raises(KeyboardInterrupt):
                do()
        if then == "learn":
            model.learn({"c": 9.0}, "x")
        elif then == "snapshot":
            model.snapshot()
    with DurableModel.open(tmp_path / "m") as again:
        assert_same_state(again.model, relearned(again))


def test_a_target_that_cannot_be_learned_is_never_in_the_journal(model, monkeypatch):
    """A process that ends while the history is learned again leaves a model that opens."""
    model.learn([{"c": 1.0}, {"c": 2.0}], ["x", "y"], ids=["1", "2"])
    with monkeypatch.context() as patch:
        patch.setattr(type(model._journal), "relabel", lambda *_: pytest.fail("written before it was tried"))
        for target in (5, None, float("nan"), ["x"]):
            with pytest.raises(RowError, match="row 2 has the"):
                model.relabel("2", target)
    assert (model.n_examples, model.classes) == (2, ["x", "y"])


@pytest.mark.parametrize("id", [b"1", 1.0, True, None, ("1",)])
def test_an_id_that_is_no_text_and_no_whole_number_is_refused(model, id):
    model.learn({"c": 1.0}, "x", ids="1")
    if id is not None:  # a row may have none
        with pytest.raises(RowError, match="row 0 has the id"):
            model.learn({"c": 1.0}, "x", ids=[id])
    for given in ([id], id) if not isinstance(id, tuple) else ([id],):
        with pytest.raises(RowError, match="an example cannot have the id"):
            positions_of(model._journal, given)
    assert (model.n_examples, model.classes) == (1, ["x"])


@pytest.mark.parametrize("left", ["snapshot", "log"])
@pytest.mark.parametrize("harm", ["deleted", "emptied"])
@pytest.mark.parametrize("read_only", [False, True])
def test_the_rest_of_a_model_without_its_journal_is_not_taken_for_a_new_one(tmp_path, left, harm, read_only):
    folder = tmp_path / "m"
    with DurableModel.open(folder, **SMALL) as model:
        model.learn({"c": 1.0}, "x")
        if left == "log":
            shutil.copytree(folder, tmp_path / "copy")
            folder = tmp_path / "copy"
    journal = folder / "journal.sqlite"
    journal.unlink()
    if harm == "emptied":
        journal.touch()
    before = sorted(folder.rglob("*"))
    with pytest.raises(StorageError, match=r"journal\.sqlite is missing or empty, but the rest of a model is there"):
        DurableModel.open(folder, read_only=read_only)
    assert sorted(folder.rglob("*")) == before


def test_examples_without_settings_are_not_learned_with_others(model, tmp_path):
    model.learn({"c": 1.0}, "x")
    model.close()
    connection = sqlite3.connect(tmp_path / "m" / "journal.sqlite")
    connection.execute("DELETE FROM meta WHERE name = 'settings'")
    connection.commit()
    connection.close()
    with pytest.raises(StorageError, match="has examples, but no settings of their model"):
        DurableModel.open(tmp_path / "m")


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/dev/null")])
def test_what_is_no_file_is_no_journal(tmp_path, make):
    make(tmp_path / "journal.sqlite")
    with pytest.raises(StorageError, match="is a folder, a pipe or a device, expected the journal of a model"):
        DurableModel.open(tmp_path)


@pytest.mark.filterwarnings("ignore:.*fork:RuntimeWarning", "ignore:.*fork:DeprecationWarning")
def test_a_copy_of_the_process_neither_learns_nor_answers(model, assert_same_state):
    """What it learned would be in the journal, and not in the model of the process that goes on learning."""
    model.learn({"c": 1.0}, "x")
    acts = {"learn": lambda: model.learn({"c": 2.0}, "y"), "predict": lambda: model.predict({"c": 2.0})}
    for act in acts.values():
        end, start = os.pipe()
        if not (child := os.fork()):
            try:
                act()
                os.write(start, b"done")
            except BaseException as error:
                os.write(start, str(error).encode())
            finally:
                os._exit(0)
        os.close(start)
        words = os.read(end, 4096).decode()
        os.waitpid(child, 0)
        os.close(end)
        assert f"was opened by process {os.getpid()}, of which this one is a copy" in words
    model.learn({"c": 3.0}, "y")
    assert model.position == 2
    assert_same_state(model.model, relearned(model))


ENDINGS = {
    "learn": lambda model: model.learn({"c": 9.0}, "x", ids="9"),
    "forget": lambda model: model.forget(["1", "4"]),
    "undo": lambda model: model.undo(),
    "relabel": lambda model: model.relabel("2", "new"),
    "relabel in vain": lambda model: model.relabel("2", 5),
    "adopt": lambda model: model.adopt("gaussian"),
    "close": lambda model: model.close(),
}


@pytest.mark.parametrize("name", ENDINGS)
def test_a_process_that_ends_between_any_two_statements_leaves_a_model_that_opens(name, tmp_path, assert_same_state):
    folder, copies = tmp_path / "m", []
    model = DurableModel.open(folder, method="nearest-mean", snapshot_examples=3)
    for n in range(8):
        model.learn({"c": float(n)}, "xyz"[n % 3], ids=f"{n}")

    def copy(_):
        copies.append(tmp_path / f"{len(copies)}")
        shutil.copytree(folder, copies[-1])

    model._journal._connection.set_trace_callback(copy)
    with suppress(RowError):
        ENDINGS[name](model)
    model.close()
    assert copies
    for it in copies:
        with DurableModel.open(it) as again:
            assert_same_state(again.model, relearned(again))
