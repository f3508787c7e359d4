from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from perdure.streams import tasks

SEEDS = st.integers(0, 2**63)
IMAGES = hnp.arrays(np.uint8, st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9)))


class TestNamedRng:
    @given(SEEDS, st.text(max_size=20))
    def test_same_seed_and_name_same_numbers(self, seed, name):
        first, second = (tasks.named_rng(seed, name).integers(2**62, size=3) for _ in range(2))
        np.testing.assert_array_equal(first, second)

    def test_seeds_and_names_all_differ(self):
        names = ["angles", "permutations/0", "permutations/1", "subsets/0", "subsets/1", "subsets/10"]
        draws = {int(tasks.named_rng(seed, name).integers(2**62)) for seed in range(50) for name in names}
        assert len(draws) == 50 * len(names)

    def test_numbers_stay_the_same_from_release_to_release(self):
        assert tasks.named_rng(3, "angles").integers(1000, size=4).tolist() == [481, 439, 959, 922]

    def test_refuses_a_negative_seed(self):
        with pytest.raises(ValueError, match="seed is -1, expected 0 or more"):
            tasks.named_rng(-1, "angles")


class TestRotation:
    @given(IMAGES, st.floats(-720, 720))
    @example(np.arange(12, dtype=np.uint8).reshape(1, 3, 4), 0.0)
    @example(np.arange(12, dtype=np.uint8).reshape(1, 3, 4), 90.0)
    @example(np.arange(12, dtype=np.uint8).reshape(1, 3, 4), 180.0)
    def test_equals_pillows_rotation(self, images, angle):
        mapped = tasks.apply_pixel_map(images, tasks.rotation_map(angle, *images.shape[1:]))
        pillow = [np.asarray(Image.fromarray(image).rotate(angle)) for image in images]
        np.testing.assert_array_equal(mapped, pillow)

    def test_equals_pillows_rotation_at_mnists_size(self):
        image = np.random.default_rng(0).integers(1, 256, (1, 28, 28), dtype=np.uint8)
        for angle in np.linspace(0, 180, 361):
            mapped = tasks.apply_pixel_map(image, tasks.rotation_map(float(angle), 28, 28))
            np.testing.assert_array_equal(mapped[0], np.asarray(Image.fromarray(image[0]).rotate(angle)))

    def test_0_degrees_is_the_identity_and_180_reverses(self):
        np.testing.assert_array_equal(tasks.rotation_map(0.0, 3, 5), np.arange(15))
        np.testing.assert_array_equal(tasks.rotation_map(180.0, 3, 5), np.arange(15)[::-1])

    def test_turns_counter_clockwise(self):
        assert tasks.rotation_map(90.0, 2, 2).tolist() == [1, 3, 0, 2]

    def test_outside_is_minus_one(self):
        turned = tasks.rotation_map(45.0, 28, 28).reshape(28, 28)
        assert turned[0, 0] == turned[0, -1] == turned[-1, 0] == turned[-1, -1] == -1
        assert turned.min() == -1
        assert turned.max() < 28 * 28

    @given(SEEDS, st.integers(1, 40))
    def test_one_angle_in_every_bin(self, seed, n_tasks):
        angles = tasks.rotation_angles(tasks.named_rng(seed, "angles"), n_tasks)
        np.testing.assert_array_equal(np.floor(angles / (180 / n_tasks)), np.arange(n_tasks))

    def test_angles_are_uniform_in_their_bin(self):
        places = tasks.rotation_angles(np.random.default_rng(0), 20_000) / (180 / 20_000) % 1
        np.testing.assert_allclose(np.quantile(places, [0.1, 0.5, 0.9]), [0.1, 0.5, 0.9], atol=0.015)


class TestPermutation:
    @given(SEEDS, st.integers(1, 100))
    def test_holds_every_pixel_once(self, seed, n_pixels):
        drawn = tasks.permutation_map(np.random.default_rng(seed), n_pixels)
        assert drawn.dtype == np.int32
        np.testing.assert_array_equal(np.sort(drawn), np.arange(n_pixels))

    @given(SEEDS, st.integers(1, 6), st.integers(1, 6))
    def test_fewer_tasks_are_the_first_of_more(self, seed, fewer, more):
        fewer, more = sorted((fewer, more))
        np.testing.assert_array_equal(
            tasks.permutation_maps(seed, fewer, 30), tasks.permutation_maps(seed, more, 30)[:fewer]
        )

    def test_all_tasks_are_permuted_and_differ(self):
        maps = tasks.permutation_maps(0, 20, 784)
        assert len(np.unique(maps, axis=0)) == 20
        assert not (maps == np.arange(784)).all(axis=1).any()

    @pytest.mark.parametrize("make", [lambda: tasks.permutation_maps(0, 0, 4), lambda: tasks.rotation_maps(0, 0, 2, 2)])
    def test_refuses_no_tasks(self, make):
        with pytest.raises(ValueError, match="number of tasks is 0, expected 1 to 1000"):
            make()

    @pytest.mark.parametrize("make", [tasks.permutation_maps, partial(tasks.rotation_maps, width=2)])
    def test_refuses_tasks_that_fill_the_memory(self, make):
        with pytest.raises(ValueError, match="number of tasks is 999999, expected 1 to 1000"):
            make(0, 999_999, 4)


class TestApply:
    @given(st.data(), hnp.arrays(st.sampled_from([np.uint8, np.float32, np.float64]), (2, 3, 4)))
    def test_each_pixel_is_its_source_or_zero(self, data, images):
        pixel_map = data.draw(hnp.arrays(np.int32, 12, elements=st.integers(-1, 11)))
        before = images.copy()
        mapped = tasks.apply_pixel_map(images, pixel_map)
        assert mapped.dtype == images.dtype
        for pixel, source in enumerate(pixel_map):
            expected = images.reshape(2, 12)[:, source] if source >= 0 else np.zeros(2)
            np.testing.assert_array_equal(mapped.reshape(2, 12)[:, pixel], expected)
        np.testing.assert_array_equal(images, before)


class TestSubset:
    @given(SEEDS, st.integers(1, 50), st.integers(1, 50))
    def test_distinct_and_a_prefix_of_a_larger_one(self, seed, n, size):
        n, size = max(n, size), min(n, size)
        subset = tasks.draw_subset(np.random.default_rng(seed), n, size)
        assert len(set(subset.tolist())) == size
        assert set(subset.tolist()) <= set(range(n))
        np.testing.assert_array_equal(subset, tasks.draw_subset(np.random.default_rng(seed), n, n)[:size])

    def test_every_number_is_as_likely_in_every_place(self):
        rng = np.random.default_rng(0)
        draws = np.stack([tasks.draw_subset(rng, 5, 2) for _ in range(5000)])
        for place in range(2):
            np.testing.assert_allclose(np.bincount(draws[:, place], minlength=5) / 5000, 0.2, atol=0.02)

    @pytest.mark.parametrize("size", [0, -1, 6])
    def test_refuses_sizes_out_of_range(self, size):
        with pytest.raises(ValueError, match=f"examples per task is {size}, expected 1 to 5"):
            tasks.draw_subset(np.random.default_rng(0), 5, size)


class TestOrder:
    def test_in_order_unless_told(self):
        assert tasks.complete_order(None, 3).tolist() == [0, 1, 2]
        assert tasks.complete_order([2, 0, 1], 3).tolist() == [2, 0, 1]

    @pytest.mark.parametrize("order", [[], [0, 1], [0, 1, 1], [1, 2, 3], [0, 1, 2, 3], [0, 1, -1]])
    def test_refuses_what_is_no_order_of_the_tasks(self, order):
        with pytest.raises(ValueError, match=r"task_order is \[.*\], expected each of the 3 task numbers 0 to 2"):
            tasks.complete_order(order, 3)


def test_mapped_stream_by_hand():
    images = np.arange(12, dtype=np.uint8).reshape(3, 2, 2)
    labels = np.array([7, 8, 9], dtype=np.uint8)
    maps = np.array([[3, 2, 1, 0], [-1, 0, 1, -1]], dtype=np.int32)
    stream = tasks.mapped_stream(images, labels, maps, [np.array([2, 0]), np.array([1])])
    assert stream.x.tolist() == [[[11, 10], [9, 8]], [[3, 2], [1, 0]], [[0, 4], [5, 0]]]
    assert stream.y.tolist() == [9, 7, 8]
    assert stream.task.tolist() == [0, 0, 1]
    assert [str(leaf.dtype) for leaf in stream] == ["uint8", "int32", "int32"]


@pytest.mark.parametrize("size", [2.0, True, "2"], ids=repr)
def test_sizes_are_whole_numbers(size):
    with pytest.raises(TypeError, match=rf"^number of tasks is {size!r}, expected a whole number"):
        tasks.check_task_count(size, 5)
    with pytest.raises(TypeError, match=rf"^examples per task is {size!r}, expected a whole number"):
        tasks.check_subset_size(size, 5)
