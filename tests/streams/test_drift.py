"""Images that turn continuously."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from perdure.streams import drift
from perdure.streams.benchmark import LabelledSet, PixelMapSets, checksum
from perdure.streams.catalog import make_benchmark
from perdure.streams.digits import digits_turning, load_digits
from perdure.streams.drift import turning_benchmark

SIDE, N = 9, 30


def images(n, seed=0):
    """Random images with a number in the middle, which never moves."""
    x = np.random.default_rng(seed).integers(1, 256, (n, SIDE, SIDE), np.uint8)
    x[:, SIDE // 2, SIDE // 2] = np.arange(n)
    return LabelledSet(x, np.arange(n) % 3)


def make(seed=0, **changes):
    options = {"n_outputs": 3, "tasks": 4, "examples_per_task": 6, "degrees": 90.0, **changes}
    return turning_benchmark("turning", images(N), images(5, 1), seed=seed, **options)


def numbers(benchmark):
    """Which image each example shows."""
    return np.asarray(benchmark.train.x)[:, SIDE // 2, SIDE // 2].tolist()


def test_each_example_is_turned_a_little_further():
    benchmark = make()
    shown = numbers(benchmark)
    assert len(set(shown)) == 24  # no image twice
    for position, number in enumerate(shown):
        expected = Image.fromarray(images(N).x[number]).rotate(position * 90 / 24)
        np.testing.assert_array_equal(benchmark.train.x[position], expected)
        assert benchmark.train.y[position] == images(N).y[number]


def test_stretches_are_hidden_and_tested_at_the_angle_in_their_middle():
    benchmark = make()
    assert benchmark.hides_tasks
    assert benchmark.task_ends.tolist() == [6, 12, 18, 24]
    for task, test in enumerate(benchmark.test):
        expected = [Image.fromarray(one).rotate((task + 0.5) * 90 / 4) for one in images(5, 1).x]
        np.testing.assert_array_equal(test.x, expected)


def test_a_stream_longer_than_the_data_set_shows_all_images_again_in_another_order():
    shown = numbers(make(tasks=3, examples_per_task=20))
    assert sorted(shown[:N]) == sorted(shown[N:]) == list(range(N))
    assert shown[:N] != shown[N:]


def test_more_examples_than_angles_turn_in_steps(monkeypatch):
    monkeypatch.setattr(drift, "MAX_ANGLES", 6)
    benchmark = make()
    for position, number in enumerate(numbers(benchmark)):
        expected = Image.fromarray(images(N).x[number]).rotate((position // 4 * 4) * 90 / 24)
        np.testing.assert_array_equal(benchmark.train.x[position], expected)


def test_one_seed_one_stream():
    assert checksum(make(3)) == checksum(make(3))
    assert checksum(make(3)) != checksum(make(4))
    assert checksum(make(3)) != checksum(make(3, degrees=-90))


def test_validation_uses_training_images_only():
    benchmark = make(validation=True, tasks=2, examples_per_task=8)
    assert isinstance(benchmark.test, PixelMapSets)
    tested = {it.tobytes() for it in benchmark.test.images}
    assert tested <= {it.tobytes() for it in images(N).x}
    assert not {images(N).x[number].tobytes() for number in numbers(benchmark)} & tested


def test_digits_turn_by_180_degrees():
    benchmark = digits_turning(0, tasks=2, examples_per_task=50)
    assert checksum(benchmark) == checksum(make_benchmark("digits-turning", 0, tasks=2, examples_per_task=50))
    assert benchmark.train.x.shape == (100, 8, 8)
    assert isinstance(benchmark.test, PixelMapSets)
    np.testing.assert_array_equal(benchmark.test.images, load_digits()[1].x)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"degrees": 5000}, "degrees is 5000, expected -3600 to 3600"),
        ({"tasks": 0}, "number of tasks is 0"),
        ({"examples_per_task": 31}, "examples per task is 31, expected 1 to 30"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)
