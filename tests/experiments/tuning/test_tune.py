"""Choosing hyper-parameters on validation streams."""

import json
import sys
import types
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

import perdure.experiments.tuning.side_by_side as side_by_side
import perdure.experiments.tuning.tune as tuning
from perdure.core import Info, Learner, Rate
from perdure.execution.job import DivergedError
from perdure.experiments.supervised.streams import SeedStreams
from perdure.experiments.tuning.spec import FIRST_SEED, tuning_spec
from perdure.learners.catalog import make_learner
from perdure.learners.hyperparameters import rate
from perdure.learners.online import Online
from perdure.records.tuning import LogUniform, TuningRecord
from perdure.streams.arrays import from_arrays
from perdure.streams.benchmark import PixelMapSets
from perdure.streams.catalog import BENCHMARKS, BenchmarkRecipe, Entry
from perdure.streams.own import OwnRecipe
from perdure.streams.tasks import REPORTED_SEEDS
from perdure.updates.gradient import example_gradient, predict_batch, predict_one, sgd_step
from perdure.updates.losses import cross_entropy
from tests.experiments.tuning.conftest import ER, RECIPE, count_learners, scores_of

VALIDATION = BenchmarkRecipe("digits-rotations", {**RECIPE.options, "validation": True})
ONE_IMAGE = 1 / 300  # of the 360 that each validation task is tested on, and a little


def values_of(result):
    return [dict(trial.hyperparameters) for trial in result.trials]


# --- scores


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "grid"),
    [
        ("er", {"learning_rate": [0.02, 0.2], "memory_size": 20, "replay_batch_size": [1, 4]}),
        ("mer", {"beta": [0.1, 1.0], "gamma": [0.3, 0.6], "learning_rate": 0.1, "batches_per_example": 2, **ER}),
        ("gem", {"learning_rate": [0.02, 0.1], "margin": [0.0, 0.5], "memory_size": 20}),
    ],
    ids=lambda it: it if isinstance(it, str) else "",
)
def test_scores_are_those_of_separate_runs(quick_tune, quick_run, name, grid):
    result = quick_tune(name, RECIPE, grid)
    assert result.seeds == (1000, 1001)
    assert len(result.trials) == np.prod([np.size(values) for values in grid.values()])
    for trial in result.trials:
        apart = quick_run(make_learner(name, **trial.hyperparameters), VALIDATION, seeds=result.seeds)
        assert trial.score.per_seed == pytest.approx(apart.metrics["retained_accuracy"].per_seed, abs=ONE_IMAGE)
    means = [trial.score.mean for trial in result.trials]
    assert means == sorted(means, reverse=True)


@pytest.mark.long
def test_scores_do_not_depend_on_how_many_fit_side_by_side(quick_tune, monkeypatch):
    grid = {"learning_rate": [0.02, 0.1, 0.2]}
    together = scores_of(quick_tune("online", RECIPE, grid))
    monkeypatch.setattr(side_by_side, "available_memory", lambda: 1)
    calls = count_learners(monkeypatch)
    apart = scores_of(quick_tune("online", RECIPE, grid))
    assert calls == [1, 1, 1]
    assert apart.keys() == together.keys()
    for key, per_seed in apart.items():
        assert per_seed == pytest.approx(together[key], abs=ONE_IMAGE)


def test_more_memory_lets_more_learn_side_by_side(small_mlp, monkeypatch):
    def fitting(available):
        monkeypatch.setattr(side_by_side, "available_memory", lambda: available)
        streams = SeedStreams.of(VALIDATION, [0])
        return side_by_side.learners_that_fit(streams, make_learner("er", learning_rate=0.1, **ER), small_mlp)

    assert fitting(0) == 1
    assert 5 < fitting(10**6) < 100
    assert fitting(10**8) == pytest.approx(100 * fitting(10**6), rel=0.2)


def test_memory_that_is_available_is_a_part_of_the_machines():
    assert 2**20 < side_by_side.available_memory() < 2**60


class SignState(NamedTuple):
    model: Any


class SignLearner(Learner[SignState]):
    """Learns like `Online`, and answers what it thinks least likely where its rate is 0: only `predict` reads it."""

    needs_task: ClassVar[bool] = False

    sign: Rate = rate("1 for the likeliest answer, 0 for the least likely")

    def init(self, model, example, key):
        return SignState(model)

    def observe(self, state, example, key):
        gradient = example_gradient(state.model, example.x, example.y, cross_entropy)
        info = Info(gradient.loss, predict_one(state.model, example.x))
        return SignState(sgd_step(gradient.model, gradient.grads, 0.1)), info

    def answering(self, state):
        return state.model

    def predict(self, state, x, task):
        return (2 * self.sign - 1) * predict_batch(state.model, x)


def test_a_learner_whose_predictions_need_a_rate_is_scored_with_its_own(quick_tune):
    recipe = BenchmarkRecipe("digits-rotations", {"tasks": 1, "examples_per_task": 400})
    result = quick_tune(SignLearner, recipe, {"sign": [0.0, 1.0]}, seeds=1)
    right, wrong = (trial.score.mean for trial in result.trials)
    assert result.best.hyperparameters == {"sign": 1.0}
    assert right > 0.2
    assert wrong < 0.05


def make_unequal(seed, *, data_dir=None, validation=False):
    """Three classes that are told apart by their largest input; 40 examples with an even seed, 150 with an odd one."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, 150)
    x = (rng.normal(size=(150, 3)) + 2 * np.eye(3)[y]).astype(np.float32)
    n = 150 if seed % 2 else 40
    return from_arrays([(x[:n], y[:n])], [(x, y)], name="unequal")


@pytest.mark.parametrize("vectorized", [True, False])
def test_streams_of_different_lengths_are_scored_as_runs(quick_tune, quick_run, monkeypatch, vectorized):
    class Chosen(Online):
        pass

    Chosen.vectorized = vectorized
    monkeypatch.setitem(BENCHMARKS, "unequal", Entry(f"{__name__}:make_unequal", "unequal"))
    recipe = BenchmarkRecipe("unequal")
    result = quick_tune(Chosen, recipe, {"learning_rate": [0.05, 0.2]}, seeds=2)
    for trial in result.trials:
        learner = Online(trial.hyperparameters["learning_rate"])
        measured = quick_run(learner, recipe, seeds=[FIRST_SEED, FIRST_SEED + 1]).metrics["retained_accuracy"]
        assert trial.score.per_seed == pytest.approx(measured.per_seed, abs=0.02)  # rounding may turn an answer


# --- a problem whose best rate is known


class Line(eqx.Module):
    """One weight."""

    weight: jnp.ndarray

    def __call__(self, x):
        return self.weight * x


def make_line(seed, *, tasks=1, data_dir=None, validation=False):
    """y = 3x at x = ±1: SGD at rate r on the squared error takes w to 3 + (1 − 2r)(w − 3), at 1/2 to 3 at once."""
    x = np.resize(np.array([[1], [-1]], np.float32), (300, 1))
    return from_arrays([(x, 3 * x)] * tasks, [(x, 3 * x)] * tasks, name="line")


@pytest.fixture
def line(monkeypatch):
    """Recipe of `make_line`, as one of the catalogue."""
    module = types.ModuleType("line_of_tests")
    module.make = make_line  # pyright: ignore[reportAttributeAccessIssue]
    module.make_reported = lambda seed, *, data_dir=None: make_line(seed)  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(BENCHMARKS, "line", Entry("line_of_tests:make", "y = 3x"))
    monkeypatch.setitem(BENCHMARKS, "reported-only", Entry("line_of_tests:make_reported", "y = 3x"))
    return BenchmarkRecipe("line")


def start_at_zero(example, n_outputs, key):
    return Line(jnp.zeros(1))


def test_the_best_rate_of_a_line_is_found_and_rates_that_diverge_are_told(line):
    rates = [1e-4, 1e-3, 0.5, 0.9999, 1.5, 3.0]
    result = tuning.tune(Online, line, {"learning_rate": rates}, model=start_at_zero, progress=False, seeds=1)
    assert result.best.hyperparameters == {"learning_rate": 0.5}
    assert result.best.score.mean == 1
    assert [trial.diverged for trial in result.trials] == [False] * 4 + [True] * 2
    by_rate = {trial.hyperparameters["learning_rate"]: trial.score.mean for trial in result.trials}
    for small in rates[:2]:
        assert by_rate[small] == pytest.approx(1 - (1 - 2 * small) ** 600, rel=1e-4)


def test_all_that_diverge_are_an_error(line, tmp_path):
    grid = {"learning_rate": [2.0, 3.0]}
    with pytest.raises(DivergedError, match="all 2 combinations diverged; lower the rates; inputs lie between"):
        tuning.tune("online", line, grid, model=start_at_zero, progress=False, folder=tmp_path)
    trials = json.loads((tmp_path / "trials.json").read_text())["trials"]
    assert [trial["retained_accuracy"] for trial in trials] == [[None, None]] * 2
    with pytest.raises(DivergedError, match="all 2 combinations diverged"):
        tuning.tune("online", line, grid, model=start_at_zero, progress=False, folder=tmp_path)
    assert TuningRecord.load(tmp_path).finished


# --- streams


def seen_by_a_search(monkeypatch, quick_tune, recipe):
    """Return the benchmarks that a search learns from."""
    seen = []

    def note(streams, learners, *arguments):
        seen.extend(streams.benchmarks)
        return np.zeros((len(learners), len(streams.seeds)))

    monkeypatch.setattr(tuning, "score_side_by_side", note)
    quick_tune("online", recipe, {"learning_rate": [0.1, 0.2]})
    return seen


def images(x):
    return {image.tobytes() for image in x}


def test_no_reported_test_image_and_no_reported_angle_is_seen(monkeypatch, quick_tune):
    seen = seen_by_a_search(monkeypatch, quick_tune, RECIPE)
    reported = [RECIPE(seed) for seed in range(REPORTED_SEEDS)]
    assert len(seen) == 2
    for validation in seen:
        assert isinstance(validation.test, PixelMapSets)
        for other in reported:
            assert isinstance(other.test, PixelMapSets)
            assert images(validation.test.images).isdisjoint(images(other.test.images))
            assert images(validation.test.maps).isdisjoint(images(other.test.maps))


@pytest.mark.real_data
def test_no_reported_image_at_all_is_seen_where_there_are_enough(monkeypatch, quick_tune, mnist_dir):
    recipe = BenchmarkRecipe("mnist-split", {"examples_per_task": 300}, mnist_dir)
    reported = [recipe(seed) for seed in range(REPORTED_SEEDS)]
    shown = set().union(*(images(it.train.x) for it in reported), *(images(x) for x, _ in reported[0].test))
    for validation in seen_by_a_search(monkeypatch, quick_tune, recipe):
        trained, tested = images(validation.train.x), set().union(*(images(x) for x, _ in validation.test))
        assert len(trained) > 1000
        assert trained.isdisjoint(shown)
        assert tested.isdisjoint(shown)
        assert tested.isdisjoint(trained)


def test_a_benchmark_without_validation_streams_holds_out_a_quarter(line, monkeypatch, quick_tune):
    recipe = BenchmarkRecipe("reported-only")
    for validation in seen_by_a_search(monkeypatch, quick_tune, recipe):
        assert len(validation.train.y) == 3 * sum(len(y) for _, y in validation.test)


# --- what is asked


def test_what_is_not_searched_comes_from_the_preset(quick_tune, monkeypatch):
    monkeypatch.setattr(tuning, "score_side_by_side", lambda streams, learners, *_: np.zeros((len(learners), 2)))
    result = quick_tune("mer", RECIPE, {"beta": [0.5, 1.0], "batches_per_example": 1})
    assert {key: value for key, value in values_of(result)[0].items() if key != "beta"} == {
        "learning_rate": 0.1,
        "memory_size": 200,
        "replay_batch_size": 10,
        "gamma": 1.0,
        "batches_per_example": 1,
    }
    assert result.space == {"beta": (0.5, 1.0)}


def test_random_search_stays_within_the_interval(quick_tune):
    result = quick_tune("online", RECIPE, {"learning_rate": LogUniform(0.01, 0.1)}, trials=6)
    rates = [trial.hyperparameters["learning_rate"] for trial in result.trials]
    assert len(set(rates)) == 6
    assert all(0.01 <= rate <= 0.1 for rate in rates)


def test_a_class_is_as_good_as_its_name(quick_tune):
    grid = {"learning_rate": [0.02, 0.1]}
    assert quick_tune(Online, RECIPE, grid) == quick_tune("online", RECIPE, grid)


class WithMomentum(Online):
    """A learner with a hyper-parameter that has no default and no preset."""

    momentum: Rate = rate("share of the last step that is made again")


tune_unchecked = getattr(tuning.tune, "__wrapped__", tuning.tune)  # without the type checks that only tests have
ONLINE = ("online", RECIPE)
BAD = {
    "unknown learner": (("onlin", RECIPE, {"learning_rate": [1]}), ValueError, "did you mean 'online'"),
    "no learner": ((3, RECIPE, {}), TypeError, "expected a learner's name or its class"),
    "instance": ((Online(0.1), RECIPE, {}), TypeError, "expected a learner's name or its class"),
    "benchmark": (
        ("online", 5, {"learning_rate": [0.1, 0.2]}),
        TypeError,
        "expected a Benchmark or a function from a seed",
    ),
    "unknown name": (
        (*ONLINE, {"beta": [0.1, 0.2]}),
        TypeError,
        "Online has no hyper-parameter beta; it has learning_rate",
    ),
    "no values": ((*ONLINE, {"learning_rate": []}), ValueError, "learning_rate is given no values"),
    "negative": ((*ONLINE, {"learning_rate": [0.1, -0.2]}), ValueError, "learning_rate = -0.2, expected a finite"),
    "NaN": ((*ONLINE, {"learning_rate": [0.1, np.nan]}), ValueError, "learning_rate = nan, expected a finite"),
    "text": ((*ONLINE, {"learning_rate": ["0.1", "0.2"]}), TypeError, "learning_rate is given '0.1', expected numbers"),
    "one text": ((*ONLINE, {"learning_rate": "0.1"}), TypeError, "learning_rate is given '0.1', expected numbers"),
    "one": ((*ONLINE, {"learning_rate": [0.1]}), ValueError, "one combination only"),
    "one, twice": ((*ONLINE, {"learning_rate": [0.1, 0.1]}), ValueError, "one combination only"),
    "nothing": ((*ONLINE, {}), ValueError, "give a hyper-parameter several values, or draw more trials"),
    "interval in a grid": ((*ONLINE, {"learning_rate": LogUniform(0.1, 1)}), ValueError, "which only random search"),
    "more than all": (
        ("slda", RECIPE, {"shrinkage": [0.1, 2.0]}),
        ValueError,
        "shrinkage = 2.0, expected a number from 0 to 1",
    ),
    "required": (
        (WithMomentum, RECIPE, {"learning_rate": [0.1, 0.2]}),
        TypeError,
        "needs values of momentum",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_told_before_anything_is_computed(monkeypatch, name):
    monkeypatch.delattr(tuning, "score_side_by_side")
    arguments, kind, message = BAD[name]
    with pytest.raises(kind, match=message):
        tune_unchecked(*arguments, progress=False)


@pytest.mark.parametrize("seeds", [0, -1, 1.5, None])
def test_bad_number_of_seeds(seeds):
    with pytest.raises(ValueError, match=r"seeds = .*, expected how many validation streams"):
        tune_unchecked("online", RECIPE, {"learning_rate": [0.1, 0.2]}, seeds=seeds, progress=False)


def test_every_search_has_a_folder_of_its_own(tmp_path):
    recipes = [RECIPE, BenchmarkRecipe("digits-rotations")]
    folders = {
        tuning_spec(name, recipe, {"learning_rate": [0.1, 0.2]}, seeds=seeds).default_folder(tmp_path)
        for name in ("er", "mer")
        for recipe in recipes
        for seeds in (1, 2)
    }
    assert len(folders) == 8
    assert all(
        folder.name.startswith(("tune-er-digits-rotations-", "tune-mer-digits-rotations-")) for folder in folders
    )


@pytest.mark.parametrize("learner", ["ridge", "random-fourier-ridge"])
def test_heads_whose_states_have_empty_parts_are_tuned(learner):
    result = tuning.tune(learner, RECIPE, {"penalty": [0.001, 0.1]}, seeds=1, progress=False)
    assert len(result.trials) == 2
    assert result.best.score.mean > 0.3


def test_validation_streams_must_have_tests(monkeypatch):
    monkeypatch.delattr(tuning, "score_side_by_side")

    def untested(seed, *, validation=False):
        return from_arrays([(np.zeros((4, 2), np.float32), np.arange(4) % 2)], None, name="untested")

    with pytest.raises(ValueError, match=r"untested has no test sets, .* give it a test set for each task"):
        tune_unchecked("online", OwnRecipe(untested, "untested", {}), {"learning_rate": [0.1, 0.2]}, progress=False)


class Repeated(Learner[SignState]):
    """Takes the same step several times: a learner without a rate."""

    needs_task: ClassVar[bool] = False

    times: int = 1

    init, answering = SignLearner.init, SignLearner.answering

    def observe(self, state, example, key):
        model, outputs = state.model, predict_one(state.model, example.x)
        for _ in range(self.times):
            gradient = example_gradient(model, example.x, example.y, cross_entropy)
            model = sgd_step(gradient.model, gradient.grads, 0.05)
        return SignState(model), Info(cross_entropy(outputs, example.y), outputs)

    def predict(self, state, x, task):
        return predict_batch(state.model, x)


def test_a_learner_without_rates_is_searched(quick_tune):
    recipe = BenchmarkRecipe("digits-rotations", {"tasks": 1, "examples_per_task": 20})
    result = quick_tune(Repeated, recipe, {"times": [1, 3]}, seeds=2)
    assert sorted(it["times"] for it in values_of(result)) == [1, 3]
