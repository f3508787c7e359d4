import json

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.experiments.session import (
    Session,
    benchmarks_of_seeds,
    checksum,
    chosen_seeds,
    describe_run,
)
from perdure.learners.mer import MER
from perdure.learners.online import Online
from perdure.models import benchmark_mlp
from perdure.streams.catalog import BenchmarkRecipe

DIGITS = BenchmarkRecipe("digits-rotations", {"tasks": 2, "examples_per_task": 5})
LARGEST = 2**31 - 1


def session_of(benchmark, seeds=(3, 1)):
    return Session(
        learner=Online(learning_rate=0.1),
        benchmarks=benchmarks_of_seeds(benchmark, seeds),
        seeds=seeds,
        shared_stream=not callable(benchmark),
        evaluation="needed",
        checkpoint_seconds=30.0,
        show_progress=False,
        folder=None,
    )


# --- seeds


@given(st.integers(1, 50))
def test_a_number_of_seeds_counts_from_zero(n):
    assert chosen_seeds(n) == tuple(range(n))


@given(st.lists(st.integers(0, LARGEST), min_size=1, unique=True))
def test_given_seeds_are_taken_in_their_order(seeds):
    assert chosen_seeds(seeds) == tuple(seeds)


@given(st.lists(st.integers(-5, LARGEST + 5)))
def test_seeds_are_taken_or_refused(seeds):
    if seeds and len(set(seeds)) == len(seeds) and all(0 <= seed <= LARGEST for seed in seeds):
        assert chosen_seeds(seeds) == tuple(seeds)
    else:
        with pytest.raises(ValueError, match="give a number of seeds ≥ 1 or different seeds from 0 to 2,147,483,647"):
            chosen_seeds(seeds)


@pytest.mark.parametrize("seeds", [0, -3])
def test_no_seeds_are_refused(seeds):
    with pytest.raises(ValueError, match=f"seeds = {seeds}; give a number"):
        chosen_seeds(seeds)


def test_a_range_of_seeds_is_taken():
    assert chosen_seeds(range(4, 7)) == (4, 5, 6)


# --- benchmarks and streams


def test_a_shared_benchmark_stands_for_every_seed(make_benchmark):
    benchmark = make_benchmark(sizes=(4, 6))
    session = session_of(benchmark)
    assert [it is benchmark for it in session.benchmarks] == [True, True]
    assert session.stream.x.shape == (10, 2, 3)
    assert session.length == 10
    np.testing.assert_array_equal(session.task_ends, [4, 10])
    assert session.checksums() == {"benchmark": checksum(benchmark)}


def test_streams_of_seeds_lie_side_by_side():
    session = session_of(DIGITS)
    for place, seed in enumerate(session.seeds):
        for ours, theirs in zip(session.stream, DIGITS(seed).train, strict=True):
            np.testing.assert_array_equal(ours[place], theirs)
            assert ours.dtype == theirs.dtype
    assert session.checksums() == {f"benchmark of seed {seed}": checksum(DIGITS(seed)) for seed in (3, 1)}


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
        benchmarks_of_seeds(make, [7, 9, 8])
    assert error.match(
        rf"the stream of seed 8 has .*{difference}.* and 3 outputs, that of seed 7 .*task ends \[4, 10\]"
    )


def test_label_says_what_learns_what():
    assert session_of(DIGITS).label == "online on digits-rotations: 10 examples, seed 3, 1"
    assert session_of(DIGITS, (4,)).label == "online on digits-rotations: 10 examples, seed 4"


# --- config.json


def test_configuration_holds_all_that_decides_the_figures():
    learner = MER(learning_rate=0.03, memory_size=200, replay_batch_size=10, beta=0.1, gamma=1.0, batches_per_example=5)
    config = describe_run(learner, DIGITS, (3, 1), benchmark_mlp, "full", True)
    assert config == {
        "format": 1,
        "learner": {
            "name": "mer",
            "hyperparameters": {
                "learning_rate": 0.03,
                "memory_size": 200,
                "replay_batch_size": 10,
                "beta": 0.1,
                "gamma": 1.0,
                "batches_per_example": 5,
            },
        },
        "benchmark": {"name": "digits-rotations", "options": {"tasks": 2, "examples_per_task": 5}},
        "model": {"name": "benchmark_mlp"},
        "seeds": [3, 1],
        "evaluation": "full",
        "alignment": True,
    }
    assert json.loads(json.dumps(config)) == config


def test_configuration_names_arrays_by_their_checksum(make_benchmark):
    one, other = make_benchmark(seed=1), make_benchmark(seed=2)
    described = [
        describe_run(Online(0.1), it, (0,), benchmark_mlp, "needed", False)["benchmark"] for it in (one, other)
    ]
    assert described[0] == {"name": "arrays", "options": {"sha256": checksum(one)}}
    assert described[0] != described[1]


def test_configuration_names_functions_and_other_callables(make_benchmark):
    class Maker:
        def __call__(self, seed):
            return make_benchmark(seed=seed)

    def stream_of(seed):
        return make_benchmark(seed=seed)

    names = [
        describe_run(Online(0.1), it, (0,), benchmark_mlp, "needed", False)["benchmark"]["name"]
        for it in (stream_of, Maker())
    ]
    assert names == ["stream_of", "Maker"]


def test_rates_given_as_arrays_are_written_as_numbers():
    config = describe_run(Online(jnp.asarray(0.5)), DIGITS, (0,), benchmark_mlp, "needed", False)
    assert config["learner"]["hyperparameters"] == {"learning_rate": 0.5}
    assert type(config["learner"]["hyperparameters"]["learning_rate"]) is float
