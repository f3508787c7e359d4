"""Runs with other targets, losses, optimizers and networks."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from perdure.core import Example, PerdureWarning
from perdure.learners.er import ER
from perdure.learners.online import Online
from perdure.models import MLP
from perdure.records.errors import ResultsError
from perdure.records.learner import RunRecord
from perdure.streams.arrays import from_arrays
from perdure.streams.benchmark import Benchmark, LabelledSet
from perdure.updates.losses import CrossEntropyWithinTask


def regression_benchmark():
    """Two tasks whose targets are each a linear map of the inputs of its own."""
    rng = np.random.default_rng(0)

    def draw(n, slope):
        x = rng.normal(size=(n, 3)).astype(np.float32)
        return x, (x @ slope + 0.5).astype(np.float32)

    slopes = rng.normal(size=(2, 3, 2))
    return from_arrays([draw(150, slope) for slope in slopes], [draw(21, slope) for slope in slopes])


def numpy_r2(model, seed, test):
    """R² of the MLP of one seed, worked out without the library."""
    values = test.x.astype(np.float64)
    for depth, layer in enumerate(model.layers):
        values = np.maximum(values, 0) if depth else values
        values = values @ np.asarray(layer.weight[seed], np.float64).T + np.asarray(layer.bias[seed], np.float64)
    return 1 - ((values - test.y) ** 2).sum() / ((test.y - test.y.astype(np.float64).mean(axis=0)) ** 2).sum()


@pytest.mark.long
def test_regression_is_learned_by_squared_error_and_measured_by_r2(quick_run, tmp_path):
    benchmark = regression_benchmark()
    learner = ER(learning_rate=0.05, memory_size=100, replay_batch_size=10)
    result = quick_run(learner, benchmark, seeds=2, evaluation="full", alignment=True, folder=tmp_path)
    for seed in range(2):
        expected = [numpy_r2(result.states.model, seed, test) for test in benchmark.test]
        np.testing.assert_allclose(result.accuracy[seed, -1], expected, rtol=0, atol=1e-5)
    assert (result.accuracy[:, 0] < 0).any(), "the untrained networks are worse than the mean"
    assert (result.accuracy[:, 1, 0] > 0.8).all(), "the first task is learned"
    record = RunRecord.load(tmp_path)
    np.testing.assert_array_equal(record.accuracy, result.accuracy)
    assert record.config["learner"]["hyperparameters"]["learning_rate"] == 0.05
    assert "loss" not in record.config["learner"]


def test_losses_of_regression_are_those_of_the_targets(quick_run):
    benchmark = regression_benchmark()
    result = quick_run(Online(learning_rate=0.0), benchmark)
    model = jax.tree.map(lambda leaf: leaf[0], result.states.model)
    expected = np.mean((np.asarray(jax.vmap(model)(benchmark.train.x)) - benchmark.train.y) ** 2, axis=1)
    np.testing.assert_allclose(result.losses[0], expected, rtol=1e-5, atol=1e-6)


def masked_benchmark(class_tasks):
    """Two tasks of two classes each."""
    rng = np.random.default_rng(0)
    x, classes = rng.normal(size=(80, 6)).astype(np.float32), np.repeat([0, 2], 40) + rng.integers(0, 2, 80)
    tests = [LabelledSet(x[:40], classes[:40]), LabelledSet(x[40:], classes[40:])]
    return Benchmark("masked", Example(x, classes, np.repeat([0, 1], 40)), tests, 4, class_tasks)


def test_outputs_of_other_tasks_are_masked_in_learning_and_at_the_test(quick_run):
    benchmark = masked_benchmark((0, 0, 1, 1))
    result = quick_run(Online(learning_rate=0.1), benchmark, evaluation="full")
    model = jax.tree.map(lambda leaf: leaf[0], result.states.model)
    for task, test in enumerate(benchmark.test):
        own = np.asarray(jax.vmap(model)(test.x))[:, 2 * task : 2 * task + 2]
        assert result.accuracy[0, -1, task] == pytest.approx(np.mean(own.argmax(axis=1) + 2 * task == test.y))
    given = quick_run(Online(learning_rate=0.1, loss=CrossEntropyWithinTask((0, 0, 1, 1))), benchmark)
    np.testing.assert_array_equal(result.losses, given.losses)
    untold = quick_run(Online(learning_rate=0.1), masked_benchmark(None))
    assert (untold.losses > result.losses)[:, 0].all(), "more classes to tell apart"


def test_examples_of_one_task_leave_the_outputs_of_others_as_they_were(quick_run):
    learner = Online(learning_rate=0.1, loss=CrossEntropyWithinTask((0, 0, 1, 1)))
    shown = masked_benchmark(None).test[0]
    benchmark = from_arrays([shown], [shown], n_outputs=4)
    with pytest.warns(PerdureWarning, match="masks the outputs of other tasks, but arrays masks none"):
        after = quick_run(learner, benchmark).states.model.layers[-1]
    start = quick_run(Online(0.0), benchmark).states.model.layers[-1]
    np.testing.assert_array_equal(after.weight[:, 2:], start.weight[:, 2:])
    np.testing.assert_array_equal(after.bias[:, 2:], start.bias[:, 2:])
    assert (after.bias[:, :2] != start.bias[:, :2]).all()


@pytest.mark.long
def test_a_network_of_other_leaves_than_arrays_learns_like_any_other(quick_run, online, benchmark):
    """`eqx.nn.MLP` holds its activation functions as leaves; it equals the same weights in a network without."""

    def foreign(example, n_outputs, key):
        network = eqx.nn.MLP(6, n_outputs, 8, 2, key=key)
        return eqx.nn.Sequential([eqx.nn.Lambda(jnp.ravel), network])

    def own(example, n_outputs, key):
        weights = [leaf for leaf in jax.tree.leaves(foreign(example, n_outputs, key)) if eqx.is_array(leaf)]
        model = MLP(6, n_outputs, (8, 8), key=key)
        return jax.tree.unflatten(jax.tree.structure(model), weights)

    for learner in (online, ER(learning_rate=0.1, memory_size=10, replay_batch_size=4, optimizer=optax.adam)):
        results = [quick_run(learner, benchmark, seeds=2, model=model) for model in (foreign, own)]
        np.testing.assert_allclose(results[0].losses, results[1].losses, rtol=0, atol=1e-4)
        np.testing.assert_array_equal(results[0].accuracy, results[1].accuracy)
        ours, theirs = (jax.tree.leaves(it.states.model) for it in results)
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-4)


@pytest.mark.long
def test_a_run_with_an_optimizer_resumes_where_it_was(quick_run, benchmark, power_cut_at, assert_same, tmp_path):
    learner = ER(learning_rate=0.01, memory_size=10, replay_batch_size=4, optimizer=optax.adam)
    start = functools.partial(quick_run, learner, benchmark, checkpoint_seconds=0.0)
    power_cut_at(37, functools.partial(start, folder=tmp_path))
    resumed = start(folder=tmp_path)
    assert "resumed from position 36 of 90 examples" in (tmp_path / "log.txt").read_text()
    assert_same(resumed, start())
    assert int(optax.tree.get(resumed.states.optimizer, "count")[0]) == 90
    with pytest.raises(ResultsError, match=r"fields\.optimizer\S*: \S+\.adam there, \S+ requested"):
        quick_run(ER(learning_rate=0.01, memory_size=10, replay_batch_size=4), benchmark, folder=tmp_path)
