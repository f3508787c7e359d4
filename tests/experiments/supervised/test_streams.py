"""The streams of a run's seeds, side by side."""

import numpy as np
import pytest

from perdure.core import Example
from perdure.experiments.supervised.streams import SeedStreams
from perdure.streams.arrays import from_arrays
from perdure.streams.benchmark import Benchmark, LabelledSet, checksum
from perdure.streams.catalog import BenchmarkRecipe

DIGITS = BenchmarkRecipe("digits-rotations", {"tasks": 2, "examples_per_task": 5})


def test_a_shared_benchmark_stands_for_every_seed(make_benchmark):
    benchmark = make_benchmark(sizes=(4, 6))
    streams = SeedStreams.of(benchmark, (3, 1))
    assert [it is benchmark for it in streams.benchmarks] == [True, True]
    assert streams.stream.x.shape == (10, 2, 3)
    assert streams.length == 10
    np.testing.assert_array_equal(streams.task_ends, [4, 10])
    assert streams.checksums() == {"benchmark": checksum(benchmark)}


def test_streams_of_seeds_lie_side_by_side():
    streams = SeedStreams.of(DIGITS, (3, 1))
    for place, seed in enumerate(streams.seeds):
        alone = DIGITS(seed).train
        for ours, theirs in ((streams.stream.x, alone.x), (streams.stream.y, alone.y)):
            np.testing.assert_array_equal(ours[place], theirs)
            assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(streams.stream.task, alone.task)  # one for all seeds
    assert streams.checksums() == {f"benchmark of seed {seed}": checksum(DIGITS(seed)) for seed in (3, 1)}


@pytest.mark.parametrize("differing", ["targets", "classes"])
def test_streams_of_different_targets_are_refused(differing):
    x = np.zeros((4, 2), np.float32)
    labels, numbers = np.asarray([0, 1, 0, 1]), np.asarray([[0, 1], [1, 0], [2, 0], [0, 2]], np.float32)

    def make(seed):
        if differing == "targets":
            y = numbers if seed else labels
            return from_arrays([(x, y)], [(x, y)], n_outputs=2)
        (first, second), tests = ((0, 1), (1, 0))[seed], [LabelledSet(x[:1], np.asarray([n])) for n in (0, 1)]
        train = Example(x[:2], np.asarray([first, second]), np.asarray([0, 1]))
        return Benchmark("classes", train, tests if seed == 0 else tests[::-1], 2, class_tasks=(first, second))

    difference = r"targets float32\[4, 2\]" if differing == "targets" else r"2 outputs of tasks \[1, 0\]"
    with pytest.raises(ValueError, match=rf"the stream of seed 1 has .*{difference}.*run them one by one"):
        SeedStreams.of(make, [0, 1])


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"sizes": (5, 5)}, r"task ends \[5, 10\]"),
        ({"sizes": (4, 7)}, r"inputs uint8\[11, 2, 3\]"),
    ],
)
def test_streams_of_different_shape_are_refused(make_benchmark, change, difference):
    def make(seed):
        return make_benchmark(**({"sizes": (4, 6)} | (change if seed == 8 else {})))

    with pytest.raises(
        ValueError, match="run side by side and need streams of one shape: run them one by one"
    ) as error:
        SeedStreams.of(make, [7, 9, 8])
    assert error.match(
        rf"the stream of seed 8 has .*{difference}.* and 3 outputs, that of seed 7 .*task ends \[4, 10\]"
    )


def test_label_says_what_learns_what():
    assert SeedStreams.of(DIGITS, (3, 1)).label("online") == "online on digits-rotations: 10 examples, seeds 3, 1"
    assert SeedStreams.of(DIGITS, (4,)).label("online") == "online on digits-rotations: 10 examples, seed 4"
