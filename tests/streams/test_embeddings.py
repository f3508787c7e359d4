"""Features from any network: what is refused, and how they are divided, ordered, standardized and encoded."""

import re

import numpy as np
import pandas as pd
import pytest

from perdure.streams.embeddings import FeatureError, _held_out, checked_embeddings, divide, encoded

X = np.random.default_rng(0).normal(size=(30, 4))
Y = np.arange(30) % 3


def changed(value, row, column):
    x = X.copy()
    x[row, column] = value
    return x


def label(value, row):
    y = Y.astype(object)
    y[row] = value
    return y


REFUSED = {
    "NaN": ((changed(np.nan, 3, 2), Y), "x has nan in row 3, column 2, counted from 0, expected finite"),
    "infinity": ((changed(-np.inf, 29, 0), Y), "x has -inf in row 29, column 0"),
    "too large for float32": ((changed(1e39, 1, 1), Y), r"x has 1e\+39 in row 1, column 1"),
    "several": ((np.full((30, 4), np.nan), Y), r"x has nan in row 0, column 0, .*\(119 more are like it\)"),
    "one dimension": ((X[:, 0], Y), r"x has shape \(30,\), expected \(examples, features\); x.reshape\(1, -1\) if"),
    "pictures": ((X.reshape(30, 2, 2), Y), r"flatten them: x.reshape\(len\(x\), -1\)"),
    "no features": ((X[:, :0], Y), r"x has shape \(30, 0\)"),
    "no examples": ((X[:0], Y[:0]), r"x has shape \(0, 4\)"),
    "texts": ((X.astype(str), Y), "x has dtype <U32, expected numbers"),
    "complex numbers": ((X.astype(complex), Y), "x has dtype complex128"),
    "fewer classes": ((X, Y[:-1]), "y has 29 classes and x 30 rows, expected one class for each row"),
    "one-hot": ((X, np.eye(3)[Y]), r"y has shape \(30, 3\), .*y.argmax\(axis=1\) if it is one-hot"),
    "a column": ((X, Y[:, None]), r"y has shape \(30, 1\), .*y.ravel\(\)"),
    "NaN as class": ((X, np.where(Y == 1, np.nan, Y)), "y is nan in row 1, counted from 0, expected a class"),
    "None as class": ((X, label(None, 7)), "y is None in row 7"),
    "kinds mixed": ((X, label("a", 7)), "y has texts among numbers"),
    "fractions": ((X, Y + 0.5), "y has 0.5 in row 0, .* perdure stream --regression"),
    "bytes": ((X, Y.astype("S")), r"y has dtype \|S.*y.astype\(str\)"),
    "a single class": ((X, Y * 0), "y has the class 0 only, expected two or more"),
    "half a test set": ((X, Y, X), "only one of test_x and test_y was given"),
    "another width": ((X, Y, X[:, :3], Y), "test_x has 3 features, expected 4"),
    "an unknown class": ((X, Y, X[:2], [1, 7]), "test_y has the class 7, which y has not"),
    "texts and numbers": ((X, Y, X, Y.astype(str)), "expected both numbers or both texts"),
    "NA of pandas as class": ((X, pd.Series(label(pd.NA, 7))), "y is <NA> in row 7"),
    "NaT as class": ((X, label(pd.NaT, 7)), "y is NaT in row 7"),
    "NaN in the test": ((X, Y, changed(np.nan, 2, 2), Y), "test_x has nan in row 2, column 2"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_learned_is_refused_with_its_place(what):
    given, words = REFUSED[what]
    with pytest.raises((ValueError, TypeError), match=words):
        checked_embeddings(*given)


@pytest.mark.parametrize(
    "y",
    [Y, Y.astype(np.uint8), Y.astype(float), Y.tolist(), Y == 1, np.array(["a", "b", "c"])[Y], pd.Series(Y)],
    ids=["int", "uint8", "float", "list", "bool", "text", "series"],
)
def test_classes_of_many_kinds_are_numbered(y):
    data = checked_embeddings(X.astype(np.float16), y)
    assert (data.x.dtype, data.y.dtype) == (np.float32, np.int64)
    np.testing.assert_array_equal(data.classes[data.y], np.asarray(y))


@pytest.mark.parametrize(("own", "other"), [("int64", "uint64"), ("uint64", "int64")])
def test_large_numbers_of_other_kinds_are_told_apart(own, other):
    """As floats, neighbours are one number."""
    y = 2**62 + 1 + Y
    data = checked_embeddings(X, y.astype(own), X, y.astype(other))
    assert data.test is not None
    np.testing.assert_array_equal(data.test[1], Y)
    with pytest.raises(ValueError, match=f"test_y has the class {2**62 + 77}, which y has not"):
        checked_embeddings(X, y.astype(own), X, np.where(Y == 2, 2**62 + 77, y).astype(other))


def test_numbers_that_fit_no_common_kind_are_compared_too():
    y = np.uint64(2**63) + Y.astype(np.uint64)
    with pytest.raises(ValueError, match=r"test_y has the classes -1, 0, 1, which y has not"):
        checked_embeddings(X, y, X, Y - 1)


def test_a_column_of_texts_of_pandas():
    names = pd.Series(np.array(["a", "b", "c"], object)[Y])
    assert checked_embeddings(pd.DataFrame(X), names).classes.tolist() == ["a", "b", "c"]


@pytest.mark.parametrize("order", ["classes", "shuffled", "file"])
def test_each_class_is_divided(order):
    y = np.repeat([5, 7, 9], [20, 8, 2])
    part = divide(checked_embeddings(X, y), order=order, test_share=0.25, seed=1)
    assert np.bincount(part.test_y).tolist() == [5, 2, 1]
    assert np.bincount(part.y).tolist() == [15, 6, 1]
    again = divide(checked_embeddings(X, y), order=order, test_share=0.25, seed=1)
    np.testing.assert_array_equal(part.x, again.x)
    other = divide(checked_embeddings(X, y), order=order, test_share=0.25, seed=2)
    assert not np.array_equal(part.test_x, other.test_x)


def test_orders():
    part = {it: divide(checked_embeddings(X, Y), order=it, test_share=0.2, seed=3) for it in ("classes", "file")}
    assert (np.diff(part["classes"].y) != 0).sum() == 2
    assert (np.diff(part["file"].y) != 0).sum() > 2


def test_file_order_is_that_of_the_rows():
    x = np.arange(30.0)[:, None]
    part = divide(checked_embeddings(x, Y), order="file", test_share=0.2, seed=0)
    assert (np.diff(part.x[:, 0]) > 0).all()


def test_features_are_standardized_by_what_is_learned_alone():
    x = X * [1, 10, 1e-6, 0] + [5, -3, 0, 2]
    part = divide(checked_embeddings(x, Y), order="shuffled", test_share=0.3, seed=0)
    np.testing.assert_allclose(part.x.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(part.x.std(axis=0), [1, 1, 1, 0], rtol=1e-4)
    assert not part.test_x[:, 3].any()
    assert part.n_varying == 3
    far = x.copy()
    given = divide(checked_embeddings(x, Y, far + 100, Y), order="file", test_share=0.3, seed=0)
    np.testing.assert_allclose(given.x.mean(axis=0), 0, atol=1e-5)
    assert given.test_x[:, 0].mean() > 50


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("part", ["x", "test_x"])
def test_held_out_features_that_no_float32_holds_standardized_are_named(part):
    x = X.copy()
    x[:, 1] = 1e-5 * X[:, 1]
    far = x.copy()
    far[4, 1] = 3e38
    data = checked_embeddings(far, Y) if part == "x" else checked_embeddings(x, Y, far, Y)
    # If no others are given, the row is held out with the first of these seeds.
    seed = next(it for it in range(20) if part == "test_x" or _held_out(data, 0.3, it)[4])
    words = rf"{part} has 3e\+38 in row 4, column 1, counted from 0, which is .*fits float32"
    with pytest.raises(FeatureError, match=words) as found:
        divide(data, order="file", test_share=0.3, seed=seed)
    assert (found.value.part, found.value.row, found.value.column) == (part, 4, 1)


def test_a_class_of_one_example_cannot_be_divided():
    y = Y.copy()
    y[0] = 9
    with pytest.raises(ValueError, match="y has a single example of the class 9, expected at least two"):
        divide(checked_embeddings(X, y), order="file", test_share=0.2, seed=0)
    divide(checked_embeddings(X, y, X, y), order="file", test_share=0.2, seed=0)


@pytest.mark.parametrize(
    ("change", "words"),
    [({"order": "sorted"}, "order is 'sorted'"), ({"test_share": 1.0}, "is 1"), ({"test_share": np.nan}, "is nan")],
)
def test_divisions_that_do_not_exist_are_refused(change, words):
    with pytest.raises(ValueError, match=words):
        divide(checked_embeddings(X, Y), **{"order": "file", "test_share": 0.2, "seed": 0, **change})


@pytest.mark.parametrize("batch_size", [1, 7, 30, 100])
def test_inputs_are_encoded_batch_by_batch(batch_size):
    seen = []

    def encode(batch):
        seen.append(len(batch))
        return batch @ np.ones((4, 2))

    np.testing.assert_allclose(encoded(X, encode, batch_size), X @ np.ones((4, 2)))
    assert sum(seen) == 30
    assert max(seen) == min(batch_size, 30)


@pytest.mark.parametrize(
    ("encode", "words"),
    [
        (lambda batch: batch[:-1], "encode returned an array of shape (9, 4) for inputs 0 to 9, expected (10, d)"),
        (lambda batch: batch.sum(axis=1), "shape (10,) for inputs 0 to 9"),
        (lambda batch: batch[:, None], "shape (10, 1, 4)"),
        (lambda batch: batch[:, : 4 - (batch[0, 0] == X[20, 0])], "for inputs 20 to 29, expected (10, 4)"),
        (lambda batch: [[1.0], [1.0, 2.0]], "rows of different lengths"),
    ],
)
def test_an_encoder_of_another_shape_is_named(encode, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        encoded(X, encode, 10)


def test_inputs_without_a_length_are_named():
    with pytest.raises(TypeError, match=r"the inputs of encode are a generator, .*np\.stack\(list\(x\)\)"):
        encoded((it for it in X), lambda batch: batch)
