"""Races: methods side by side on the same digits, one class after another, to see which of them forgets."""

from __future__ import annotations

import base64
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int, UInt8

from perdure.online.model import OnlineModel
from perdure.online.rows import Rows
from perdure.online.settings import ModelSettings
from perdure.service.problems import ProblemError
from perdure.service.turns import Turns
from perdure.streams.benchmark import LabelledSet
from perdure.streams.digits import load_digits
from perdure.streams.mnist import load_mnist
from perdure.streams.raw.files import status

MAX_EXAMPLES = 200
"""Examples of one step."""
MEMORY_SIZE = 500
"""Examples that a method with a memory keeps."""
_N_CLASSES = 10
_TRAIN, _TEST = 150, 40
"""Digits of each class, at most."""
_SHOWN = 12
"""Pictures in an answer."""
_MOST = 8
"""Races at a time."""
_IDLE_SECONDS = 900.0
"""After which a race gives way."""


class DigitStream(NamedTuple):
    """Digits in the order in which they are learned, and others on which the methods are tested."""

    x: UInt8[np.ndarray, "examples side side"]
    y: Int[np.ndarray, " examples"]
    test_x: UInt8[np.ndarray, "tests side side"]
    test_y: Int[np.ndarray, " tests"]


def data_sets() -> dict[str, str]:
    """Return what may be raced on: name and title; MNIST only where its files lie already."""
    found = {"digits": "Digits, 8×8 pixels"}
    if all(it.where is not None for it in status("mnist")):
        found["mnist"] = "MNIST digits, 28×28 pixels"
    return found


@cache
def _loaded(data: str) -> tuple[LabelledSet, LabelledSet]:
    if data == "digits":
        return load_digits()
    train_x, train_y, test_x, test_y = load_mnist()
    return LabelledSet(train_x, train_y), LabelledSet(test_x, test_y)


def digit_stream(data: str, seed: int) -> DigitStream:
    """Return digits one class after another: first all zeros, then all ones, and so on."""
    train, test = _loaded(data)
    rng = np.random.default_rng(seed)
    places = [_of_class(train, number, _TRAIN, rng) for number in range(_N_CLASSES)]
    tests = [_of_class(test, number, _TEST, np.random.default_rng(0)) for number in range(_N_CLASSES)]
    order, tested = np.concatenate(places), np.concatenate(tests)
    x, y = np.asarray(train.x), np.asarray(train.y)
    return DigitStream(x[order], y[order], np.asarray(test.x)[tested], np.asarray(test.y)[tested])


def _of_class(digits: LabelledSet, number: int, most: int, rng: np.random.Generator) -> Int[np.ndarray, " places"]:
    return rng.permutation(np.flatnonzero(np.asarray(digits.y) == number))[:most]


class _Finished(NamedTuple):
    """How a race stood after its last finished step; replaced whole, so that it is read without waiting."""

    last: dict[str, Any]
    history: list[dict[str, Any]]


class Race:
    """Methods that learn the same digits; in memory alone."""

    def __init__(self, methods: Sequence[str], data: str, seed: int):
        """Begin before the first digit.

        Raises:
            ProblemError: if there is no such method or data set.
        """
        self.id = f"r-{secrets.token_hex(8)}"
        self.methods, self.data, self.seed = tuple(methods), data, seed
        self.last_used = time.monotonic()
        known = data_sets()
        if data not in known:
            raise ProblemError("bad-body", f"data is {data[:80]!r}, expected one of {', '.join(known)}", field="/data")
        self._models: list[OnlineModel] = []
        for place, name in enumerate(methods):
            try:
                settings = ModelSettings(method=name, memory_size=MEMORY_SIZE, standardize=False, seed=seed)
                self._models.append(settings.new_model())
            except ValueError as error:
                raise ProblemError("bad-settings", str(error), field=f"/methods/{place}") from error
        self._stream = digit_stream(data, seed)
        for model in self._models:
            model.know(range(_N_CLASSES))  # so that a new digit does not make the network grow, and compile anew
        self._position = 0
        self._turns = Turns("continuing this race")
        self._finished = _Finished(self._tested(0, [0.0] * len(methods)), [])

    def step(self, n_examples: int) -> dict[str, Any]:
        """Let all methods learn the next digits, and test them; return how it stands, as JSON holds it.

        Raises:
            ProblemError: if too many continue it at once.
        """
        with self._turns.turn():
            self.last_used = time.monotonic()
            start, stop = self._position, min(self._position + n_examples, len(self._stream.y))
            if start == stop:
                return self._finished.last
            rows, targets = Rows(self._stream.x[start:stop]), self._stream.y[start:stop].tolist()
            rates = []
            for model in self._models:
                began = time.perf_counter()
                model.predict_then_learn(rows, targets).wait()
                rates.append((stop - start) / (time.perf_counter() - began))
            self._position = stop
            last = self._tested(stop - start, rates)
            point = {"position": stop, "accuracy": [it["accuracy"] for it in last["methods"]]}
            self._finished = _Finished(last, [*self._finished.history, point])
            return last

    def described(self) -> dict[str, Any]:
        """Return all that a page needs to continue the race after its last finished step, as JSON holds it."""
        self.last_used = time.monotonic()
        last, history = self._finished
        return {**last, "history": history}

    def _tested(self, n_new: int, rates: Sequence[float]) -> dict[str, Any]:
        stream, position = self._stream, self._position
        counts = np.bincount(stream.y, minlength=_N_CLASSES)
        shown = range(max(position - min(n_new, _SHOWN), 0), position)
        return {
            "id": self.id,
            "data": self.data,
            "seed": self.seed,
            "position": position,
            "length": len(stream.y),
            "starts": [0, *np.cumsum(counts)[:-1].tolist()],
            "side": stream.x.shape[1],
            "pictures": [
                {"class": int(stream.y[it]), "pixels": base64.b64encode(stream.x[it].tobytes()).decode()}
                for it in shown
            ],
            "methods": [
                {"method": name, "accuracy": self._accuracy(model), "examples_per_second": rate}
                for name, model, rate in zip(self.methods, self._models, rates, strict=True)
            ],
        }

    def _accuracy(self, model: OnlineModel) -> list[float | None]:
        """Return the accuracy on test digits of each class, None for classes that have not come yet."""
        seen = np.unique(self._stream.y[: self._position])
        if not len(seen):
            return [None] * _N_CLASSES
        tested = np.isin(self._stream.test_y, seen)
        answers = model.predict(Rows(self._stream.test_x[tested])).argmax(axis=1)
        right = answers == self._stream.test_y[tested]
        return [
            float(right[self._stream.test_y[tested] == number].mean()) if number in seen else None
            for number in range(_N_CLASSES)
        ]


class Races:
    """All races: some at a time, each of them dropped when no request has named it for a while."""

    def __init__(self) -> None:
        """Begin none yet."""
        self._races: OrderedDict[str, Race] = OrderedDict()
        self._changing = threading.Lock()
        self._turns = Turns("beginning a race")

    def begin(self, methods: Sequence[str], data: str, seed: int) -> Race:
        """Begin a race.

        Raises:
            ProblemError: if there is no such method or data set, or too many races are on or being begun.
        """
        with self._turns.turn():
            with self._changing:
                self._expire()
                if len(self._races) >= _MOST:
                    raise ProblemError(
                        "too-many-requests",
                        f"{_MOST} races are on already; end one, or wait until one has been idle for "
                        f"{_IDLE_SECONDS / 60:g} minutes",
                        retry_after=30,
                    )
            race = Race(methods, data, seed)  # which takes long: meanwhile others are found
            with self._changing:
                self._races[race.id] = race
        return race

    def find(self, id: str) -> Race:
        """Return a race.

        Raises:
            ProblemError: if there is none of this id.
        """
        with self._changing:
            self._expire()
            found = self._races.get(id)
        if found is None:
            raise ProblemError("no-job", f"there is no race {id[:80]!r}, or it has ended; begin one: POST /v1/races")
        return found

    def end(self, id: str) -> None:
        """End a race.

        Raises:
            ProblemError: if there is none of this id.
        """
        self.find(id)
        with self._changing:
            self._races.pop(id, None)

    def _expire(self) -> None:
        since = time.monotonic() - _IDLE_SECONDS
        for id in [it.id for it in self._races.values() if it.last_used < since]:
            del self._races[id]
