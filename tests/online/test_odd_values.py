"""What a value of a row may be, and rows that are no rows."""

import math
from datetime import date, time, timedelta
from decimal import Decimal
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from perdure import DurableModel, OnlineClassifier, OnlineRegressor
from perdure.online.columns import Table
from perdure.online.errors import RowError
from perdure.online.rows import as_rows, of_dictionaries
from perdure.online.values import is_missing, number_of

NUMBERS = {
    "decimal": (Decimal("1.5"), 1.5),
    "fraction": (Fraction(3, 2), 1.5),
    "half precision": (np.float16(1.5), 1.5),
    "flag": (np.bool_(True), 1.0),
    "array of no dimensions": (np.array(1.5), 1.5),
    "array of JAX": (jnp.float32(1.5), 1.5),
    "day of NumPy": (np.datetime64("1970-01-02"), 86_400.0),
    "nanoseconds of NumPy": (np.datetime64("1970-01-02T00:00:00.000000000"), 86_400.0),
    "a year that Python has not": (np.datetime64("12000-01-01"), float(np.datetime64("12000-01-01", "s").astype(int))),
    "date": (date(1970, 1, 2), 86_400.0),
    "time stamp": (pd.Timestamp("1970-01-02"), 86_400.0),
    "duration": (timedelta(hours=1), 3_600.0),
    "duration of NumPy": (np.timedelta64(1, "h"), 3_600.0),
    "duration of pandas": (pd.Timedelta(hours=1), 3_600.0),
    "more digits than a float has": (10**400, math.inf),
}
MISSING = [
    None,
    math.nan,
    np.float32("nan"),
    pd.NA,
    pd.NaT,
    np.datetime64("NaT"),
    np.timedelta64("NaT"),
    Decimal("NaN"),
]
MISSING += [Decimal("sNaN"), np.array(np.nan), jnp.float32(jnp.nan)]


def small(**options):
    return OnlineClassifier("online", hidden_sizes=(), **options)


def columns_of(x):
    table = as_rows(x).inputs
    assert isinstance(table, Table)
    return table.columns


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_is_one_whatever_holds_it(name):
    value, number = NUMBERS[name]
    assert not is_missing(value)
    assert number_of(value) == number


@pytest.mark.parametrize("value", MISSING, ids=type)
def test_what_is_missing(value):
    assert is_missing(value)
    assert number_of(value) is None


@pytest.mark.parametrize("value", ["", "nan", "1.5", b"1", time(3, 4), object()], ids=type)
def test_what_is_neither_a_number_nor_missing(value):
    assert not is_missing(value)
    assert number_of(value) is None


@pytest.mark.parametrize("name", [it for it in NUMBERS if it != "more digits than a float has"])
@pytest.mark.parametrize("way", ["one", "dictionaries", "frame", "array"])
def test_numbers_are_learned_as_numbers_on_every_way(name, way):
    value, number = NUMBERS[name]
    model = small()
    if way == "one":
        model.learn_one({"x0": value}, "a")
        model.learn_one({"x0": number}, "b")
    else:
        rows = {"dictionaries": [{"x0": value}, {"x0": None}], "frame": pd.DataFrame({"x0": [value, None]})}
        rows["array"] = np.array([[value], [None]], object)
        model.partial_fit(rows[way], ["a", "b"])
    column = model._model.columns.known["x0"]
    assert (column.is_category, column.offset) == (False, number)


def test_arrays_of_durations_are_seconds():
    hours = np.array([["1"], ["NaT"]], "m8[h]")
    np.testing.assert_array_equal(columns_of(hours)["x0"], [3_600.0, np.nan])
    frame = pd.DataFrame({"t": pd.to_timedelta(["1h", None])})
    np.testing.assert_array_equal(columns_of(frame)["t"], [3_600.0, np.nan])


def test_a_journal_keeps_numbers_as_numbers(tmp_path):
    rows = [{name: value for name, (value, number) in NUMBERS.items() if number != math.inf}]
    rows.append(dict.fromkeys(rows[0]))
    with DurableModel.open(tmp_path / "m", method="nearest-mean") as model:
        model.learn(rows, ["a", "b"])
        for entry in model._journal.entries(0, 1):
            assert entry.x == {name: number for name, (_, number) in NUMBERS.items() if number != math.inf}
        with pytest.raises(RowError, match=r"row 0, column 'd' is Infinity, expected a finite number"):
            model.learn({"d": Decimal("Infinity")}, "a")


def test_a_class_is_after_opening_what_it_was_before(tmp_path):
    with DurableModel.open(tmp_path / "m", method="nearest-mean") as model:
        model.learn([{"a": 1.0}] * 2, [Decimal("1.5"), np.float64(2.5)])
        before = model.classes
        assert [type(it) for it in before] == [float, float]
        with pytest.raises(RowError, match="cannot be kept"):
            model.learn({"a": 1.0}, Decimal("0.1"))
    with DurableModel.open(tmp_path / "m") as model:
        assert model.classes == before
        model.learn({"a": 1.0}, 1.5)


@pytest.mark.parametrize("value", [1j, np.complex64(1), {1, 2}, frozenset("ab"), np.zeros(3), object()], ids=type)
def test_what_has_no_text_of_its_own_is_no_category(value, tmp_path):
    model = small()
    with pytest.raises(RowError, match=r"row 0, column 'a' is .* of type .*, expected a number, a text, a date"):
        model.learn_one({"a": value}, "x")
    if not isinstance(value, np.ndarray):  # which a journal keeps as a list
        with DurableModel.open(tmp_path / "m", method="nearest-mean") as kept, pytest.raises(RowError, match="row 0"):
            kept.learn({"a": value}, "x")
    model.learn_one({"a": 1.0}, "x")


@pytest.mark.parametrize("row", [[1.0], "abc", None, 5, np.ones(1), pd.Series({"a": 1.0, "b": 2.0})], ids=type)
def test_one_row_is_a_dictionary(row):
    columns = small().partial_fit([{"a": 1.0}, {"a": 2.0}], ["x", "y"])._model.columns
    if not isinstance(row, pd.Series):
        assert columns.encode_plain(row, 16) is None
    with pytest.raises(TypeError, match=r"(?s)row 0 is .*, expected a dictionary from column to value"):
        of_dictionaries([row])
    assert of_dictionaries([dict(pd.Series({"a": 1.0}))]).n == 1


WRONG = {
    "ragged": ([[1, 2], [3]], RowError, r"row 1 is \[3\], expected as many values as row 0 has, \[1, 2\]"),
    "a number among rows": ([[1, 2], 3], RowError, r"row 1 is 3, expected as many values as row 0 has"),
    "a list among dictionaries": ([{"a": 1}, [2]], TypeError, r"row 1 is \[2\] of type list, expected a dictionary"),
    "a dictionary among lists": ([[2], {"a": 1}], TypeError, r"row 0 is \[2\] of type list, expected a dictionary"),
    "none": (None, ValueError, "Expected 2D array, got None of type NoneType"),
    "a text": ("abc", ValueError, "Expected 2D array, got 'abc' of type str"),
    "a dictionary": ({"a": [1, 2]}, ValueError, r"Expected 2D array, got \{'a': \[1, 2\]\} of type dict"),
    "a generator": ((it for it in [[1]]), ValueError, "Expected 2D array, got <generator"),
    "a list": ([1, 2], ValueError, r"np.reshape\(X, \(-1, 1\)\)"),
    "nothing": ([], ValueError, "0 rows were given"),
    "fields": (np.zeros(2, [("a", int)]), TypeError, "an array of named fields was given"),
    "images of no size": (np.zeros((2, 3, 0)), ValueError, "0 feature"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_table_is_said(name):
    rows, error, words = WRONG[name]
    with pytest.raises(error, match=words):
        small().fit(rows, ["a", "b"])


@pytest.mark.parametrize(
    ("y", "words"),
    [
        ([[1], [2, 3]], r"row 1 has the target \[2, 3\], expected as many numbers as row 0 has"),
        ([1, [2, 3]], r"row 1 has the target \[2, 3\], expected as many numbers as row 0 has"),
        (np.zeros((2, 0)), "rows have no targets"),
        ([[], []], "rows have no targets"),
        ([1, 10**400], "row 1 has a target that does not fit float32"),
        ([1, "a"], "row 1 has the target 'a', expected a number"),
    ],
)
def test_targets_that_are_no_numbers_are_named(y, words):
    model = OnlineRegressor("online", hidden_sizes=())
    with pytest.raises(RowError, match=words):
        model.fit(np.eye(2), y)
    with pytest.raises(RowError):
        model.learn_one({"a": 1.0}, y)
    if isinstance(y, list) and isinstance(y[1], list) and y[1]:
        with pytest.raises(RowError, match=words):
            small().fit(np.eye(2), y)


@pytest.mark.parametrize(
    ("weight", "words"),
    [
        ([1.0, -1.0], "row 1 has sample_weight -1.0, expected a finite number"),
        ([None, 1.0], "row 0 has sample_weight nan"),
        ([1e9, 1e9], r"sample_weight is 2e\+09 in all, which is how many rows would be learned"),
        (1e30, r"sample_weight is 2e\+30 in all"),
        ([1.0], r"sample_weight has shape \(1,\), expected 2 numbers"),
    ],
)
def test_weights_that_cannot_be_meant_are_refused(weight, words):
    with pytest.raises(ValueError, match=words):
        small().fit(np.eye(2), ["a", "b"], sample_weight=weight)


def test_parts_of_weights_work_with_every_kind_of_random_state():
    for state in (None, 3, np.int64(3), np.random.RandomState(0)):
        small().set_params(random_state=state).fit(np.eye(2), ["a", "b"], sample_weight=[1.5, 1.0])
    for state in ("x", 1.5, np.random.default_rng(0), True):
        with pytest.raises(ValueError, match=r"random_state is .*, expected a whole number from 0"):
            small().set_params(random_state=state).fit(np.eye(2), ["a", "b"])


@pytest.mark.parametrize("sizes", [1.5, None, "64", (8, "8"), (0,)])
def test_hidden_sizes_that_are_none(sizes):
    with pytest.raises(ValueError, match=r"hidden_sizes.* is .*, expected"):
        small().set_params(hidden_sizes=sizes).fit(np.eye(2), ["a", "b"])


def test_one_hidden_layer_may_be_a_number_of_numpy():
    model = small().set_params(hidden_sizes=np.int64(4)).fit(np.eye(2), ["a", "b"])
    assert model._model.hidden_sizes == (4,)


@pytest.mark.parametrize("late", ["columns", "classes"])
@pytest.mark.parametrize("first", [True, False])
def test_an_interrupt_before_the_state_has_grown_is_made_good(late, first, monkeypatch):
    """Compiling takes seconds, in which somebody may press Ctrl-C."""

    def rows(start, stop):
        n_columns = 40 if late == "columns" and start else 3
        return [{f"c{place}": float(n * place % 7) for place in range(n_columns)} for n in range(start, stop)]

    def labels(start, stop):
        return [n % (40 if late == "classes" and start else 2) for n in range(start, stop)]

    def interrupted(*_):
        raise KeyboardInterrupt

    ours, theirs = small(), small()
    for model in (ours, theirs):
        model._model = model.begun()
        if not first:
            model.partial_fit(rows(0, 8), labels(0, 8))
    with monkeypatch.context() as patch:
        patch.setattr(ours._model, "_grow", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ours._model.learn(as_rows(rows(8, 48)), labels(8, 48))
    if not first:
        assert ours.predict_proba(rows(8, 9)).shape == (1, len(ours.classes_))
        assert len(ours.predict_proba_one(rows(8, 9)[0])) == len(ours.classes_)
    known = list(ours._model.classes)
    theirs.partial_fit(rows(8, 48), labels(8, 48), classes=known)
    for row, label in zip(rows(8, 48), labels(8, 48), strict=True):
        ours.learn_one(row, label)
    assert ours._model.columns.to_json() == theirs._model.columns.to_json()
    for one, other in zip(jax.tree.leaves(ours._model.state), jax.tree.leaves(theirs._model.state), strict=True):
        np.testing.assert_array_equal(one, other)
