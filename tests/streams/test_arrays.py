from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.streams.arrays import from_arrays


def pair(n: int, dtype: str = "float32", label: int = 0) -> tuple[np.ndarray, np.ndarray]:
    return np.full((n, 2), n).astype(dtype), np.full(n, label)


def good() -> list[tuple[np.ndarray, np.ndarray]]:
    return [pair(2), pair(3, label=4)]


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 9)), min_size=1, max_size=5))
def test_shows_the_arrays_in_order(tasks):
    train = [pair(n, label=label) for n, label in tasks]
    made = from_arrays(train, [pair(1)] * len(train))
    sizes = [n for n, _ in tasks]
    assert made.task_ends.tolist() == np.cumsum(sizes).tolist()
    np.testing.assert_array_equal(made.train.x, np.concatenate([x for x, _ in train]))
    np.testing.assert_array_equal(made.train.y, np.repeat([label for _, label in tasks], sizes))
    assert made.train.y.dtype == made.test[0].y.dtype == made.train.task.dtype == np.int32
    assert made.n_outputs == 1 + max(label for _, label in tasks)


def test_names_and_outputs():
    assert from_arrays(good(), good()).name == "arrays"
    made = from_arrays(good(), [pair(1), pair(1, label=7)], name="mine")
    assert (made.name, made.n_outputs) == ("mine", 8)
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


def test_refuses_labels_beyond_the_outputs_asked_for():
    with pytest.raises(ValueError, match=r"train\[1\].y\[0\] is 4, expected a label from 0 to 3"):
        from_arrays(good(), good(), n_outputs=4)
    with pytest.raises(ValueError, match="n_outputs is 0, expected 1 or more"):
        from_arrays(good(), good(), n_outputs=0)
