"""A view is the model as it was, bit for bit, whatever the model learns later."""

import threading

import numpy as np
import pytest

from perdure import DurableModel
from perdure.online.errors import RowError

SMALL = {"hidden_sizes": (4,), "memory_size": 10}
METHODS = [
    "nearest-mean",
    "er",
    pytest.param("auto", marks=pytest.mark.long),
    pytest.param("mer", marks=pytest.mark.long),
]


def rows(start, stop):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(stop, 2)).tolist()
    return [{"a": a, "b": b, "c": "xyz"[n % 3]} for n, (a, b) in enumerate(values)][start:stop]


def labels(some):
    return ["up" if it["a"] > it["b"] else "down" for it in some]


@pytest.fixture
def model(tmp_path):
    with DurableModel.open(tmp_path / "m", method="nearest-mean") as model:
        yield model


@pytest.mark.parametrize("method", METHODS)
def test_a_view_equals_the_model_and_never_changes(tmp_path, method):
    asked = [*rows(0, 5), {"a": 1.0}, {"c": "unheard of", "d": 4}]
    with DurableModel.open(tmp_path / "m", method=method, **SMALL) as model:
        views = []
        for start in (0, 3, 9):
            some = rows(start, start + 6)
            model.learn(some, labels(some))
            view = model.view()
            expected = model.predict_proba(asked)
            np.testing.assert_array_equal(view.predict_proba(asked), expected)
            np.testing.assert_array_equal(view.predict_proba_one(asked[0]), model.predict_proba(asked[:1])[0])
            assert view.predict(asked) == model.predict(asked)
            assert (view.position, list(view.classes)) == (model.position, model.classes)
            views.append((view, expected))
        model.learn([{"e": float(n), "f": f"{n}"} for n in range(40)], [f"class {n}" for n in range(40)])
        model.undo()
        for view, expected in views:
            np.testing.assert_array_equal(view.predict_proba(asked), expected)
            assert set(view.columns.known) == {"a", "b", "c"}


def test_a_view_of_drawings_is_compiled_and_equals_the_model(tmp_path):
    drawings = np.random.default_rng(0).integers(0, 256, (3, 28, 28), np.uint8)
    with DurableModel.open(tmp_path / "m", method="nearest-mean", features="omniglot-small-prototypes") as model:
        model.view().compile()  # nothing to do yet
        model.learn(drawings, ["up", "down", "up"])
        model.view().compile()
        np.testing.assert_array_equal(model.view().predict_proba(drawings), model.predict_proba(drawings))


def test_a_view_of_numbers(tmp_path):
    with DurableModel.open(tmp_path / "m", method="online", regression=True, **SMALL) as model:
        assert model.view().predict([{"a": 1.0}]) == [None]
        model.learn(rows(0, 20), [it["a"] for it in rows(0, 20)])
        view, expected = model.view(), list(model.predict(rows(0, 3)))
        model.learn(rows(20, 30), [it["a"] for it in rows(20, 30)])
        assert view.predict(rows(0, 3)) == expected


def test_a_view_before_the_first_example(model):
    view = model.view()
    assert view.predict([{"a": 1.0}]) == [None]
    assert view.predict_proba([{"a": 1.0}]).shape == (1, 0)
    assert view.predict_proba_one({"a": 1.0}).shape == (0,)


def test_a_row_that_cannot_be_read_is_named(model):
    model.learn([{"a": 1.0}], ["up"])
    with pytest.raises(RowError, match="row 1, column 'a' is 'text'") as caught:
        model.view().predict([{"a": 1.0}, {"a": "text"}])
    assert (caught.value.row, caught.value.column) == (1, "a")


def test_threads_ask_while_the_model_learns(model):
    """Each answer is that of a single position: probabilities of a view do not mix two states."""
    model.learn(rows(0, 10), labels(rows(0, 10)))
    newest, stop, wrong = [model.view()], threading.Event(), []

    def ask():
        while not stop.is_set():
            view = newest[0]
            first = view.predict_proba(rows(0, 4))
            if not np.array_equal(first, view.predict_proba(rows(0, 4))):
                wrong.append(view.position)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for n in range(10, 40):
        model.learn(rows(n, n + 1), labels(rows(n, n + 1)))
        newest[0] = model.view()
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
