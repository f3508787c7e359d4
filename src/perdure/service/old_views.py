"""A model as it was after one of its examples."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

from perdure.online.folder import SNAPSHOTS
from perdure.online.history import kept_settings, replay
from perdure.online.journal import Journal
from perdure.online.snapshots import Snapshots, load_model
from perdure.online.view import ModelView
from perdure.service.problems import ProblemError
from perdure.service.turns import Turns
from perdure.storage.reading import ContentError

_KEPT = 4


class OldViews:
    """Views of former positions; one is made at a time, and the last ones are kept."""

    def __init__(self, folder: Path, replayed: int):
        """Make none yet.

        Args:
            folder: of the model.
            replayed: examples that may be learned again to make one.
        """
        self._folder = folder / SNAPSHOTS
        self._replayed = replayed
        self._turns = Turns("looking back")
        self._views: OrderedDict[tuple[int, int], ModelView] = OrderedDict()
        """By position and edition of the journal: what was forgotten since is in none of them."""

    def at(self, position: int, journal: Journal) -> ModelView:
        """Return the model as it was after the example at a position, without those forgotten since.

        Raises:
            ProblemError: if there is no such position, too much would have to be learned again, or others wait already.
        """
        with self._turns.turn():
            last = journal.last_position
            if not 0 <= position <= last:
                raise ProblemError(
                    "no-example", f"position {position} was given, expected 0 to {last:,}", field="/position"
                )
            key = position, journal.edition
            if key not in self._views:
                self._views[key] = self._made(position, journal)
                while len(self._views) > _KEPT:
                    self._views.popitem(last=False)
            return self._views[key]

    def _made(self, position: int, journal: Journal) -> ModelView:
        model, start = Snapshots(self._folder, journal).nearest(position, kept_settings(journal))
        if position - start > self._replayed:
            raise ProblemError(
                "bad-request",
                f"{position - start:,} examples would have to be learned again, expected at most {self._replayed:,}; "
                f"in Python, DurableModel.open(…, read_only=True).at({position}) takes any number",
            )
        replay(journal, model, start, position)
        return model.view(position)

    def newest_snapshot(self) -> ModelView | None:
        """Return the model of the newest sound snapshot, whatever its journal holds; None if there is none."""
        for path in sorted(self._folder.glob("*.safetensors"), reverse=True):
            try:
                saved = load_model(path)
            except ContentError:
                continue
            return saved.model.view(saved.position)
        return None
