import dataclasses
import functools
import json
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure import models
from perdure.core import Example, StreamInfo
from perdure.experiments.supervised.spec import (
    Session,
    benchmarks_of_seeds,
    check_arguments,
    chosen_seeds,
    default_model,
    describe_run,
    prepare,
)
from perdure.learners.hyperparameters import stream_info_field
from perdure.learners.mer import MER
from perdure.learners.online import Online
from perdure.models import benchmark_mlp
from perdure.streams.arrays import from_arrays
from perdure.streams.benchmark import Benchmark, LabelledSet, checksum
from perdure.streams.catalog import BenchmarkRecipe, benchmark_names
from perdure.updates.losses import CrossEntropyWithinTask, cross_entropy, mean_squared_error

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
        alone = DIGITS(seed).train
        for ours, theirs in ((session.stream.x, alone.x), (session.stream.y, alone.y)):
            np.testing.assert_array_equal(ours[place], theirs)
            assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(session.stream.task, alone.task)  # one for all seeds
    assert session.checksums() == {f"benchmark of seed {seed}": checksum(DIGITS(seed)) for seed in (3, 1)}


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
        benchmarks_of_seeds(make, [0, 1])


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


# --- networks


@pytest.mark.parametrize("name", benchmark_names())
def test_every_benchmark_has_a_usual_network(name):
    recipe = BenchmarkRecipe(name)
    expected = {"omniglot": models.omniglot_convnet, "cifar100": models.reduced_resnet18}
    assert default_model(recipe) is expected.get(name, benchmark_mlp)
    assert default_model(recipe).__name__ == recipe.network


def test_own_benchmarks_are_usually_learned_by_a_perceptron(make_benchmark):
    assert default_model(make_benchmark()) is default_model(lambda seed: make_benchmark(seed=seed)) is benchmark_mlp


# --- what learners are told


class Informed(Online):
    """`Online`, told about its stream."""

    stream_info: StreamInfo | None = stream_info_field()


def told(learner, benchmark) -> Any:
    return prepare(learner, benchmark)


LABELS = np.asarray([0, 2, 0, 1, 1])
NUMBERS = np.asarray([[0.5], [1.5], [2.5], [0.0], [1.0]])


def benchmark_of(y, class_tasks=None):
    """Return two tasks, of three examples and of two."""
    x = np.arange(10, dtype=np.float64).reshape(5, 2)
    tests = [LabelledSet(x[:3], y[:3]), LabelledSet(x[3:], y[3:])]
    n_outputs = y.shape[1] if y.ndim == 2 else 3
    return Benchmark("made up", Example(x, y, np.asarray([0, 0, 0, 1, 1])), tests, n_outputs, class_tasks)


def test_a_learner_with_a_field_facts_is_told_them():
    prepared = told(Informed(0.1), benchmark_of(LABELS, (0, 1, 0)))
    assert prepared.stream_info == StreamInfo(n_tasks=2, task_sizes=(3, 2), class_tasks=(0, 1, 0))
    assert hash(prepared.stream_info) is not None, "a static field must be hashable"
    assert told(Informed(0.1), benchmark_of(LABELS)).stream_info == prepared.stream_info, (
        "each label is shown by one task only"
    )


def test_outputs_belong_to_no_task_if_several_show_a_class_or_none_does():
    several, none = np.asarray([0, 2, 0, 0, 1]), np.asarray([0, 0, 0, 1, 1])
    assert told(Informed(0.1), benchmark_of(several)).stream_info == StreamInfo(2, (3, 2))
    assert told(Informed(0.1), benchmark_of(none)).stream_info == StreamInfo(2, (3, 2))


def test_a_class_that_is_only_tested_belongs_to_the_task_that_tests_it():
    missing = benchmark_of(LABELS)
    trained = missing.train._replace(y=np.asarray([0, 0, 0, 1, 1]))
    assert told(Informed(0.1), dataclasses.replace(missing, train=trained)).stream_info.class_tasks == (0, 1, 0)
    elsewhere = [*missing.test[:1], LabelledSet(missing.test[1].x, np.asarray([1, 2]))]
    assert told(Informed(0.1), dataclasses.replace(missing, test=elsewhere)).stream_info.class_tasks is None


def test_facts_that_were_given_stay():
    given = StreamInfo(5, (1,) * 5)
    assert told(Informed(0.1, stream_info=given), benchmark_of(LABELS)).stream_info is given


@pytest.mark.parametrize(
    ("benchmark", "loss"),
    [
        (benchmark_of(LABELS), cross_entropy),
        (benchmark_of(LABELS, (0, 1, 0)), CrossEntropyWithinTask((0, 1, 0))),
        (benchmark_of(NUMBERS), mean_squared_error),
    ],
)
def test_the_loss_is_that_which_the_targets_ask_for_unless_another_was_given(benchmark, loss):
    def own(outputs, y):
        return outputs[0]

    assert told(Online(0.1), benchmark).loss == loss
    assert told(Online(0.1, loss=own), benchmark).loss is own


def test_a_learner_that_nothing_is_to_be_told_stays_as_it_is():
    learner = Online(0.1)
    assert prepare(learner, benchmark_of(LABELS)) is learner


# --- config.json


def test_configuration_names_a_loss_and_an_optimizer_that_were_given():
    def own_loss(outputs, y):
        return outputs[0]

    def learner_of(**parts):
        return describe_run(Online(0.1, **parts), DIGITS, (0,), benchmark_mlp, "needed", False)["learner"]

    plain = {"name": "online", "hyperparameters": {"learning_rate": 0.1}}
    assert learner_of() == plain
    assert learner_of(loss=own_loss) == {**plain, "loss": "own_loss"}
    assert learner_of(optimizer=optax.adam) == {**plain, "optimizer": "adam"}
    within = learner_of(loss=CrossEntropyWithinTask((0, 1)), optimizer=optax.adam)
    assert within == {**plain, "loss": "CrossEntropyWithinTask", "optimizer": "adam"}
    assert json.loads(json.dumps(within)) == within


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


class Widths:
    pass


def own(*given, **named):
    """Is never called."""


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (functools.partial(optax.sgd, momentum=0.5), "sgd(momentum=0.5)"),
        (functools.partial(optax.sgd, nesterov=True, momentum=0.5), "sgd(momentum=0.5, nesterov=True)"),
        (functools.partial(functools.partial(optax.adam, b1=0.8), b1=0.7, b2=0.9), "adam(b1=0.7, b2=0.9)"),
        (functools.partial(own, "a", None, (2, 0.5)), "own('a', None, (2, 0.5))"),
        (functools.partial(own, jnp.tanh), "own(tanh)"),
        (functools.partial(own, np.zeros(3), Widths()), "own(ndarray, Widths)"),
        (functools.partial(functools.partial(own)), "own()"),
    ],
)
def test_configuration_names_partial_functions_by_what_they_are_given(function, name):
    config = describe_run(Online(0.1, optimizer=function), DIGITS, (0,), function, "needed", False)
    assert config["model"] == {"name": name}
    assert config["learner"]["optimizer"] == name


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda rate: optax.sgd(rate),
        functools.partial(lambda rate, momentum: optax.sgd(rate, momentum), momentum=0.5),
        functools.partial(optax.adamw, mask=lambda tree: tree),
    ],
)
def test_a_run_with_a_folder_takes_no_lambda_in_whatever_wrapping(optimizer):
    arguments = (Online(0.1, optimizer=optimizer), DIGITS, None, "needed", 0.0)
    check_arguments(*arguments, named=False)
    with pytest.raises(ValueError, match=r"optimizer is a lambda, .*; a run with a folder needs a def"):
        check_arguments(*arguments, named=True)


def test_rates_given_as_arrays_are_written_as_numbers():
    config = describe_run(Online(jnp.asarray(0.5)), DIGITS, (0,), benchmark_mlp, "needed", False)
    assert config["learner"]["hyperparameters"] == {"learning_rate": 0.5}
    assert type(config["learner"]["hyperparameters"]["learning_rate"]) is float
