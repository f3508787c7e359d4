"""What a run of any kind is to the loop that drives it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar


class DivergedError(ArithmeticError):
    """Training has reached NaN or infinity; the message tells where, and what to do."""


class BrokenOffError(RuntimeError):
    """Something that a job needs from outside has failed; what the job has computed up to its position is sound."""


class Job(ABC):
    """Work that is done stretch by stretch, can be looked at in between, and resumes from what it has kept."""

    unit: ClassVar[str]
    """What its positions count, in the plural: "examples"."""
    first_stretch: int
    """Units of the first stretch, before it is known how fast it is."""
    label: str
    """What it does, in a few words."""
    length: int
    """Position at which it ends, at the latest."""
    position: int
    """How far it is; `advance` and `restore` move it."""

    @property
    @abstractmethod
    def boundaries(self) -> Sequence[int]:
        """Positions at which it is evaluated, in ascending order; no stretch crosses one."""

    @property
    @abstractmethod
    def ended(self) -> bool:
        """Has it come to its end, before `length` if need be?"""

    @abstractmethod
    def compile(self) -> None:
        """Compile what `advance` needs; called once, before the first stretch.

        Raises:
            BrokenOffError: if what it needs from outside fails.
        """

    @abstractmethod
    def advance(self, stop: int) -> None:
        """Do all from `position` up to `stop`, and be there.

        Raises:
            DivergedError: if something that was computed is NaN or infinite.
            BrokenOffError: if what it needs from outside fails; `position` tells how far it has come.
        """

    @abstractmethod
    def evaluate(self) -> None:
        """Measure, at a boundary.

        Raises:
            DivergedError: if something that was computed is NaN or infinite.
            BrokenOffError: if what it needs from outside fails; it is called again when the job resumes.
        """

    @abstractmethod
    def check(self) -> None:
        """Check that what a checkpoint is about to keep is sound.

        Raises:
            DivergedError: if it is not.
        """

    @abstractmethod
    def snapshot(self) -> Any:
        """Return all that the job needs to resume from `position`: a tree of arrays and random keys."""

    @abstractmethod
    def restore(self, snapshot: Any, position: int) -> None:
        """Go to a position, given the snapshot that was taken there."""

    @abstractmethod
    def report(self) -> str:
        """Return how it does, in a few words for the progress bar."""

    @abstractmethod
    def progress_values(self) -> dict[str, float]:
        """Return what the last stretch has measured, by name, for loggers."""

    @abstractmethod
    def evaluation_values(self) -> dict[str, float]:
        """Return what evaluations have measured by now, by name, for loggers; NaN where nothing was."""
