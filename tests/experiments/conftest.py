"""A benchmark, a network and a learner small enough to be run many times, and a way to break a run off."""

import functools

import jax
import numpy as np
import pytest

from perdure.execution import apart, drive
from perdure.execution.pool import Failure
from perdure.experiments.supervised.job import LearnerJob
from perdure.experiments.supervised.run import run
from perdure.learners.er import ER
from perdure.learners.online import Online
from perdure.models import MLP
from perdure.streams.arrays import from_arrays

N_CLASSES = 3


class PowerCutError(Exception):
    """Ends a run as a loss of power would: nothing is tidied up."""


@pytest.fixture(scope="session")
def make_benchmark():
    """Benchmark of random `uint8` inputs (2, 3) in tasks of the given sizes."""

    def draw(rng, n):
        return rng.integers(0, 256, (n, 2, 3), dtype=np.uint8), rng.integers(0, N_CLASSES, n).astype(np.int32)

    def make(sizes=(30, 30, 30), n_test=11, seed=0):
        rng = np.random.default_rng(seed)
        return from_arrays([draw(rng, n) for n in sizes], [draw(rng, n_test) for _ in sizes], n_outputs=N_CLASSES)

    return make


@pytest.fixture(scope="session")
def benchmark(make_benchmark):
    return make_benchmark()


@pytest.fixture(scope="session")
def small_mlp():
    """Makes a network of 8 and 8 hidden units."""

    def small_mlp(example, n_outputs, key):
        return MLP(example.x.size, n_outputs, (8, 8), key=key)

    return small_mlp


@pytest.fixture(scope="session")
def quick_run(small_mlp):
    """`run` with the small network and without the bar."""
    return functools.partial(run, model=small_mlp, progress=False)


@pytest.fixture(scope="session")
def er():
    return ER(learning_rate=0.1, memory_size=10, replay_batch_size=4)


@pytest.fixture(scope="session")
def online():
    return Online(learning_rate=0.1)


@pytest.fixture(scope="session")
def numpy_accuracy():
    """Function for the fraction of a test set that the MLP of one seed gets right, worked out without the library."""

    def accuracy(model, seed, test):
        features = test.x.reshape(len(test.y), -1).astype(np.float64)
        if test.x.dtype == np.uint8:
            features /= 255
        for depth, layer in enumerate(model.layers):
            features = np.maximum(features, 0) if depth else features
            weight, bias = (np.asarray(leaf[seed], np.float64) for leaf in (layer.weight, layer.bias))
            features = features @ weight.T + bias
        return np.mean(features.argmax(axis=1) == test.y)

    return accuracy


@pytest.fixture(scope="module")
def uninterrupted(quick_run, er, benchmark):
    """What `er` comes to on `benchmark` when nothing happens to it."""
    return quick_run(er, benchmark, seeds=2, evaluation="full", alignment=True)


@pytest.fixture
def to_disk(quick_run, er, benchmark, tmp_path):
    """The run of `uninterrupted` into the folder `run`, with a checkpoint after every stretch."""
    return functools.partial(
        quick_run,
        er,
        benchmark,
        seeds=2,
        evaluation="full",
        alignment=True,
        folder=tmp_path / "run",
        checkpoint_seconds=0.0,
    )


@pytest.fixture
def checkpoints(tmp_path):
    """Function that lists the checkpoints of `to_disk`, the newest first."""
    return lambda: sorted((tmp_path / "run" / "checkpoints").glob("*.safetensors"), reverse=True)


@pytest.fixture(scope="session")
def as_bytes():
    """Function that returns the leaves of a tree as what is compared where bits count, NaN and all."""

    def bytes_of(tree):
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]
        return [(leaf.dtype, leaf.shape, leaf.tobytes()) for leaf in leaves]

    return bytes_of


@pytest.fixture(scope="session")
def assert_same(as_bytes):
    """Function that fails unless two results are alike to the bit."""

    def compare(one, other):
        for part in ("states", "losses", "alignments", "accuracy"):
            assert as_bytes(getattr(one, part)) == as_bytes(getattr(other, part)), part
        np.testing.assert_equal(one.metrics, other.metrics)

    return compare


@pytest.fixture
def one_by_one(monkeypatch):
    """Lets runs go in stretches of one example."""
    monkeypatch.setattr(LearnerJob, "first_stretch", 1)
    monkeypatch.setattr(drive, "STRETCH_SECONDS", 0.0)
    monkeypatch.setattr(drive, "STRETCH_COSTS", 0.0)


@pytest.fixture
def act_at(monkeypatch):
    """Function (position, action) that has `action` called when the next run, of a learner, has come to `position`."""

    def arrange(position, action, kind=LearnerJob):
        advance = kind.advance

        def advance_and_act(job, stop):
            advance(job, stop)
            if job.position == position:
                monkeypatch.setattr(kind, "advance", advance)
                action()

        monkeypatch.setattr(kind, "advance", advance_and_act)

    return arrange


@pytest.fixture
def power_cut_at(act_at, one_by_one):
    """Function (position, run) that loses power after learning from that many examples, before they are saved."""

    def lose_power():
        raise PowerCutError

    def cut(position, run):
        act_at(position, lose_power)
        with pytest.raises(PowerCutError):
            run()

    return cut


@pytest.fixture
def jobs_here(monkeypatch):
    """Have jobs done in this process; the names of those that were done, and of those that are to fail."""
    done, failing = [], set()

    def run_stages(stages, *, show, after_each):
        failures = []
        for job in (job for stage in stages for job in stage.jobs):
            if job.name in failing:
                failures.append(Failure(job.name, "its process was killed by SIGKILL"))
                continue
            done.append(job.name)
            job.work(job.folder, lambda update: None)
            after_each()
        return failures

    monkeypatch.setattr(apart, "run_stages", run_stages)
    return done, failing
