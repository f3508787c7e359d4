"""Rows of a table as vectors."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.online.columns import HASHED_SLOTS, MAX_CATEGORIES, Columns, Table
from perdure.online.errors import RowError
from perdure.online.rows import of_dictionaries


def table_of(**columns):
    return Table(columns, len(next(iter(columns.values()))))


def test_numbers_categories_and_missing_values():
    columns = Columns()
    table = table_of(size=np.asarray([2.0, 5.0, np.nan]), colour=["red", None, "blue"])
    admitted = columns.admit(table)
    assert admitted.needs == [(0, 0), (0, 1), (0, 2), (2, 3), (2, 4)]
    assert admitted.began == {"size": 0}
    # red, the number, blue, the flag of a missing number; the first number is the offset
    np.testing.assert_array_equal(columns.encode(table, 5), [[1, 0, 0, 0, 0], [0, 3, 0, 0, 0], [0, np.nan, 1, 1, 0]])
    np.testing.assert_array_equal(columns.scaled(5), [False, True, False, False, False])


def test_time_stamps_keep_their_digits():
    columns, table = Columns(), table_of(when=1.7e9 + np.arange(5.0))
    columns.admit(table)
    np.testing.assert_array_equal(columns.encode(table, 1)[:, 0], np.arange(5))


def test_what_is_unknown_is_left_out_and_what_is_absent_is_missing():
    columns = Columns()
    columns.admit(table_of(size=np.asarray([1.0, np.nan]), colour=["red", "red"]))
    encoded = columns.encode(table_of(colour=["green"], weight=np.asarray([3.0])), 3)
    np.testing.assert_array_equal(encoded, [[0, np.nan, 1]])


def test_many_categories_share_slots():
    columns = Columns()
    table = table_of(word=[f"w{n}" for n in range(MAX_CATEGORIES + 500)])
    columns.admit(table)
    assert columns.n_slots == MAX_CATEGORIES + HASHED_SLOTS
    np.testing.assert_array_equal(columns.encode(table, columns.n_slots).sum(axis=1), 1)


def test_rows_one_by_one_take_the_same_slots(table):
    together, alone = Columns(), Columns()
    columns, _ = table
    together.admit(Table(columns, 60))
    for n in range(60):
        alone.admit(Table({name: values[n : n + 1] for name, values in columns.items()}, 1))
    assert together.to_json() == alone.to_json()
    read = Columns.from_json(json.loads(json.dumps(together.to_json())), together.largest)
    assert read.to_json() == together.to_json()


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ([1.0, np.inf], "row 1, column 'a' is inf, expected a finite number that fits float32"),
        ([1.0, 1e39], r"row 1, column 'a' is 1e\+39, expected a finite number that fits float32"),
        ([1.0, "x"], "row 1, column 'a' is 'x', expected a number, as in the rows before"),
    ],
)
def test_a_bad_value_is_named_and_nothing_is_taken_up(column, words):
    columns = Columns()
    with pytest.raises(RowError, match=words):
        columns.admit(table_of(b=["new", "new"], a=column))
    assert columns.to_json() == Columns().to_json()


row_values = st.one_of(st.floats(-1e6, 1e6), st.integers(-9, 9), st.booleans())


@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {"a": row_values}, optional={"b": row_values | st.none(), "c": st.sampled_from(["x", "y"]) | st.none()}
        ),
        min_size=1,
        max_size=12,
    )
)
def test_rows_that_come_one_by_one_become_the_same_vectors(rows):
    """Together, one by one, and by the way for plain rows, where there is one."""
    together, alone = Columns(), Columns()
    table: Any = of_dictionaries(rows).inputs
    vectors = together.encode(table, 40, together.admit(table).began)
    for row, vector in zip(rows, vectors, strict=True):
        one: Any = of_dictionaries([row]).inputs
        plain = alone.encode_plain(row, 40)
        admission = alone.admit(one)
        unheard_of = [it.slot for it in together.known.values() if it.name not in alone.known]
        vector[[it for it in unheard_of if it is not None]] = 0  # which says as little as a missing value
        np.testing.assert_array_equal(alone.encode(one, 40, admission.began), [vector])
        if plain is not None:
            np.testing.assert_array_equal(plain, vector)
            assert not admission.needs
    assert alone.to_json() == together.to_json()


def test_a_plain_row_is_encoded_without_a_closer_look():
    columns = Columns()
    columns.admit(table_of(a=[1.5], b=[2], c=["x"]))
    assert columns.encode_plain({"c": "x", "b": 7, "a": 2.0}, 8) is not None
    for row in ({"a": 1.0, "b": 2}, {"a": 1.0, "b": 2, "c": "new"}, {"a": 1.0, "b": None, "c": "x"}):
        assert columns.encode_plain(row, 8) is None
    for value in (float("inf"), 1e39, 10**400, "1", float("nan")):
        assert columns.encode_plain({"a": value, "b": 2, "c": "x"}, 8) is None


def test_a_whole_number_of_any_length_is_named():
    with pytest.raises(RowError, match="row 0, column 'a' is inf, expected a finite number"):
        Columns().admit(table_of(a=[10**400]))


def test_missing_values_may_be_refused():
    with pytest.raises(RowError, match="row 1, column 'a' is missing"):
        Columns(allow_missing=False).admit(table_of(a=np.asarray([1.0, np.nan])))
    columns = Columns(allow_missing=False)
    columns.admit(table_of(a=[1.0], b=["x"]))
    with pytest.raises(RowError, match="row 0, column 'b' is missing"):
        columns.admit(table_of(a=[1.0]))
