from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.core import Example
from perdure.streams import benchmark as benchmark_module
from perdure.streams import tasks
from perdure.streams.benchmark import Benchmark, LabelledSet, PixelMapSets, checksum, pixel_map_benchmark

SIZES = [3, 1, 2]


def arrays(dtype: str = "float32") -> tuple[Example, list[LabelledSet]]:
    """A valid stream of three tasks of 3, 1 and 2 examples, and its test sets; three classes."""
    train = Example(
        x=np.arange(24).reshape(6, 2, 2).astype(dtype),
        y=np.array([0, 1, 2, 0, 1, 2], dtype=np.int32),
        task=np.repeat(np.arange(3, dtype=np.int32), SIZES),
    )
    test = [LabelledSet(np.ones((n, 2, 2), dtype), np.zeros(n, np.int32)) for n in (2, 1, 4)]
    return train, test


def pixel_map_tests() -> PixelMapSets:
    images = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    maps = np.array([[0, 1, 2, 3], [3, 2, 1, 0], [-1, 0, 0, 0]], dtype=np.int32)
    return PixelMapSets(images, np.array([2, 0], dtype=np.int32), maps)


class TestValid:
    @pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
    def test_accepts_pixels_and_floats(self, dtype):
        train, test = arrays(dtype)
        made = Benchmark("b", train, test, 3)
        assert made.n_tasks == 3
        assert made.task_ends.tolist() == [3, 4, 6]

    def test_accepts_jax_arrays(self):
        train, test = arrays()
        assert Benchmark("b", Example(*map(jnp.asarray, train)), test, 3).task_ends.tolist() == [3, 4, 6]

    @pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "uint64"])
    def test_accepts_labels_and_tasks_of_any_integer_dtype(self, dtype):
        train, test = arrays()
        made = Benchmark("b", train._replace(y=train.y.astype(dtype), task=train.task.astype(dtype)), test, 300)
        assert made.task_ends.tolist() == [3, 4, 6]

    @given(st.lists(st.integers(1, 9), min_size=1, max_size=6))
    def test_task_ends_are_the_running_sum_of_the_sizes(self, sizes):
        task = np.repeat(np.arange(len(sizes)), sizes)
        x, y = np.zeros((len(task), 1), np.float32), np.zeros(len(task), np.int32)
        train = Example(x, y, task)
        test = [LabelledSet(x[:1], y[:1])] * len(sizes)
        assert Benchmark("b", train, test, 1).task_ends.tolist() == np.cumsum(sizes).tolist()

    def test_does_not_make_the_test_sets_of_all_tasks(self, monkeypatch):
        made = []
        monkeypatch.setattr(benchmark_module, "apply_pixel_map", lambda images, _: made.append(1) or images)
        x, y = np.ones((500, 2, 2), np.float32), np.zeros(500, np.int32)
        Benchmark("b", Example(x, y, np.arange(500)), PixelMapSets(x, y, np.zeros((500, 4), np.int32)), 1)
        assert len(made) < 20  # type checks while testing may look at one or two


def nan_at(x: np.ndarray, *place: int, value: float = np.nan) -> np.ndarray:
    x = x.copy()
    x[place] = value
    return x


TRAIN_FAULTS = {
    "y too short": ("y", lambda y: y[:5], ValueError, r"train.y has shape \(5,\), expected \(6,\)"),
    "y a column": ("y", lambda y: y[:, None], ValueError, r"train.y has shape \(6, 1\), expected \(6,\)"),
    "task too short": ("task", lambda t: t[:5], ValueError, r"train.task has shape \(5,\), expected \(6,\)"),
    "x int64": ("x", lambda x: x.astype(np.int64), TypeError, "train.x has dtype int64, .*uint8, float32"),
    "x bool": ("x", lambda x: x > 0, TypeError, "train.x has dtype bool, expected one of"),
    "x float16": ("x", lambda x: x.astype(np.float16), TypeError, "train.x has dtype float16"),
    "x text": ("x", lambda x: x.astype(str), TypeError, "train.x has dtype <U"),
    "x one number": ("x", lambda x: np.float32(1), ValueError, "train.x is a single number"),
    "y float": ("y", lambda y: y.astype(np.float32), ValueError, r"train.y has shape \(6,\), expected \(6, 3\)"),
    "y float16": ("y", lambda y: y.astype(np.float16), TypeError, "train.y has dtype float16, expected float32 or"),
    "y bool": ("y", lambda y: y > 0, TypeError, "train.y has dtype bool, expected integers"),
    "task float": ("task", lambda t: t.astype(float), TypeError, "train.task has dtype float64, expected"),
    "label negative": ("y", lambda y: y - 1, ValueError, r"train.y\[0\] is -1, expected a label from 0 to 2"),
    "label large": (
        "y",
        lambda y: y + np.array([0, 0, 1, 1, 1, 1]),
        ValueError,
        r"train.y\[2\] is 3, .* 0 to 2",
    ),
    "NaN": ("x", lambda x: nan_at(x, 4, 1, 0), ValueError, r"train.x\[4, 1, 0\] is nan, expected a finite"),
    "inf": ("x", lambda x: nan_at(x, 5, 0, 1, value=-np.inf), ValueError, r"train.x\[5, 0, 1\] is -inf"),
    "task large": ("task", lambda t: t + 1, ValueError, r"train.task\[4\] is 3, expected a task from 0 to 2"),
    "task negative": ("task", lambda t: t - 1, ValueError, r"train.task\[0\] is -1, expected a task from 0"),
    "order": (
        "task",
        lambda t: t[::-1],
        ValueError,
        r"train.task\[2\] is 1, expected no less than the one bef",
    ),
    "task empty": (
        "task",
        lambda t: t // 2 * 2,
        ValueError,
        "train has no example of task 1, expected at least",
    ),
}


@pytest.mark.parametrize(("leaf", "damage", "error", "message"), TRAIN_FAULTS.values(), ids=TRAIN_FAULTS)
def test_refuses_bad_train(leaf, damage, error, message):
    train, test = arrays()
    with pytest.raises(error, match=message):
        Benchmark("b", train._replace(**{leaf: damage(getattr(train, leaf))}), test, 3)


def test_refuses_an_empty_stream():
    train, test = arrays()
    with pytest.raises(ValueError, match="train is empty, expected at least one example"):
        Benchmark("b", Example(*(leaf[:0] for leaf in train)), test, 3)


TEST_FAULTS = {
    "lengths": (lambda x, y: (x, y[:-1]), ValueError, r"test\[2\].y has shape \(3,\), expected \(4,\)"),
    "empty": (lambda x, y: (x[:0], y[:0]), ValueError, r"test\[2\] is empty"),
    "label": (
        lambda x, y: (x, y + np.array([0, 0, 0, 3])),
        ValueError,
        r"test\[2\].y\[3\] is 3, expected .* 0 to 2",
    ),
    "NaN": (lambda x, y: (nan_at(x, 1, 0, 1), y), ValueError, r"test\[2\].x\[1, 0, 1\] is nan"),
    "shape": (
        lambda x, y: (x[:, :1], y),
        ValueError,
        r"test\[2\].x has examples of shape \(1, 2\) .*\(2, 2\)",
    ),
    "dtype": (lambda x, y: (x.astype("uint8"), y), ValueError, r"test\[2\].x .* uint8, expected .* float32"),
    "x dtype": (lambda x, y: (x.astype("int32"), y), TypeError, r"test\[2\].x has dtype int32"),
    "y dtype": (lambda x, y: (x, y.astype("float32")), TypeError, r"test\[2\].y has dtype float32"),
}


@pytest.mark.parametrize(("damage", "error", "message"), TEST_FAULTS.values(), ids=TEST_FAULTS)
def test_refuses_a_bad_test_set(damage, error, message):
    train, test = arrays()
    with pytest.raises(error, match=message):
        Benchmark("b", train, [*test[:2], LabelledSet(*damage(*test[2]))], 3)


PIXEL_FAULTS = {
    "label": ("labels", lambda y: y + 1, ValueError, r"test.y\[0\] is 3, expected a label from 0 to 2"),
    "lengths": ("labels", lambda y: y[:1], ValueError, r"test.y has shape \(1,\), expected \(2,\)"),
    "NaN": ("images", lambda x: nan_at(x, 1, 1, 1), ValueError, r"test.x\[1, 1, 1\] is nan"),
    "dtype": ("images", lambda x: x.astype("float64"), ValueError, "test.x .* float64, expected .* float32"),
    "size": ("images", lambda x: x[:, :1], ValueError, r"images have shape \(2, 1, 2\) and .* \(3, 4\)"),
    "flat": ("images", lambda x: x.reshape(2, 4), ValueError, r"images have shape \(2, 4\) and pixel maps"),
    "source": (
        "maps",
        lambda m: nan_at(m, 2, 1, value=4),
        ValueError,
        r"maps\[2, 1\] is 4, .* 0 to 3, or -1",
    ),
    "negative": ("maps", lambda m: nan_at(m, 0, 3, value=-2), ValueError, r"maps\[0, 3\] is -2"),
    "map dtype": ("maps", lambda m: m.astype(float), TypeError, "maps have dtype float64, expected integers"),
}


@pytest.mark.parametrize(("part", "damage", "error", "message"), PIXEL_FAULTS.values(), ids=PIXEL_FAULTS)
def test_refuses_bad_pixel_map_tests(part, damage, error, message):
    train, _ = arrays()
    parts = vars(pixel_map_tests())
    with pytest.raises(error, match=message):
        Benchmark("b", train, PixelMapSets(**{**parts, part: damage(parts[part])}), 3)


def test_without_test_sets_the_stream_tells_the_tasks():
    train, test = arrays()
    alone = Benchmark("b", train, [], 3)
    assert alone.n_tasks == len(test)
    assert alone.task_ends.tolist() == Benchmark("b", train, test, 3).task_ends.tolist()
    with pytest.raises(ValueError, match=r"train has no example of task 0, expected at least one of each"):
        Benchmark("b", train._replace(task=np.asarray(train.task) + 1), [], 3)


def test_refuses_no_outputs():
    train, test = arrays()
    with pytest.raises(ValueError, match="n_outputs is 0, expected 1 or more"):
        Benchmark("b", train, test, 0)


class TestPixelMapTests:
    def test_each_is_the_images_through_its_map(self):
        test = pixel_map_tests()
        assert test[0].x.tolist() == test.images.tolist()
        assert test[1].x.tolist() == [[[3, 2], [1, 0]], [[7, 6], [5, 4]]]
        assert test[2].x.tolist() == [[[0, 0], [0, 0]], [[0, 4], [4, 4]]]
        assert [one.y.tolist() for one in test] == [[2, 0]] * 3

    def test_counts_from_the_end_and_stops(self):
        test = pixel_map_tests()
        np.testing.assert_array_equal(test[np.int64(-1)].x, test[2].x)
        with pytest.raises(IndexError):
            test[3]
        assert len(list(test)) == 3


class TestPixelMapBenchmark:
    def make(self, **changed):
        rng = np.random.default_rng(0)
        train = LabelledSet(rng.integers(0, 256, (20, 2, 3), dtype=np.uint8), np.arange(20) % 4)
        test = LabelledSet(rng.integers(0, 256, (5, 2, 3), dtype=np.uint8), np.arange(5) % 4)
        default_size = tasks.StreamSize(3, 7)
        options = {
            "n_outputs": 4,
            "seed": 1,
            "examples_per_task": 7,
            "default_size": default_size,
            "task_order": None,
            **changed,
        }
        maps = tasks.permutation_maps(options["seed"], 3, 6)
        return train, maps, pixel_map_benchmark("b", train, test, maps, **options)

    def test_every_task_shows_its_own_subset_through_its_map(self):
        train, maps, made = self.make()
        subsets = [tasks.draw_subset(tasks.named_rng(1, f"subsets/{t}"), 20, 7) for t in range(3)]
        assert len({tuple(subset) for subset in subsets}) == 3
        for t, subset in enumerate(subsets):
            part = slice(7 * t, 7 * t + 7)
            np.testing.assert_array_equal(made.train.x[part].reshape(7, 6), train.x[subset].reshape(7, 6)[:, maps[t]])
            np.testing.assert_array_equal(made.train.y[part], train.y[subset])
        np.testing.assert_array_equal(made.train.task, np.repeat([0, 1, 2], 7))

    @given(st.permutations(range(3)))
    def test_task_order_moves_whole_tasks_and_renumbers_them(self, order):
        _, _, plain = self.make()
        _, _, ordered = self.make(task_order=order)
        for position, task in enumerate(order):
            for leaf in ("x", "y"):
                np.testing.assert_array_equal(
                    getattr(ordered.train, leaf)[7 * position : 7 * position + 7],
                    getattr(plain.train, leaf)[7 * task : 7 * task + 7],
                )
            np.testing.assert_array_equal(ordered.test[position].x, plain.test[task].x)
        np.testing.assert_array_equal(ordered.train.task, plain.train.task)

    def test_fewer_examples_are_the_first_of_more(self):
        _, _, more = self.make()
        _, _, fewer = self.make(examples_per_task=2)
        np.testing.assert_array_equal(fewer.train.x, more.train.x.reshape(3, 7, 2, 3)[:, :2].reshape(6, 2, 3))


def targets(dtype: str = "float32") -> tuple[Example, list[LabelledSet]]:
    """A valid stream of three tasks with two targets an example, and its test sets."""
    train, test = arrays()
    y = np.arange(12).reshape(6, 2).astype(dtype)
    return train._replace(y=y), [LabelledSet(x, np.arange(2 * len(x)).reshape(-1, 2).astype(dtype)) for x, _ in test]


class TestRegression:
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_accepts_targets(self, dtype):
        train, test = targets(dtype)
        test[1] = test[0]
        assert Benchmark("b", train, test, 2).regression
        assert Benchmark("b", Example(*map(jnp.asarray, train)), test, 2).regression
        assert not Benchmark("b", *arrays(), 3).regression

    @pytest.mark.parametrize(
        ("damage", "error", "message"),
        [
            (lambda y: y[:, 0], ValueError, r"test\[2\].y has shape \(4,\), expected \(4, 2\)"),
            (lambda y: nan_at(y, 3, 1), ValueError, r"test\[2\].y\[3, 1\] is nan, expected a finite"),
            (lambda y: y.astype(np.int32), TypeError, r"test\[2\].y has dtype int32, expected float32 or float64"),
            (lambda y: y[[1, 1, 1, 1]], ValueError, r"test\[2\].y has the same targets in all 4 examples, .*R²"),
        ],
    )
    def test_refuses_bad_targets(self, damage, error, message):
        train, test = targets()
        test[1] = test[0]
        with pytest.raises(error, match=message):
            Benchmark("b", train, [*test[:2], LabelledSet(test[2].x, damage(test[2].y))], 2)

    def test_refuses_targets_of_a_single_test_example(self):
        with pytest.raises(ValueError, match=r"test\[1\].y has the same targets in all 1 examples"):
            Benchmark("b", *targets(), 2)

    def test_one_output_that_varies_is_enough(self):
        train, test = targets()
        y = np.array([[1, 5], [1, 6]], np.float32)
        assert Benchmark("b", train, [LabelledSet(test[0].x, y)] * 3, 2).regression

    def test_classes_have_no_place_in_it(self):
        train, test = targets()
        with pytest.raises(ValueError, match="class_tasks is given, but targets are floats"):
            Benchmark("b", train, [test[0]] * 3, 2, (0, 1))


class TestClassTasks:
    def make(self, class_tasks, labels=(0, 1, 1, 2, 3, 3), tests=(1, 2, 3)):
        train, test = arrays()
        test = [LabelledSet(x, np.full(len(x), label, np.int32)) for (x, _), label in zip(test, tests, strict=True)]
        return Benchmark("b", train._replace(y=np.array(labels, np.int32)), test, 4, class_tasks)

    def test_is_kept_and_is_in_the_checksum(self):
        made = self.make((0, 0, 1, 2))
        assert made.class_tasks == (0, 0, 1, 2)
        assert checksum(made) != checksum(self.make(None))

    @pytest.mark.parametrize(
        ("class_tasks", "changes", "message"),
        [
            ((0, 0, 1), {}, "class_tasks has length 3, expected 4; give each output its task"),
            ((0, 0, 1, 3), {}, r"class_tasks\[3\] is 3, expected a task from 0 to 2"),
            ((0, -1, 1, 2), {}, r"class_tasks\[1\] is -1, expected a task from 0 to 2"),
            ((0, 0, 2, 2), {}, r"train.y\[3\] is 2, expected a label whose task in class_tasks is that of the exam"),
            ((0, 0, 1, 2), {"tests": (1, 3, 3)}, r"test\[1\].y\[0\] is 3, expected a label whose task"),
        ],
    )
    def test_refuses_what_labels_contradict(self, class_tasks, changes, message):
        with pytest.raises(ValueError, match=message):
            self.make(class_tasks, **changes)

    def test_sees_the_labels_of_pixel_map_tests(self):
        train, _ = arrays()
        train = train._replace(y=train.task)
        with pytest.raises(ValueError, match=r"test\[0\].y\[0\] is 2, expected a label whose task"):
            Benchmark("b", train, pixel_map_tests(), 3, (0, 1, 2))


def test_the_checksum_sees_every_array_of_stream_and_tests():
    def benchmark(**changes):
        x, y = np.arange(8, dtype=np.uint8).reshape(4, 2), np.array([0, 1, 0, 1], np.int32)
        parts = {"x": x, "y": y, "task": np.zeros(4, np.int32), "test_x": x, "test_y": y, "n_outputs": 2} | changes
        train = Example(parts["x"], parts["y"], parts["task"])
        return Benchmark("it", train, [LabelledSet(parts["test_x"], parts["test_y"])], parts["n_outputs"])

    x, y = np.full((4, 2), 7, np.uint8), np.ones(4, np.int32)
    others = [benchmark(**{name: new}) for name, new in [("x", x), ("y", y), ("test_x", x), ("test_y", y)]]
    others.append(benchmark(n_outputs=3))
    assert len({checksum(it) for it in (benchmark(), *others)}) == 6
    assert checksum(benchmark()) == checksum(benchmark(x=np.asfortranarray(benchmark().train.x)))


def test_the_checksum_of_mapped_tests_sees_images_labels_and_maps():
    images, labels, maps = np.zeros((2, 1, 2), np.uint8), np.zeros(2, np.int32), np.array([[0, 1]])
    stream = Example(images, labels, np.zeros(2, np.int32))

    def of(**changes):
        tests = PixelMapSets(**({"images": images, "labels": labels, "maps": maps} | changes))
        return checksum(Benchmark("it", stream, tests, 2))

    assert len({of(), of(images=images + 1), of(labels=labels + 1), of(maps=maps[:, ::-1])}) == 4
