"""What a model's writer does: learns groups of requests, changes the history, publishes views."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

from perdure.online.answers import predicted
from perdure.online.capacity import check_capacity
from perdure.online.columns import Table
from perdure.online.durable import DurableModel
from perdure.online.errors import RowError
from perdure.online.group import Group, Learned, Request
from perdure.online.view import ModelView
from perdure.service.limits import Limits
from perdure.service.problems import ProblemError, of_error
from perdure.service.scores import Scores, all_finite
from perdure.storage.files import StorageError

_FULL_FOR = 1.0
"""Seconds in which nothing is tried after the disk was full: each try costs a replay."""
Found = TypeVar("Found")


class Taught(NamedTuple):
    """What became of the rows of a request."""

    positions: list[int]
    known: list[bool]
    """Was it learned before, so that it is not learned again?"""
    predictions: list[Any]
    """Made before learning; None where no class had appeared, and for what was known."""
    refused: Mapping[int, RowError] = {}
    """Rows that could not be learned, where each stands for itself; nothing else is said of them."""


class Rows(NamedTuple):
    """Rows each of which stands for itself: one that cannot be learned refuses no other."""

    request: Request

    @property
    def ids(self) -> list[str | None]:
        """Names of the rows."""
        return self.request.ids


_NOTHING = Taught([0], [False], [None])


class Teacher:
    """A model in the hands of its writer: one thread calls its methods, others read what it publishes."""

    def __init__(self, durable: DurableModel, limits: Limits, give_up: Callable[[str], None]):
        """Publish the first view.

        Args:
            durable: the model.
            limits: what it may grow to.
            give_up: called with the reason when the journal turns out to be damaged.
        """
        self._durable = durable
        self._limits = limits
        self._give_up = give_up
        self._full_since = -_FULL_FOR
        self._warm: Any = None
        self.settings = durable.settings
        self.n_examples = durable.n_examples
        self.scores = Scores(regression=self.settings.regression)
        self.view = self._published()

    def change(self, change: Callable[[DurableModel], Found]) -> Found:
        """Change the history.

        Raises:
            ProblemError: if it cannot be changed.
        """
        with self._watched():
            found = change(self._durable)
            self.n_examples, self.settings = self._durable.n_examples, self._durable.settings
            self.view = self._published()
            return found

    def learn(self, requests: Sequence[Request | Rows]) -> list[Taught | Exception]:
        """Learn requests in order, and together but for those that bring columns or classes, whose room is checked."""
        results: list[Taught | Exception] = []
        plain: list[Request] = []
        for request in requests:
            if isinstance(request, Rows):
                results.extend([*self._learn_group(plain), self._learn_rows(request.request)])
                plain = []
                continue
            try:
                brings = self._check_capacity(request)
            except RowError as error:
                results.extend([*self._learn_group(plain), error])
                plain = []
                continue
            if brings:
                results.extend([*self._learn_group(plain), *self._learn_group([request])])
                plain = []
            else:
                plain.append(request)
        return [*results, *self._learn_group(plain)]

    def _learn_rows(self, request: Request) -> Taught | Exception:
        """Learn rows each of which stands for itself, in their order."""
        (whole,) = self.learn([request])
        if not isinstance(whole, RowError):
            return whole
        found = self.learn(request.rows())
        if (failed := next((it for it in found if isinstance(it, ProblemError)), None)) is not None:
            return failed
        refused = {row: it for row, it in enumerate(found) if isinstance(it, RowError)}
        taught = [it if isinstance(it, Taught) else _NOTHING for it in found]
        return Taught(
            [it.positions[0] for it in taught],
            [it.known[0] for it in taught],
            [it.predictions[0] for it in taught],
            refused,
        )

    def close(self) -> None:
        """Make a snapshot, and give the folder up."""
        self._durable.close()

    def _check_capacity(self, request: Request) -> bool:
        model, table = self._durable.model, request.kept.rows.inputs
        assert isinstance(table, Table)
        if model.features is not None:  # drawings bring no columns
            table = Table({}, table.n_rows)
        targets = [] if model.regression else request.kept.targets
        return check_capacity(
            model.columns,
            model.known_classes,
            table,
            targets,
            max_inputs=self._limits.inputs,
            max_classes=self._limits.classes,
        )

    def _learn_group(self, requests: Sequence[Request]) -> list[Taught | Exception]:
        if not requests:
            return []
        try:
            with self._watched():
                group = self._durable.learn_group(requests)
        except ProblemError as error:
            return [error] * len(requests)
        self.n_examples += group.n_learned
        results = self._told(requests, group)
        if group.n_learned:
            self.view = self._published()
        return results

    def _told(self, requests: Sequence[Request], group: Group) -> list[Taught | Exception]:
        """Count the answers, and return what each sender is told."""
        model = self._durable.model
        answers = group.answers.wait()
        if model.regression:
            decided = all_finite((answers[:, 0] if answers.shape[1] == 1 else answers).tolist())
        else:
            decided = predicted(answers, model.classes)
        results: list[Taught | Exception] = []
        targets: list[Any] = [None] * group.n_learned
        positions = [0] * group.n_learned
        for request, result in zip(requests, group.results, strict=True):
            if not isinstance(result, Learned):
                results.append(result)
                continue
            for row, place in enumerate(result.places):
                if place is not None:
                    targets[place], positions[place] = request.kept.targets[row], result.positions[row]
            known = [it is None for it in result.places]
            predictions = [None if it is None else decided[it] for it in result.places]
            results.append(Taught(result.positions, known, predictions))
        numbers = [None if model.regression else model.number_of(it) for it in targets]
        self.scores.count(answers, decided, targets, numbers, positions)
        return results

    def _published(self) -> ModelView:
        view = self._durable.view()
        if view.program is not None and view.program is not self._warm:
            view.compile()
            self._warm = view.program
        return view

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Note a full disk and a damaged journal, and raise them as problems."""
        if time.monotonic() - self._full_since < _FULL_FOR:
            raise ProblemError(
                "disk-full", f"the disk had no room for {self._durable.folder}; make room on it", retry_after=1
            )
        try:
            yield
        except StorageError as error:
            problem = of_error(error)
            if problem.kind == "disk-full":
                self._full_since = time.monotonic()
            if error.errno == errno.EIO:
                self._give_up(str(error))
            raise problem from error
