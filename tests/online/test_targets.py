"""Classes and numbers that cannot be learned are named."""

import numpy as np
import pytest

from perdure.online.errors import RowError
from perdure.online.targets import Classes, numbers


def test_classes_are_numbered_as_they_appear():
    classes = Classes()
    classes.add(classes.checked(np.asarray(["b", "a", "b"])))
    assert classes.labels == ["b", "a"]
    assert classes.numbers(["a", "b"]) == [1, 0]
    assert classes.number("c") is None


@pytest.mark.parametrize(
    ("before", "y", "words"),
    [
        ([], ["a", None], "row 8 has the class None, expected a class"),
        ([], [1.0, float("nan")], "row 8 has the class nan, expected a class"),
        ([], [["a"]], r"row 7 has the class \['a'\] of type list, expected a text or a number"),
        (["a"], ["a", 3], "row 8 has the class 3, a number, expected a text, as the classes before, such as 'a'"),
        ([], [True, "a"], "row 8 has the class 'a', a text, expected a number"),
    ],
)
def test_bad_classes_are_named_and_nothing_is_taken_up(before, y, words):
    classes = Classes()
    classes.add(before)
    with pytest.raises(RowError, match=words):
        classes.checked(y, number=lambda row: 7 + row)
    assert classes.labels == before


@pytest.mark.parametrize(
    ("y", "n_targets", "words"),
    [
        ([1.0, np.inf], None, "row 8 has the target inf, expected a finite number that fits float32"),
        ([1.0, -1e39], 1, r"row 8 has the target -1e\+39"),
        ([1.0, "x"], None, "row 8 has the target 'x', expected a number; convert it"),
        ([[1.0], [1.0, 2.0]], None, "rows have different numbers of targets"),
        ([[1.0, 2.0]], 1, "rows have 2 targets, expected 1, as the rows before"),
    ],
)
def test_bad_numbers_are_named(y, n_targets, words):
    with pytest.raises(RowError, match=words):
        numbers(y, n_targets, number=lambda row: 7 + row)
