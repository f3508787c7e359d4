from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.core import PerdureWarning
from perdure.streams.arrays import from_arrays
from perdure.streams.checks import check_name

unchecked = getattr(from_arrays, "__wrapped__", from_arrays)  # without the type checks that only tests have


def pair(n: int, dtype: str = "float32", label: int = 0) -> tuple[np.ndarray, np.ndarray]:
    return np.full((n, 2), n).astype(dtype), np.full(n, label)


def good() -> list[tuple[np.ndarray, np.ndarray]]:
    return [pair(2), pair(3, label=4)]


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 9)), min_size=1, max_size=5))
def test_shows_the_arrays_in_order(tasks):
    train = [pair(n, label=label) for n, label in tasks]
    every_label = np.arange(1 + max(label for _, label in tasks))
    made = from_arrays(train, [(np.zeros((len(every_label), 2), np.float32), every_label)] * len(train))
    sizes = [n for n, _ in tasks]
    assert made.task_ends.tolist() == np.cumsum(sizes).tolist()
    np.testing.assert_array_equal(made.train.x, np.concatenate([x for x, _ in train]))
    np.testing.assert_array_equal(made.train.y, np.repeat([label for _, label in tasks], sizes))
    assert made.train.y.dtype == made.test[0].y.dtype == made.train.task.dtype == np.int32
    assert made.n_outputs == 1 + max(label for _, label in tasks)


def test_names_and_outputs():
    assert from_arrays([pair(2)], [pair(3)]).name == "arrays"
    made = from_arrays([pair(2), pair(1, label=1)], [pair(1), pair(1, label=2)], name="mine")
    assert (made.name, made.n_outputs) == ("mine", 3)
    assert from_arrays(good(), good(), n_outputs=20).n_outputs == 20


FAULTS = {
    "numbers of tasks": (
        good(),
        [pair(1)],
        ValueError,
        "train has 2 tasks and test has 1, expected the same",
    ),
    "no tasks": ([], [], ValueError, "train has 0 tasks and test has 0, expected"),
    "no pair": (
        [pair(2), pair(2)[0]],
        good(),
        TypeError,
        r"train\[1\] is a ndarray of length 2, expected a pair",
    ),
    "a triple": (
        [(1, 2, 3), pair(2)],
        good(),
        TypeError,
        r"train\[0\] is a tuple of length 3, expected a pair",
    ),
    "int64": (
        good(),
        [pair(2), pair(2, "int64")],
        TypeError,
        r"test\[1\].x has dtype int64, .*astype\('uint8'\)",
    ),
    "bool": (
        [pair(2, "bool"), pair(2)],
        good(),
        TypeError,
        r"train\[0\].x has dtype bool, .*astype\('float32'\)",
    ),
    "lengths": (
        [pair(2), (pair(2)[0], pair(3)[1])],
        good(),
        ValueError,
        r"train\[1\].y has shape \(3,\), expected \(2,",
    ),
    "float labels": (
        [pair(2), (pair(2)[0], np.ones(2))],
        good(),
        TypeError,
        r"train\[1\].y has dtype float64",
    ),
    "negative": (
        [pair(2), pair(2, label=-1)],
        good(),
        ValueError,
        r"train\[1\].y\[0\] is -1, expected a label",
    ),
    "too large": ([pair(2), pair(2, label=2**31)], good(), ValueError, r"train\[1\].y\[0\] is 2147483648"),
    "empty": ([pair(2), pair(0)], good(), ValueError, r"train\[1\] is empty"),
    "shape": (
        [pair(2), (np.ones((2, 3), "float32"), pair(2)[1])],
        good(),
        ValueError,
        r"train\[1\].x .*\(3,\).*\(2,\)",
    ),
    "dtype": (
        [pair(2), pair(2, "float64")],
        good(),
        ValueError,
        r"train\[1\].x .* float64, expected .*float32",
    ),
    "test dtype": (
        good(),
        [pair(2), pair(2, "uint8")],
        ValueError,
        r"test\[1\].x .* uint8, expected .* float32",
    ),
}


@pytest.mark.parametrize(("shape", "n_outputs"), [((4,), 1), ((4, 1), 1), ((4, 3), 3)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_takes_targets_to_regress_on(shape, n_outputs, dtype):
    y = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    made = from_arrays([(pair(4)[0], y)] * 2, [(pair(4)[0], -y)] * 2)
    assert made.regression
    assert made.n_outputs == n_outputs
    assert made.train.y.dtype == made.test[0].y.dtype == dtype
    np.testing.assert_array_equal(made.train.y, np.concatenate([y, y]).reshape(8, n_outputs))
    np.testing.assert_array_equal(made.test[1].y, -y.reshape(4, n_outputs))


@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        (np.arange(2), TypeError, r"train\[1\].y has dtype int64, expected float32 or float64"),
        (np.ones((2, 3)), ValueError, r"train\[1\].y has shape \(2, 3\), expected \(2, 1\)"),
        (np.array([0.0, np.inf]), ValueError, r"train\[1\].y\[1, 0\] is inf, expected a finite"),
        (np.array(1.0), ValueError, r"train\[1\].y has shape \(\), expected \(2, 1\)"),
    ],
)
def test_refuses_bad_targets(y, error, message):
    good = (pair(2)[0], np.array([0.0, 1.0]))
    with pytest.raises(error, match=message):
        from_arrays([good, (good[0], y)], [good, good])


@pytest.mark.parametrize(("train", "test", "error", "message"), FAULTS.values(), ids=FAULTS)
def test_refuses(train, test, error, message):
    with pytest.raises(error, match=message):
        from_arrays(train, test)


def test_refuses_labels_beyond_the_requested_outputs():
    with pytest.raises(ValueError, match=r"train\[1\].y\[0\] is 4, expected a label from 0 to 3"):
        from_arrays(good(), good(), n_outputs=4)
    with pytest.raises(ValueError, match="n_outputs is 0, expected 1 or more"):
        from_arrays(good(), good(), n_outputs=0)


class TestUnusedLabels:
    """Labels that start at 1, or are identifiers, get outputs that no example uses."""

    @pytest.mark.parametrize(
        ("labels", "message"),
        [
            (range(1, 8), "no example has the label 0, yet labels go up to 7 and the network gets 8 outputs"),
            ([0, 3], "no example has the labels 1, 2, yet labels go up to 3 and the network gets 4 outputs"),
            ([0, 1000], "no example has the labels 1, 2, 3, 4, 5 and 994 more, yet"),
        ],
    )
    def test_are_named(self, labels, message):
        y = np.array(labels)
        x = np.zeros((len(y), 2), np.float32)
        with pytest.warns(PerdureWarning, match=message) as caught:
            made = from_arrays([(x, y)], [(x, y)])
        assert made.n_outputs == 1 + max(labels)
        assert f"n_outputs={made.n_outputs}" in str(caught[0].message)
        assert from_arrays([(x, y)], [(x, y)], n_outputs=made.n_outputs).n_outputs == made.n_outputs

    def test_of_training_may_be_those_of_a_test(self):
        assert from_arrays([pair(2), pair(1, label=2)], [pair(1), pair(1, label=1)]).n_outputs == 3

    def test_nothing_is_said_of_a_single_label(self):
        assert from_arrays([pair(2, label=3)], [pair(1, label=3)]).n_outputs == 4

    def test_the_remedy_works(self):
        y = np.array([3, 1, 7, 7])
        classes, numbered = np.unique(y, return_inverse=True)
        x = np.zeros((4, 2), np.float32)
        assert from_arrays([(x, numbered)], [(x, numbered)]).n_outputs == len(classes)

    @pytest.mark.parametrize("largest", [100_000, 10**6, 2**31 - 1 - 1])
    def test_are_refused_where_they_would_be_very_many(self, largest):
        y = np.array([0, largest])
        x = np.zeros((2, 2), np.float32)
        with pytest.raises(ValueError, match=f"2 different labels go up to {largest:,} .*expected at most 100,000"):
            from_arrays([(x, y)], [(x, y)])

    def test_are_taken_up_to_the_limit_and_beyond_it_where_outputs_are_given(self):
        x = np.zeros((2, 2), np.float32)
        with pytest.warns(PerdureWarning, match="no example has the labels 2, 3"):
            assert from_arrays([(x, np.array([0, 99_999]))], [(x, np.array([0, 1]))]).n_outputs == 100_000
        given = (x, np.array([0, 10**6]))
        assert from_arrays([given], [given], n_outputs=10**6 + 1).n_outputs == 10**6 + 1


class TestLabelsAsFloats:
    """What `np.loadtxt` reads."""

    @pytest.mark.parametrize(
        "y",
        [
            np.array([0.0, 1.0, 1.0, 0.0]),
            np.array([[0.0], [2.0], [5.0]]),
            np.arange(100, dtype="float32"),
            np.repeat(np.arange(150.0), 10),
        ],
    )
    def test_are_refused(self, y):
        x = np.zeros((len(y), 2), np.float32)
        with pytest.raises(TypeError, match=r"train\[0\].y has dtype float.* look like labels .*y.astype\(int\)"):
            from_arrays([(x, y)], [(x, y)])
        labels = y.astype(int).ravel()
        assert not from_arrays([(x, labels)], [(x, labels)], n_outputs=150).regression
        assert from_arrays([(x, y)], [(x, y)], regression=True).regression

    def test_one_hot_rows_are_refused(self):
        x, y = np.zeros((3, 2), np.float32), np.eye(3)
        with pytest.raises(TypeError, match=r"a single 1 in each row, .*y.argmax\(axis=1\)"):
            from_arrays([(x, y)], [(x, y)])
        labels = y.argmax(axis=1)
        assert from_arrays([(x, labels)], [(x, labels)]).n_outputs == 3
        assert from_arrays([(x, y)], [(x, y)], regression=True).n_outputs == 3

    @pytest.mark.parametrize(
        "y", [np.array([0.0, 0.5]), np.array([0.0, -1.0]), np.arange(101.0), np.arange(6.0).reshape(3, 2)]
    )
    def test_numbers_are_not_taken_for_labels(self, y):
        x = np.zeros((len(y), 2), np.float32)
        assert from_arrays([(x, y)], [(x, y)]).regression

    def test_all_sets_are_looked_at(self):
        x, whole = np.zeros((2, 2), np.float32), np.array([0.0, 1.0])
        assert from_arrays([(x, whole)] * 2, [(x, whole), (x, whole + 0.5)]).regression

    def test_the_choice_is_kept_to(self):
        x, y = np.zeros((2, 2), np.float32), np.array([0, 1])
        with pytest.raises(TypeError, match=r"train\[0\].y has dtype int64, expected float32 or float64 for targets"):
            from_arrays([(x, y)], [(x, y)], regression=True)
        with pytest.raises(TypeError, match=r"train\[0\].y has dtype float64, expected integers; .*astype\(int\)"):
            from_arrays([(x, y + 0.5)], [(x, y)], regression=False)


class TestArguments:
    @pytest.mark.parametrize("n_outputs", [3.5, 3.0, "3", True, np.float64(2)])
    def test_the_number_of_outputs_is_a_whole_number(self, n_outputs):
        with pytest.raises(TypeError, match=r"n_outputs is .*, expected a whole number; give the number of classes"):
            unchecked([pair(2)], [pair(2)], n_outputs=n_outputs)

    def test_the_number_of_outputs_is_not_absurd(self):
        with pytest.raises(
            ValueError, match=r"n_outputs is 1,000,000,000,000,000,000,000,000,000,000, expected at most"
        ):
            from_arrays([pair(2)], [pair(2)], n_outputs=10**30)
        four: Any = np.int64(4)
        assert unchecked([pair(2)], [pair(2)], n_outputs=four).n_outputs == 4

    @pytest.mark.parametrize("part", ["train", "test"])
    def test_tasks_are_no_generator(self, part):
        arguments = {"train": [pair(2)], "test": [pair(2)], part: (pair(2) for _ in range(1))}
        with pytest.raises(TypeError, match=rf"{part} is a generator, expected a list of pairs .*give list\({part}\)"):
            unchecked(**arguments)


NAMES = {
    None: TypeError,
    3: TypeError,
    b"bytes": TypeError,
    "": ValueError,
    "  ": ValueError,
    "a\0b": ValueError,
    "\ud800": ValueError,
    "a\nb": ValueError,
    "\x1b[31mred": ValueError,
}


@pytest.mark.parametrize("name", NAMES, ids=repr)
def test_a_name_that_cannot_be_shown_is_refused(name):
    message = r"^name is .*expected .*give a name for reports, such as name='arrays'$"
    with pytest.raises(NAMES[name], match=message):
        check_name(name)
    if isinstance(name, str):  # types are checked before the function runs, in tests
        x, y = np.zeros((4, 2), np.float32), np.array([0, 1, 0, 1])
        with pytest.raises(NAMES[name], match=message):
            from_arrays([(x, y)], [(x, y)], name=name)


@pytest.mark.parametrize("name", ["arrays", "Übung 1", "日本", "a/b", "$x$", "👩‍🔬"])
def test_any_name_that_can_be_shown_is_kept(name):
    x, y = np.zeros((4, 2), np.float32), np.array([0, 1, 0, 1])
    assert from_arrays([(x, y)], [(x, y)], name=name).name == name


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
@pytest.mark.parametrize("shape", [(6, 0), (6, 0, 3), (6, 2, 0)])
@pytest.mark.parametrize("regression", [None, True, False])
def test_targets_without_numbers_are_refused(dtype, shape, regression):
    sets = [(np.zeros((6, 2), np.float32), np.zeros(shape, dtype))]
    with pytest.raises(ValueError, match=r"train\[0\]\.y has shape .*, no number for any example, expected"):
        from_arrays(sets, sets, regression=regression)


@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_a_set_without_examples_is_refused(dtype):
    sets = [(np.zeros((0, 2), np.float32), np.zeros(0, dtype))]
    with pytest.raises(ValueError, match="is empty, expected at least one example"):
        from_arrays(sets, sets)


@pytest.mark.parametrize("labels", [[0, 1, 10**30], [10**30, 5, 10**400], [-(10**30), 0, 0]])
def test_labels_beyond_64_bits_are_refused_with_a_remedy_that_works(labels):
    x, y = np.zeros((3, 2), np.float32), labels
    with pytest.raises(TypeError, match=r"train\[0\]\.y holds a whole number of \d+ bits at \[\d\]") as error:
        from_arrays([(x, y)], [(x, y)])
    remedy = re.search(r"classes, y = np\.unique\(y, return_inverse=True\)", str(error.value))
    assert remedy
    given = {"np": np, "y": y}
    exec(remedy[0], given)
    assert from_arrays([(x, given["y"])], [(x, given["y"])]).n_outputs == len(set(labels))


@pytest.mark.parametrize("largest", [10**30, -(10**400)])
def test_inputs_beyond_64_bits_are_refused_with_a_remedy_that_works(largest):
    x, y = np.array([[0, largest], [1, 2]], dtype=object), np.array([0, 1])
    with pytest.raises(TypeError, match=r"train\[0\]\.x holds a whole number of \d+ bits at \[0, 1\]") as error:
        from_arrays([(x, y)], [(x, y)])
    scaled = eval(str(error.value).rpartition(": ")[2], {"np": np, "x": x})
    assert np.abs(from_arrays([(scaled, y)], [(scaled, y)]).train.x).max() == 1


def test_without_tests_arriving_examples_are_all_that_is_tested_on():
    x, y = np.eye(3, dtype=np.float32), np.arange(3)
    made = from_arrays([(x, y), (x, y)], None)
    assert made.n_tasks == 2
    assert len(made.test) == 0
    with pytest.raises(ValueError, match=r"train has 2 tasks and test has 0, .* or test=None to test on arriving"):
        from_arrays([(x, y), (x, y)], [])


def test_one_test_set_given_for_all_tasks_stays_one():
    x, y = np.eye(3, dtype=np.float32), np.arange(3)
    assert not from_arrays([(x, y), (x, y)], [(x, y), (x, y)]).has_one_test  # two that are equal
    one = (x, y)
    assert from_arrays([(x, y), (x, y)], [one, one]).has_one_test
