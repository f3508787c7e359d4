"""The streams of a run's seeds, side by side."""

import dataclasses

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
    np.testing.assert_array_equal(streams.task_ends, [[4, 10], [4, 10]])
    assert not streams.are_padded
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

    difference = r"targets float32\[2\]" if differing == "targets" else r"2 outputs of tasks \[1, 0\]"
    with pytest.raises(ValueError, match=rf"the stream of seed 1 has .*{difference}.*run them one by one"):
        SeedStreams.of(make, [0, 1])


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"sizes": (4, 6, 2)}, "3 tasks, 3 test sets"),
        ({"hides_tasks": True}, "2 tasks that are hidden"),
    ],
)
def test_streams_that_differ_in_more_than_lengths_are_refused(make_benchmark, change, difference):
    def make(seed):
        changed = change if seed == 8 else {}
        made = make_benchmark(sizes=changed.get("sizes", (4, 6)))
        return dataclasses.replace(made, hides_tasks=changed.get("hides_tasks", False))

    with pytest.raises(ValueError, match="differ in the lengths of tasks only: run them one by one") as error:
        SeedStreams.of(make, [7, 9, 8])
    assert error.match(rf"the stream of seed 8 has .*{difference}.* and 3 outputs, that of seed 7 ")


def test_shorter_streams_are_padded_at_their_end(make_benchmark):
    sizes = {0: (4, 6), 1: (2, 5), 2: (3, 7)}
    streams = SeedStreams.of(lambda seed: make_benchmark(sizes=sizes[seed]), [0, 1, 2])
    assert streams.lengths.tolist() == [10, 7, 10]
    assert streams.length == 10
    assert streams.are_padded
    assert streams.is_real.sum(axis=1).tolist() == [10, 7, 10]
    assert np.asarray(streams.stream.task).tolist() == [
        [0] * 4 + [1] * 6,
        [0] * 2 + [1] * 5 + [0] * 3,
        [0] * 3 + [1] * 7,
    ]
    for seed in range(3):
        own = make_benchmark(sizes=sizes[seed]).train
        np.testing.assert_array_equal(streams.stream.x[seed, : sum(sizes[seed])], own.x)
        np.testing.assert_array_equal(streams.stream.y[seed, : sum(sizes[seed])], own.y)
    assert streams.label("online").endswith("7 to 10 examples, seeds 0 to 2")


def test_hidden_task_numbers_are_zeros(make_benchmark):
    hidden = dataclasses.replace(make_benchmark(sizes=(4, 6)), hides_tasks=True)
    for streams in (SeedStreams.of(hidden, [0]), SeedStreams.of(lambda _: hidden, [0, 1])):
        assert np.asarray(streams.stream.task).tolist() == [0] * 10
        assert streams.task_ends[0].tolist() == [4, 10]


def test_label_says_what_learns_what():
    assert SeedStreams.of(DIGITS, (3, 1)).label("online") == "online on digits-rotations: 10 examples, seeds 3, 1"
    assert SeedStreams.of(DIGITS, (4,)).label("online") == "online on digits-rotations: 10 examples, seed 4"
