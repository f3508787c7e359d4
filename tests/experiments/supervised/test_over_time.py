"""Evaluation within tasks: what it measures, that it changes nothing else, and that it survives being broken off."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perdure.core import Info, Learner
from perdure.experiments.supervised.plan import spec_of
from perdure.experiments.supervised.spec import run_spec
from perdure.learners.online import Online
from perdure.metrics.anytime import ANYTIME, anytime_over_seeds
from perdure.records.errors import ResultsError
from perdure.records.learner import RunRecord
from perdure.streams.arrays import from_arrays
from perdure.streams.catalog import BenchmarkRecipe

DIGITS = BenchmarkRecipe("digits-rotations", {"tasks": 2, "examples_per_task": 50})


@pytest.fixture(scope="module")
def watched(quick_run, er, benchmark):
    """Two seeds, evaluated after every 20 examples of tasks of 30."""
    return quick_run(er, benchmark, seeds=2, evaluation="full", alignment=True, evaluate_every=20)


def test_positions_are_every_n_examples_and_the_ends_of_tasks(watched):
    assert watched.over_time.positions.tolist() == [20, 30, 40, 60, 80, 90]
    assert watched.over_time.accuracy.shape == (2, 6, 3)
    assert watched.over_time.task_ends == [30, 60, 90]


def test_tasks_are_tested_from_their_first_example_on(watched):
    n_seen = (~np.isnan(watched.over_time.accuracy[1])).sum(axis=1)
    assert n_seen.tolist() == [1, 1, 2, 2, 3, 3]


def test_at_the_ends_of_tasks_it_is_the_accuracy_matrix(watched):
    for row, place in enumerate((1, 3, 5)):
        np.testing.assert_array_equal(
            watched.over_time.accuracy[:, place, : row + 1], watched.accuracy[:, row + 1, : row + 1]
        )


def test_it_changes_nothing_else(watched, uninterrupted, as_bytes):
    for part in ("states", "losses", "alignments", "accuracy", "correct"):
        assert as_bytes(getattr(watched, part)) == as_bytes(getattr(uninterrupted, part)), part
    assert set(watched.metrics) - set(uninterrupted.metrics) == set(ANYTIME)


class Accuracies:
    """Logger that keeps the accuracy on each task at each position."""

    def __init__(self):
        self.at = {}

    def evaluation(self, position, values):
        self.at[position] = {int(name[-1]): it for name, it in values.items() if name.startswith("accuracy/task-")}


def test_loggers_are_told_what_was_measured_where_they_are_told(quick_run, online, benchmark):
    logger = Accuracies()
    found = quick_run(online, benchmark, seeds=2, evaluate_every=20, loggers=[logger]).over_time
    means = found.accuracy.mean(axis=0)
    assert logger.at == {
        int(position): {task: it for task, it in enumerate(tests) if it == it}
        for position, tests in zip(found.positions, means, strict=True)
    }


def test_loggers_are_told_of_the_tasks_tested_at_the_end_of_each(quick_run, online, benchmark):
    logger = Accuracies()
    found = quick_run(online, benchmark, loggers=[logger]).accuracy[0]
    assert logger.at == {30: {0: found[1, 0]}, 60: {1: found[2, 1]}, 90: dict(enumerate(found[3]))}


def test_each_class_counts_in_all_tasks_seen(quick_run, benchmark, numpy_accuracy):
    """A learner that stands still: the accuracy of each class, worked out without the library."""
    still = quick_run(Online(learning_rate=0.0), benchmark, evaluate_every=45)
    for place, seen in ((0, 1), (1, 2), (3, 3)):  # after 30, 45 and 90 examples
        x, y = (np.concatenate([test[part] for test in benchmark.test[:seen]]) for part in (0, 1))
        for label in range(benchmark.n_outputs):
            of_class = type(benchmark.test[0])(x[y == label], y[y == label])
            expected = numpy_accuracy(still.states.model, 0, of_class)
            assert still.over_time.of_classes[0, place, label] == pytest.approx(expected, abs=1e-12)


def test_classes_weighed_by_their_tests_are_the_accuracy_on_all_tasks_seen(watched, benchmark):
    n_tests = np.array([np.bincount(test.y, minlength=3) for test in benchmark.test])
    pooled = (np.nan_to_num(watched.over_time.of_classes[:, -1]) * n_tests.sum(axis=0)).sum(axis=1) / n_tests.sum()
    np.testing.assert_allclose(pooled, watched.over_time.accuracy[:, -1].mean(axis=1), rtol=0, atol=1e-12)


class AnswersItsTask(Learner):
    """A learner that answers with the number of the task that it is told."""

    needs_task = False

    def init(self, model, example, key):
        return (jnp.zeros(()),)

    def observe(self, state, example, key):
        return state, Info(jnp.zeros(()), jnp.zeros(2))

    def answering(self, state):
        return state

    def predict(self, state, x, task):
        return jax.nn.one_hot(task, 2)


@pytest.mark.parametrize("hides_tasks", [False, True])
def test_a_learner_is_told_no_task_where_tasks_are_hidden(quick_run, hides_tasks):
    tasks = [(np.ones((4, 2), np.float32), np.full(4, task)) for task in range(2)]
    told = quick_run(AnswersItsTask(), from_arrays(tasks, tasks, hides_tasks=hides_tasks), evaluate_every=2)
    expected = [1.0, 0.0] if hides_tasks else [1.0, 1.0]
    assert told.over_time.accuracy[0, -1].tolist() == told.accuracy[0, -1].tolist() == expected


def test_a_sample_of_the_tests_is_drawn_once_per_seed(quick_run, online, benchmark):
    some = quick_run(Online(learning_rate=0.0), benchmark, seeds=2, evaluate_every=10, evaluate_on=4)
    accuracy = some.over_time.accuracy
    assert (np.nanmax(accuracy, axis=1) == np.nanmin(accuracy, axis=1)).all()  # the same tests at every evaluation
    assert np.isin(accuracy[~np.isnan(accuracy)], [0, 0.25, 0.5, 0.75, 1]).all()
    everything = quick_run(online, benchmark, evaluate_every=10)
    np.testing.assert_equal(
        quick_run(online, benchmark, evaluate_every=10, evaluate_on=11).over_time, everything.over_time
    )
    assert (quick_run(online, benchmark, evaluate_every=10, evaluate_on=4).accuracy == everything.accuracy)[
        ~np.isnan(everything.accuracy)
    ].all()


def test_metrics_are_those_of_the_matrix(watched):
    expected = anytime_over_seeds(watched.over_time.positions, watched.over_time.accuracy, np.array([[30, 60, 90]] * 2))
    np.testing.assert_equal({name: watched.metrics[name] for name in ANYTIME}, expected)


def test_regression_is_measured_by_r2(quick_run):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 40, 3)).astype(np.float32)
    y = (x @ np.array([1.0, -2.0, 0.5], np.float32))[..., None]
    tasks = list(zip(x, y, strict=True))
    result = quick_run(Online(learning_rate=0.01), from_arrays(tasks, tasks), evaluate_every=15)
    assert result.over_time.of_classes.shape == (1, 7, 0)
    np.testing.assert_array_equal(result.over_time.accuracy[0, -1], result.accuracy[0, -1])


def test_targets_drawn_for_r2_must_differ(quick_run):
    x, y = np.arange(60, dtype=np.float32).reshape(20, 3) / 60, np.linspace(0, 1, 20, dtype=np.float32)[:, None]
    with pytest.raises(
        ValueError, match=r"evaluate_on = 1, but the targets drawn for task 0 and seed 0 are all the same"
    ):
        quick_run(Online(learning_rate=0.01), from_arrays([(x, y)], [(x, y)]), evaluate_every=10, evaluate_on=1)


@pytest.mark.parametrize("position", [40, 30])
def test_a_run_broken_off_has_the_same_evaluations(to_disk, power_cut_at, watched, position, tmp_path):
    power_cut_at(position, lambda: to_disk(evaluate_every=20))
    resumed = to_disk(evaluate_every=20)
    np.testing.assert_equal(resumed.over_time, watched.over_time)
    np.testing.assert_equal(resumed.metrics, watched.metrics)
    record = RunRecord.load(tmp_path / "run")
    np.testing.assert_equal(record.over_time, watched.over_time)
    assert record.summary is not None
    np.testing.assert_equal(dict(record.summary.metrics), watched.metrics)


def test_what_is_requested_is_in_the_config_and_resumed_from_it(tmp_path):
    spec = run_spec(Online(0.1), DIGITS, evaluate_every=20, evaluate_on=7)
    assert spec.config["evaluate"] == {"every": 20, "test_examples": 7}
    plain = run_spec(Online(0.1), DIGITS).config
    assert spec.config | plain == spec.config
    assert set(spec.config) - set(plain) == {"evaluate"}
    record = RunRecord(tmp_path, spec.config, None, None, None, None, None)
    assert dataclasses.replace(spec_of(record), learner=spec.learner) == spec


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"evaluate_every": 0}, "evaluate_every = 0, expected a whole number of examples ≥ 1"),
        ({"evaluate_every": -5}, "evaluate_every = -5"),
        ({"evaluate_every": 5, "evaluate_on": 0}, "evaluate_on = 0"),
        ({"evaluate_on": 5}, "evaluate_on = 5 is given without evaluate_every"),
    ],
)
def test_bad_requests_are_refused(online, benchmark, arguments, message):
    with pytest.raises(ValueError, match=message):
        run_spec(online, benchmark, **arguments)


@pytest.mark.parametrize("name", ["over-time.parquet", "classes.parquet"])
def test_a_damaged_table_is_refused(quick_run, online, benchmark, tmp_path, name):
    quick_run(online, benchmark, evaluate_every=40, folder=tmp_path)
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ResultsError, match=name):
        RunRecord.load(tmp_path)
