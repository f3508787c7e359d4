"""Data in other forms than arrays: taken whole, or refused in words."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from perdure.core import Example
from perdure.streams.arrays import from_arrays
from perdure.streams.benchmark import Benchmark, LabelledSet, PixelMapSets
from perdure.streams.conversion import as_array

X = np.arange(6, dtype=np.float32).reshape(3, 2)


class TestTaken:
    @pytest.mark.parametrize(
        "values",
        [X, X.tolist(), tuple(map(tuple, X)), pd.DataFrame(X), pd.Series(X[0])],
        ids=["array", "lists", "tuples", "table", "column"],
    )
    def test_what_holds_numbers(self, values):
        np.testing.assert_array_equal(as_array("it", values), X[0] if isinstance(values, pd.Series) else X)

    def test_arrays_are_not_copied(self):
        assert as_array("it", X) is X

    def test_tensors_of_jax_and_torch(self):
        import jax.numpy as jnp

        torch = pytest.importorskip("torch")
        np.testing.assert_array_equal(as_array("it", jnp.asarray(X)), X)
        np.testing.assert_array_equal(as_array("it", torch.tensor(X)), X)


def requires_grad():
    torch = pytest.importorskip("torch")
    return torch.tensor(X, requires_grad=True)


def bfloat16():
    torch = pytest.importorskip("torch")
    return torch.tensor(X, dtype=torch.bfloat16)


REFUSED = {
    "masked": (lambda: np.ma.masked_less(X, 2), TypeError, r"it is a masked array, .* x.filled\(value\)"),
    "masked without a mask": (lambda: np.ma.array(X), TypeError, "it is a masked array"),
    "generator": (lambda: (row for row in X), TypeError, r"it is a generator, .*numpy.array\(list\(generator\)\)"),
    "map": (lambda: map(list, X), TypeError, "it is a map, expected an array"),
    "dictionary": (lambda: {"a": 1}, TypeError, "it is a dict, expected an array"),
    "set": (lambda: {1, 2}, TypeError, "it is a set, expected an array"),
    "ragged": (lambda: [[1.0, 2.0], [3.0]], ValueError, "it has rows of different lengths, expected an array"),
    "sparse matrix": (lambda: scipy.sparse.csr_matrix(X), TypeError, r"it is a sparse csr_matrix, .*x.toarray\(\)"),
    "sparse array": (lambda: scipy.sparse.coo_array(X), TypeError, "it is a sparse coo_array"),
    "requires a gradient": (requires_grad, TypeError, r"it is a tensor that requires a gradient, .*x.detach\(\)"),
    "bfloat16": (bfloat16, TypeError, "it is a Tensor, which cannot be read as an array"),
    "missing": (
        lambda: np.array([1.0, None]),
        TypeError,
        r"it has dtype object and holds None at \[1\], expected numbers; fill or drop",
    ),
    "missing of pandas": (
        lambda: pd.DataFrame({"a": [1, 2], "b": pd.array([1, None], dtype="Int64")}),
        TypeError,
        r"it has dtype object and holds a NAType at \[1, 1\], expected numbers",
    ),
    "mixed": (
        lambda: pd.DataFrame({"a": [1], "b": ["x"]}),
        TypeError,
        r"it has dtype object and holds 'x' at \[0, 1\], expected numbers",
    ),
    "objects of text": (
        lambda: np.array(["cat", "dog"], dtype=object),
        TypeError,
        r"it has dtype object and holds 'cat' at \[0\], .*np.unique\(y, return_inverse=True\)",
    ),
    "huge integers": (
        lambda: np.array([10**30]),
        TypeError,
        r"it holds a whole number of 100 bits at \[0\], .*number labels from 0: .*np.unique.*x / np.abs\(x\).max\(\)",
    ),
    "an object": (lambda: object(), TypeError, "it is a object, expected an array; give an array"),
}


@pytest.mark.parametrize(("make", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_refuses_what_would_lose_something(make, error, message):
    with pytest.raises(error, match=message):
        as_array("it", make())


MASKED_X, MASKED_Y = np.ma.masked_less(X, 2), np.ma.masked_equal([0, 1, 0], 1)
PLAIN = X, np.array([0, 1, 0])
PLACES = {"train[0].x": (0, 0), "train[0].y": (0, 1), "test[0].x": (1, 0), "test[0].y": (1, 1)}


@pytest.mark.parametrize(("where", "place"), PLACES.items())
def test_a_mask_is_refused_wherever_it_is(where, place):
    sets = [list(PLAIN), list(PLAIN)]
    sets[place[0]][place[1]] = (MASKED_X, MASKED_Y)[place[1]]
    with pytest.raises(TypeError) as caught:
        from_arrays([tuple(sets[0])], [tuple(sets[1])])
    assert str(caught.value).startswith(f"{where} is a masked array")
    with pytest.raises(TypeError) as caught:
        Benchmark("b", Example(sets[0][0], sets[0][1], np.zeros(3, np.int32)), [LabelledSet(*sets[1])], 2)
    assert str(caught.value).startswith(f"{where.replace('train[0]', 'train')} is a masked array")


def test_a_mask_is_refused_in_tests_from_pixel_maps():
    with pytest.raises(TypeError, match="images is a masked array"):
        PixelMapSets(np.ma.array(np.ones((1, 2, 2), np.float32)), np.zeros(1, np.int32), np.zeros((1, 4), np.int32))


def test_filled_values_are_taken():
    made = from_arrays([(MASKED_X.filled(0), MASKED_Y.filled(1))], [PLAIN])
    assert made.train.x[0].tolist() == [0, 0]


def test_a_benchmark_of_lists_is_one_of_arrays():
    train = Example([[1.5], [2.5]], [0, 1], [0, 0])  # pyright: ignore[reportArgumentType]
    test = LabelledSet([[1.0]], [1])  # pyright: ignore[reportArgumentType]
    made = Benchmark("b", train, [test], 2)
    assert made.train.x.dtype == made.test[0].x.dtype == np.float64
    assert made.task_ends.tolist() == [2]
    assert not made.regression


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.array(["cat", "dog", "cat"]), r"y has dtype <U3, text, expected integers; number it: classes, y = np.uniq"),
        (np.array([b"cat", b"dog", b"cat"]), r"y has dtype \|S3, text, expected integers"),
        (pd.Series(["cat", "dog", "cat"]), r"y .*expected .*np.unique\(y, return_inverse=True\)"),
        (pd.Categorical(["cat", "dog", "cat"]), r"y .*expected .*np.unique\(y, return_inverse=True\)"),
    ],
)
def test_labels_as_text_are_refused_with_a_remedy_that_works(y, message):
    with pytest.raises(TypeError, match=message):
        from_arrays([(X, y)], [(X, y)])
    _, numbered = np.unique(np.asarray(y), return_inverse=True)
    assert from_arrays([(X, numbered)], [(X, numbered)]).n_outputs == 2


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.array([["a"], ["b"], ["c"]]), "x has dtype <U1, .*one-hot columns for text"),
        (np.array(["2024-01-01"] * 3, "datetime64[D]"), r"x has dtype datetime64\[D\], .*np.timedelta64\(1, 'D'\)"),
        (X + 1j, r"x has dtype complex64, .*x.real and x.imag"),
    ],
)
def test_inputs_that_are_no_real_numbers_are_refused_with_a_remedy_that_works(x, message):
    with pytest.raises(TypeError, match=message):
        from_arrays([(x, PLAIN[1])], [PLAIN])


def test_times_are_taken_as_the_remedy_says():
    x = np.array(["2024-01-01", "2024-01-03", "2024-02-01"], "datetime64[D]")
    days = (x - x.min()) / np.timedelta64(1, "D")
    assert from_arrays([(days, PLAIN[1])], [(days, PLAIN[1])]).train.x.tolist() == [0, 2, 31]


def test_inputs_larger_than_memory_are_refused():
    x = np.broadcast_to(np.float32(0), (10**12, 100))
    with pytest.raises(ValueError, match=r"train\[0\].x has shape .* takes 400,000 GB, more than the .* GB of memory"):
        from_arrays([(x, np.broadcast_to(0, 10**12))], [PLAIN])


def test_inputs_without_numbers_are_refused():
    with pytest.raises(ValueError, match=r"train\[0\].x has shape \(3, 0\), no number in any example"):
        from_arrays([(X[:, :0], PLAIN[1])], [PLAIN])
