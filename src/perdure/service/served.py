"""One model: a writer that teaches it, and views that answer."""

from __future__ import annotations

import asyncio
import errno
import json
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, TypeVar

from perdure.online.answers import predicted
from perdure.online.capacity import check_capacity
from perdure.online.columns import Table
from perdure.online.durable import DurableModel
from perdure.online.errors import RowError
from perdure.online.folder import JOURNAL, SNAPSHOTS
from perdure.online.group import Group, Learned, Request, request_of
from perdure.online.history import kept_settings
from perdure.online.journal import Journal, JournalError
from perdure.online.settings import ModelSettings
from perdure.online.snapshots import load_model
from perdure.online.view import ModelView
from perdure.service.limits import Limits
from perdure.service.predictions import Predictions
from perdure.service.problems import ProblemError, of_error, of_row
from perdure.service.scores import Scores
from perdure.service.writer import Writer
from perdure.storage.files import StorageError
from perdure.storage.reading import ContentError

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


class Served:
    """A model of the folder."""

    def __init__(self, folder: Path, limits: Limits):
        """Load nothing yet."""
        self.name = folder.name
        self.folder = folder
        self.limits = limits
        self.state = "loading"
        """"loading", "ready", "read-only" or "closed"."""
        self.reason = ""
        """Why it is read-only."""
        self.view: ModelView | None = None
        """The newest; None while it is loading, or if there is no sound snapshot of a damaged model."""
        self.regression = False
        self.n_examples = 0
        self._full_since = -_FULL_FOR
        self._warm: Any = None
        self._closing = Lock()

    # --- from the beginning to the end

    def load(self, **settings: Any) -> None:
        """Open the model, or make it with these settings; what cannot be opened can perhaps still be asked.

        Raises:
            ValueError: naming the setting that no model can have.
        """
        try:
            self._durable = DurableModel.open(self.folder, **settings)
            self.n_examples = self._durable.n_examples
            self.predictions = Predictions(
                self.folder, rows=self.limits.waiting_rows, seconds=self.limits.waiting_seconds
            )
        except (StorageError, ContentError, RowError) as error:
            self._give_up(str(error))
            self.view = self.view or self._newest_snapshot()
            return
        self.regression = self._durable.settings.regression
        self.scores = Scores(regression=self.regression)
        self._publish()
        self._writer = Writer(f"writer of {self.name}", self._learn_all, self.limits)
        self.state = "ready"

    def close(self, seconds: float) -> None:
        """Learn what waits, make a snapshot and give the folder up."""
        with self._closing:
            if self.state == "closed":
                return
            was, self.state = self.state, "closed"
            if was == "loading" or not hasattr(self, "_writer"):
                return
            if self._writer.stop(seconds):
                self._durable.close()
                self.predictions.close()

    def _give_up(self, reason: str) -> None:
        self.reason = reason
        if self.state != "closed":
            self.state = "read-only"

    def _newest_snapshot(self) -> ModelView | None:
        """Return the newest sound snapshot of a model whose journal is damaged."""
        for path in sorted((self.folder / SNAPSHOTS).glob("*.safetensors"), reverse=True):
            try:
                saved = load_model(path)
            except ContentError:
                continue
            self.regression = saved.settings.regression
            return saved.model.view(saved.position)
        return None

    # --- asking

    def now(self) -> ModelView:
        """Return the newest view.

        Raises:
            ProblemError: if there is none.
        """
        if self.view is None:
            if self.state == "loading":
                raise ProblemError("loading", f"{self.name} is being loaded; ask again in a second", retry_after=1)
            raise ProblemError("read-only", f"{self.name} cannot be opened: {self.reason}")
        return self.view

    def described(self) -> dict[str, Any]:
        """Return what the model is and knows, as JSON holds it."""
        view = self.view
        shown: dict[str, Any] = {"name": self.name, "state": self.state, "examples": self.n_examples}
        if self.reason:
            shown["reason"] = self.reason
        if view is not None:
            shown |= {"position": view.position, "classes": list(view.classes), "columns": list(view.columns.known)}
        if self.state == "ready":
            shown |= {"settings": self._durable.settings.to_json(), "queue": self._writer.depth}
            shown["scores"] = self.scores.shown
        return shown

    def settings(self) -> ModelSettings:
        """Return the model's settings.

        Raises:
            ProblemError: if they cannot be read.
        """
        with self.journal() as journal:
            return kept_settings(journal)

    @contextmanager
    def journal(self) -> Any:
        """Open the journal to read beside the writer."""
        try:
            journal = Journal(self.folder / JOURNAL, writable=False)
        except StorageError as error:
            raise ProblemError("read-only", f"{self.name} cannot be read: {error}") from error
        try:
            yield journal
        finally:
            journal.close()

    @property
    def depth(self) -> int:
        """Requests that wait."""
        return self._writer.depth if self.state == "ready" else 0

    # --- teaching

    async def learn(
        self, xs: Sequence[dict[str, Any]], ys: Sequence[Any], ids: Sequence[str], *before: str | int, many: bool
    ) -> Taught:
        """Learn rows, all or none; return once they are on the disk.

        Args:
            xs: the rows, checked as `bodies` does.
            ys: their targets.
            ids: their names.
            before: place of the rows in the body, for problems.
            many: is it a list of rows, not a single one?

        Raises:
            ProblemError: if they cannot be learned.
        """
        self.check_teachable()
        try:
            return await self.answer(request_of(xs, ys, ids))
        except RowError as error:
            raise of_row(error, *before, many=many) from None
        except JournalError as error:
            raise ProblemError("bad-row", str(error)) from None

    async def answer(self, what: Request | Callable[[], Found], seconds: float | None = None) -> Any:
        """Give something to the writer, and wait for what comes of it."""
        try:
            async with asyncio.timeout(seconds or self.limits.answer_seconds):
                return await self._writer.send(what)
        except TimeoutError:
            raise ProblemError(
                "no-answer",
                f"{self.name} did not answer within {seconds or self.limits.answer_seconds:g} seconds; what was sent "
                "may still be learned: send it again with the same id, which is learned once",
                retry_after=5,
            ) from None

    async def change(self, change: Callable[[DurableModel], Found]) -> Found:
        """Let the writer change the history, while predictions go on from the last view.

        Raises:
            ProblemError: if it cannot be changed.
        """
        self.check_teachable()
        return await self.answer(lambda: self._change(change), 3_600.0)

    def check_teachable(self) -> None:
        """Check that the model can be taught.

        Raises:
            ProblemError: if it cannot.
        """
        if self.state == "read-only":
            raise ProblemError("read-only", f"{self.name} can be asked, not taught: {self.reason}")
        if self.state == "closed":
            raise ProblemError("stopping", f"{self.name} is being closed; send it again later", retry_after=5)
        if self.state == "loading":
            raise ProblemError("loading", f"{self.name} is being loaded; send it again in a second", retry_after=1)

    # --- in the writer's thread

    def _change(self, change: Callable[[DurableModel], Found]) -> Found:
        with self._watched():
            found = change(self._durable)
            self.n_examples = self._durable.n_examples
            self._publish()
            return found

    def _learn_all(self, requests: Sequence[Request]) -> list[Any]:
        """Learn requests; those that bring columns or classes one by one, so that their room can be checked."""
        results: list[Any] = []
        plain: list[Request] = []
        for request in requests:
            try:
                brings = self._check_capacity(request)
            except RowError as error:
                results.extend([*self._learn(plain), error])
                plain = []
                continue
            if brings:
                results.extend(self._learn(plain))
                results.extend(self._learn([request]))
                plain = []
            else:
                plain.append(request)
        return [*results, *self._learn(plain)]

    def _check_capacity(self, request: Request) -> bool:
        model, table = self._durable.model, request.kept.rows.inputs
        assert isinstance(table, Table)
        targets = [] if self.regression else request.kept.targets
        return check_capacity(
            model.columns,
            model.known_classes,
            table,
            targets,
            max_inputs=self.limits.inputs,
            max_classes=self.limits.classes,
        )

    def _learn(self, requests: Sequence[Request]) -> list[Any]:
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
            self._publish()
        return results

    def _told(self, requests: Sequence[Request], group: Group) -> list[Any]:
        """Count the answers, and return what each sender is told."""
        model = self._durable.model
        answers = group.answers.wait()
        decided = (answers[:, 0] if answers.shape[1] == 1 else answers).tolist()
        decided = decided if self.regression else predicted(answers, model.classes)
        results: list[Any] = []
        targets: list[Any] = [None] * group.n_learned
        positions = [0] * group.n_learned
        for request, result in zip(requests, group.results, strict=True):
            if not isinstance(result, Learned):
                results.append(result)
                continue
            for row, place in enumerate(result.places):
                if place is not None:
                    targets[place], positions[place] = request.kept.targets[row], result.positions[row]
            results.append(
                Taught(
                    result.positions,
                    [it is None for it in result.places],
                    [None if it is None else decided[it] for it in result.places],
                )
            )
        numbers = [None if self.regression else model.number_of(it) for it in targets]
        self.scores.count(answers, decided, targets, numbers, positions)
        return results

    def _publish(self) -> None:
        view = self._durable.view()
        if view.program is not None and view.program is not self._warm:
            view.predict_proba([{}])  # compiles now what would keep a request waiting
            view.predict_proba([{}, {}])
            self._warm = view.program
        self.view = view

    @contextmanager
    def _watched(self) -> Any:
        """Note a full disk and a damaged journal, and raise them as problems."""
        if time.monotonic() - self._full_since < _FULL_FOR:
            raise ProblemError("disk-full", f"the disk had no room for {self.name}; make room", retry_after=1)
        try:
            yield
        except StorageError as error:
            problem = of_error(error)
            if problem.kind == "disk-full":
                self._full_since = time.monotonic()
            if error.errno == errno.EIO:
                self._give_up(str(error))
            raise problem from error


def new_id() -> str:
    """Return a name for an example that was given none."""
    return f"e-{secrets.token_hex(10)}"


def label_of(text: str, view: ModelView) -> Any:
    """Return the class that a text in an address stands for: as JSON if that is a class of the model."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if value in view.classes else text
