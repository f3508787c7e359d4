import contextlib
import functools
import json
import warnings
from pathlib import Path
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import perdure.experiments.run as running
from perdure.core import Example, Learner, PerdureWarning
from perdure.experiments.files import StorageError
from perdure.experiments.results import ALIGNMENTS, ResultsError, RunRecord
from perdure.experiments.run import DivergedError
from perdure.learners.er import ER
from perdure.learners.ewc import EWC
from perdure.learners.online import Online, OnlineState
from perdure.metrics.transfer import METRICS
from perdure.models import MLP
from perdure.streams.arrays import from_arrays
from perdure.streams.benchmark import Benchmark, TestSet, checksum
from perdure.streams.catalog import BenchmarkRecipe
from perdure.updates.losses import CrossEntropyWithinTask

PROTOCOL = Path(__file__).parents[1] / "reference" / "mer" / "protocol.npz"
DIGITS = BenchmarkRecipe("digits-rotations", {"tasks": 3, "examples_per_task": 60})


@pytest.fixture(scope="module")
def online():
    return Online(learning_rate=0.1)


@pytest.fixture(scope="module")
def digits_run(quick_run, er):
    """Three seeds of `er`, each on a stream of its own."""
    return quick_run(er, DIGITS, seeds=3, evaluation="full")


def numpy_accuracy(model, seed, test):
    """Fraction of a test set that the MLP of one seed gets right, worked out without the library."""
    features = test.x.reshape(len(test.y), -1).astype(np.float64)
    if test.x.dtype == np.uint8:
        features /= 255
    for depth, layer in enumerate(model.layers):
        features = np.maximum(features, 0) if depth else features
        features = features @ np.asarray(layer.weight[seed], np.float64).T + np.asarray(layer.bias[seed], np.float64)
    return np.mean(features.argmax(axis=1) == test.y)


# --- what a run returns


def test_result_has_the_documented_shapes(uninterrupted, er):
    assert uninterrupted.learner is er
    assert uninterrupted.seeds == (0, 1)
    assert uninterrupted.accuracy.shape == (2, 4, 3)
    for log in (uninterrupted.losses, *uninterrupted.alignments):
        assert log.shape == (2, 90)
    assert np.isfinite(uninterrupted.losses).all()
    assert set(uninterrupted.metrics) == {*METRICS, *ALIGNMENTS}
    assert uninterrupted.states.model.layers[0].weight.shape == (2, 8, 6)
    assert uninterrupted.states.memory.examples.x.shape == (2, 10, 2, 3)
    assert uninterrupted.states.memory.examples.x.dtype == jnp.uint8
    np.testing.assert_array_equal(uninterrupted.states.memory.seen, [90, 90])
    assert uninterrupted.training_seconds > 0
    assert uninterrupted.compile_seconds > 0


def test_needed_evaluation_fills_the_diagonal_and_the_last_row(quick_run, online, benchmark):
    result = quick_run(online, benchmark)
    expected = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 1]], bool)
    np.testing.assert_array_equal(~np.isnan(result.accuracy[0]), expected)
    assert result.alignments is None
    assert set(result.metrics) == set(METRICS)
    assert np.isnan(result.metrics["forward_transfer"].mean)


def test_full_evaluation_fills_everything_and_agrees_with_the_needed_one(quick_run, online, benchmark):
    full, needed = quick_run(online, benchmark, evaluation="full"), quick_run(online, benchmark)
    assert not np.isnan(full.accuracy).any()
    known = ~np.isnan(needed.accuracy)
    np.testing.assert_array_equal(full.accuracy[known], needed.accuracy[known])
    for name in ("retained_accuracy", "learning_accuracy"):
        assert full.metrics[name] == needed.metrics[name]


def test_every_test_image_counts(monkeypatch, quick_run, online, make_benchmark):
    # 11 images in batches of 4: the last batch is not full.
    monkeypatch.setattr("perdure.experiments.program._TEST_BATCH", 4)
    benchmark = make_benchmark(sizes=(40, 25), n_test=11)
    result = quick_run(online, benchmark, seeds=2)
    for seed in range(2):
        expected = [numpy_accuracy(result.states.model, seed, test) for test in benchmark.test]
        np.testing.assert_allclose(result.accuracy[seed, -1], expected, rtol=0, atol=1e-12)


def test_first_row_is_that_of_the_untrained_network(quick_run, benchmark):
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
    # After one example of task 0 a row is due: it must be that of one step, not of the first chunk.
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


# --- what a run warns of


@pytest.mark.parametrize("learner", [EWC(0.1, 5, 1.0), Online(0.1)], ids=["ewc", "online"])
@pytest.mark.parametrize("hides_tasks", [True, False])
def test_a_learner_that_reads_hidden_task_numbers_is_warned_of(quick_run, learner, hides_tasks):
    x, y = np.ones((3, 2), np.float32), np.asarray([0, 1, 0])
    benchmark = from_arrays([(x, y)] * 2, [(x, y)] * 2, name="unmarked", hides_tasks=hides_tasks)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        quick_run(learner, benchmark)
    told = [str(it.message) for it in caught if it.category is PerdureWarning]
    assert len(told) == (learner.needs_task and hides_tasks)
    for message in told:
        assert message.startswith("ewc reads task numbers, which unmarked hides: ")
        assert all(it.filename != running.__file__ for it in caught), "the warning points at the caller"


# --- seeds


@pytest.mark.parametrize("seeds", [0, -1, [], [-1], [2, 2], [2**31]])
def test_bad_seeds_are_refused(quick_run, online, benchmark, seeds):
    with pytest.raises(
        ValueError, match=r"seeds = .*; give a number of seeds ≥ 1 or different seeds from 0 to 2,147,483,647"
    ):
        quick_run(online, benchmark, seeds=seeds)


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


def test_a_benchmark_and_a_function_that_returns_it_come_to_the_same(quick_run, er, benchmark, uninterrupted):
    each_its_own = quick_run(er, lambda seed: benchmark, seeds=2, evaluation="full", alignment=True)
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one, other, rtol=0, atol=1e-5),
        each_its_own.states,
        uninterrupted.states,
    )


def test_learners_with_one_seed_see_one_stream(quick_run, er, online, tmp_path):
    for name, learner in {"er": er, "online": online}.items():
        quick_run(learner, DIGITS, seeds=[5], folder=tmp_path / name)
        environment = json.loads((tmp_path / name / "environment.json").read_text())
        assert environment["data_checksums"] == {"benchmark of seed 5": checksum(DIGITS(5))}


# --- the same again


def test_a_run_repeated_is_the_same_to_the_bit(quick_run, er, benchmark, uninterrupted, assert_same):
    assert_same(quick_run(er, benchmark, seeds=2, evaluation="full", alignment=True), uninterrupted)


@pytest.mark.parametrize(("first", "seconds"), [(1, 0.0), (7, 0.001), (10**9, 10**9)])
def test_chunks_do_not_show(monkeypatch, quick_run, er, benchmark, uninterrupted, assert_same, first, seconds):
    monkeypatch.setattr(running, "_FIRST_CHUNK", first)
    monkeypatch.setattr(running, "_CHUNK_SECONDS", seconds)
    assert_same(quick_run(er, benchmark, seeds=2, evaluation="full", alignment=True), uninterrupted)


# --- gradient alignment


def test_alignment_has_no_past_at_the_first_example_only(uninterrupted):
    before, after, cosines = uninterrupted.alignments
    for name, log in zip(ALIGNMENTS, (before, after, cosines), strict=True):
        assert np.isnan(log[:, 0]).all()
        assert np.isfinite(log[:, 1:]).all()
        expected = log[:, 1:].mean(axis=1, dtype=np.float64)
        np.testing.assert_allclose(uninterrupted.metrics[name].per_seed, expected, rtol=1e-12)
    assert (np.abs(cosines[:, 1:]) <= 1 + 1e-6).all()
    np.testing.assert_array_equal(np.sign(cosines), np.sign(before))
    assert (after[:, 1:] != before[:, 1:]).all()


def test_alignment_does_not_change_what_is_learned(quick_run, er, benchmark, uninterrupted, as_bytes):
    without = quick_run(er, benchmark, seeds=2, evaluation="full")
    assert as_bytes(without.states) == as_bytes(uninterrupted.states)
    assert as_bytes(without.losses) == as_bytes(uninterrupted.losses)


def test_alignment_with_itself_is_the_squared_gradient(quick_run, small_mlp):
    # One example again and again, nothing learned: every past example is the arriving one.
    x, y = np.full((5, 2, 3), 200, np.uint8), np.full(5, 1, np.int32)
    result = quick_run(Online(learning_rate=0.0), from_arrays([(x, y)], [(x, y)]), alignment=True)
    model = jax.tree.map(lambda leaf: leaf[0], result.states.model)

    def loss(model):
        return -jax.nn.log_softmax(model(jnp.asarray(x[0] / np.float32(255))))[1]

    squares = [np.sum(np.asarray(leaf, np.float64) ** 2) for leaf in jax.tree.leaves(jax.grad(loss)(model))]
    np.testing.assert_allclose(result.alignments.before[0, 1:], sum(squares), rtol=1e-5)
    np.testing.assert_allclose(result.alignments.cosine[0, 1:], 1, rtol=1e-5)


def test_alignment_after_the_update_by_hand(quick_run):
    """Two examples, one after the other: the past of the second is the first."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 2, 3)).astype(np.float32), np.asarray([0, 2], np.int32)
    benchmark = from_arrays([(x, y)], [(x, y)], n_outputs=3)
    result = quick_run(Online(learning_rate=0.3), benchmark, alignment=True)
    models = [
        jax.tree.map(lambda leaf: leaf[0], quick_run(Online(learning_rate=0.3), it).states.model)
        for it in (from_arrays([(x[:1], y[:1])], [(x, y)], n_outputs=3), benchmark)
    ]
    for model, found in zip(models, (result.alignments.before, result.alignments.after), strict=True):
        slopes = [jax.grad(lambda model, n=n: -jax.nn.log_softmax(model(x[n]))[y[n]])(model) for n in range(2)]
        pairs = zip(*map(jax.tree.leaves, slopes), strict=True)
        expected = sum(float(np.sum(np.asarray(one, np.float64) * np.asarray(other))) for one, other in pairs)
        assert found[0, 1] == pytest.approx(expected, rel=1e-4)
    assert result.alignments.before[0, 1] != pytest.approx(result.alignments.after[0, 1], rel=1e-2)


# --- other targets, losses, optimizers and networks


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
    tests = [TestSet(x[:40], classes[:40]), TestSet(x[40:], classes[40:])]
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
    after, start = (quick_run(it, benchmark).states.model.layers[-1] for it in (learner, Online(0.0)))
    np.testing.assert_array_equal(after.weight[:, 2:], start.weight[:, 2:])
    np.testing.assert_array_equal(after.bias[:, 2:], start.bias[:, 2:])
    assert (after.bias[:, :2] != start.bias[:, :2]).all()


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


def test_a_run_with_an_optimizer_goes_on_where_it_was(quick_run, benchmark, power_cut_at, assert_same, tmp_path):
    learner = ER(learning_rate=0.01, memory_size=10, replay_batch_size=4, optimizer=optax.adam)
    start = functools.partial(quick_run, learner, benchmark, checkpoint_seconds=0.0)
    power_cut_at(37, functools.partial(start, folder=tmp_path))
    resumed = start(folder=tmp_path)
    assert "went on from example 36" in (tmp_path / "log.txt").read_text()
    assert_same(resumed, start())
    assert int(optax.tree.get(resumed.states.optimizer, "count")[0]) == 90
    with pytest.raises(ResultsError, match=r"learner\.optimizer: adam there, None asked for"):
        quick_run(ER(learning_rate=0.01, memory_size=10, replay_batch_size=4), benchmark, folder=tmp_path)


# --- the released program


def load_protocol():
    with np.load(PROTOCOL) as file:
        return dict(file)


def recorded_benchmark(recording, n_test, dtype):
    chosen = [recording["order_index"][recording["order_task"] == task] for task in range(3)]
    train = [(recording["train_x"][t, i].astype(dtype), recording["train_y"][t, i]) for t, i in enumerate(chosen)]
    test = [
        (x[:n_test].astype(dtype), y[:n_test]) for x, y in zip(recording["test_x"], recording["test_y"], strict=True)
    ]
    return from_arrays(train, test, n_outputs=5)


def recorded_mlp(recording, dtype, example, n_outputs, key):
    def weights(model):
        return [leaf for layer in model.layers for leaf in (layer.weight, layer.bias)]

    names = [f"init_{kind}{n}" for n in range(3) for kind in ("weight", "bias")]
    recorded = [jnp.asarray(recording[name], dtype) for name in names]
    return eqx.tree_at(weights, MLP(12, 5, (8, 8), key=key), recorded)


def run_recorded(recording, n_test, dtype):
    model = functools.partial(recorded_mlp, recording, dtype)
    learner = Online(learning_rate=float(recording["hp_lr"]))
    stream = recorded_benchmark(recording, n_test, dtype)
    return running.run(learner, stream, model=model, evaluation="full", progress=False), stream


@pytest.mark.parametrize(("dtype", "atol"), [(np.float64, 1e-10), (np.float32, 1e-5)], ids=["64", "32"])
def test_released_program_is_reproduced(dtype, atol):
    recording = load_protocol()
    np.testing.assert_array_equal(np.diff(recording["order_task"]) >= 0, True)
    with jax.enable_x64(dtype is np.float64):
        result, stream = run_recorded(recording, 11, dtype)
        for n, layer in enumerate(result.states.model.layers):
            np.testing.assert_allclose(layer.weight[0], recording[f"final_weight{n}"], rtol=0, atol=atol)
            np.testing.assert_allclose(layer.bias[0], recording[f"final_bias{n}"], rtol=0, atol=atol)
        expected = [numpy_accuracy(result.states.model, 0, test) for test in stream.test]
        np.testing.assert_allclose(result.accuracy[0, -1], expected, rtol=0, atol=1e-12)


def test_released_programs_accuracies_are_reproduced():
    """Its evaluator passes over the last of the 11 test images and divides by 11."""
    recording = load_protocol()
    result, _ = run_recorded(recording, 10, np.float32)
    rows = [0, *(np.flatnonzero(recording["result_t"] == task)[-1] for task in range(3))]
    np.testing.assert_allclose(10 * result.accuracy[0], 11 * recording["result_a"][rows], rtol=0, atol=1e-9)
    for ours, theirs in {
        "retained_accuracy": "final_accuracy",
        "backward_transfer": "backward",
        "forward_transfer": "forward",
    }.items():
        np.testing.assert_allclose(10 * result.metrics[ours].mean, 11 * recording[theirs], rtol=0, atol=1e-9)


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
    # Tasks of different lengths, so that no two chunks have the same length.
    with contextlib.ExitStack() as logging:
        act_at(41, lambda: logging.enter_context(jax.log_compiles()))
        quick_run(online, make_benchmark(sizes=(20, 21, 22, 23, 24)))
    assert [record.message for record in caplog.records] == []


# --- what goes wrong


def test_divergence_names_the_example_and_the_seed(quick_run, benchmark):
    with pytest.raises(DivergedError, match=r"^training diverged: the loss is (nan|inf) at example \d+ \(seed 7\)"):
        quick_run(Online(learning_rate=1e30), benchmark, seeds=[7])


def test_divergence_names_the_first_bad_example(quick_run, small_mlp):
    """One weight is NaN from the start in the third of three seeds: its first loss is NaN."""

    def poisoned(example, n_outputs, key):
        model = small_mlp(example, n_outputs, key)
        bad = jnp.all(jax.random.key_data(key) == jax.random.key_data(running.named_keys(9).model))
        return eqx.tree_at(lambda it: it.layers[2].bias, model, jnp.where(bad, jnp.nan, model.layers[2].bias))

    with pytest.raises(DivergedError, match=r"the loss is nan at example 0 \(seed 9\); lower the rates$"):
        quick_run(Online(learning_rate=0.1), DIGITS, seeds=[4, 2, 9], model=poisoned)


class FragileOnline(Learner[OnlineState]):
    """`Online`, whose weights become infinite at an example that is white all over."""

    needs_task: ClassVar[bool] = False

    online: Online

    def init(self, model, example, key):
        return self.online.init(model, example, key)

    def observe(self, state, example, key):
        state, info = self.online.observe(state, example, key)
        white = jnp.all(example.x == 255)
        return jax.tree.map(lambda leaf: jnp.where(white, jnp.inf, leaf), state), info

    def predict(self, state, x, task):
        return self.online.predict(state, x, task)


@pytest.fixture
def breaking_run(quick_run, online, benchmark):
    """Function that runs a learner over 40 examples of which one, the last unless told otherwise, breaks it."""

    def run_with(white=-1, **options):
        x, y = benchmark.train.x[:40].copy(), benchmark.train.y[:40]
        x[white] = 255
        return quick_run(FragileOnline(online), from_arrays([(x, y)], [(x, y)], n_outputs=3), **options)

    return run_with


def test_divergence_names_an_example_of_a_later_chunk(breaking_run):
    with pytest.raises(DivergedError, match=r"the loss is nan at example 36 \(seed 0\)"):
        breaking_run(white=35)


@pytest.mark.parametrize("on_disk", [False, True])
def test_weights_that_end_infinite_are_not_a_result(breaking_run, tmp_path, on_disk):
    with pytest.raises(DivergedError, match=r"a weight is not finite after example 39 \(seed 0\); lower the rates"):
        breaking_run(folder=tmp_path if on_disk else None)


def test_divergence_leaves_the_last_good_checkpoints(breaking_run, tmp_path, checkpoints, one_by_one):
    learn = functools.partial(breaking_run, folder=tmp_path / "run", checkpoint_seconds=0.0)
    with pytest.raises(DivergedError, match="Checkpoints written before stay in"):
        learn()
    kept = [(path.name, path.read_bytes()) for path in checkpoints()]
    assert [name.partition("-")[0] for name, _ in kept] == ["000000039", "000000038"]
    assert not RunRecord.load(tmp_path / "run").finished
    assert not (tmp_path / "run" / "accuracy.parquet").exists()
    with pytest.raises(DivergedError):  # the checkpoint can be loaded, and leads to the same end
        learn()
    assert [(path.name, path.read_bytes()) for path in checkpoints()] == kept
    assert "went on from example 39" in (tmp_path / "run" / "log.txt").read_text()


def test_network_of_another_size_is_refused(quick_run, online, benchmark):
    with pytest.raises(ValueError, match=r"input has shape \(2, 3\) \(6 values\), the model expects 784 values"):
        quick_run(online, benchmark, model=lambda example, n_outputs, key: MLP(784, n_outputs, key=key))


def test_streams_of_different_shape_cannot_run_side_by_side(quick_run, online, make_benchmark):
    with pytest.raises(ValueError, match=r"the stream of seed 1 has .*task ends.*run them one by one"):
        quick_run(online, lambda seed: make_benchmark(sizes=(10 + seed,)), seeds=2)


# --- the record


def test_record_tells_what_was_asked_and_what_came_of_it(to_disk, uninterrupted, assert_same, tmp_path):
    result = to_disk()
    assert_same(result, uninterrupted)
    folder = tmp_path / "run"
    names = {"config.json", "environment.json", "log.txt", "accuracy.parquet", "alignment.parquet", "summary.json"}
    assert {path.name for path in folder.iterdir()} == {*names, "checkpoints"}
    record = RunRecord.load(folder)
    assert record.summary is not None
    assert record.seeds == (0, 1)
    assert (record.learner, record.benchmark, record.memory_size) == ("er", "arrays", 10)
    assert record.config["evaluation"] == "full"
    assert record.config["alignment"] is True
    assert record.config["model"] == {"name": "small_mlp"}
    np.testing.assert_array_equal(record.accuracy, result.accuracy)
    np.testing.assert_equal(dict(record.summary.metrics), result.metrics)
    assert record.summary.examples_seen == 90
    assert record.summary.training_seconds == result.training_seconds
    assert (record.summary.peak_memory_bytes or 0) > 10 * 2**20


def test_finished_run_is_read_not_learned_again(to_disk, uninterrupted, assert_same, tmp_path, monkeypatch):
    to_disk()
    summary = (tmp_path / "run" / "summary.json").read_bytes()

    def refuse(*arguments):
        raise AssertionError("learned or compiled again")

    monkeypatch.setattr(running, "_learn_chunk", refuse)
    monkeypatch.setattr(running, "compile_advance", refuse)
    assert_same(to_disk(), uninterrupted)
    assert (tmp_path / "run" / "summary.json").read_bytes() == summary


def test_folder_of_another_configuration_is_refused(quick_run, online, benchmark, tmp_path):
    quick_run(online, benchmark, folder=tmp_path)
    with pytest.raises(ResultsError) as error:
        quick_run(Online(learning_rate=0.2), benchmark, folder=tmp_path, evaluation="full")
    assert "learner.hyperparameters.learning_rate: 0.1 there, 0.2 asked for" in str(error.value)
    assert "evaluation: needed there, full asked for" in str(error.value)
    assert "seeds" not in str(error.value)


def test_folder_that_cannot_be_made_is_named(quick_run, online, benchmark, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match=r"folder .*file/run could not be made: .*; choose another place"):
        quick_run(online, benchmark, folder=tmp_path / "file" / "run")


def test_network_may_come_from_any_callable(quick_run, online, benchmark, small_mlp, tmp_path):
    quick_run(online, benchmark, model=functools.partial(small_mlp), folder=tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["model"] == {"name": "small_mlp()"}
