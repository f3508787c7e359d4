from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from perdure.streams import digits, mnist, tasks
from perdure.streams.benchmark import checksum

SMALL = {"tasks": 3, "examples_per_task": 5}
MNIST_MAKERS = [mnist.mnist_rotations, mnist.mnist_permutations, mnist.mnist_many_permutations]
MAKERS = [digits.digits_rotations, *MNIST_MAKERS]


def same(first, second) -> bool:
    return all(np.array_equal(one, other) for one, other in zip(first.train, second.train, strict=True))


@pytest.mark.parametrize("make", MAKERS)
class TestEveryMaker:
    def test_one_seed_one_benchmark(self, small_mnist_dir, make):
        options = {**SMALL, "data_dir": small_mnist_dir}
        first, again, other = make(0, **options), make(0, **options), make(1, **options)
        assert same(first, again)
        assert not same(first, other)
        np.testing.assert_array_equal(first.test[1].x, again.test[1].x)
        assert not np.array_equal(first.test[1].x, other.test[1].x)

    def test_shapes_and_sizes(self, small_mnist_dir, make):
        made = make(0, **SMALL, data_dir=small_mnist_dir)
        assert made.n_tasks == 3
        assert made.n_outputs == 10
        assert made.task_ends.tolist() == [5, 10, 15]
        assert made.train.x.dtype == np.uint8
        assert made.name == make.__name__.replace("_", "-")
        assert all(one.x.shape[1:] == made.train.x.shape[1:] for one in made.test)

    def test_more_examples_do_not_change_the_tasks(self, small_mnist_dir, make):
        few = make(0, tasks=3, examples_per_task=2, data_dir=small_mnist_dir)
        many = make(0, tasks=3, examples_per_task=9, data_dir=small_mnist_dir)
        for one, other in zip(few.test, many.test, strict=True):
            np.testing.assert_array_equal(one.x, other.x)

    def test_order_of_tasks(self, small_mnist_dir, make):
        plain = make(0, **SMALL, data_dir=small_mnist_dir)
        turned = make(0, **SMALL, data_dir=small_mnist_dir, task_order=[2, 0, 1])
        np.testing.assert_array_equal(turned.train.x[:5], plain.train.x[10:])
        np.testing.assert_array_equal(turned.test[0].x, plain.test[2].x)
        np.testing.assert_array_equal(turned.train.task, plain.train.task)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"tasks": 0}, "number of tasks is 0, expected 1 to 1000"),
            ({"examples_per_task": 0}, "examples per task is 0, expected 1 to "),
            (
                {"examples_per_task": 10**6},
                "examples per task is 1000000, expected 1 to (40|1442), the number",
            ),
            ({"task_order": [0, 0, 1]}, r"task_order is \[0, 0, 1\], expected each of the 3 task numbers"),
        ],
    )
    def test_refuses_options_out_of_range(self, small_mnist_dir, make, options, message):
        with pytest.raises(ValueError, match=message):
            make(0, **{**SMALL, **options}, data_dir=small_mnist_dir)

    def test_refuses_a_negative_seed(self, small_mnist_dir, make):
        with pytest.raises(ValueError, match="seed is -3, expected 0 or more"):
            make(-3, **SMALL, data_dir=small_mnist_dir)


@pytest.mark.parametrize(
    ("options", "digest"),
    [
        ({}, "7962a5de7615c097e6cd55cbe09c75bf78e408c61cedf7f1ead285c864dc6864"),
        (
            {"seed": 3, "tasks": 2, "examples_per_task": 20, "task_order": [1, 0]},
            "8bf6379526fb2ce6c717bf55b5cbedef97511be9b49603a24f58498b024e2524",
        ),
    ],
)
def test_digits_stay_the_same_from_release_to_release(options, digest):
    assert checksum(digits.digits_rotations(**{"seed": 0, **options})) == digest


class TestMnist:
    def test_rotations_are_pillows_of_the_images_on_file(self, small_mnist_dir):
        made = mnist.mnist_rotations(5, tasks=3, examples_per_task=5, data_dir=small_mnist_dir)
        _, _, test_x, test_y = mnist.load_mnist(small_mnist_dir)
        angles = tasks.rotation_angles(tasks.named_rng(5, "angles"), 3)
        for angle, test in zip(angles, made.test, strict=True):
            np.testing.assert_array_equal(test.x, [Image.fromarray(image).rotate(angle) for image in test_x])
            np.testing.assert_array_equal(test.y, test_y)
            assert test.y.dtype == np.int32

    def test_permutations_show_the_images_on_file(self, small_mnist_dir):
        made = mnist.mnist_permutations(5, tasks=3, examples_per_task=5, data_dir=small_mnist_dir)
        train_x, train_y, test_x, _ = mnist.load_mnist(small_mnist_dir)
        for task, test in enumerate(made.test):
            drawn = tasks.permutation_map(tasks.named_rng(5, f"permutations/{task}"), 784)
            np.testing.assert_array_equal(test.x.reshape(-1, 784), test_x.reshape(-1, 784)[:, drawn])
        first = tasks.draw_subset(tasks.named_rng(5, "subsets/0"), 40, 5)
        np.testing.assert_array_equal(made.train.y[:5], train_y[first])
        np.testing.assert_array_equal(np.sort(made.train.x[0].ravel()), np.sort(train_x[first[0]].ravel()))

    def test_5_permutations_are_the_first_of_20_and_of_many(self, small_mnist_dir):
        five, twenty = (
            mnist.mnist_permutations(0, tasks=n, examples_per_task=5, data_dir=small_mnist_dir) for n in (5, 20)
        )
        many = mnist.mnist_many_permutations(0, examples_per_task=5, data_dir=small_mnist_dir)
        for task in range(5):
            np.testing.assert_array_equal(five.test[task].x, twenty.test[task].x)
            np.testing.assert_array_equal(five.test[task].x, many.test[task].x)
        np.testing.assert_array_equal(five.train.x, twenty.train.x[:25])

    def test_loaded_arrays_are_read_only_and_shared(self, small_mnist_dir):
        first, again = mnist.load_mnist(small_mnist_dir), mnist.load_mnist(small_mnist_dir)
        assert all(one is other for one, other in zip(first, again, strict=True))
        with pytest.raises(ValueError, match="read-only"):
            first[0][0] = 0

    @pytest.mark.real_data
    def test_published_shapes_labels_and_brightness(self, mnist_dir):
        train_x, train_y, test_x, test_y = mnist.load_mnist(mnist_dir)
        assert (train_x.shape, test_x.shape) == ((60000, 28, 28), (10000, 28, 28))
        assert np.bincount(train_y).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
        assert np.bincount(test_y).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
        assert train_y[0] == 5
        assert train_x.mean() / 255 == pytest.approx(0.130660, abs=1e-6)

    @pytest.mark.real_data
    @pytest.mark.parametrize(
        ("make", "digest"),
        [
            (mnist.mnist_rotations, "3f48f5f10aeefdded9fe18a392e1e30a27fcfa1f88c3515052d8de688f355961"),
            (mnist.mnist_permutations, "803a8d02c7a2b7b515109a1581e1abb8e9a2441abab3e96f754aaa713a2a81cf"),
            (mnist.mnist_many_permutations, "13a8cc63be4ae2f3a55d1a6cf84948e8c199fe6251749fa071a3b86ffa5a9d7c"),
        ],
    )
    def test_stays_the_same_from_release_to_release(self, mnist_dir, make, digest):
        assert checksum(make(1, data_dir=mnist_dir)) == digest

    def test_split_shows_two_digits_a_task(self, small_mnist_dir):
        made = mnist.mnist_split(0, examples_per_task=8, data_dir=small_mnist_dir)
        _, _, test_x, test_y = mnist.load_mnist(small_mnist_dir)
        assert made.n_outputs == 10
        assert made.class_tasks is None
        np.testing.assert_array_equal(made.train.y // 2, made.train.task)
        for task, test in enumerate(made.test):
            np.testing.assert_array_equal(test.x, test_x[test_y // 2 == task])
            np.testing.assert_array_equal(test.y, test_y[test_y // 2 == task])
        with pytest.raises(ValueError, match="examples per task is 1000, expected 1 to 8"):
            mnist.mnist_split(0, data_dir=small_mnist_dir)

    @pytest.mark.real_data
    def test_split_of_the_real_digits(self, mnist_dir):
        made = mnist.mnist_split(0, data_dir=mnist_dir)
        assert made.train.x.shape == (5000, 28, 28)
        assert [len(test.y) for test in made.test] == [2115, 2042, 1874, 1986, 1983]

    @pytest.mark.real_data
    @pytest.mark.parametrize(
        ("make", "n_tasks", "each"), list(zip(MNIST_MAKERS, (20, 20, 100), (1000, 1000, 200), strict=True))
    )
    def test_published_protocol(self, mnist_dir, make, n_tasks, each):
        made = make(0, data_dir=mnist_dir)
        assert made.train.x.shape == (20_000, 28, 28)
        assert made.task_ends.tolist() == [each * (task + 1) for task in range(n_tasks)]
        assert made.test[n_tasks - 1].x.shape == (10_000, 28, 28)


class TestDigits:
    def test_defaults(self):
        made = digits.digits_rotations(0)
        assert made.task_ends.tolist() == [500 * (task + 1) for task in range(10)]
        assert made.train.x.shape == (5000, 8, 8)

    def test_pixels_are_scaled_to_bytes(self):
        (train_x, _), (test_x, _) = digits.load_digits()
        levels = np.unique(np.concatenate([train_x, test_x]))
        assert levels.tolist() == np.rint(np.arange(17) * 255 / 16).tolist()
        assert train_x[0, 0].tolist() == [0, 0, 80, 207, 143, 16, 0, 0]  # 0 0 5 13 9 1 0 0 of 16

    def test_split_takes_the_last_fifth_of_each_class(self):
        (train_x, train_y), (test_x, test_y) = digits.load_digits()
        assert len(train_x) + len(test_x) == 1797
        train_counts, test_counts = Counter(train_y.tolist()), Counter(test_y.tolist())
        for label in range(10):
            assert test_counts[label] == (train_counts[label] + test_counts[label]) // 5
        mask = digits.last_of_each_class(np.array([0, 1] * 5 + [0] * 6))
        assert np.flatnonzero(mask).tolist() == [9, 14, 15]

    def test_split_is_read_only(self):
        train, test = digits.load_digits()
        assert not any(array.flags.writeable for array in (*train, *test))


MEASURE_MEMORY = """
from unittest import mock
import numpy as np
from perdure.machine.process import peak_memory
from perdure.streams import mnist

images = [np.random.default_rng(0).integers(0, 256, (n, 28, 28), dtype=np.uint8) for n in (60_000, 10_000)]
labels = [np.arange(len(x)) % 10 for x in images]
with mock.patch.object(mnist, "load_mnist", lambda _: (images[0], labels[0], images[1], labels[1])):
    made = mnist.mnist_many_permutations(0)
assert len(made.test) == 100
assert sum(len(one.x) for one in made.test) == 1_000_000
print(peak_memory())
"""


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="the standard library tells no peak memory there")
def test_100_tasks_of_10_000_test_images_stay_below_1_5_gigabytes():
    source = str(Path(mnist.__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", MEASURE_MEMORY],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": source},
    )
    assert int(done.stdout) < 1.5e9
