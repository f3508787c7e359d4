"""Inputs are looked at in the precision that they are computed in, and in which range they lie."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from perdure.core import Example, PerdureWarning
from perdure.streams.arrays import from_arrays
from perdure.streams.benchmark import Benchmark, LabelledSet, input_range
from perdure.streams.ranges import describe_range, warn_merged, warn_unscaled

RNG = np.random.default_rng(0)


def sets(x: np.ndarray, **changes):
    """Return training and test sets of one task with these inputs."""
    y = np.arange(len(x)) % 2
    return [(x, y)], [(changes.get("test", x), y)]


class TestFits:
    @pytest.mark.parametrize("value", [1e39, -1e39, 3.5e38, 1e300])
    @pytest.mark.parametrize("where", ["train", "test"])
    def test_inputs_beyond_float32_are_refused(self, value, where):
        x = np.zeros((4, 3))
        wrong = x.copy()
        wrong[2, 1] = value
        pair = sets(wrong, test=x) if where == "train" else sets(x, test=wrong)
        with pytest.raises(ValueError, match="does not fit float32") as caught:
            from_arrays(*pair)
        assert str(caught.value).startswith(f"{where}[0].x[2, 1] = {value:g} does not fit float32")

    def test_the_first_place_is_named(self):
        with pytest.raises(ValueError, match=r"test\[0\].x\[0, 0\] = 1e\+39 does not fit float32"):
            Benchmark(
                "b",
                Example(np.zeros((2, 2)), np.array([0, 1]), np.array([0, 0])),
                [LabelledSet(np.full((2, 2), 1e39), np.array([0, 1]))],
                2,
            )

    def test_targets_beyond_float32_are_refused(self):
        x, y = np.zeros((2, 1)), np.array([0.5, 1e39])
        with pytest.raises(ValueError, match=r"train\[0\].y\[1, 0\] = 1e\+39 does not fit float32"):
            from_arrays([(x, y)], [(x, y)])

    def test_what_rounds_to_the_largest_float32_fits(self):
        x = np.full((2, 2), float(np.finfo(np.float32).max))
        with pytest.warns(PerdureWarning, match="far outside"):
            from_arrays(*sets(x))

    def test_float64_is_enough_where_it_is_computed_in(self, x64):
        with pytest.warns(PerdureWarning, match="far outside"):
            from_arrays(*sets(np.full((2, 2), 1e39)))

    def test_nothing_is_said_of_what_is_small(self):
        from_arrays(*sets(np.full((2, 2), 1e-300)))


def merged(x: np.ndarray) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_merged("train.x", x)
    return [str(it.message) for it in caught]


TIMES = 1.7e9 + np.arange(400.0)


class TestMerged:
    @pytest.mark.parametrize("with_zeros", [False, True])
    def test_time_stamps_are_told_by_their_column(self, with_zeros):
        x = RNG.normal(size=(400, 3))
        x[:, 1] = TIMES
        if with_zeros:  # what a spread or a standard deviation would be blind to
            x[::10, 1] = 0
        (message,) = merged(x)
        n_given, n_left = len(np.unique(x[:, 1])), len(np.unique(x[:, 1].astype(np.float32)))
        assert message.startswith(
            f"train.x[:, 1] has {n_given} different values, of which float32 tells apart {n_left}, and perdure"
        )
        assert "train_x.mean(axis=0)" in message

    @pytest.mark.parametrize(
        ("x", "place"),
        [
            (TIMES, ":"),
            (TIMES.astype(np.int32), ":"),
            (TIMES.reshape(100, 4)[:, :, None], ":, 0, 0"),
            (1e18 + 1e9 * np.arange(50.0)[:, None], ":, 0"),
        ],
    )
    def test_the_column_is_written_as_an_index(self, x, place):
        assert merged(x)[0].startswith(f"train.x[{place}] has ")

    def test_the_remedy_works(self):
        train_x = np.stack([TIMES, RNG.normal(size=400)], axis=1)
        mean, std = train_x.mean(axis=0), train_x.std(axis=0) + 1e-8
        x = (train_x - mean) / std
        assert merged(x) == []
        assert len(np.unique(x[:, 0].astype(np.float32))) == 400
        from_arrays(*sets(x))

    @pytest.mark.parametrize(
        "x",
        [
            RNG.normal(size=(1000, 2)),
            RNG.integers(0, 50, (1000, 2)) / 10 + RNG.normal(size=(1000, 2)) * 1e-17,
            np.cumsum(np.full((1000, 1), 0.1)) % 1,
            TIMES.astype(np.float32),
            np.full((20, 1), 1.7e9),
            1.7e9 + (np.arange(400.0) % 5),  # codes
            np.arange(200, dtype=np.uint8)[:, None],
            np.arange(400)[:, None],
        ],
        ids=["normal", "tenths", "sums", "float32", "constant", "few", "pixels", "small whole numbers"],
    )
    def test_nothing_is_said_of_rounding(self, x):
        assert merged(x) == []

    def test_nothing_is_said_where_float64_is_computed_in(self, x64):
        assert merged(TIMES) == []

    def test_a_benchmark_says_so(self):
        with pytest.warns(PerdureWarning) as caught:
            from_arrays(*sets(TIMES[:, None]))
        assert any(
            "train.x[:, 0] has 400 different values, of which float32 tells apart 4," in str(it.message)
            for it in caught
        )


class TestUnscaled:
    def test_says_range_columns_and_scaler(self):
        x = np.stack([RNG.uniform(0, 7000, 50), RNG.normal(size=50)], axis=1).astype(np.float32)
        x[:2, 0] = 0, 7000
        with pytest.warns(PerdureWarning) as caught:
            benchmark = from_arrays(*sets(x))
        (message,) = [str(it.message) for it in caught]
        assert message.startswith("train.x: inputs lie between ")
        assert "and 7000 (column 0 between 0 and 7000), far outside the −10 to 10 that" in message
        assert "; scale them by mean, std = train_x.mean(axis=0)" in message
        assert "sklearn.preprocessing.StandardScaler" in message
        assert input_range(benchmark) in message

    @pytest.mark.parametrize("x", [np.full((2, 2), 255.0), np.full((2, 2), -101.0), np.full((2, 3, 3), 7000.0)])
    def test_is_told_of_floats(self, x):
        with pytest.warns(PerdureWarning, match="far outside the −10 to 10 that learning rates are chosen for"):
            warn_unscaled("train.x", x)

    @pytest.mark.parametrize("x", [RNG.normal(size=(1000, 3)), np.full((2, 2), 100.0), np.full((2, 2), 255, np.uint8)])
    def test_is_not_told_of_scaled_floats_nor_of_pixels(self, x):
        warn_unscaled("train.x", x)
        assert "scale" not in describe_range(x)

    def test_many_wide_columns_are_counted(self):
        x = np.arange(1, 7) * np.array([[-200.0], [300.0]])
        expected = (
            "(column 5 between -1200 and 1800, column 4 between -1000 and 1500, column 3 between -800 and 1200 and 3"
        )
        assert expected in describe_range(x)

    def test_pixels_are_told_as_they_are(self):
        x = np.array([[3, 200]], np.uint8)
        assert describe_range(x) == "inputs are pixels from 3 to 200, divided by 255 when used"

    def test_the_remedy_works(self):
        train_x = np.stack([RNG.uniform(0, 7000, 50), np.full(50, 3.0)], axis=1)
        mean, std = train_x.mean(axis=0), train_x.std(axis=0) + 1e-8
        from_arrays(*sets((train_x - mean) / std))
