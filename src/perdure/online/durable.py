"""A model in a folder that never loses an example: journal first, snapshots now and then."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from perdure.core import PerdureWarning
from perdure.online.answers import predicted
from perdure.online.errors import RowError
from perdure.online.folder import SNAPSHOTS, check_writable, claim_folder
from perdure.online.group import Group, Request, learn_group, request_of
from perdure.online.history import (
    LEFT_OUT,
    as_kept,
    kept_settings,
    pieces,
    positions_of,
    replay,
    settings_to_keep,
)
from perdure.online.journal import Entry, Journal
from perdure.online.model import OnlineModel
from perdure.online.prequential import Prequential, compare
from perdure.online.refusals import NoExampleError, NotErasedError
from perdure.online.rows import as_rows, of_dictionaries
from perdure.online.settings import ModelSettings
from perdure.online.snapshots import Schedule, Snapshots, save_model
from perdure.online.view import ModelView
from perdure.storage.files import StorageError
from perdure.storage.lock import FolderLock

if TYPE_CHECKING:
    from perdure.online.estimators import OnlineClassifier, OnlineRegressor

SNAPSHOT_EXAMPLES = 10_000
SNAPSHOT_SECONDS = 60.0


class DurableModel:
    """A model in a folder: `learn` returns once the example is on the disk.

    The folder holds a journal of the examples (SQLite) and snapshots of the state. The state after n examples is a
    snapshot of fewer, with the rest of the journal learned again: bit for bit that of a process which never stopped.
    Since the journal determines the model, an example can be forgotten exactly: the model becomes the one that never
    saw it.

    One process may write; others may follow it with `read_only=True`, or copy the folder: `perdure.backup_model`.
    """

    def __init__(
        self,
        folder: Path,
        journal: Journal,
        *,
        lock: FolderLock | None,
        snapshot_examples: int,
        snapshot_seconds: float,
    ):
        """Use `DurableModel.open`."""
        self.folder = folder
        self._journal = journal
        self._lock = lock
        self._snapshots = Snapshots(folder / SNAPSHOTS, journal)
        self._schedule = Schedule(snapshot_examples, snapshot_seconds)
        self._busy = RLock()
        self._edition: int | None = None  # of the journal; None while the model may have learned a part of it only
        self._restore()

    # --- opening

    @classmethod
    def open(
        cls,
        folder: str | Path,
        *,
        method: str | None = None,
        regression: bool | None = None,
        memory_size: int | None = None,
        memory_rule: str | None = None,
        hidden_sizes: Sequence[int] | None = None,
        standardize: bool | None = None,
        allow_missing: bool | None = None,
        features: str | None = None,
        seed: int | None = None,
        snapshot_examples: int = SNAPSHOT_EXAMPLES,
        snapshot_seconds: float = SNAPSHOT_SECONDS,
        read_only: bool = False,
        create: bool = True,
    ) -> DurableModel:
        """Open the model in a folder, or make one there.

        The arguments from `method` to `seed` are those of `ModelSettings`, and have its defaults. They are kept with
        the model: on opening it again they need not be given, and must be the same if they are.

        Args:
            folder: made if it does not exist.
            method: a name of a method.
            regression: learn numbers, not classes?
            memory_size: examples that a method with a memory keeps.
            memory_rule: which examples it keeps.
            hidden_sizes: units of each hidden layer.
            standardize: bring numbers to standard deviations from their running mean?
            allow_missing: may values be missing?
            features: rows are drawings, of which these features are learned.
            seed: of all chance.
            snapshot_examples: a snapshot is made after this many examples, at least 1,
            snapshot_seconds: or when this many seconds have gone by, more than 0.
            read_only: take no lock and write nothing; learning is refused.
            create: make a model if there is none?

        Raises:
            FolderInUseError: if another process writes into the folder; the message tells its number.
            StorageError: if the folder holds something else, other settings or a journal of a newer schema, or if it
                is damaged; one of an older schema is migrated, unless it is only read.
            ValueError: naming the setting that no model can have; nothing was made.
        """
        Schedule(snapshot_examples, snapshot_seconds)  # are they in range?
        given = {"method": method, "regression": regression, "memory_size": memory_size, "memory_rule": memory_rule}
        given |= {"hidden_sizes": hidden_sizes, "standardize": standardize, "seed": seed}
        given |= {"allow_missing": allow_missing, "features": features}
        path = Path(folder)
        with ExitStack() as undo:
            lock, journal = claim_folder(path, given, undo, read_only=read_only, create=create)
            model = cls(
                path, journal, lock=lock, snapshot_examples=snapshot_examples, snapshot_seconds=snapshot_seconds
            )
            undo.pop_all()
        return model

    def close(self) -> None:
        """Make a snapshot, unless one is up to date, and give the folder up; twice does no harm."""
        with ExitStack() as last:
            if self._lock is not None:
                last.callback(self._lock.__exit__, None, None, None)
            last.callback(self._journal.close)
            if self._lock is not None:
                self._try_snapshot()
        self._lock = None

    def __enter__(self) -> DurableModel:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- learning and answering

    def learn(self, X: Any, y: Any, ids: Any = None) -> int:
        """Learn rows and return the position of the last example, once all of them are on the disk.

        Args:
            X: rows: dictionaries, an array or a data frame, or drawings; a dictionary with one target is one row.
            y: a target for each row.
            ids: a name for each row; one whose name was learned before is passed over: sending twice does no harm.

        Raises:
            RowError: naming the row that cannot be learned; nothing was learned.
            JournalError: if it cannot be written; nothing was learned.
        """
        (learned,) = self.learn_group([request_of(X, y, ids, self.settings.features)]).results
        if isinstance(learned, RowError):
            raise learned
        return self._position

    def learn_group(self, requests: Sequence[Request]) -> Group:
        """Learn requests in order, each all or none, and return once they are on the disk, by one commit.

        Raises:
            JournalError: if it cannot be written; nothing was learned.
        """
        with self._busy:
            check_writable(self._lock, self._journal)
            self._refresh()
            edition, self._edition = self._edition, None
            try:
                group = learn_group(self._model, self._journal, requests)
                self._position, self._edition = self._journal.last_position, edition
            except BaseException:
                self._restore()  # to what is on the disk
                raise
            if self._schedule.is_due(self._position):
                self._try_snapshot()
            return group

    def view(self) -> ModelView:
        """Return the model as it is now, to be asked from any thread while this one learns on."""
        with self._busy:
            return self._model.view(self._position)

    def predict_proba(self, X: Any) -> Float[np.ndarray, "rows classes"]:
        """Return the probability of each class, in the order of `classes`; or targets, for regression."""
        with self._busy:
            self._refresh()
            return self._model.predict(as_rows([X] if isinstance(X, Mapping) else X))

    def predict(self, X: Any) -> list[Any] | np.ndarray:
        """Return the most probable class of each row, None before the first example; or targets, for regression."""
        answers = self.predict_proba(X)
        if not self.settings.regression:
            return predicted(answers, self.classes)
        return answers[:, 0] if answers.shape[1] == 1 else answers

    @property
    def classes(self) -> list[Any]:
        """The classes that have appeared, in the order of their first example."""
        return list(self._model.classes)

    @property
    def position(self) -> int:
        """Position of the last example that the model has learned, counted from 1; 0 if there is none."""
        return self._position

    @property
    def n_examples(self) -> int:
        """Examples in the journal, without those that were forgotten."""
        return self._journal.n_examples

    @property
    def model(self) -> OnlineModel:
        """The model in memory, to look at."""
        return self._model

    # --- what a journal makes possible

    def undo(self) -> Entry | None:
        """Forget the last example, and return it; None if there is none.

        Raises:
            NotErasedError: naming a file that still holds what the model has forgotten.
        """
        with self._busy:
            if (last := self._journal.last_entry()) is not None:
                try:
                    self._forget([last.position])
                except NotErasedError as error:
                    error.forgot = last
                    raise
            return last

    def forget(self, ids: Sequence[str | int] | str | int) -> int:
        """Remove examples for good; return how many. The model becomes bit for bit the one that never saw them.

        Raises:
            NoExampleError: naming an id that was never learned.
            NotErasedError: naming a file that still holds what the model has forgotten.
        """
        with self._busy:
            return self._forget(list(positions_of(self._journal, ids).values()))

    def relabel(self, id: str | int, y: Any) -> None:
        """Put another target in an example's place; the model becomes the one that learned it with that target.

        Raises:
            NoExampleError: if the id was never learned, or was forgotten.
            RowError: if the target cannot be learned; nothing has changed.
        """
        with self._busy:
            (position,) = positions_of(self._journal, [id]).values()
            check_writable(self._lock, self._journal)
            before = next(self._journal.entries(position - 1, position), None)
            if before is None:
                raise NoExampleError(
                    None, f"{self.folder}: the example {id!r} was forgotten, so it has no target to correct"
                )
            kept = as_kept(of_dictionaries([before.x], np.asarray([position])), [y])
            relearned = self._snapshots.relearned(self.settings, {position: kept.targets[0]})
            self._snapshots.drop(position)
            self._journal.relabel(position, y)
            self._take_over(*relearned)

    def at(self, position: int) -> OnlineClassifier | OnlineRegressor:
        """Return an estimator: the model as it was after the example at a position; without those forgotten since.

        Raises:
            ValueError: if there is no such position.
        """
        if not isinstance(position, int | np.integer) or not 0 <= position <= self._journal.last_position:
            raise ValueError(f"position = {position}, expected a whole number, 0 to {self._journal.last_position}")
        model, start = self._snapshots.nearest(position, self.settings)
        replay(self._journal, model, start, position)
        from perdure.online.saving import estimator_of  # loads scikit-learn, which takes long

        return estimator_of(model, self.settings)

    def backtest(
        self, methods: Sequence[str] | Mapping[str, ModelSettings], *, window: int = 500, delay: int = 0
    ) -> dict[str, Prequential]:
        """Return what other methods, or other settings, would have been worth on the same history.

        Args:
            methods: names of methods; or settings by names of your choice.
            window: rows of the windowed curve.
            delay: rows answered between a row's answer and its target.
        """
        if isinstance(methods, str):
            methods = [methods]
        if not isinstance(methods, Mapping):
            methods = {name: self.settings.changed(method=name) for name in methods}
        models = {name: settings.new_model() for name, settings in methods.items()}
        uniform = not all(it.columns.allow_missing for it in models.values())
        history = pieces(self._journal, 0, self._journal.last_position, same_columns=uniform)
        return compare(models, history, window=window, delay=delay)

    def adopt(self, method: str | None = None, **settings: Any) -> None:
        """Become the model that has learned the same history with another method, or other settings.

        Raises:
            ValueError: if there is no such method.
            RowError: naming the position of an example that cannot be learned so; nothing has changed.
        """
        with self._busy:
            check_writable(self._lock, self._journal)
            changed = self.settings.changed(method=method, **settings)
            kept, model, last = settings_to_keep(changed), changed.new_model(), self._journal.last_position
            replay(self._journal, model, 0, last)  # raises if it cannot be learned so; nothing has changed then
            self._snapshots.drop(0)
            self._journal.set_settings(kept)
            self._take_over(model, last, 0)

    def snapshot(self) -> None:
        """Write the state to the disk, unless it is there.

        Raises:
            StorageError: if it cannot be written.
        """
        with self._busy:
            check_writable(self._lock, self._journal)
            self._refresh()
            self._schedule.tried(self._position)
            if self._position > self._schedule.position and self._model.has_learned:
                self._snapshots.write(self._position, self._model, self.settings)
                self._schedule.position = self._position

    def save(self, path: str | Path) -> None:
        """Write the model to one file, which `perdure.load` reads as an estimator.

        Raises:
            ValueError: if it has learned nothing yet.
        """
        with self._busy:
            self._refresh()
            if not self._model.has_learned:
                raise ValueError(f"{self.folder} has learned nothing yet, so there is nothing to save; teach it first")
            save_model(Path(path), self._model, self.settings, self._position)

    # --- inside

    def _try_snapshot(self) -> None:
        """Make a snapshot, or warn that there is none: all that it holds is in the journal, so nothing is lost."""
        try:
            self.snapshot()
        except StorageError as cause:
            warnings.warn(
                f"no snapshot could be made: {cause}; nothing is lost, but opening the model takes longer",
                PerdureWarning,
                stacklevel=3,
            )

    def _forget(self, positions: list[int]) -> int:
        """Forget examples; return how many had not been forgotten before."""
        check_writable(self._lock, self._journal)
        if not positions:
            return 0
        relearned = self._snapshots.relearned(self.settings, dict.fromkeys(positions, LEFT_OUT))
        # Snapshots first: one that is left behind would bring back what the journal has forgotten.
        self._snapshots.drop(min(positions))
        try:
            n_forgotten = self._journal.forget(positions)
        except NotErasedError:
            self._refresh()
            raise
        self._take_over(*relearned)
        return n_forgotten

    def _take_over(self, model: OnlineModel, position: int, snapshot: int) -> None:
        """Go on with a model that has learned the journal up to a position, from the snapshot at another one."""
        self._edition = None
        self.settings = kept_settings(self._journal)
        self._model, self._position, self._schedule.position = model, position, snapshot
        self._edition = self._journal.edition

    def _restore(self) -> None:
        """Bring the model to what the journal holds."""
        edition, self._edition = self._journal.edition, None
        self.settings = kept_settings(self._journal)
        self._model, self._position = self._snapshots.nearest(self._journal.last_position, self.settings)
        self._schedule.position = self._position
        self._edition = edition
        self._refresh()

    def _refresh(self) -> None:
        """Follow what another process has done to the journal, and finish what an interrupt has cut short."""
        if self._journal.edition != self._edition:
            self._restore()
        last = self._journal.last_position
        if last > self._position:
            edition, self._edition = self._edition, None
            replay(self._journal, self._model, self._position, last)
            self._position, self._edition = last, edition
