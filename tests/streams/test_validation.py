from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.streams import digits, mnist, tasks
from perdure.streams.arrays import from_arrays
from perdure.streams.benchmark import Benchmark, LabelledSet, PixelMapSets, pixel_map_benchmark
from perdure.streams.catalog import BenchmarkRecipe
from perdure.streams.own import HeldOut
from perdure.streams.validation import reported_subsets, validation_split

SUBSETS = st.lists(st.lists(st.integers(0, 39), max_size=20).map(lambda it: np.array(it, dtype=int)), max_size=4)


@given(SUBSETS, st.integers(1, 40))
def test_the_split_is_of_unseen_images_if_they_are_enough_or_else_of_all(reported, wanted):
    train, test = validation_split(40, [reported], wanted)
    used = np.concatenate([train, test])
    seen = set().union(*(it.tolist() for it in reported))
    unseen = set(range(40)) - seen
    enough = len(unseen) >= 4 and len(unseen) - len(unseen) // 4 >= wanted
    assert sorted(used) == (sorted(unseen) if enough else list(range(40)))
    assert len(test) == len(used) // 4


def test_the_split_is_by_the_first_streams_that_leave_enough():
    few, many = [np.arange(10)], [np.arange(30)]
    for reported, wanted, first_unseen in (([many, few], 5, 30), ([many, few], 10, 10), ([many, few], 30, 0)):
        used = np.concatenate(validation_split(40, reported, wanted))
        assert sorted(used) == list(range(first_unseen, 40))


def test_reported_streams_are_those_of_the_default_size_too():
    def shown(subsets):
        return set().union(*(subset.tolist() for subset in subsets))

    def drawn(task, size):
        return shown(tasks.draw_subsets(seed, np.array([task]), 500, size)[0] for seed in range(tasks.REPORTED_SEEDS))

    both, requested = map(shown, reported_subsets(500, requested={0: 3, 2: 9}, default_size={0: 7, 1: 7, 2: 7}))
    assert both == drawn(0, 7) | drawn(1, 7) | drawn(2, 9)
    assert requested == drawn(0, 3) | drawn(2, 9)
    assert shown(next(reported_subsets(5, {0: 1}, {0: 1000}))) == set(range(5))


def test_a_short_validation_stream_shows_nothing_of_whole_reported_ones():
    images, default_size = np.arange(200, dtype=np.uint8).reshape(200, 1, 1), tasks.StreamSize(4, 10)
    part = LabelledSet(images, np.arange(200) % 3)

    def make(seed, n_tasks, size, validation):
        return pixel_map_benchmark(
            "b",
            part,
            part,
            np.zeros((n_tasks, 1), int),
            n_outputs=3,
            seed=seed,
            examples_per_task=size,
            default_size=default_size,
            task_order=None,
            validation=validation,
        )

    short = make(1000, 1, 5, True)
    assert isinstance(short.test, PixelMapSets)
    whole = set().union(*(make(seed, *default_size, False).train.x.ravel() for seed in range(tasks.REPORTED_SEEDS)))
    assert whole.isdisjoint(short.train.x.ravel())
    assert whole.isdisjoint(short.test.images.ravel())


def test_the_split_is_mixed_and_always_the_same():
    first, again = validation_split(1000, [], 10), validation_split(1000, [], 10)
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)
    assert abs(first[1].mean() - 499.5) < 4 * 289 / 250**0.5  # four standard errors of the mean


def images_of(stream, base: np.ndarray) -> set[int]:
    """Return which base images a stream through one map a task shows, told by their sorted pixels."""
    known = {np.sort(image.ravel()).tobytes(): number for number, image in enumerate(base)}
    return {known[np.sort(image.ravel()).tobytes()] for image in np.asarray(stream)}


def maps_of(benchmark: Benchmark) -> np.ndarray:
    assert isinstance(benchmark.test, PixelMapSets)
    return benchmark.test.maps


def test_permutations_share_neither_images_nor_maps_with_the_reported_streams(small_mnist_dir):
    options = {"tasks": 2, "examples_per_task": 2, "data_dir": small_mnist_dir}
    train_x = mnist.load_mnist(small_mnist_dir)[0]
    reported = [mnist.mnist_permutations(seed, **options) for seed in range(tasks.REPORTED_SEEDS)]
    made = mnist.mnist_permutations(0, **options, validation=True)
    assert isinstance(made.test, PixelMapSets)
    shown = set().union(*(images_of(it.train.x, train_x) for it in reported))
    trained, tested = images_of(made.train.x, train_x), images_of(made.test.images, train_x)
    assert not shown & (trained | tested)
    assert not trained & tested
    made_maps, *reported_maps = ({row.tobytes() for row in maps_of(it)} for it in (made, *reported))
    assert len(made_maps) == 2
    assert not made_maps & set().union(*reported_maps)
    np.testing.assert_array_equal(made.test.labels, made.test[1].y)


def test_rotations_have_other_angles_in_the_same_bins(small_mnist_dir):
    options = {"tasks": 3, "examples_per_task": 1, "data_dir": small_mnist_dir}
    reported, made = (mnist.mnist_rotations(0, **options, validation=it) for it in (False, True))
    angles = tasks.rotation_angles(tasks.named_rng(0, "validation/angles"), 3)
    expected = np.stack([tasks.rotation_map(float(angle), 28, 28) for angle in angles])
    np.testing.assert_array_equal(maps_of(made), expected)
    assert (maps_of(made) != maps_of(reported)).any(axis=1).all()


def test_digits_hold_a_quarter_of_the_training_images_out():
    (train_x, _), _ = digits.load_digits()
    made = digits.digits_rotations(0, validation=True)
    assert isinstance(made.test, PixelMapSets)
    assert len(made.train.y) == 5000
    assert len(made.test.images) == 1442 // 4
    known = {image.tobytes() for image in train_x}
    assert all(image.tobytes() in known for image in made.test.images)
    assert (
        len({len(digits.digits_rotations(0, examples_per_task=n, validation=True).train.y) for n in (1082, 1442)}) == 1
    )


def test_refuses_the_sizes_that_reported_streams_refuse():
    for size in (0, 1443):
        with pytest.raises(ValueError, match=f"examples per task is {size}, expected 1 to 1442"):
            digits.digits_rotations(0, examples_per_task=size, validation=True)


@pytest.mark.real_data
@pytest.mark.parametrize("make", [mnist.mnist_rotations, mnist.mnist_permutations, mnist.mnist_many_permutations])
def test_mnist_has_thousands_of_images_that_no_reported_stream_shows(mnist_dir, make):
    made = make(0, data_dir=mnist_dir, validation=True)
    assert made.train.x.shape == (20_000, 28, 28)
    train_x, _, _, _ = mnist.load_mnist(mnist_dir)
    assert isinstance(made.test, PixelMapSets)
    # 100,000 draws in subsets of 1/60 or 1/300 of the images leave 60,000 · exp(−5/3) of them, about 11,300
    assert 11_000 / 4 < len(made.test.images) < 11_600 / 4
    assert {image.tobytes() for image in made.test.images} <= {image.tobytes() for image in train_x}


def test_a_quarter_of_each_task_is_held_out_of_a_stream_without_validation_streams():
    whole = BenchmarkRecipe("digits-rotations", {"tasks": 2, "examples_per_task": 21})(1000)
    made = HeldOut(whole)(1000)
    shown, whole_shown = (
        {(int(task), image.tobytes()) for image, task in zip(*map(np.asarray, (it.x, it.task)), strict=True)}
        for it in (made.train, whole.train)
    )
    tested = {(task, image.tobytes()) for task, (x, _) in enumerate(made.test) for image in x}
    assert [len(y) for _, y in made.test] == [5, 5]
    assert len(made.train.y) == 32
    assert shown | tested == whole_shown
    assert shown.isdisjoint(tested)
    np.testing.assert_array_equal(made.train.task, [0] * 16 + [1] * 16)
    other = HeldOut(whole)(1001)
    assert not np.array_equal(np.asarray(other.train.x), np.asarray(made.train.x))


def test_a_task_of_one_example_leaves_none_to_hold_out():
    whole = from_arrays([(np.zeros((1, 2), "float32"), np.zeros(1, int))], None, n_outputs=2)
    with pytest.raises(ValueError, match="task 0 of arrays has one example, expected two or more"):
        HeldOut(whole)(1000)
