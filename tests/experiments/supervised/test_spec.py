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
from perdure.experiments.supervised.spec import chosen_seeds, default_model, prepare, run_spec
from perdure.learners.hyperparameters import stream_info_field
from perdure.learners.mer import MER
from perdure.learners.online import Online
from perdure.models import benchmark_mlp
from perdure.streams.benchmark import Benchmark, LabelledSet, checksum
from perdure.streams.catalog import BenchmarkRecipe, benchmark_names
from perdure.updates.losses import CrossEntropyWithinTask, cross_entropy, mean_squared_error

DIGITS = BenchmarkRecipe("digits-rotations", {"tasks": 2, "examples_per_task": 5})
LARGEST = 2**31 - 1


def config_of(learner, benchmark: Any = DIGITS, **options):
    return run_spec(learner, benchmark, **options).config


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
        with pytest.raises(
            ValueError, match="expected a number of seeds ≥ 1 or different seeds from 0 to 2,147,483,647"
        ):
            chosen_seeds(seeds)


@pytest.mark.parametrize("seeds", [0, -3])
def test_no_seeds_are_refused(seeds):
    with pytest.raises(ValueError, match=f"seeds = {seeds}, expected a number"):
        chosen_seeds(seeds)


def test_a_range_of_seeds_is_taken():
    assert chosen_seeds(range(4, 7)) == (4, 5, 6)


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
    assert prepared.stream_info == StreamInfo(n_outputs=3, n_tasks=2, task_sizes=(3, 2), class_tasks=(0, 1, 0))
    assert hash(prepared.stream_info) is not None, "a static field must be hashable"
    assert told(Informed(0.1), benchmark_of(LABELS)).stream_info == prepared.stream_info, (
        "each label is shown by one task only"
    )


def test_outputs_belong_to_no_task_if_several_show_a_class_or_none_does():
    several, none = np.asarray([0, 2, 0, 0, 1]), np.asarray([0, 0, 0, 1, 1])
    for labels in (several, none):
        expected = StreamInfo(n_outputs=3, n_tasks=2, task_sizes=(3, 2), class_tasks=None)
        assert told(Informed(0.1), benchmark_of(labels)).stream_info == expected


def test_a_class_that_is_only_tested_belongs_to_the_task_that_tests_it():
    missing = benchmark_of(LABELS)
    trained = missing.train._replace(y=np.asarray([0, 0, 0, 1, 1]))
    assert told(Informed(0.1), dataclasses.replace(missing, train=trained)).stream_info.class_tasks == (0, 1, 0)
    elsewhere = [*missing.test[:1], LabelledSet(missing.test[1].x, np.asarray([1, 2]))]
    assert told(Informed(0.1), dataclasses.replace(missing, test=elsewhere)).stream_info.class_tasks is None


def test_facts_that_were_given_stay():
    given = StreamInfo(n_outputs=3, n_tasks=5, task_sizes=(1,) * 5)
    assert told(Informed(0.1, stream_info=given), benchmark_of(LABELS)).stream_info is given


@pytest.mark.parametrize(
    ("benchmark", "loss"),
    [
        (benchmark_of(LABELS), None),
        (benchmark_of(LABELS, (0, 1, 0)), CrossEntropyWithinTask((0, 1, 0))),
        (benchmark_of(NUMBERS), mean_squared_error),
    ],
)
def test_the_loss_is_that_which_the_targets_ask_for_unless_another_was_given(benchmark, loss):
    def own(outputs, y):
        return outputs[0]

    assert told(Online(0.1), benchmark).loss == loss
    for chosen in (own, cross_entropy, mean_squared_error):
        assert told(Online(0.1, loss=chosen), benchmark).loss is chosen


def test_a_learner_that_nothing_is_to_be_told_stays_as_it_is():
    learner = Online(0.1)
    assert prepare(learner, benchmark_of(LABELS)) is learner


# --- config.json


def own_loss(outputs, y):
    return outputs[0]


def test_configuration_holds_a_loss_and_an_optimizer_that_were_given():
    plain = config_of(Online(0.1))["learner"]
    assert plain == {"name": "online", "hyperparameters": {"learning_rate": 0.1}}
    loss = config_of(Online(0.1, loss=own_loss))["learner"]["fields"]["loss"]
    assert (loss["name"], len(loss["source"])) == ("own_loss", 16)
    adam = config_of(Online(0.1, optimizer=optax.adam))["learner"]
    assert adam == {**plain, "fields": {"optimizer": {"name": "optax._src.alias.adam"}}}
    within = config_of(Online(0.1, loss=CrossEntropyWithinTask((0, 1))))["learner"]
    assert within["fields"]["loss"] == {"name": "CrossEntropyWithinTask", "class_tasks": [0, 1]}
    assert json.loads(json.dumps(within)) == within


def test_configuration_holds_all_that_decides_the_figures():
    learner = MER(learning_rate=0.03, memory_size=200, replay_batch_size=10, beta=0.1, gamma=1.0, batches_per_example=5)
    config = config_of(learner, seeds=(3, 1), evaluation="full", alignment=True)
    assert config == {
        "format": 2,
        "kind": "learner",
        "learner": {
            "name": "mer",
            "hyperparameters": {
                "learning_rate": 0.03,
                "memory_size": 200,
                "replay_batch_size": 10,
                "memory_rule": "reservoir",
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
    described = [config_of(Online(0.1), it)["benchmark"] for it in (one, other)]
    assert described[0] == {"name": "arrays", "options": {"sha256": checksum(one)}}
    assert described[0] != described[1]


class Maker:
    def __call__(self, seed):
        """Is never called."""


def stream_of(seed):
    """Is never called."""


def test_configuration_names_functions_and_other_callables():
    described = [config_of(Online(0.1), it)["benchmark"] for it in (stream_of, Maker())]
    assert [it["name"] for it in described] == ["stream_of", "Maker"]
    assert all(it["options"] == {} and it["code"]["source"] for it in described)


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
    config = config_of(Online(0.1, optimizer=function), model=function)
    assert config["model"]["name"] == name
    described = config["learner"]["fields"]["optimizer"]
    assert config["model"]["code"] == described
    assert described["arguments"] == described["arguments"] | {
        key: value for key, value in function.keywords.items() if isinstance(value, float | bool)
    }


def test_rates_given_as_arrays_are_written_as_numbers():
    config = config_of(Online(jnp.asarray(0.5)))
    assert config["learner"]["hyperparameters"] == {"learning_rate": 0.5}
    assert type(config["learner"]["hyperparameters"]["learning_rate"]) is float


def test_every_configuration_has_a_folder_of_its_own(tmp_path):
    specs = [run_spec(Online(rate), DIGITS, seeds=seeds) for rate in (0.1, 0.2) for seeds in (1, 2)]
    folders = {spec.default_folder(tmp_path) for spec in specs}
    assert len(folders) == 4
    assert all(it.parent == tmp_path and it.name.startswith("online-digits-rotations-") for it in folders)
    assert run_spec(Online(0.1), DIGITS).default_folder(tmp_path) in folders
