"""Runs that cannot go on, or cannot begin."""

import functools
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest

from perdure.core import Learner
from perdure.execution.job import DivergedError
from perdure.experiments.supervised.program import named_keys
from perdure.learners.online import Online, OnlineState
from perdure.models import MLP, benchmark_mlp
from perdure.records.learner import RunRecord
from perdure.streams.arrays import from_arrays
from perdure.streams.catalog import BenchmarkRecipe

DIGITS = BenchmarkRecipe("digits-rotations", {"tasks": 3, "examples_per_task": 60})


def test_divergence_names_the_example_and_the_seed(quick_run, benchmark):
    with pytest.raises(DivergedError, match=r"^training diverged: the loss is (nan|inf) at example \d+ \(seed 7\)"):
        quick_run(Online(learning_rate=1e30), benchmark, seeds=[7])


def test_divergence_names_the_first_bad_example(quick_run, small_mlp):
    """One weight is NaN from the start in the third of three seeds: its first loss is NaN."""

    def poisoned(example, n_outputs, key):
        model = small_mlp(example, n_outputs, key)
        bad = jnp.all(jax.random.key_data(key) == jax.random.key_data(named_keys(9).model))
        return eqx.tree_at(lambda it: it.layers[2].bias, model, jnp.where(bad, jnp.nan, model.layers[2].bias))

    with pytest.raises(DivergedError, match=r"the loss is nan at example 0 \(seed 9\); lower the rates; inputs "):
        quick_run(Online(learning_rate=0.1), DIGITS, seeds=[4, 2, 9], model=poisoned)


def test_a_network_that_does_not_fit_the_memory_is_refused_before_it_is_made(quick_run, benchmark):
    wide = functools.partial(benchmark_mlp, hidden_sizes=(10**11,))
    with pytest.raises(ValueError, match=r"^online with its network and memory takes [\d,.]+ GB for 2 seeds, expected"):
        quick_run(Online(learning_rate=0.1), benchmark, seeds=2, model=wide)


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

    def answering(self, state):
        return self.online.answering(state)

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


def test_divergence_names_an_example_of_a_later_stretch(breaking_run):
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
    assert [name.partition("-")[0] for name, _ in kept] == ["000000000039", "000000000038"]
    assert not RunRecord.load(tmp_path / "run").finished
    assert not (tmp_path / "run" / "accuracy.parquet").exists()
    with pytest.raises(DivergedError):  # the checkpoint can be loaded, and leads to the same end
        learn()
    assert [(path.name, path.read_bytes()) for path in checkpoints()] == kept
    assert "resumed from position 39 of 40 examples" in (tmp_path / "run" / "log.txt").read_text()


def test_network_of_another_size_is_refused(quick_run, online, benchmark):
    with pytest.raises(ValueError, match=r"input has shape \(2, 3\) \(6 values\), the model expects 784 values"):
        quick_run(online, benchmark, model=lambda example, n_outputs, key: MLP(784, n_outputs, key=key))


def test_streams_of_different_shape_cannot_run_side_by_side(quick_run, online, make_benchmark):
    with pytest.raises(ValueError, match=r"the stream of seed 1 has .*2 tasks.*run them one by one"):
        quick_run(online, lambda seed: make_benchmark(sizes=(10,) * (1 + seed)), seeds=2)
