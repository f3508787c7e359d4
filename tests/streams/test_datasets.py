"""Data sets of every kind become the same stream; what is none is told what would be one."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest

from perdure.core import PerdureWarning
from perdure.experiments.supervised.spec import describe_benchmark
from perdure.storage.reading import ContentError
from perdure.streams.benchmark import checksum
from perdure.streams.datasets import from_avalanche, from_dataset, from_table
from perdure.streams.kinds import examples_of

RNG = np.random.default_rng(0)
X = RNG.normal(size=(24, 3)).astype(np.float32)
Y = np.tile(np.arange(4), 6)
NAMES = np.asarray(["ant", "bee", "cat", "dog"])
EXPECTED = from_dataset((X, Y), (X[:8], Y[:8]), name="four")


class Items:
    """As data sets of PyTorch are: a length, and items (x, y)."""

    def __init__(self, x, y, *more):
        self.parts = (x, y, *more)

    def __len__(self):
        return len(self.parts[0])

    def __getitem__(self, n):
        return tuple(part[n] for part in self.parts)


class HuggingFace:
    """As data sets of Hugging Face are: columns by name."""

    def __init__(self, **columns):
        self.columns_ = columns
        self.features = dict.fromkeys(columns)
        self.column_names = list(columns)

    def __len__(self):
        return len(next(iter(self.columns_.values())))

    def __getitem__(self, name):
        return list(self.columns_[name])


class Parts(dict):
    """As several data sets of Hugging Face in one are."""

    column_names: ClassVar[dict] = {}


def csv_of(x, y, path, name="y"):
    pd.DataFrame(x, columns=["a", "b", "c"]).assign(**{name: y}).to_csv(path, index=False)
    return path


def parquet_of(x, y, path):
    pd.DataFrame(x, columns=["a", "b", "c"]).assign(y=y).to_parquet(path)
    return path


def npz_of(x, y, path):
    np.savez(path, x=x, y=y)
    return path


KINDS = {
    "pair": lambda x, y, _: (x, y),
    "lists": lambda x, y, _: [x.tolist(), y.tolist()],
    "texts": lambda x, y, _: (x, NAMES[y]),
    "items": lambda x, y, _: Items(x, y),
    "items with a task": lambda x, y, _: Items(x, y, y),
    "hugging face": lambda x, y, _: HuggingFace(embedding=x, label=y),
    "hugging face columns": lambda x, y, _: HuggingFace(a=x[:, 0], b=x[:, 1], c=x[:, 2], label=NAMES[y]),
    "pandas": lambda x, y, _: pd.DataFrame(x, columns=["a", "b", "c"]).assign(label=NAMES[y]),
    "pandas without names": lambda x, y, _: pd.DataFrame(x).assign(label=NAMES[y]),
    "npz": lambda x, y, path: npz_of(x, y, path / f"{len(x)}.npz"),
    "csv": lambda x, y, path: csv_of(x, y, path / f"{len(x)}.csv"),
    "parquet": lambda x, y, path: str(parquet_of(x, y, path / f"{len(x)}.parquet")),
}


FRAME = pd.DataFrame(X, columns=["a", "b", "c"])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (lambda y: FRAME.assign(y=_replaced(y, 2, None)), r"^train\.y\[2\] is None, expected .* a text, as the first"),
        (lambda y: FRAME.assign(y=_replaced(y, 0, np.nan)), r"^train\.y\[0\] is nan, expected .* a text or a number"),
        (lambda y: FRAME.assign(y=_replaced(y, 3, 7)), r"^train\.y\[3\] is 7, expected .* a text, as the first"),
        (lambda y: Items(X, [None] * 24), r"^train\.y\[0\] is None, .*; give it one, or drop the example$"),
        (lambda y: Items(X, np.zeros((24, 2))), r"^train\[0\] has a label of shape \(2,\), expected a single one"),
    ],
    ids=["none", "nan", "mixed", "no labels", "two labels"],
)
def test_what_is_no_label_is_named(data, message):
    with pytest.raises(ValueError, match=message):
        from_dataset(data(NAMES[Y]))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["a", float("nan"), "b", "a"], r"^train\.y\[1\] is nan, expected .* a text, as the first label is; give"),
        (["a", 1, "b", "1"], r"^train\.y\[1\] is 1, expected the label of a class, a text, as the first label is"),
        ([1, "a", 2, "1"], r"^train\.y\[1\] is 'a', expected the label of a class, a number, as the first label is"),
    ],
    ids=["missing", "number among texts", "text among numbers"],
)
@pytest.mark.parametrize("kind", ["pair", "items", "hugging face", "file", "file with tasks"])
def test_labels_do_not_become_texts(kind, labels, message, tmp_path):
    x = X[: len(labels)]
    path = tmp_path / "rows.ndjson"
    pd.DataFrame({"a": x[:, 0], "y": pd.Series(labels, dtype=object), "part": 0}).to_json(
        path, orient="records", lines=True
    )
    message = message.replace("is nan", "is None") if "file" in kind else message
    with pytest.raises(ValueError, match=message):
        {
            "pair": lambda: from_dataset((x, labels)),
            "items": lambda: from_dataset(Items(x, labels)),
            "hugging face": lambda: from_dataset(HuggingFace(x=x, label=labels)),
            "file": lambda: from_dataset(path),
            "file with tasks": lambda: from_table(path, task="part"),
        }[kind]()


def test_tasks_that_are_numbers_are_others_than_their_texts(tmp_path):
    path = tmp_path / "rows.ndjson"
    pd.DataFrame({"a": X[:8, 0], "y": Y[:8], "part": pd.Series([1] * 4 + ["1"] * 4, dtype=object)}).to_json(
        path, orient="records", lines=True
    )
    assert from_table(path, task="part").n_tasks == 2


def test_a_missing_label_among_the_tests_is_named():
    with pytest.raises(ValueError, match=r"^test\.y\[0\] is None, expected"):
        from_dataset(FRAME.assign(y=NAMES[Y]), FRAME.assign(y=_replaced(NAMES[Y], 0, None)))


def _replaced(y, place, label):
    labels = y.astype(object)
    labels[place] = label
    return pd.Series(labels, dtype=object)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_the_same_stream(kind, tmp_path):
    train, test = (KINDS[kind](x, y, tmp_path) for x, y in ((X, Y), (X[:8], Y[:8])))
    recipe = from_dataset(train, test, name="four")
    made, expected = recipe(3), EXPECTED(3)
    np.testing.assert_allclose(made.train.x, expected.train.x, rtol=1e-6)
    np.testing.assert_array_equal(made.train.y, expected.train.y)
    assert made.task_ends.tolist() == [12, 24]
    for one, other in zip(made.test, expected.test, strict=True):
        np.testing.assert_allclose(one.x, other.x, rtol=1e-6)
        np.testing.assert_array_equal(one.y, other.y)


def test_data_sets_of_pytorch():
    torch = pytest.importorskip("torch")
    data = torch.utils.data.TensorDataset(torch.as_tensor(X), torch.as_tensor(Y))
    np.testing.assert_array_equal(from_dataset(data)(1).train.x, EXPECTED(1).train.x)


def test_pictures_of_hugging_face():
    from PIL import Image

    pixels = RNG.integers(0, 256, (6, 4, 5), np.uint8)
    data = HuggingFace(image=[Image.fromarray(it) for it in pixels], fine_label=np.arange(6) % 2)
    x, y = examples_of("train", data)
    np.testing.assert_array_equal(x, pixels)
    assert y.tolist() == [0, 1] * 3


def test_options_are_those_of_every_split():
    recipe = from_dataset((X, Y), tasks=2, examples_per_task=4, classes_per_task=2, scenario="task", task_order=[1, 0])
    made = recipe(0)
    assert made.class_tasks == (1, 1, 0, 0)
    assert made.task_ends.tolist() == [4, 8]
    assert len(made.test) == 0  # no test examples were given
    with pytest.raises(ValueError, match="scenario is 'best'"):
        from_dataset((X, Y), scenario="best")
    with pytest.raises(TypeError, match="a stream of classes has no option order, expected some of: scenario"):
        from_dataset((X, Y), order=[1])


def test_labels_may_be_any_whole_numbers():
    made = from_dataset((X, 10 * Y + 7), (X, 10 * Y + 7), name="four")(3)
    assert checksum(made) == checksum(from_dataset((X, Y), (X, Y), name="four")(3))


def test_a_record_knows_what_was_learned():
    described = describe_benchmark(EXPECTED)
    assert described["name"] == "four"
    other = describe_benchmark(from_dataset((X + 1, Y), (X[:8], Y[:8]), name="four"))
    assert described["options"]["sha256"] != other["options"]["sha256"]
    again = describe_benchmark(from_dataset(Items(X, Y), Items(X[:8], Y[:8]), name="four", classes_per_task=2))
    assert again["options"] == {**described["options"], "classes_per_task": 2}


class Broken(Items):
    """Items that cannot be read."""

    def __getitem__(self, n):
        raise OSError("no such picture")


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (3, TypeError, r"train is a int, expected a pair \(x, y\) of arrays, the path of .*; convert it to one"),
        (X, TypeError, r"train is a ndarray, expected a pair \(x, y\) of arrays"),
        ({"x": X, "y": Y}, TypeError, "train is a dict, expected a pair"),
        (SimpleNamespace(train_stream=[]), TypeError, "a benchmark of Avalanche, .*; give it to from_avalanche"),
        (Items(X[:0], Y[:0]), ValueError, "train is empty, expected at least one example"),
        (HuggingFace(a=X), ValueError, "train has no column with a usual name of labels, expected one of .*: a; give"),
        (Items([X[0], X[0, :2]], [0, 1]), ValueError, r"train\[1\] has an input of shape \(2,\), expected \(3,\)"),
        (Parts(test=HuggingFace(a=X)), TypeError, "is a Parts with the parts test, .*; give it as data\\['test'\\]"),
        ([1, 2, 3], TypeError, "train is a list, expected a pair"),
        ((X, Y[:3]), ValueError, r"train.y has shape \(3,\), expected \(24,\)"),
        ("nowhere.txt", ContentError, "nowhere.txt ends in '.txt', expected .npz or"),
        ({"a": X, "b": Y}, TypeError, r"give a pair, as \(data\['a'\], data\['b'\]\)"),
        (SimpleNamespace(dataset=1, batch_size=4), TypeError, "give its data set, data.dataset, not the batches"),
        ((X, Y, Y), TypeError, "give two of them: inputs and labels"),
        (list(zip(X, Y, strict=True)), TypeError, r"x, y = zip\(\*data\), and give \(list\(x\), list\(y\)\)"),
        (iter([(X[0], 1)]), TypeError, r"train is a list_iterator, .*x, y = zip\(\*data\)"),
        (Broken(X, Y), ValueError, r"train\[0\] raised OSError: no such picture; correct the data set"),
        ((X, Y + 0.5), ValueError, r"train.y\[0\] is 0.5, expected a label of a class, .* learn numbers with"),
        ((X, np.where(Y == 1, np.nan, Y)), ValueError, r"train.y\[1\] is nan, expected a label of a class"),
    ],
    ids=[
        "number",
        "array",
        "dictionary",
        "avalanche",
        "empty",
        "no labels",
        "two shapes",
        "parts without train",
        "list",
        "two lengths",
        "another ending",
        "dictionary of others",
        "loader of batches",
        "three",
        "list of examples",
        "iterator",
        "items that raise",
        "numbers that are not whole",
        "labels that are not a number",
    ],
)
def test_something_else_is_refused(data, error, message):
    with pytest.raises(error, match=message):
        from_dataset(data)


@pytest.mark.parametrize("data", [(X, Y), Items(X, Y)])
def test_a_column_is_of_data_that_have_columns(data):
    with pytest.raises(ValueError, match=r"label='z' names a column, but train is .*, which has none; leave it"):
        from_dataset(data, label="z")
    with pytest.raises(ValueError, match="features='z' names a column"):
        from_dataset(data, features="z")


def test_one_class_alone_is_told():
    with pytest.warns(PerdureWarning, match="train has one class only, 3, so that every answer is right"):
        from_dataset((X, np.full(24, 3)))


def test_items_without_labels_and_unknown_test_classes_are_refused():
    class Inputs(Items):
        def __getitem__(self, n):
            return self.parts[0][n]

    with pytest.raises(TypeError, match=r"train\[0\] is a ndarray, expected \(x, y\); return both"):
        from_dataset(Inputs(X, Y))
    with pytest.raises(ValueError, match="test has the class 9, which no training example has"):
        from_dataset((X, Y), (X[:1], np.asarray([9])))
    with pytest.raises(ValueError, match=r"test.x has examples of shape"):
        from_dataset((X, Y), (X[:4, :2], Y[:4]))


class TestAvalanche:
    @staticmethod
    def experiences(tests=2):
        def stream(n, each):
            parts = [np.flatnonzero(task == Y // 2)[:each] for task in range(n)] if n == 2 else [np.arange(each)]
            return [
                SimpleNamespace(
                    dataset=Items(X[rows], Y[rows], Y[rows] // 2),
                    classes_in_this_experience=sorted(set(Y[rows].tolist())),
                )
                for rows in parts
            ]

        return SimpleNamespace(train_stream=stream(2, 12), test_stream=stream(tests, 4))

    def test_experiences_are_tasks(self):
        made = from_avalanche(self.experiences())
        assert made.task_ends.tolist() == [12, 24]
        assert made.n_outputs == 4
        np.testing.assert_array_equal(made.train.y // 2, made.train.task)
        assert [set((test.y // 2).tolist()) for test in made.test] == [{0}, {1}]

    def test_one_experience_of_tests_is_for_all(self):
        assert from_avalanche(self.experiences(tests=1)).has_one_test

    def test_something_else_is_refused(self):
        with pytest.raises(TypeError, match=r"benchmark is a Items, expected a benchmark of Avalanche, .*"):
            from_avalanche(Items(X, Y))

    @pytest.mark.parametrize(
        ("train", "error", "message"),
        [
            ([], ValueError, "train_stream is empty, expected at least one experience"),
            (
                [SimpleNamespace()],
                TypeError,
                r"train_stream\[0\] is a SimpleNamespace without a dataset, expected an exp",
            ),
        ],
    )
    def test_experiences_without_examples_are_refused(self, train, error, message):
        with pytest.raises(error, match=message):
            from_avalanche(SimpleNamespace(train_stream=train, test_stream=train))


@pytest.mark.parametrize("names", [("x", "y"), ("pixels", "digit")], ids=str)
def test_tests_in_the_same_archive_are_used_unless_others_are_given(names, tmp_path):
    x, y = names
    np.savez(tmp_path / "it.npz", **{x: X, y: Y, f"test_{x}": X[:8], f"test_{y}": Y[:8]})
    named = {"features": x, "label": y, "name": "four"}
    assert checksum(from_dataset(tmp_path / "it.npz", **named)(0)) == checksum(EXPECTED(0))
    np.savez(tmp_path / "others.npz", **{x: X[:12], y: Y[:12]})
    other = from_dataset(tmp_path / "it.npz", tmp_path / "others.npz", **named)
    assert checksum(other(0)) == checksum(from_dataset((X, Y), (X[:12], Y[:12]), name="four")(0))


def table(folder, name, *rows):
    """Write a table with the columns v, y and part."""
    (folder / name).write_text("\n".join(["v,y,part", *rows, ""]))
    return folder / name


ROWS = [f"{n},{('cat', 'dog')[n % 2]},{'ab'[n // 4]}" for n in range(8)]


@pytest.mark.parametrize("where", ["train", "test"])
@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("9,cat,", r"part\[8\] is missing, expected the task of each example"),
        ("9,,a", r"y\[8\] is None, expected the label of a class, a text"),
    ],
)
def test_a_missing_task_or_label_of_a_table_is_named(where, row, message, tmp_path):
    rows = {"train": ROWS, "test": ROWS, where: [*ROWS, row]}
    files = [table(tmp_path, f"{name}.csv", *its) for name, its in rows.items()]
    with pytest.raises(ValueError, match=f"{where}.{message}"):
        from_table(*files, task="part")


def test_labels_that_are_texts_in_the_tests_only_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"test.y begins with '0', but the labels for training with 0, expected texts"):
        from_dataset((X, Y), (X, Y.astype(str)))
    numbers = [row.replace("cat", "1").replace("dog", "2") for row in ROWS]
    files = [table(tmp_path, "train.csv", *ROWS), table(tmp_path, "test.csv", *numbers)]
    with pytest.raises(ValueError, match=r"y of .*test.csv begins with 1.*, but the labels for training with 'cat'"):
        from_table(*files, task="part")


def test_tables_of_hugging_face_without_rows_or_inputs_are_refused():
    with pytest.raises(ValueError, match="train is empty, expected at least one example"):
        from_dataset(HuggingFace(x=[], label=[]))
    with pytest.raises(ValueError, match="train has no column but that of the labels, expected inputs"):
        from_dataset(HuggingFace(label=[0, 1]))


def test_the_index_of_pandas_in_a_file_is_no_input(tmp_path):
    path = tmp_path / "sorted.parquet"
    FRAME.assign(y=Y).sort_values("y").to_parquet(path)
    with pytest.warns(PerdureWarning, match="has the index of a table of pandas, '__index_level_0__', which is not"):
        found = from_dataset(path)
    assert found.data.train.x.shape == X.shape


def test_halves_are_learned_as_float32(tmp_path):
    halves = X.astype(np.float16)
    np.savez(tmp_path / "halves.npz", x=halves, y=Y)
    for given in ((halves, Y), tmp_path / "halves.npz"):
        np.testing.assert_array_equal(from_dataset(given).data.train.x, halves.astype(np.float32), strict=True)


@pytest.mark.parametrize("kind", ["integers", "items", "table", "csv", "file with tasks", "archive with tasks"])
def test_whole_numbers_that_float32_merges_are_told(kind, tmp_path):
    times, y = 1_700_000_000 + np.arange(400)[:, None], np.arange(400) % 2
    frame = pd.DataFrame({"time": times[:, 0], "y": y, "part": 0})
    frame.to_csv(tmp_path / "rows.csv", index=False)
    frame.drop(columns="part").to_csv(tmp_path / "plain.csv", index=False)
    np.savez(tmp_path / "rows.npz", x=times, y=y, part=frame["part"])
    place = r"rows\.csv, column 'time'" if kind == "file with tasks" else r"train\.x\[:, 0\]"
    place = r"plain\.csv, column 'time'" if kind == "csv" else place
    with pytest.warns(PerdureWarning) as caught:
        {
            "integers": lambda: from_dataset((times, y)),
            "items": lambda: from_dataset(Items(times, y)),
            "table": lambda: from_dataset(frame[["time", "y"]]),
            "csv": lambda: from_dataset(tmp_path / "plain.csv"),
            "file with tasks": lambda: from_table(tmp_path / "rows.csv", task="part"),
            "archive with tasks": lambda: from_table(tmp_path / "rows.npz", task="part"),
        }[kind]()
    words = re.compile(place + " has 400 different values, of which float32 tells apart 4")
    assert sum(bool(words.search(str(it.message))) for it in caught) == 1


@pytest.mark.parametrize("task", [None, "part"])
def test_many_whole_numbers_of_a_file_are_hardly_classes(task, tmp_path):
    path, n = tmp_path / "prices.csv", np.arange(300)
    pd.DataFrame({"a": n / 300, "price": 300 * n - 500, "part": n // 150}).to_csv(path, index=False)
    words = r"price of .*prices\.csv holds 300 different whole numbers in 300 examples, .* with --regression$"
    with pytest.warns(PerdureWarning, match=words):
        from_table(path, label="price", task=task) if task else from_dataset(path, label="price")


def test_many_classes_with_many_examples_each_are_no_numbers(tmp_path):
    path, n = tmp_path / "classes.csv", np.arange(1500)
    pd.DataFrame({"a": n / 1500, "y": n % 150, "part": 0}).to_csv(path, index=False)
    assert from_table(path, task="part").n_outputs == 150
