"""What a run returns, seed by seed, and that it can be had again."""

import contextlib
import json
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perdure.core import Learner, PerdureWarning
from perdure.execution import drive
from perdure.experiments.supervised.job import LearnerJob
from perdure.learners.er import ER
from perdure.learners.ewc import EWC
from perdure.learners.gdumb import GDumb
from perdure.learners.online import Online, OnlineState
from perdure.metrics.transfer import METRICS
from perdure.records.summary import ALIGNMENTS, PREQUENTIAL
from perdure.streams.arrays import from_arrays
from perdure.streams.benchmark import checksum
from perdure.streams.catalog import BenchmarkRecipe
from perdure.updates.losses import CrossEntropyWithinTask

DIGITS = BenchmarkRecipe("digits-rotations", {"tasks": 3, "examples_per_task": 60})


@pytest.fixture(scope="module")
def digits_run(quick_run, er):
    """Three seeds of `er`, each on a stream of its own."""
    return quick_run(er, DIGITS, seeds=3, evaluation="full")


# --- what a run returns


def test_result_has_the_documented_shapes(uninterrupted, er):
    assert uninterrupted.learner is er
    assert uninterrupted.seeds == (0, 1)
    assert uninterrupted.accuracy.shape == (2, 4, 3)
    for log in (uninterrupted.losses, *uninterrupted.alignments):
        assert log.shape == (2, 90)
    assert np.isfinite(uninterrupted.losses).all()
    assert set(uninterrupted.metrics) == {*METRICS, PREQUENTIAL, *ALIGNMENTS}
    assert uninterrupted.states.model.layers[0].weight.shape == (2, 8, 6)
    assert uninterrupted.states.memory.examples.x.shape == (2, 10, 2, 3)
    assert uninterrupted.states.memory.examples.x.dtype == jnp.uint8
    np.testing.assert_array_equal(uninterrupted.states.memory.seen, [90, 90])
    assert uninterrupted.training_seconds > 0
    assert uninterrupted.training_cpu_seconds > 0
    weights = 4 * (6 * 8 + 8 + 8 * 11 + 11)
    memory = 10 * (2 * 3 + 4 + 4) + 2 * 4  # pixels are bytes, label and task integers; and two counters
    assert uninterrupted.state_bytes == weights + memory
    assert uninterrupted.compile_seconds > 0


def test_prequential_accuracy_is_that_of_the_outputs_before_each_update(quick_run, benchmark):
    learner = Online(0.1)
    result = quick_run(learner, benchmark)
    assert result.correct.shape == (1, 90)
    assert result.metrics[PREQUENTIAL].mean == pytest.approx(result.correct.mean())
    assert 0 < result.correct.mean() < 1
    curve = result.prequential_curve(30)
    assert curve.shape == (1, 90)
    assert curve[0, -1] == pytest.approx(result.correct[0, -30:].mean())
    assert curve[0, 4] == pytest.approx(result.correct[0, :5].mean())
    with pytest.raises(ValueError, match="window = 0, expected at least 1"):
        result.prequential_curve(0)
    correct, losses = result.correct[0], result.losses[0]
    assert (correct[losses < np.log(2)] == 1).all()  # a class of more than one half is the most probable one
    assert (correct[losses > np.log(benchmark.n_outputs)] == 0).all()  # one below the average is not


def test_needed_evaluation_fills_the_diagonal_and_the_last_row(quick_run, online, benchmark):
    result = quick_run(online, benchmark)
    expected = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 1]], bool)
    np.testing.assert_array_equal(~np.isnan(result.accuracy[0]), expected)
    assert result.alignments is None
    assert set(result.metrics) == {*METRICS, PREQUENTIAL}
    assert np.isnan(result.metrics["forward_transfer"].mean)


def test_full_evaluation_fills_everything_and_agrees_with_the_needed_one(quick_run, online, benchmark):
    full, needed = quick_run(online, benchmark, evaluation="full"), quick_run(online, benchmark)
    assert not np.isnan(full.accuracy).any()
    known = ~np.isnan(needed.accuracy)
    np.testing.assert_array_equal(full.accuracy[known], needed.accuracy[known])
    for name in ("retained_accuracy", "learning_accuracy"):
        assert full.metrics[name] == needed.metrics[name]


def test_every_test_image_counts(monkeypatch, quick_run, online, make_benchmark, numpy_accuracy):
    # 11 images in batches of 4: the last batch is not full.
    monkeypatch.setattr("perdure.experiments.supervised.program._TEST_BATCH", 4)
    benchmark = make_benchmark(sizes=(40, 25), n_test=11)
    result = quick_run(online, benchmark, seeds=2)
    for seed in range(2):
        expected = [numpy_accuracy(result.states.model, seed, test) for test in benchmark.test]
        np.testing.assert_allclose(result.accuracy[seed, -1], expected, rtol=0, atol=1e-12)


def test_first_row_is_that_of_the_untrained_network(quick_run, benchmark, numpy_accuracy):
    standing_still = quick_run(Online(learning_rate=0.0), benchmark, evaluation="full")
    expected = [numpy_accuracy(standing_still.states.model, 0, test) for test in benchmark.test]
    np.testing.assert_allclose(standing_still.accuracy[0], np.tile(expected, (4, 1)), rtol=0, atol=1e-12)


def test_losses_are_those_before_each_update(quick_run, benchmark):
    result = quick_run(Online(learning_rate=0.0), benchmark)
    model = jax.tree.map(lambda leaf: leaf[0], result.states.model)
    logits = jax.vmap(model)(benchmark.train.x / np.float32(255))
    expected = -np.asarray(jax.nn.log_softmax(logits))[np.arange(90), benchmark.train.y]
    np.testing.assert_allclose(result.losses[0], expected, rtol=0, atol=1e-6)


def test_tasks_may_differ_in_length(quick_run, online, make_benchmark):
    benchmark = make_benchmark(sizes=(1, 50, 7, 23), n_test=9)
    result = quick_run(online, benchmark, evaluation="full")
    assert result.losses.shape == (1, 81)
    assert result.accuracy.shape == (1, 5, 4)
    assert not np.isnan(result.accuracy).any()
    # After one example of task 0 a row is due: it must be that of one step, not of the first stretch.
    first = from_arrays([(benchmark.train.x[:1], benchmark.train.y[:1])], benchmark.test[:1], n_outputs=3)
    short = quick_run(online, first)
    assert result.accuracy[0, 1, 0] == short.accuracy[0, 1, 0]


def test_memory_larger_than_the_stream_keeps_all_of_it(quick_run, make_benchmark):
    benchmark = make_benchmark(sizes=(12, 8))
    result = quick_run(ER(learning_rate=0.1, memory_size=50, replay_batch_size=4), benchmark)
    memory = jax.tree.map(lambda leaf: np.asarray(leaf[0]), result.states.memory)
    for kept, shown in zip(memory.examples, benchmark.train, strict=True):
        np.testing.assert_array_equal(kept[:20], shown)
        assert not kept[20:].any()


# --- what a run refuses


@pytest.mark.parametrize("learner", [EWC(0.1, 5, 1.0), Online(0.1)], ids=["ewc", "online"])
@pytest.mark.parametrize("hides_tasks", [True, False])
def test_a_learner_that_needs_hidden_task_numbers_is_refused(quick_run, learner, hides_tasks):
    x, y = np.ones((3, 2), np.float32), np.asarray([0, 1, 0])
    benchmark = from_arrays([(x, y)] * 2, [(x, y)] * 2, name="unmarked", hides_tasks=hides_tasks)
    refused = learner.needs_task and hides_tasks
    expected = pytest.raises(ValueError, match="ewc needs task numbers, which unmarked hides; choose a learner that")
    with expected if refused else contextlib.nullcontext():
        quick_run(learner, benchmark)


# --- what a run warns of


def test_a_stream_without_tests_cannot_be_evaluated_within_tasks(quick_run):
    recipe = BenchmarkRecipe("digits-split", {"examples_per_task": 5, "tests": "none"})
    with pytest.raises(ValueError, match="evaluate_every = 5 is given, but digits-split has no test sets; leave it"):
        quick_run(Online(0.1), recipe, evaluate_every=5)


def test_a_masked_loss_on_outputs_that_are_not_masked_is_told(quick_run):
    loss = CrossEntropyWithinTask((0, 0, 1, 1, 2, 2, 3, 3, 4, 4))
    by_class = BenchmarkRecipe("digits-split", {"examples_per_task": 5})
    with pytest.warns(PerdureWarning, match="digits-split masks none when it tests: .* choose scenario='task'"):
        quick_run(Online(0.1, loss=loss), by_class)
    quick_run(Online(0.1), BenchmarkRecipe("digits-split", {**by_class.options, "scenario": "task"}))


@pytest.mark.parametrize(
    ("learner", "told"),
    [
        (ER(0.1, 2, 1, memory_rule="balanced"), True),
        (GDumb(0.1, 2, 1, 2, 3), True),
        (ER(0.1, 3, 1, memory_rule="balanced"), False),
        (ER(0.1, 2, 1), False),
    ],
    ids=["balanced", "gdumb", "large enough", "reservoir"],
)
def test_a_balanced_memory_smaller_than_the_classes_is_warned_of(quick_run, learner, told):
    x, y = np.ones((3, 2), np.float32), np.asarray([0, 1, 2])
    said = "balanced over classes, but its 2 slots cannot hold one example of each of 3 classes; give it a memory_size"
    with pytest.warns(PerdureWarning, match=said) if told else contextlib.nullcontext():
        quick_run(learner, from_arrays([(x, y)], [(x, y)]))


# --- seeds


@pytest.mark.parametrize("seeds", [0, -1, [], [-1], [2, 2], [2**31]])
def test_bad_seeds_are_refused(quick_run, online, benchmark, seeds):
    with pytest.raises(
        ValueError, match=r"seeds = .*, expected a number of seeds ≥ 1 or different seeds from 0 to 2,147,483,647"
    ):
        quick_run(online, benchmark, seeds=seeds)


@pytest.mark.long
def test_a_seed_beside_others_is_that_seed_alone(quick_run, er, digits_run):
    for place in range(3):
        alone = quick_run(er, DIGITS, seeds=[place], evaluation="full")
        beside = jax.tree.map(lambda leaf, place=place: leaf[place : place + 1], digits_run.states)
        jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=0, atol=1e-5), alone.states, beside)
        np.testing.assert_allclose(alone.losses[0], digits_run.losses[place], rtol=0, atol=1e-4)


def test_seeds_differ_in_stream_and_weights(digits_run):
    memories = np.asarray(digits_run.states.memory.examples.x)
    weights = np.asarray(digits_run.states.model.layers[0].weight)
    for one, other in [(0, 1), (0, 2), (1, 2)]:
        assert (memories[one] != memories[other]).any()
        assert (weights[one] != weights[other]).any()


def test_one_benchmark_is_shared_by_the_seeds(uninterrupted, benchmark):
    memories = np.asarray(uninterrupted.states.memory.examples.x)
    shown = {image.tobytes() for image in benchmark.train.x}
    assert all(image.tobytes() in shown for seed in memories for image in seed)
    assert (memories[0] != memories[1]).any()
    assert uninterrupted.losses[0, 0] != uninterrupted.losses[1, 0]


@pytest.mark.long
def test_a_benchmark_and_a_function_that_returns_it_come_to_the_same(quick_run, er, benchmark, uninterrupted):
    each_its_own = quick_run(er, lambda seed: benchmark, seeds=2, evaluation="full", alignment=True)
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one, other, rtol=0, atol=1e-5),
        each_its_own.states,
        uninterrupted.states,
    )


@pytest.mark.long
def test_learners_with_one_seed_see_one_stream(quick_run, er, online, tmp_path):
    for name, learner in {"er": er, "online": online}.items():
        quick_run(learner, DIGITS, seeds=[5], folder=tmp_path / name)
        environment = json.loads((tmp_path / name / "environment.json").read_text())
        assert environment["data_checksums"] == {"benchmark of seed 5": checksum(DIGITS(5))}


# --- the same again


def test_a_run_repeated_is_the_same_to_the_bit(quick_run, er, benchmark, uninterrupted, assert_same):
    assert_same(quick_run(er, benchmark, seeds=2, evaluation="full", alignment=True), uninterrupted)


@pytest.mark.parametrize(("first", "seconds"), [(1, 0.0), (7, 0.001), (10**9, 10**9)])
def test_stretches_do_not_show(monkeypatch, quick_run, er, benchmark, uninterrupted, assert_same, first, seconds):
    monkeypatch.setattr(LearnerJob, "first_stretch", first)
    monkeypatch.setattr(drive, "STRETCH_SECONDS", seconds)
    monkeypatch.setattr(drive, "STRETCH_COSTS", 0.0)
    assert_same(quick_run(er, benchmark, seeds=2, evaluation="full", alignment=True), uninterrupted)


# --- compiled once


class CountingOnline(Learner[OnlineState]):
    """`Online`, counting how often it is traced."""

    needs_task: ClassVar[bool] = False
    traces: ClassVar[list[str]] = []

    online: Online

    def init(self, model, example, key):
        return self.online.init(model, example, key)

    def observe(self, state, example, key):
        self.traces.append("observe")
        return self.online.observe(state, example, key)

    def answering(self, state):
        return self.online.answering(state)

    def predict(self, state, x, task):
        self.traces.append("predict")
        return self.online.predict(state, x, task)


def test_learner_is_traced_once_whatever_the_number_of_tasks(quick_run, online, make_benchmark):
    counts = []
    for sizes in [(20, 21), tuple(range(20, 30))]:
        CountingOnline.traces.clear()
        quick_run(CountingOnline(online), make_benchmark(sizes=sizes), evaluation="full")
        counts.append((CountingOnline.traces.count("observe"), CountingOnline.traces.count("predict")))
    assert counts[0] == counts[1]
    assert counts[0][0] <= 2
    assert counts[0][1] <= 2


def test_nothing_is_compiled_after_the_first_task(quick_run, online, make_benchmark, act_at, caplog):
    # Tasks of different lengths, so that no two stretches have the same length.
    with contextlib.ExitStack() as logging:
        act_at(41, lambda: logging.enter_context(jax.log_compiles()))
        quick_run(online, make_benchmark(sizes=(20, 21, 22, 23, 24)))
    assert [record.message for record in caplog.records] == []
