"""A job of plain Python whose every unit is on record, and ways to drive it."""

import itertools
from typing import ClassVar

import numpy as np
import pytest

from perdure.execution import drive as driving
from perdure.execution.drive import Driving, drive
from perdure.execution.job import DivergedError, Job
from perdure.records.folder import own_folder
from perdure.storage.checkpoints import checkpoint_files

CONFIG = {"format": 2, "kind": "learner", "of": "Sum"}


class Sum(Job):
    """Draws a number for each position and adds it up; notes when it is looked at."""

    unit: ClassVar[str] = "numbers"
    first_stretch = 3

    def __init__(
        self, length=10, boundaries=(), *, stop_at=None, bad_at=None, unsound_at=None, at=lambda position: None
    ):
        self.label = "sum"
        self.length = length
        self.position = 0
        self.total = np.zeros(2)
        self.values = np.full(length + 1, np.nan)
        self.stretches, self.events = [], []
        self._boundaries = boundaries
        self._stop_at, self._bad_at, self._unsound_at, self._at = stop_at, bad_at, unsound_at, at

    @property
    def boundaries(self):
        return self._boundaries

    @property
    def ended(self):
        return self.position >= self.length or (self._stop_at is not None and self.position >= self._stop_at)

    def compile(self):
        self.events.append("compile")

    def advance(self, stop):
        assert "compile" in self.events
        self.stretches.append((self.position, stop))
        for n in range(self.position, stop):
            if n == self._bad_at:
                raise DivergedError(f"the sum is nan at number {n}")
            self.total = self.total * 1.000001 + np.random.default_rng(n).normal(size=2)
        self.position = stop
        self._at(stop)

    def evaluate(self):
        self.events.append(f"evaluate at {self.position}")
        self.values[self.position] = self.total.sum()

    def check(self):
        self.events.append(f"check at {self.position}")
        if self._unsound_at is not None and self.position >= self._unsound_at:
            raise DivergedError(f"a weight is not finite after {self.position} numbers")

    def snapshot(self):
        return {"total": self.total.copy(), "values": self.values.copy()}

    def restore(self, snapshot, position):
        self.total, self.values = snapshot["total"], snapshot["values"]
        self.position = position

    def progress_values(self):
        return {"sum": float(self.total.sum())}

    def evaluation_values(self):
        return {"evaluated": float(self.position)}

    def report(self):
        return f"sum {self.total.sum():.1f}"

    @property
    def outcome(self):
        return self.position, self.total.tobytes(), self.values.tobytes()


@pytest.fixture
def in_folder(tmp_path):
    """Function that drives a job in the folder `run`, with a checkpoint after each stretch."""

    def run(job, **how):
        with own_folder(tmp_path / "run", CONFIG) as home:
            every = Driving(**{"checkpoint_seconds": 0.0, "progress": False} | how)
            return drive(job, every.in_folder(home, "perdure resume run"))

    def checkpoints():
        return [int(it.name.partition("-")[0]) for it in checkpoint_files(tmp_path / "run/checkpoints")]

    def log():
        return [it.partition(" ")[2] for it in (tmp_path / "run/log.txt").read_text().splitlines()]

    vars(run).update(checkpoints=checkpoints, log=log)
    return run


QUIET = Driving(progress=False)


def with_speeds(lengths, stretch=driving._Loop._stretch):
    """Return the loop's own stretch, after which the next is of the next length."""

    def run(loop, units):
        stretch(loop, units)
        return float(next(lengths))

    return run


@pytest.fixture
def stretches_of(monkeypatch):
    """Function that makes every stretch as long as the number of units given."""

    def fix(units):
        monkeypatch.setattr(Sum, "first_stretch", units)
        monkeypatch.setattr(driving._Loop, "_stretch", with_speeds(itertools.repeat(units)))

    return fix
