"""A run killed again and again, at any moment, ends as if it had not been."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from perdure.records.learner import RunRecord

pytestmark = pytest.mark.long

VICTIM = Path(__file__).parent / "victim.py"
SOURCE = Path(__file__).parents[2] / "src"
KILLS = 22
LENGTH = 900
FARTHEST = 25  # examples that a process learns at most before it is killed: KILLS times that is short of LENGTH
PATIENCE = 120.0


def start(folder, cache):
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    with (folder.parent / "errors.txt").open("ab") as errors:
        return subprocess.Popen([sys.executable, VICTIM, folder, cache], stderr=errors, env=environment)


def newest_position(folder):
    """Return how far the checkpoints in a run's folder go, 0 if there are none."""
    names = [path.name for path in (folder / "checkpoints").glob("*.safetensors")]
    return max((int(name.partition("-")[0]) for name in names), default=0)


def writing(folder):
    """Is a checkpoint being written?"""
    return any((folder / "checkpoints").glob(".*.tmp"))


def wait_until(condition, process):
    """Return once the condition holds, which it must before the process ends or patience does."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None, f"the process ended by itself, with status {process.returncode}"
        assert time.monotonic() < deadline, "the process has come no farther"
        time.sleep(0.0003)


def learn_and_be_killed(folder, cache, rng, *, while_writing):
    """Start or go on with the run and kill it at a random place; return how far it has come for sure."""
    before = newest_position(folder)
    target = before + rng.randint(1, FARTHEST)
    process = start(folder, cache)
    try:
        wait_until(lambda: newest_position(folder) >= target, process)
        if while_writing:
            wait_until(lambda: writing(folder), process)
        else:
            time.sleep(rng.uniform(0, 0.01))
    finally:
        process.kill()
        process.wait()
    assert process.returncode == -signal.SIGKILL
    return newest_position(folder)


def final_arrays(folder):
    (path,) = (folder / "checkpoints").glob(f"{LENGTH:09d}-*.safetensors")
    return safetensors.numpy.load_file(path)


def outcomes(folder):
    """Return the summary without what depends on the clock or the process."""
    summary = json.loads((folder / "summary.json").read_text())
    for name in ("training_seconds", "compile_seconds", "peak_memory_bytes"):
        assert summary.pop(name) > 0
    return summary


@pytest.fixture(scope="module")
def lives(tmp_path_factory):
    """Return where the killed and the untouched run are, where the kills fell, and how many fell on a write."""
    root = tmp_path_factory.mktemp("lives")
    killed, untouched, cache = (root / name for name in ("killed", "untouched", "cache"))
    rng = random.Random(20)
    positions, torn = [], 0
    for life in range(KILLS):
        positions.append(learn_and_be_killed(killed, cache, rng, while_writing=life % 2 == 1))
        torn += writing(killed)
    assert not RunRecord.load(killed).finished
    for folder in (killed, untouched):
        assert start(folder, cache).wait(PATIENCE) == 0, (root / "errors.txt").read_text()
    return killed, untouched, positions, torn


def test_kills_fell_at_different_places_of_learning(lives):
    killed, _, positions, _ = lives
    assert len(positions) == KILLS >= 20
    assert (np.diff(positions) > 0).all()
    assert positions[0] > 0
    assert positions[-1] < LENGTH
    log = (killed / "log.txt").read_text()
    assert log.count("started") == 1
    assert [int(line.split()[-1]) for line in log.splitlines() if "went on from" in line] == positions
    assert log.count("finished") == 1


def test_some_kills_tore_a_checkpoint_that_was_being_written(lives):
    killed, _, _, torn = lives
    assert torn >= 1
    assert not writing(killed)  # what they left has been cleared away


def test_weights_memory_losses_and_alignments_are_the_same_to_the_bit(lives):
    killed, untouched = (final_arrays(folder) for folder in lives[:2])
    logs = {"progress.log.loss", *(f"progress.log.alignment.{part}" for part in ("before", "after", "cosine"))}
    assert {"progress.state.memory.seen", "accuracy", *logs} <= killed.keys()
    assert killed.keys() == untouched.keys()
    for name, array in killed.items():
        assert (array.dtype, array.shape) == (untouched[name].dtype, untouched[name].shape), name
        assert array.tobytes() == untouched[name].tobytes(), name
    np.testing.assert_array_equal(killed["progress.state.memory.seen"], LENGTH)
    assert np.isfinite(killed["progress.log.loss"]).all()


def test_records_are_the_same(lives):
    killed, untouched, *_ = lives
    assert (killed / "config.json").read_bytes() == (untouched / "config.json").read_bytes()
    np.testing.assert_array_equal(RunRecord.load(killed).accuracy, RunRecord.load(untouched).accuracy)
    assert outcomes(killed) == outcomes(untouched)
    assert outcomes(killed)["retained_accuracy"]["mean"] > 0.5  # something was learned
