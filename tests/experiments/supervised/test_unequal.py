"""Seeds whose tasks differ in length learn side by side, each exactly what it would learn beside equal ones."""

import jax
import numpy as np
import pytest

from perdure.experiments.supervised.job import LearnerJob
from perdure.experiments.supervised.spec import run_spec
from perdure.learners.er import ER
from perdure.learners.ewc import EWC
from perdure.learners.icarl import ICaRL
from perdure.learners.online import Online
from perdure.records.learner import RunRecord
from perdure.streams.arrays import from_arrays
from perdure.streams.catalog import BenchmarkRecipe

SIZES = {0: (4, 9, 5), 1: (7, 3, 2), 2: (4, 9, 5)}
LENGTHS = [18, 12, 18]


@pytest.fixture(scope="module")
def sets(make_benchmark):
    """Each seed's three tasks of 20 examples, from which streams show the first ones."""
    return [make_benchmark(sizes=(20, 20, 20), seed=seed) for seed in SIZES]


@pytest.fixture(scope="module")
def recipe(sets):
    """Makes the stream of a seed, with tasks of its own lengths, or with those given followed by more examples."""

    def make(seed, sizes=None, more=0):
        whole = sets[seed]
        x, y, task = map(np.asarray, whole.train)
        lengths = list(sizes or SIZES[seed])
        lengths[-1] += more
        parts = [(x[task == t][:n], y[task == t][:n]) for t, n in enumerate(lengths)]
        return from_arrays(parts, whole.test, n_outputs=3)

    return make


def job_at(spec, position):
    job = LearnerJob(spec)
    job.compile()
    for stop in sorted({*(it for it in job.boundaries if 0 < it < position), position}):
        job.advance(stop)
    return job


def same_bits(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for left, right in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert np.asarray(left).tobytes() == np.asarray(right).tobytes()


LEARNERS = {"online": Online(0.1), "er": ER(0.1, 10, 4), "ewc": EWC(0.1, 5, 1.0)}


@pytest.mark.parametrize("learner", LEARNERS.values(), ids=LEARNERS)
def test_padding_has_no_influence(recipe, small_mlp, learner):
    """A seed ends in the state, bit for bit, that it has after as many examples of a longer stream."""
    padded = job_at(run_spec(learner, recipe, seeds=3, model=small_mlp), 18)

    def longer(seed):
        return recipe(seed, more=18 - LENGTHS[seed])

    unpadded = job_at(run_spec(learner, longer, seeds=3, model=small_mlp), 12)
    assert padded.streams.are_padded
    assert not unpadded.streams.are_padded
    take = lambda tree: jax.tree.map(lambda leaf: leaf[1], tree)  # noqa: E731
    same_bits(take(padded.progress.state), take(unpadded.progress.state))
    np.testing.assert_array_equal(padded.progress.log.loss[1, :12], unpadded.progress.log.loss[1, :12])
    assert np.isnan(padded.progress.log.loss[1, 12:]).all()


def test_other_padding_has_no_influence(recipe, small_mlp):
    """Nothing that a shorter seed ends with depends on how much longer the others are."""
    short = job_at(run_spec(ER(0.1, 10, 4), recipe, seeds=3, model=small_mlp), 18)
    long = job_at(
        run_spec(ER(0.1, 10, 4), lambda seed: recipe(seed, more=0 if seed == 1 else 10), seeds=3, model=small_mlp), 28
    )
    for one, other in zip(jax.tree.leaves(short.progress.state), jax.tree.leaves(long.progress.state), strict=True):
        assert np.asarray(one)[1].tobytes() == np.asarray(other)[1].tobytes()


def test_each_seed_is_tested_at_the_ends_of_its_own_tasks(quick_run, recipe, numpy_accuracy):
    result = quick_run(Online(0.1), recipe, seeds=3, evaluation="full", alignment=True)
    assert result.accuracy.shape == (3, 4, 3)
    assert not np.isnan(result.accuracy).any()
    np.testing.assert_array_equal(np.isfinite(result.losses).sum(axis=1), LENGTHS)
    for seed in range(3):
        alone = quick_run(Online(0.1), recipe, seeds=[seed], evaluation="full", alignment=True)
        np.testing.assert_allclose(result.losses[seed, : LENGTHS[seed]], alone.losses[0], rtol=0, atol=1e-5)
        np.testing.assert_array_equal(result.accuracy[seed], alone.accuracy[0])
        for name, statistic in alone.metrics.items():
            assert result.metrics[name].per_seed[seed] == pytest.approx(statistic.per_seed[0], abs=1e-5), name


def test_learners_one_after_another_too(quick_run, recipe):
    """Seeds of a learner that is not vectorized take a whole stretch in turn."""

    class OneByOne(Online):
        vectorized = False

    side, turn = (quick_run(cls(0.1), recipe, seeds=3) for cls in (Online, OneByOne))
    np.testing.assert_allclose(side.losses, turn.losses, rtol=0, atol=1e-5)


@pytest.mark.parametrize("position", [12, 13])
def test_a_run_broken_off_resumes_to_the_same(quick_run, recipe, tmp_path, power_cut_at, assert_same, position):
    """Before and after the end of the shortest stream."""
    whole = quick_run(ER(0.1, 10, 4), recipe, seeds=3, alignment=True)

    def to_disk():
        how = {"folder": tmp_path / "run", "checkpoint_seconds": 0.0, "alignment": True}
        return quick_run(ER(0.1, 10, 4), recipe, seeds=3, **how)

    power_cut_at(position, to_disk)
    resumed = to_disk()
    assert f"resumed from position {position - 1}" in (tmp_path / "run" / "log.txt").read_text()
    assert_same(resumed, whole)
    record = RunRecord.load(tmp_path / "run")
    np.testing.assert_array_equal(record.accuracy, whole.accuracy)
    assert record.summary is not None
    assert record.summary.examples_seen == 16  # on average


def test_a_learner_that_must_know_lengths_is_refused(quick_run):
    unequal = BenchmarkRecipe("digits-split", {"scenario": "task", "shuffle_classes": True})
    icarl = ICaRL(0.1, 20, 1.0, batch_size=10)
    with pytest.raises(ValueError, match="tasks of different lengths; run the seeds one by one, or give each task"):
        quick_run(icarl, unequal, seeds=2)
    equal = BenchmarkRecipe("digits-split", {**unequal.options, "tasks": 2, "examples_per_task": 20})
    quick_run(icarl, equal, seeds=2)
