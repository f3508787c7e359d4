"""One model: a writer that teaches it, and views that answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock, Thread
from typing import Any, TypeVar

from perdure.online.durable import DurableModel
from perdure.online.errors import RowError
from perdure.online.folder import JOURNAL
from perdure.online.group import Request
from perdure.online.history import kept_settings
from perdure.online.journal import Journal, JournalError
from perdure.online.settings import ModelSettings
from perdure.online.verification import verify_journal
from perdure.online.view import ModelView
from perdure.service.limits import Limits
from perdure.service.memories import Memories
from perdure.service.old_views import OldViews
from perdure.service.predictions import Predictions
from perdure.service.problems import ProblemError, of_row
from perdure.service.teacher import Rows, Taught, Teacher
from perdure.service.turns import Turns
from perdure.service.writer import Writer
from perdure.storage.files import StorageError
from perdure.storage.reading import ContentError

_CHANGE_SECONDS = 3_600.0
"""How long whoever changes the history waits: the longest history is learned again in that time."""
Found = TypeVar("Found")


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
        self.regression = False
        self._teacher: Teacher | None = None
        self._snapshot: ModelView | None = None
        """What a model answers from that cannot be opened."""
        self._opening_or_closing = Lock()
        self.old_views = OldViews(folder, limits.replayed)
        self.memories = Memories()
        self.looks = Turns("looking inside")

    # --- from the beginning to the end

    def load(self, *, create: bool = False, **settings: Any) -> None:
        """Open the model, or make it; one that has been closed meanwhile stays closed.

        What cannot be opened can perhaps still be asked.

        Args:
            create: make a model if there is none?
            settings: of a model to be made.

        Raises:
            ValueError: naming the setting that no model can have.
        """
        with self._opening_or_closing:
            if self.state != "closed":
                self._open(create=create, **settings)

    def _open(self, **options: Any) -> None:
        try:
            durable = DurableModel.open(self.folder, **options)
            self.predictions = Predictions(
                self.folder, rows=self.limits.waiting_rows, seconds=self.limits.waiting_seconds
            )
            teacher = Teacher(durable, self.limits, self.give_up)
        except (StorageError, ContentError, RowError) as error:
            self.give_up(str(error))
            self._snapshot = self.old_views.newest_snapshot()
            self.regression = self._snapshot is not None and self._snapshot.regression
            return
        self.regression = durable.settings.regression
        self._writer = Writer(f"writer of {self.name}", teacher.learn, self.limits)
        self._teacher = teacher
        self.state = "ready"
        Thread(target=self._verify, name=f"verifier of {self.name}", daemon=True).start()

    def close(self, seconds: float) -> None:
        """Learn what waits, make a snapshot and give the folder up."""
        with self._opening_or_closing:
            self.state = "closed"
            teacher, self._teacher = self._teacher, None
            if teacher is None:
                return
            self._snapshot = teacher.view
            if self._writer.stop(seconds):
                teacher.close()
                self.predictions.close()

    def give_up(self, reason: str) -> None:
        """Let the model only be asked from now on."""
        if self.state != "closed":
            self.state, self.reason = "read-only", self.without_path(reason)

    def without_path(self, text: str) -> str:
        """Return a text for callers, who need not know where the server keeps its files."""
        return text.replace(f"{self.folder}", self.name)

    def _verify(self) -> None:
        """Look for damage in what nobody may read for long."""
        try:
            verify_journal(self.folder / JOURNAL, lambda: self.state == "ready")
        except StorageError as error:
            if self.state == "ready" and (self.folder / JOURNAL).exists():
                self.give_up(str(error))

    # --- asking

    @property
    def view(self) -> ModelView | None:
        """The newest; None while it is loading, or if there is no sound snapshot of a damaged model."""
        teacher = self._teacher
        return self._snapshot if teacher is None else teacher.view

    def now(self) -> ModelView:
        """Return the newest view.

        Raises:
            ProblemError: if there is none.
        """
        if (view := self.view) is not None:
            return view
        if self.state == "loading":
            raise ProblemError("loading", f"{self.name} is being loaded; ask again in a second", retry_after=1)
        raise ProblemError("read-only", f"{self.name} cannot be opened: {self.reason}")

    @property
    def n_examples(self) -> int:
        """Without those forgotten."""
        return 0 if self._teacher is None else self._teacher.n_examples

    @property
    def depth(self) -> int:
        """Requests that wait."""
        return 0 if self._teacher is None else self._writer.depth

    @property
    def scores(self) -> dict[str, Any]:
        """How right the model has been since it is served."""
        return {} if (teacher := self._teacher) is None else teacher.scores.shown()

    def described(self) -> dict[str, Any]:
        """Return what the model is and knows, as JSON holds it."""
        shown: dict[str, Any] = {"name": self.name, "state": self.state, "examples": self.n_examples}
        if self.reason:
            shown["reason"] = self.reason
        if (view := self.view) is not None:
            shown |= {"position": view.position, "classes": list(view.classes), "columns": list(view.columns.known)}
            shown |= {"features": view.features, "regression": view.regression}
        if (teacher := self._teacher) is not None:
            shown |= {"settings": teacher.settings.to_json(), "queue": self.depth, "scores": self.scores}
        return shown

    def settings(self) -> ModelSettings:
        """Return the model's settings.

        Raises:
            ProblemError: if they cannot be read.
        """
        with self.journal() as journal:
            return kept_settings(journal)

    @contextmanager
    def journal(self) -> Iterator[Journal]:
        """Open the journal to read beside the writer.

        Raises:
            ProblemError: if it cannot be read.
        """
        try:
            journal = Journal(self.folder / JOURNAL, writable=False)
        except StorageError as error:
            raise self._unreadable(error) from error
        try:
            yield journal
        except JournalError as error:
            raise self._unreadable(error) from error
        finally:
            journal.close()

    def _unreadable(self, error: StorageError) -> ProblemError:
        return ProblemError("read-only", self.without_path(f"{self.name} cannot be read: {error}"))

    # --- teaching

    async def learn(self, request: Request | Rows, *before: str | int, many: bool) -> Taught:
        """Learn rows, all or none; return once they are on the disk.

        Args:
            request: the rows.
            before: place of the rows in the body, for problems.
            many: is it a list of rows, not a single one?

        Raises:
            ProblemError: if they cannot be learned.
        """
        return await self.learned(self.send(request), *before, many=many)

    def send(self, request: Request | Rows) -> asyncio.Future[Any]:
        """Give rows to the writer; return what `learned` waits for. Rows are learned in the order in which they come.

        Raises:
            ProblemError: if the model cannot be taught, or too much waits already.
        """
        self.check_teachable()
        return self._writer.send(request)

    async def learned(self, sent: asyncio.Future[Any], *before: str | int, many: bool) -> Taught:
        """Return what became of rows that were sent, as `learn` does, with its arguments and errors."""
        try:
            return await self._answer(sent, self.limits.answer_seconds)
        except RowError as error:
            raise of_row(error, *before, many=many) from None

    async def change(self, change: Callable[[DurableModel], Found]) -> Found:
        """Let the writer change the history, while predictions are answered from the last view.

        Raises:
            ProblemError: if it cannot be changed.
        """
        self.check_teachable()
        teacher = self._teacher
        assert teacher is not None
        return await self._answer(self._writer.send(lambda: teacher.change(change)), _CHANGE_SECONDS)

    async def _answer(self, sent: asyncio.Future[Any], seconds: float) -> Any:
        """Wait for what comes of something that was given to the writer."""
        try:
            async with asyncio.timeout(seconds):
                return await sent
        except ProblemError as problem:
            problem.detail = self.without_path(problem.detail)
            raise
        except TimeoutError:
            raise ProblemError(
                "no-answer",
                f"{self.name} did not answer within {seconds:g} seconds; what was sent may still be learned: send it "
                "again with the same id, which is learned once",
                retry_after=5,
            ) from None

    def check_teachable(self) -> None:
        """Check that the model can be taught.

        Raises:
            ProblemError: if it cannot.
        """
        match self.state:
            case "read-only":
                raise ProblemError("read-only", f"{self.name} can be asked, not taught: {self.reason}")
            case "closed":
                raise ProblemError("stopping", f"{self.name} is being closed; send it again later", retry_after=5)
            case "loading":
                raise ProblemError("loading", f"{self.name} is being loaded; send it again in a second", retry_after=1)
