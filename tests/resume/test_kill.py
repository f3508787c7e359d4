"""A run of any kind that is killed again and again, at any moment, ends as if it had not been."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import safetensors.numpy

from perdure.records.agent import AgentRecord
from perdure.records.learner import RunRecord
from perdure.records.representation import NETWORK, TrainingRecord

pytestmark = pytest.mark.long

VICTIMS = Path(__file__).parent / "victims.py"
SOURCE = Path(__file__).parents[2] / "src"
KILLS = {"learner": 45, "agent": 40, "representation": 20}
LENGTH = 900
FARTHEST = 25  # units that a process does at most before it is killed: half of the kills times that is short of LENGTH
RACES = 20
PATIENCE = 300.0


class Server:
    """The process that starts the victims."""

    def __init__(self, folder):
        environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
        self.errors = folder / "errors.txt"
        with self.errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, VICTIMS, folder / "cache"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
                text=True,
            )

    def ask(self, *words):
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(*words, file=self._process.stdin, flush=True)
        return self._process.stdout.readline().strip()

    def end(self):
        self._process.communicate()


class Victim:
    """A process that may be killed."""

    def __init__(self, server, *words):
        self._server = server
        self.number = int(server.ask(*words))
        self._ended = None

    @property
    def is_alive(self):
        if self._ended is None and (said := self._server.ask("poll", self.number)) != "alive":
            self._ended = int(said)
        return self._ended is None

    def kill(self):
        """Kill it and return whether that was its end."""
        if self._ended is None:
            os.kill(self.number, signal.SIGKILL)
        return self.wait() == -signal.SIGKILL

    def wait(self):
        if self._ended is None:
            self._ended = int(self._server.ask("wait", self.number))
        return self._ended

    def wait_until(self, condition):
        """Return whether the condition came to hold before the process ended by itself."""
        deadline = time.monotonic() + PATIENCE
        looked = time.monotonic()
        while not condition():
            assert time.monotonic() < deadline, "the process has come no farther"
            if time.monotonic() > looked + 0.1:
                looked = time.monotonic()
                if not self.is_alive:
                    return condition()  # it may have come to hold just before the end
            time.sleep(0.0003)
        return True

    def must_live_until(self, condition):
        """Wait until the condition holds, and fail if the process has ended by itself before."""
        assert self.wait_until(condition), f"ended by itself with {self._ended}: {self._server.errors.read_text()}"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("victims"))
    yield server
    server.end()


def newest_position(folder):
    """Return how far the checkpoints in a run's folder go, 0 if there are none."""
    names = [path.name for path in (folder / "checkpoints").glob("*.safetensors")]
    return max((int(name.partition("-")[0]) for name in names), default=0)


def writing(folder):
    """Is a checkpoint being written?"""
    return any((folder / "checkpoints").glob(".*.tmp"))


class Lives(NamedTuple):
    """A run that was killed, and one that was not."""

    kind: str
    killed: Path
    untouched: Path
    positions: list[int]
    """How far it had come for sure at each kill."""
    torn: int
    """Kills that fell on a checkpoint that was being written."""


@pytest.fixture(scope="module", params=KILLS)
def lives(request, server, tmp_path_factory):
    kind = request.param
    root = tmp_path_factory.mktemp(kind)
    untouched, killed = root / "untouched", root / "killed"
    assert Victim(server, "run", kind, untouched).wait() == 0, server.errors.read_text()
    rng = random.Random(20)
    positions, torn, start_seconds = [], 0, 1.0
    for life in range(KILLS[kind]):
        before, began = newest_position(killed), time.monotonic()
        victim = Victim(server, "run", kind, killed)
        if life % 2 == 0:  # at any moment, from its beginning until it learns again
            moment = began + rng.uniform(0, 1.1 * start_seconds)
            # A start that was slow, on a busy machine, must not let the next process come to the end of the run.
            victim.must_live_until(lambda: time.monotonic() > moment or newest_position(killed) > before + FARTHEST)  # noqa: B023
        else:
            target = before + rng.randint(1, FARTHEST)
            victim.must_live_until(lambda: newest_position(killed) > before)  # noqa: B023
            start_seconds = time.monotonic() - began
            victim.must_live_until(lambda: newest_position(killed) >= target)  # noqa: B023
            if life % 4 == 1:
                victim.must_live_until(lambda: writing(killed))
        assert victim.kill(), "it had ended before"
        positions.append(newest_position(killed))
        torn += writing(killed)
    assert not (killed / "summary.json").exists()
    assert Victim(server, "run", kind, killed).wait() == 0, server.errors.read_text()
    return Lives(kind, killed, untouched, positions, torn)


def final_arrays(folder):
    (path,) = (folder / "checkpoints").glob(f"{LENGTH:012d}-*.safetensors")
    return safetensors.numpy.load_file(path)


def outcomes(folder):
    """Return the summary without what depends on the clock or the process."""
    summary = json.loads((folder / "summary.json").read_text())
    for name in ("training_seconds", "training_cpu_seconds", "compile_seconds", "peak_memory_bytes"):
        assert summary.pop(name) > 0
    return summary


def test_there_are_100_kills_and_more_of_every_kind():
    assert sum(KILLS.values()) >= 100
    assert min(KILLS.values()) >= 20


def test_kills_fell_at_different_places(lives):
    assert len(lives.positions) == KILLS[lives.kind]
    assert (np.diff(lives.positions) >= 0).all()
    assert (np.diff(lives.positions[1::2]) > 0).all()
    assert lives.positions[-1] < LENGTH
    log = [line.partition(" ")[2] for line in (lives.killed / "log.txt").read_text().splitlines()]
    resumed = [int(line.split()[3].replace(",", "")) for line in log if line.startswith("resumed from position")]
    assert set(resumed) <= set(lives.positions)
    assert resumed == sorted(resumed)
    assert len(set(resumed)) >= KILLS[lives.kind] // 2 - 1
    assert [line.partition(":")[0] for line in log].count("finished") == 1


def test_some_kills_tore_a_checkpoint_that_was_being_written(lives):
    assert lives.torn >= 1
    assert not writing(lives.killed)  # what they left has been cleared away
    assert not list(lives.killed.rglob(".*.tmp"))


def test_all_that_was_computed_is_the_same_to_the_bit(lives):
    killed, untouched = (final_arrays(folder) for folder in (lives.killed, lives.untouched))
    assert killed.keys() == untouched.keys()
    for name, array in killed.items():
        assert (array.dtype, array.shape) == (untouched[name].dtype, untouched[name].shape), name
        assert array.tobytes() == untouched[name].tobytes(), name


def test_records_are_the_same(lives):
    for name in ("config.json", "recipe.json", NETWORK, "networks.safetensors"):
        killed, untouched = ((it / name) for it in (lives.killed, lives.untouched))
        assert killed.exists() == untouched.exists()
        assert not killed.exists() or killed.read_bytes() == untouched.read_bytes(), name
    assert outcomes(lives.killed) == outcomes(lives.untouched)
    one, other = (record_of(lives.kind, it) for it in (lives.killed, lives.untouched))
    for part in ("accuracy", "scores", "frames"):
        np.testing.assert_array_equal(getattr(one, part, None), getattr(other, part, None))


def record_of(kind, folder):
    return {"learner": RunRecord, "agent": AgentRecord, "representation": TrainingRecord}[kind].load(folder)


def test_something_was_learned_that_could_have_been_lost(lives):
    arrays, summary = final_arrays(lives.killed), outcomes(lives.killed)
    if lives.kind == "learner":
        logs = {"progress.log.loss", *(f"progress.log.alignment.{part}" for part in ("before", "after", "cosine"))}
        assert {"progress.state.memory.seen", "accuracy", *logs} <= arrays.keys()
        np.testing.assert_array_equal(arrays["progress.state.memory.seen"], LENGTH)
        assert np.isfinite(arrays["progress.log.loss"]).all()
        assert summary["retained_accuracy"]["mean"] > 0.5
    elif lives.kind == "agent":
        np.testing.assert_array_equal(arrays["runners.agent.learning.memory.seen"], LENGTH)
        assert np.isfinite(arrays["scores"]).all()
    else:
        assert {"best_score", "stale"} <= arrays.keys()
        assert summary["steps"] == LENGTH
        assert np.isfinite(summary["best_score"])


@pytest.mark.parametrize("kind", KILLS)
def test_of_two_processes_in_one_folder_one_works_and_the_other_is_refused(server, kind, tmp_path):
    for race in range(RACES):
        folder = tmp_path / f"{race}"
        victims = [Victim(server, "own", kind, folder) for _ in range(2)]
        try:
            one_owns_and_one_is_refused(victims, folder, server)
        finally:  # the server ends only when they have
            for victim in victims:
                victim.kill()


def one_owns_and_one_is_refused(victims, folder, server):
    said = [folder.with_name(f"{folder.name}.{it.number}") for it in victims]
    folder.with_name(f"{folder.name}.go").touch()
    refused = victims[1].wait_until(lambda: any(said_is(it, "in use") for it in said))
    assert refused, server.errors.read_text()
    (owner,) = [n for n, words in enumerate(said) if not said_is(words, "in use")]
    victims[owner].must_live_until(lambda: said_is(said[owner], "owns"))
    assert said[1 - owner].read_text() == (
        f"{folder} is in use by process {victims[owner].number}; "
        "wait for it to end, stop it, or give this run another folder"
    )


def said_is(path, words):
    return path.exists() and words in path.read_text()
