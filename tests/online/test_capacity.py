"""How many inputs and classes rows would bring, told before they are learned."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.online import capacity
from perdure.online.capacity import check_capacity
from perdure.online.columns import HASHED_SLOTS, MAX_CATEGORIES, Columns, Table
from perdure.online.errors import RowError
from perdure.online.estimators import OnlineClassifier


def table(rows):
    names = dict.fromkeys(name for row in rows for name in row)
    return Table({name: [row.get(name) for row in rows] for name in names}, len(rows))


def check(columns, rows, classes=(), targets=(), max_inputs=10, max_classes=3):
    return check_capacity(
        columns, set(classes), table(rows), list(targets), max_inputs=max_inputs, max_classes=max_classes
    )


@pytest.mark.parametrize(
    ("rows", "column"),
    [
        ([{f"c{n}": 1.0 for n in range(11)}], "c5"),
        ([{"c": f"{n}"} for n in range(11)], "c"),
        ([{"a": 1.0}, {"b": "x", "c": "y", "d": "z"}], "d"),
    ],
)
def test_too_many_inputs_are_refused_by_the_column(rows, column):
    with pytest.raises(RowError, match="expected at most 10") as caught:
        check(Columns(), rows)
    assert caught.value.column == column


def test_the_class_that_is_one_too_many_is_named():
    assert check(Columns(), [{}] * 2, ["a"], ["b", "c"])
    with pytest.raises(RowError, match="row 2 has the class 'd', which would be one of 4, expected at most 3"):
        check(Columns(), [{}] * 3, ["a"], ["b", "c", "d"])


def test_rows_that_bring_nothing_say_so():
    columns = Columns()
    columns.admit(table([{"a": 1.0, "b": "x"}, {"a": 2.0, "b": "y"}]))
    assert not check(columns, [{"a": 3.0, "b": "x"}], ["u"], ["u"], max_inputs=1)
    assert check(columns, [{"a": 3.0, "b": "z"}], ["u"], ["u"])
    assert check(columns, [{"a": None, "b": "x"}], ["u"], ["u"])
    assert check(columns, [{"a": 3.0, "b": "x"}], ["u"], ["v"])


ROWS = st.lists(
    st.dictionaries(st.sampled_from("abcd"), st.one_of(st.integers(0, 200).map(str), st.just(None), st.floats(-1, 1))),
    min_size=1,
    max_size=40,
)


@given(tables=st.lists(ROWS, min_size=1, max_size=4))
def test_never_more_than_was_said(tables):
    """Whatever takes slots was counted, and a table of which nothing was said takes none."""
    columns = Columns()
    for rows in tables:
        before = columns.n_slots
        brings = check(columns, rows, max_inputs=10**6)
        most = before
        while True:  # the least bound that lets the rows in
            try:
                check(columns, rows, max_inputs=most)
                break
            except RowError:
                most += 1
        try:
            columns.admit(table(rows))
        except RowError:
            continue
        assert columns.n_slots <= most <= before + len(rows) * 4 * (MAX_CATEGORIES + HASHED_SLOTS + 2)
        assert brings or columns.n_slots == before


@pytest.mark.parametrize(
    ("method", "words"), [("lda", r"makes lda keep .*use nearest-mean or gaussian"), ("er", "a smaller memory")]
)
def test_a_state_that_does_not_fit_the_memory_is_refused_before_it_is_made(method, words, monkeypatch):
    model = OnlineClassifier(method, hidden_sizes=(), standardize=False, allow_missing=False)
    x, y = np.ones((3, 30), np.float32), [0, 1, 1]
    model.partial_fit(x, y)
    n_bytes = model.fitted().n_bytes
    monkeypatch.setattr(capacity, "available_memory", lambda: 3 * n_bytes - 100)
    wide = OnlineClassifier(method, hidden_sizes=(), standardize=False, allow_missing=False)
    with pytest.raises(RowError, match=rf"room for 64 features and 16 outputs .*{words}"):
        wide.partial_fit(np.ones((3, 40), np.float32), y)
    assert not hasattr(wide, "n_features_in_")
    model.partial_fit(x, y)  # needs no more room than before
    monkeypatch.setattr(capacity, "available_memory", lambda: 100 * n_bytes)
    assert wide.partial_fit(np.ones((3, 40), np.float32), y).n_features_in_ == 40
