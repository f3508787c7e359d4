"""Every learner of the catalogue, and that of docs/own-learner.md, keeps its contract; a new one needs a row here."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perdure.experiments.supervised.run import run
from perdure.experiments.supervised.spec import prepare
from perdure.learners.catalog import CATALOG, make_learner
from perdure.models import MLP, BatchModel, BatchNorm
from perdure.streams.arrays import from_arrays
from perdure.streams.benchmark import Benchmark, LabelledSet, stream_of
from perdure.streams.catalog import BenchmarkRecipe
from perdure.testing import check_learner
from perdure.testing.streams import KINDS, N_OUTPUTS, small_benchmark
from tests.conformance.table import LEARNERS, assert_same, pick
from tests.conftest import first_short, load_module


def own_learner(path):
    """Return the learner in the first block of code of docs/own-learner.md, read as a module of its own."""
    page = (Path(__file__).parents[2] / "docs" / "own-learner.md").read_text(encoding="utf-8")
    file = path / "own_learner.py"
    file.write_text(page.split("```python\n")[1].split("```")[0], encoding="utf-8")
    module = load_module("own_learner", file)
    return module.Averaged(learning_rate=0.2, decay=0.5)


every_learner = pytest.mark.parametrize("name", LEARNERS)


QUICK = ("mer", "slda")
"""Learners of different kinds, whose checks run with the short tests."""


def test_every_learner_has_a_row():
    assert list(LEARNERS) == list(CATALOG)


@pytest.mark.parametrize("name", first_short([*QUICK, *(name for name in LEARNERS if name not in QUICK)], len(QUICK)))
def test_conforms(name):
    assert check_learner(make_learner(name, **LEARNERS[name].values)).failures == []


def test_the_learner_of_the_documentation_conforms(tmp_path):
    assert check_learner(own_learner(tmp_path)).failures == []


@every_learner
@pytest.mark.parametrize("kind", ["two tasks", "pixels"])
def test_the_state_begins_with_the_model_as_given_or_with_weights_drawn_by_the_key(name, kind):
    row, network = LEARNERS[name], MLP(6, N_OUTPUTS, (4,), key=jax.random.key(0))
    benchmark = small_benchmark(kind, class_tasks=row.needs_class_tasks)
    learner = prepare(make_learner(name, **row.values), benchmark)
    first = jax.tree.map(lambda leaf: leaf[0], benchmark.train)
    state, again, other = (learner.init(network, first, jax.random.key(seed)) for seed in (7, 7, 8))
    if row.begins_afresh:
        assert_same(state, again)
        assert any((one != two).any() for one, two in zip(*map(jax.tree.leaves, (state, other)), strict=True))
    elif row.needs_network:
        answering = learner.answering(state)
        for one in [answering] if row.n_networks == 1 else [pick(answering, n) for n in range(row.n_networks)]:
            assert_same(one, network)


# --- whole runs


def drawn_sets(shape, labels_of_tasks, sizes):
    """Return for each task so many images of random pixels, with labels drawn from those given."""
    rng = np.random.default_rng(0)
    return [
        LabelledSet(rng.integers(0, 256, (n, *shape), dtype=np.uint8), rng.choice(labels, n).astype(np.int32))
        for n, labels in zip(sizes, labels_of_tasks, strict=True)
    ]


def colour_images():
    """Like cifar100: the outputs of other tasks are masked; one example a task."""
    labels, owners = np.arange(N_OUTPUTS).reshape(5, 2), np.arange(N_OUTPUTS) // 2
    train, tests = (drawn_sets((3, 2, 2), labels, [n] * 5) for n in (1, 4))
    return Benchmark("colour images", stream_of(train), tests, N_OUTPUTS, tuple(map(int, owners)))


def split():
    """Like mnist-split: two classes a task and one head for all; five tasks, not of one length."""
    labels = np.arange(N_OUTPUTS).reshape(5, 2)
    return from_arrays(drawn_sets((4, 4), labels, [2, 3, 2, 4, 1]), drawn_sets((4, 4), labels, [4] * 5))


def characters():
    """Like omniglot, more classes in one task than in another; but one label is all that is shown."""
    shown, tested = drawn_sets((5, 5), [[2], [2]], [4, 6]), drawn_sets((5, 5), [[0, 1, 2], range(3, 10)], [5, 5])
    return from_arrays(shown, tested, n_outputs=N_OUTPUTS)


def numbers():
    """Regression on two targets; one task."""
    x = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
    y = np.stack([x.sum(axis=1), x[:, 0] - 1], axis=1)
    return from_arrays([(x[:8], y[:8])], [(x[8:], y[8:])])


WITH_CLASS_TASKS: dict[str, Callable[[], Any]] = {"colour images": colour_images}
LABELS: dict[str, Callable[[], Any]] = {
    "digits": lambda: BenchmarkRecipe("digits-rotations", {"tasks": 2, "examples_per_task": 5}),
    "split": split,
    "characters": characters,
    **WITH_CLASS_TASKS,
}
NUMBERS: dict[str, Callable[[], Any]] = {"numbers": numbers}
LENGTHS = [kind for kind in KINDS if kind not in ("pixels", "one example that keeps coming")]
MASKED = {kind: functools.partial(small_benchmark, kind, class_tasks=True) for kind in LENGTHS}


def supported(row):
    """Return the benchmarks that a learner can learn."""
    if row.needs_class_tasks:
        return MASKED | WITH_CLASS_TASKS
    return LABELS if row.needs_labels else LABELS | NUMBERS


RUNS = [
    pytest.param(name, make, id=f"{name}-{kind}")
    for name, row in LEARNERS.items()
    for kind, make in supported(row).items()
]


class Normalizing(BatchModel):
    """Batch normalisation of each channel of images (channels, height, width), then a linear layer."""

    norm: BatchNorm
    head: eqx.nn.Linear

    def __call__(self, x):
        return self.head(self.norm(jnp.moveaxis(x, 0, -1), training=False)[0].ravel())

    def in_training(self, x, mask=None):
        normalised, norm = self.norm(jnp.moveaxis(x, 1, -1), training=True, mask=mask)
        return jax.vmap(lambda one: self.head(one.ravel()))(normalised), Normalizing(norm, self.head)


def perceptron(example, n_outputs, key):
    return MLP(example.x.size, n_outputs, (4,), key=key)


def normalizing(example, n_outputs, key):
    return Normalizing(BatchNorm(len(example.x)), eqx.nn.Linear(example.x.size, n_outputs, key=key))


@pytest.mark.long
@pytest.mark.parametrize(("name", "make"), RUNS)
def test_runs_on_every_benchmark_that_it_supports(name, make):
    row, given = LEARNERS[name], make()
    model = normalizing if row.any_network and make is colour_images else perceptron
    result = run(make_learner(name, **row.values), given, model=model, evaluation="full", progress=False)
    benchmark = given if isinstance(given, Benchmark) else given(0)
    n_tasks = benchmark.n_tasks
    assert result.accuracy.shape == (1, n_tasks + 1, n_tasks)
    assert np.isfinite(result.accuracy).all()
    assert (result.accuracy <= 1).all()
    assert benchmark.regression or (result.accuracy >= 0).all()
    assert result.losses.shape == (1, len(benchmark.train.y))
    assert np.isfinite(result.losses).all()
    assert (result.losses >= 0).all()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(result.states))
    assert result.metrics["retained_accuracy"].mean == pytest.approx(result.accuracy[0, -1].mean())
    row.check(pick(result.states, 0), jax.tree.map(np.asarray, benchmark.train))
