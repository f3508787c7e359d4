from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from perdure.core import PerdureWarning
from perdure.experiments.supervised.run import run
from perdure.experiments.supervised.spec import default_model
from perdure.learners.online import Online
from perdure.models import benchmark_mlp, reduced_resnet18
from perdure.streams import tasks
from perdure.streams.raw.registry import DataError
from perdure.streams.torch_file import DataFileRecipe, file_benchmark, read_torch_file
from perdure.streams.torch_tasks import class_ranges

torch = pytest.importorskip("torch")

N_TRAIN, N_TEST = 12, 4


def part(n: int, task: int) -> list:
    """A task as the released code stores it: what it is, x and y; x tells the task and the example."""
    x = torch.arange(n * 6, dtype=torch.float32).reshape(n, 6) / 1000 + task
    return [torch.randperm(6), x, torch.arange(n) % 3]


def content(n_tasks: int = 3) -> list:
    return [[part(n, task) for task in range(n_tasks)] for n in (N_TRAIN, N_TEST)]


@pytest.fixture
def path(tmp_path) -> Path:
    torch.save(content(), tmp_path / "mnist_permutations.pt")
    return tmp_path / "mnist_permutations.pt"


class TestRead:
    def test_returns_the_arrays_of_every_task(self, path):
        train, test = read_torch_file(path)
        for sets, n in ((train, N_TRAIN), (test, N_TEST)):
            for task, (x, y) in enumerate(sets):
                _, expected_x, expected_y = part(n, task)
                np.testing.assert_array_equal(x, expected_x.numpy())
                np.testing.assert_array_equal(y, expected_y.numpy())
                assert (x.dtype, y.dtype) == (np.float32, np.int32)

    @pytest.mark.parametrize("info", [30.5, "random permutation", (1, 2), None])
    def test_takes_tuples_and_whatever_tells_what_the_task_is(self, path, info):
        tuples = tuple(tuple((info, x, y) for _, x, y in it) for it in content())
        torch.save(tuples, path)
        assert len(read_torch_file(path)[1]) == 3

    def test_reads_the_format_of_the_years_of_the_papers(self, path):
        torch.save(content(), path, _use_new_zipfile_serialization=False)
        np.testing.assert_array_equal(read_torch_file(path)[0][2].x, part(N_TRAIN, 2)[1].numpy())

    def test_reads_a_file_once_and_again_when_it_changes(self, path):
        first = read_torch_file(path)
        assert read_torch_file(path) is first
        torch.save(content(2), path)
        assert len(read_torch_file(path)[0]) == 2


def damaged(**changes) -> list:
    """Return the content of a file whose test task 1 has another info, x or y."""
    it = content()
    names = ("info", "x", "y")
    it[1][1] = [changes.get(name, value) for name, value in zip(names, it[1][1], strict=True)]
    return it


def with_nan() -> list:
    it = content()
    it[1][1][1][2, 3] = float("nan")
    return it


BAD = {
    "a dictionary": (lambda: {"train": 1}, r"pt holds a dict, expected what torch.save wrote of"),
    "three parts": (lambda: [*content(), []], r"pt holds a list of length 3, expected what"),
    "a part no list": (lambda: [content()[0], torch.ones(2)], r"pt, test is a Tensor, expected"),
    "no tasks": (lambda: [[], []], r"pt, train is a list of length 0, expected"),
    "a task of two": (lambda: [content()[0], [part(4, 0)[:2]] * 3], r"pt, test\[0\] is a list of length 2, expected"),
    "other numbers": (lambda: [content()[0], content()[1][:2]], r"pt holds 3 training and 2 test tasks, expected"),
    "no tensor": (lambda: damaged(x=[1, 2]), r"test\[1\] has x of type list and y of type Tensor, expected"),
    "flat": (lambda: damaged(x=torch.ones(4)), r"test\[1\].x is float32\[4\], expected float32 \[examples, inputs\]"),
    "integers": (lambda: damaged(x=torch.ones(4, 6, dtype=torch.int64)), r"test\[1\].x is int64\[4, 6\], expected"),
    "NaN": (with_nan, r"test\[1\].x\[2, 3\] is nan, expected a finite number"),
    "lengths": (lambda: damaged(y=torch.arange(3)), r"test\[1\].y has shape \(3,\), expected \(4,\)"),
    "float labels": (lambda: damaged(y=torch.ones(4)), r"test\[1\].y has dtype float32, expected integers"),
    "negative label": (lambda: damaged(y=torch.arange(4) - 1), r"test\[1\].y\[0\] is -1, expected a label"),
    "empty": (lambda: damaged(x=torch.ones(0, 6), y=torch.arange(0)), r"test\[1\] is empty, expected at least one"),
    "many tasks": (lambda: [[part(1, 0)] * 1001] * 2, r"pt, train has 1,001 tasks, expected at most 1,000"),
    "shapes": (lambda: damaged(x=torch.ones(4, 7)), r"inputs of the shapes \[\(6,\), \(7,\)\], expected one shape"),
}


@pytest.mark.parametrize(("make", "message"), BAD.values(), ids=BAD)
def test_refuses_other_content(path, make, message):
    torch.save(make(), path)
    with pytest.raises(DataError, match=message):
        read_torch_file(path)


class Evil:
    def __reduce__(self):
        return os.mkdir, ("evil",)


@pytest.mark.parametrize("new_format", [True, False])
def test_runs_nothing_that_a_file_asks_for(path, tmp_path, monkeypatch, new_format):
    monkeypatch.chdir(tmp_path)
    torch.save(damaged(info=Evil()), path, _use_new_zipfile_serialization=new_format)
    with pytest.raises(DataError, match=r"pt is no data file of tensors \(.*nothing in it was run"):
        read_torch_file(path)
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("damage", [lambda it: b"", lambda it: b"<html>", lambda it: it[: len(it) // 2]])
def test_refuses_what_torch_cannot_load(path, damage):
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match="pt is no data file of tensors"):
        read_torch_file(path)


def test_says_what_to_install(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ModuleNotFoundError, match=r"written by PyTorch, .* pip install 'perdure\[torch\]'"):
        read_torch_file(path)


class TestBenchmark:
    def test_trains_on_a_random_subset_of_each_task(self, path):
        made = file_benchmark(path, 5, examples_per_task=7)
        assert made.name == "mnist_permutations"
        assert made.task_ends.tolist() == [7, 14, 21]
        assert made.n_outputs == 3
        for task in range(3):
            subset = tasks.draw_subset(tasks.named_rng(5, f"subsets/{task}"), N_TRAIN, 7)
            here = made.train.task == task
            np.testing.assert_array_equal(made.train.x[here], part(N_TRAIN, task)[1].numpy()[subset])
            np.testing.assert_array_equal(made.train.y[here], subset % 3)
            np.testing.assert_array_equal(made.test[task].x, part(N_TEST, task)[1].numpy())

    def test_order_and_number_of_tasks(self, path):
        plain = file_benchmark(path, 0, tasks=2, examples_per_task=7)
        turned = file_benchmark(path, 0, tasks=2, examples_per_task=7, task_order=[1, 0])
        np.testing.assert_array_equal(turned.train.x, np.roll(plain.train.x, 7, axis=0))
        np.testing.assert_array_equal(turned.test[0].x, plain.test[1].x)

    def test_all_examples_of_a_task_are_shown_unless_fewer_are_requested(self, path):
        assert len(file_benchmark(path, 0).train.y) == 36

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"examples_per_task": 13}, "examples per task is 13, expected 1 to 12"),
            ({"examples_per_task": 0}, "examples per task is 0, expected 1 to 12"),
            ({"tasks": 4}, "number of tasks is 4, expected 1 to 3"),
            ({"tasks": 0}, "number of tasks is 0, expected 1 to 3"),
            ({"task_order": [0]}, r"task_order is \[0\], expected each of the 3"),
        ],
    )
    def test_refuses_options_out_of_range(self, path, options, message):
        with pytest.raises(ValueError, match=message):
            file_benchmark(path, 0, **options)


class TestRecipe:
    def test_makes_what_the_file_holds(self, path):
        recipe = DataFileRecipe(path, {"tasks": 2, "examples_per_task": 5})
        expected = file_benchmark(path, 1, tasks=2, examples_per_task=5)
        np.testing.assert_array_equal(recipe(1).train.x, expected.train.x)
        assert recipe.name == recipe(1).name == "mnist_permutations"

    def test_knows_the_digest_of_its_file(self, path):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        recipe = DataFileRecipe(path, {"tasks": 2})
        assert recipe.options == {"tasks": 2, "file_sha256": digest}
        assert DataFileRecipe(path, recipe.options) == recipe

    def test_refuses_another_file_than_the_one_it_was_made_of(self, path):
        options = DataFileRecipe(path).options
        torch.save(content(2), path)
        with pytest.raises(DataError, match=r"pt has sha256 .*, expected .*; give the file that the run began with"):
            DataFileRecipe(path, options)

    def test_refuses_unknown_options_and_missing_files(self, path, tmp_path):
        with pytest.raises(
            TypeError, match="a data file has no option task, expected some of: tasks, examples_per_task"
        ):
            DataFileRecipe(path, {"task": 2})
        with pytest.raises(DataError, match=r"none.pth ends in '.pth', expected a name that ends in '.pt'; rename"):
            DataFileRecipe(tmp_path / "none.pth")
        for make in (DataFileRecipe, read_torch_file):
            with pytest.raises(DataError, match=r"none.pt cannot be read: No such file or directory; give the path"):
                make(tmp_path / "none.pt")


def class_file(path: Path, infos: list | None = None, labels: list | None = None, shape: tuple = (3072,)) -> Path:
    """Write tasks of two classes as `cifar100.pt` has them, x the label everywhere; or with other infos and labels."""
    labels = labels or [[0, 1], [2, 3], [4, 5]]
    infos = infos or [(its[0], its[-1] + 1) for its in labels]

    def sets(each: int) -> list:
        made = []
        for info, its in zip(infos, labels, strict=True):
            y = torch.tensor(its).repeat(each)
            x = (y / 10).reshape(-1, *(1 for _ in shape)) * torch.ones(shape)
            made.append([info, x, y])
        return made

    torch.save([sets(6), sets(2)], path)
    return path


PAIRS = {
    "class after the last": [(0, 2), (2, 4), (4, 6)],
    "last class": [(0, 1), (2, 3), (4, 5)],
    "lists": [[0, 2], [2, 4], [4, 6]],
}


class TestClasses:
    """The layout of the authors' `cifar100.pt`."""

    @pytest.mark.parametrize("infos", PAIRS.values(), ids=PAIRS)
    def test_outputs_of_other_tasks_are_masked(self, path, infos):
        made = DataFileRecipe(class_file(path, infos), {"examples_per_task": 5})(0)
        assert made.class_tasks == (0, 0, 1, 1, 2, 2)
        assert made.n_outputs == 6
        assert made.train.x.shape == (15, 3, 32, 32)
        assert made.test[0].x.shape == (4, 3, 32, 32)

    def test_images_are_the_pixels_channel_by_channel(self, path):
        class_file(path)
        content = torch.load(path)
        content[1][2][1][:] = torch.arange(3072)[None] / 4096
        torch.save(content, path)
        made = file_benchmark(path, 0, examples_per_task=5)
        np.testing.assert_array_equal(made.test[2].x[1, 2, 1], np.arange(2 * 1024 + 32, 2 * 1024 + 64) / 4096)

    def test_the_order_of_tasks_moves_the_masks(self, path):
        made = file_benchmark(class_file(path), 0, examples_per_task=5, task_order=[2, 0, 1])
        assert made.class_tasks == (1, 1, 2, 2, 0, 0)
        assert sorted(set(made.train.y[:5])) == [4, 5]

    def test_fewer_tasks_have_fewer_outputs(self, path):
        made = file_benchmark(class_file(path), 0, examples_per_task=5, tasks=2)
        assert (made.class_tasks, made.n_outputs) == ((0, 0, 1, 1), 4)

    def test_tasks_may_be_stored_in_another_order(self, path):
        class_file(path, labels=[[4, 5], [0, 1], [2, 3]])
        assert file_benchmark(path, 0, examples_per_task=5).class_tasks == (1, 1, 2, 2, 0, 0)
        with pytest.raises(DataError, match=r"first 2 tasks are \[\(4, 6\), \(0, 2\)\], expected .*choose all tasks"):
            file_benchmark(path, 0, examples_per_task=5, tasks=2)

    def test_one_task_is_told_by_its_labels(self, path):
        assert class_ranges(class_file(path, [(0, 3)], [[0, 1, 2]]), 1) == [range(3)]
        assert class_ranges(class_file(path, [(0, 2)], [[0, 1, 2]]), 1) == [range(3)]

    def test_the_network_is_one_for_images(self, path):
        assert DataFileRecipe(class_file(path)).network == "reduced_resnet18"
        assert default_model(DataFileRecipe(path)) is reduced_resnet18
        assert DataFileRecipe(class_file(path, shape=(3, 32, 32))).network == "reduced_resnet18"

    @pytest.mark.parametrize("infos", [[30.5, 40.5, 50.5], ["a", "b", "c"], [(0.0, 2.0)] * 3, [(0, 2, 4)] * 3])
    def test_other_infos_change_nothing(self, path, infos):
        made = DataFileRecipe(class_file(path, infos), {"examples_per_task": 5})
        assert made(0).class_tasks is None
        assert made(0).train.x.shape == (15, 3072)
        assert made.network == "benchmark_mlp"
        assert default_model(made) is benchmark_mlp

    def test_classes_without_images_are_masked_too(self, path):
        recipe = DataFileRecipe(class_file(path, shape=(6,)), {"examples_per_task": 5})
        assert recipe(0).class_tasks == (0, 0, 1, 1, 2, 2)
        assert recipe(0).train.x.shape == (15, 6)
        assert recipe.network == "benchmark_mlp"

    @pytest.mark.parametrize(
        "infos",
        [
            [(0, 2), (2, 4), (4, 5)],  # too few for its labels
            [(0, 2), (3, 4), (4, 6)],  # a gap
            [(0, 3), (2, 4), (4, 6)],  # an overlap
            [(1, 2)] * 3,
            [(2, 0), (2, 4), (4, 6)],
            [(0, 2), (2, 4), (4, 10**12)],
        ],
    )
    def test_pairs_that_are_no_classes_are_refused(self, path, infos):
        with pytest.raises(DataError, match=r"expected pairs \(first class, last class \+ 1\) .*such as None"):
            file_benchmark(class_file(path, infos), 0, examples_per_task=5)

    def test_pairs_of_training_and_test_are_the_same(self, path):
        train, test = torch.load(class_file(path))
        torch.save([train, [[(0, 1), x, y] for _, x, y in test]], path)
        with pytest.raises(DataError, match="equal for training and test"):
            file_benchmark(path, 0, examples_per_task=5)


def test_unused_labels_are_told(path):
    with pytest.warns(PerdureWarning, match="no example has the labels 0, 3"):
        file_benchmark(class_file(path, [None] * 2, [[1, 2], [4, 5]], (6,)), 0, examples_per_task=5)


def separable(path: Path, masked: bool) -> DataFileRecipe:
    """Write four tasks of two classes; the first class of each is bright at the top, the second at the bottom."""
    rng = np.random.default_rng(0)

    def sets(each: int) -> list:
        made = []
        for first in range(0, 8, 2):
            y = rng.permutation(np.repeat([first, first + 1], each))
            x = rng.uniform(0, 0.2, (2 * each, 3072)).astype(np.float32)
            for row, label in zip(x, y, strict=True):
                row[1536 * (label % 2) : 1536 * (label % 2 + 1)] += 0.8
            made.append([(first, first + 2) if masked else None, torch.tensor(x), torch.tensor(y)])
        return made

    torch.save([sets(40), sets(10)], path)
    return DataFileRecipe(path, {"examples_per_task": 80})


@pytest.mark.long
def test_separable_classes_are_told_apart_where_other_tasks_are_masked(path):
    def accuracy(recipe: DataFileRecipe) -> float:
        result = run(Online(learning_rate=0.02), recipe, model=benchmark_mlp, progress=False)
        return result.metrics["retained_accuracy"].mean

    assert accuracy(separable(path, masked=True)) == 1.0
    assert accuracy(separable(path, masked=False)) < 0.5
