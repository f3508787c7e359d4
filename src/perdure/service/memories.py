"""What a model's memory holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from perdure.memory.buffer import BalancedBuffer, Buffer, capacity, filled
from perdure.online.journal import Journal
from perdure.online.remembered import Remembered
from perdure.online.view import ModelView
from perdure.service.problems import ProblemError
from perdure.service.turns import Turns

_LONGEST = 1_000_000
"""Examples of a journal that are gone through to find which of them a memory holds."""


class MemoryContent(NamedTuple):
    """What the largest memory of a model holds."""

    size: int
    """Examples that it can hold."""
    labels: list[Any]
    """Class of each example that it holds; None for regression."""


def memory_of(view: ModelView) -> MemoryContent | None:
    """Return what the largest memory of a model holds; None if it has none, or has learned nothing yet."""
    state = view.state
    nodes = [] if state is None else jax.tree.leaves(state.learner, is_leaf=is_memory)
    found = [_of_one_expert(it) for it in nodes if is_memory(it)]
    if not found:
        return None
    largest = max(found, key=capacity)
    n = int(filled(largest))
    labels = [None] * n if view.regression else _labels(largest.examples, n, view.classes)
    return MemoryContent(capacity(largest), labels)


def is_memory(node: Any) -> bool:
    """Tell a memory from the other parts of a learner's state."""
    return isinstance(node, Buffer | BalancedBuffer)


def _of_one_expert(memory: Any) -> Any:
    """Return a memory without the axis of the experts that learn side by side: all of them hold the same examples."""
    return jax.tree.map(lambda leaf: leaf[0], memory) if np.ndim(memory.seen) else memory


def _labels(examples: Any, n: int, classes: Sequence[Any]) -> list[Any]:
    y = np.asarray(examples.y)[:n]
    return [classes[number] for number in y.tolist()]


class Memories:
    """The memories of a model, example by example."""

    def __init__(self) -> None:
        """Look at nothing yet."""
        self._turns = Turns("looking at the memory")
        self._remembered = Remembered()

    def page(self, journal: Journal, name: str | None, before: int | None, limit: int) -> dict[str, Any]:
        """Return the memories there are, and the newest examples in one of them, as JSON holds it.

        Args:
            journal: of the model.
            name: of the memory; None for the first.
            before: only examples of positions before this one.
            limit: as many at most.

        Raises:
            ProblemError: if there is no such memory, or the journal is too long to be gone through.
        """
        with self._turns.turn():
            if (last := journal.last_position) > _LONGEST:
                raise ProblemError(
                    "bad-request",
                    f"the journal has {last:,} positions, and what a memory holds is found by going through all of "
                    f"them, at most {_LONGEST:,}; …/inside tells how many examples of each class it holds",
                )
            remembered = self._remembered
            remembered.follow(journal)
            held = [remembered.held(place) for place in range(len(remembered.memories))]
            described = [
                {"name": it.name, "rule": it.replay.rule, "size": it.replay.memory_size, "filled": len(positions)}
                for it, positions in zip(remembered.memories, held, strict=True)
            ]
            position = remembered.position
        names = [it["name"] for it in described]
        if name is not None and name not in names:
            told = f"expected one of {', '.join(names)}" if names else "but this model's method has no memory"
            raise ProblemError("bad-request", f"the memory {name[:80]!r} was given, {told}", field="/memory")
        shown = {"position": position, "memories": described, "memory": None, "examples": [], "before": None}
        if not names:
            return shown
        chosen = name or names[0]
        positions = [it for it in held[names.index(chosen)] if before is None or it < before]
        taken = positions[:limit]
        places = ", ".join("?" * len(taken))  # one that has been forgotten in the meantime is left out
        examples = [it._asdict() for it in journal.newest(f"position IN ({places})", *taken, limit=len(taken))]
        following = taken[-1] if len(positions) > limit else None
        return shown | {"memory": chosen, "examples": examples, "before": following}
