"""A run that fails at any call to the file system resumes, and ends bit-identical."""

import random
from typing import ClassVar

import jax
import numpy as np
import pytest

from perdure.execution.drive import Driving, drive
from perdure.execution.job import Job
from perdure.experiments.supervised.job import LearnerJob
from perdure.experiments.supervised.run import run
from perdure.learners.er import ER
from perdure.metrics.transfer import metrics_over_seeds
from perdure.models import MLP
from perdure.records.folder import own_folder
from perdure.records.learner import RunRecord
from perdure.records.measurements import alignment_curves, write_accuracy, write_alignment
from perdure.records.summary import Summary, write_summary
from perdure.storage.checkpoints import load_checkpoint
from perdure.storage.files import StorageError
from perdure.streams.arrays import from_arrays
from tests.conftest import first_short

CONFIG = {
    "format": 2,
    "kind": "learner",
    "learner": {"name": "sum", "hyperparameters": {}},
    "benchmark": {"name": "numbers", "options": {}},
    "model": {"name": "none"},
    "seeds": [0],
    "evaluation": "full",
    "alignment": True,
}
LENGTH, TASKS = 8, 2
HOWS = ["death", "power", "refusal"]


class Sum(Job):
    """Adds up numbers; its accuracies and alignments are made of the sums."""

    unit: ClassVar[str] = "numbers"
    first_stretch = 3

    def __init__(self):
        self.label, self.length, self.position = "sum", LENGTH, 0
        self.total = np.zeros(1)
        self.log = np.full((1, LENGTH), np.nan)
        self.accuracy = np.full((1, TASKS + 1, TASKS), np.nan)
        self.kept = 0

    @property
    def boundaries(self):
        return [0, 4, 8]

    @property
    def ended(self):
        return self.position >= LENGTH

    def compile(self):
        """Compile nothing."""

    def advance(self, stop):
        self.kept = self.position  # every stretch begins with a checkpoint of its beginning
        for n in range(self.position, stop):
            self.total = self.total * 1.01 + np.random.default_rng(n).random()
            self.log[0, n] = self.total[0]
        self.position = stop

    def evaluate(self):
        self.accuracy[0, self.position // 4] = self.total / 10

    def check(self):
        """Check nothing."""

    def snapshot(self):
        return {"total": self.total, "log": self.log, "accuracy": self.accuracy}

    def restore(self, snapshot, position):
        self.total, self.log, self.accuracy = snapshot["total"], snapshot["log"], snapshot["accuracy"]
        self.position = self.kept = position

    def progress_values(self):
        return {"sum": 0.0}

    def evaluation_values(self):
        return {"evaluated": float(self.position)}

    def report(self):
        return ""


def work(folder, job):
    """Do or resume the job as a run does, and write its record."""
    with own_folder(folder, CONFIG) as home:
        home.begin("sum", {"numbers": "abc"})
        costs = drive(job, Driving(checkpoint_seconds=0.0, progress=False).in_folder(home, "perdure resume"))
        if not home.finished:
            write_accuracy(folder, [0], job.accuracy)
            write_alignment(folder, [0], alignment_curves(job.log, job.log, job.log))
            home.log("finished")
            write_summary(
                folder, Summary(metrics_over_seeds(job.accuracy), costs.training_seconds, 0.0, 0.0, 1, LENGTH, 1)
            )


def outcome(folder):
    """Return what a run comes to, without its times."""
    record = RunRecord.load(folder)
    assert record.summary is not None
    assert record.accuracy is not None
    assert record.alignment is not None
    final = load_checkpoint(folder / "checkpoints", Sum().snapshot())
    assert final is not None
    arrays = [*final.tree.values(), record.accuracy, *record.alignment]
    return final.position, [it.tobytes() for it in arrays], str(record.summary.metrics), record.config


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    work(folder, Sum())
    return outcome(folder)


@pytest.mark.parametrize("how", first_short(HOWS, 0))
def test_a_run_that_fails_at_any_call_ends_bit_identical(tmp_path, failing_file_system, whole, how):
    calls, n = [], 0
    while True:
        n += 1
        folder, job = tmp_path / f"{n}" / "run", Sum()
        with failing_file_system(tmp_path, n, how) as system:
            error = caught(work, folder, job)
        if error is None:
            break
        calls.append(system.calls[n - 1])
        assert how != "refusal" or isinstance(error, StorageError), f"{n}: {error!r}"
        check_what_is_left(folder, job)
        work(folder, Sum())
        assert outcome(folder) == whole, f"after call {n}, {calls[-1]}"
        assert not list(folder.rglob(".*.tmp")), "what was half-written is gone"
    assert {"open", "write", "fsync", "replace", "mkdir", "flock", "pwrite"} <= set(calls)
    assert len(calls) > 80


def caught(function, *arguments):
    """Return what a function raises, even if it is a `Death`; None if it raises nothing."""
    try:
        function(*arguments)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        return error
    return None


def check_what_is_left(folder, job):
    """Check that a reader finds the record whole, and that no checkpoint is lost that had been written."""
    if (folder / "config.json").exists():
        record = RunRecord.load(folder)
        assert record.summary is None or record.accuracy is not None
    kept = load_checkpoint(folder / "checkpoints", Sum().snapshot())
    assert (kept.position if kept else 0) >= job.kept


@pytest.mark.long
@pytest.mark.parametrize("how", HOWS)
def test_a_run_that_fails_again_and_again_ends_bit_identical(tmp_path, failing_file_system, whole, how):
    rng = random.Random(3)
    for n in range(60):
        folder = tmp_path / f"{n}" / "run"
        for _ in range(6):
            job = Sum()
            with failing_file_system(tmp_path, rng.randint(1, 90), how):
                caught(work, folder, job)
            check_what_is_left(folder, job)
        work(folder, Sum())
        assert outcome(folder) == whole


def test_the_simulation_can_tear_a_file(tmp_path, failing_file_system):
    """The faults that the tests above would see: a file written in its place, and a rename before the sync."""

    def in_place(path):
        with path.open("wb") as file:
            file.write(b"0123456789")

    def renamed_unsynced(path):
        with path.with_name("new").open("wb") as file:
            file.write(b"0123456789")
        path.with_name("new").replace(path)
        (path.parent / "next").mkdir()

    path = tmp_path / "a"
    for write, n, how, left in (
        (in_place, 2, "death", b""),
        (in_place, 3, "death", b"01234"),
        (renamed_unsynced, 4, "power", b"old"),
        (renamed_unsynced, 5, "power", b"01234"),
        (renamed_unsynced, 5, "death", b"0123456789"),
    ):
        path.write_bytes(b"old")
        with failing_file_system(tmp_path, n, how):
            assert caught(write, path) is not None
        assert path.read_bytes() == left


# --- a real run


def small_mlp(example, n_outputs, key):
    return MLP(example.x.size, n_outputs, (4,), key=key)


def benchmark():
    rng = np.random.default_rng(0)
    draw = [(rng.normal(size=(6, 3)).astype(np.float32), rng.integers(0, 2, 6)) for _ in range(2)]
    return from_arrays(draw, draw, n_outputs=2)


@pytest.mark.long
def test_a_learner_that_fails_at_any_call_ends_bit_identical(tmp_path, failing_file_system, monkeypatch):
    monkeypatch.setattr(LearnerJob, "first_stretch", 6)

    def learn(folder=None):
        learner = ER(learning_rate=0.1, memory_size=4, replay_batch_size=2)
        options = {"model": small_mlp, "evaluation": "full", "alignment": True, "progress": False}
        return run(learner, benchmark(), folder=folder, checkpoint_seconds=0.0, **options)

    whole, n = learn(), 0
    for n in range(1, 1000, 2):
        folder = tmp_path / f"{n}" / "run"
        with failing_file_system(tmp_path, n, HOWS[n // 2 % 2]) as system:
            error = caught(learn, folder)
        if error is None:
            break
        resumed = learn(folder)
        np.testing.assert_array_equal(resumed.accuracy, whole.accuracy)
        np.testing.assert_array_equal(resumed.losses, whole.losses)
        for one, other in zip(jax.tree.leaves(resumed.states), jax.tree.leaves(whole.states), strict=True):
            np.testing.assert_array_equal(one, other)
        assert RunRecord.load(folder).finished, system.calls[-1]
    assert n > 60
