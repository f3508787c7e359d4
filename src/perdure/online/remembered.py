"""Which examples of a journal the memories of its model hold.

A memory holds inputs as they were learned, scaled or encoded, and no names. But where an example goes is decided by the
rule of the memory and by chance, which comes from the example's number: so what a memory holds is found by going
through the journal again with the positions alone, and without a network.
"""

from __future__ import annotations

import json
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, UInt32

from perdure.core import Learner
from perdure.learners.averaged import AveragedER
from perdure.learners.mixture import Mixture, expert_key
from perdure.learners.replay import Replay, ReplayLearner
from perdure.memory.buffer import filled
from perdure.online.history import kept_settings
from perdure.online.journal import Journal
from perdure.online.state import initial_keys, row_key
from perdure.online.targets import Classes

_PIECE = 4_096
"""Examples gone through in one call."""
_FIRST_CLASSES = 1_024
"""Room for classes, which the rule "balanced" counts."""


class Memory(NamedTuple):
    """A memory of a learner."""

    name: str
    """Of the expert that has it; "memory" if the learner is no mixture."""
    replay: Replay
    group: int | None
    """Place of the group of experts that has it; None if the learner is no mixture."""


def memories_of(learner: Learner[Any]) -> list[Memory]:
    """Return the memories that a learner has."""
    if not isinstance(learner, Mixture):
        replay = _replay_of(learner)
        return [] if replay is None else [Memory("memory", replay, None)]
    starts = np.cumsum((0, *learner.sizes)).tolist()
    named = zip(starts, learner.groups, strict=False)
    found = [(learner.names[start], _replay_of(group), place) for place, (start, group) in enumerate(named)]
    return [Memory(name, replay, place) for name, replay, place in found if replay is not None]


def _replay_of(learner: Learner[Any]) -> Replay | None:
    if isinstance(learner, AveragedER):
        learner = learner.er()
    return learner.replay() if isinstance(learner, ReplayLearner) else None


class Remembered:
    """What the memories of a model hold; as the journal grows, it is gone through from where it was left."""

    def __init__(self) -> None:
        """Begin at the beginning."""
        self._edition: int | None = None

    def follow(self, journal: Journal) -> None:
        """Go through the examples of a journal that are new; through all of them if it was corrected.

        Raises:
            JournalError: if it cannot be read.
        """
        if journal.edition != self._edition:
            self._start(journal, _FIRST_CLASSES)
        last = journal.last_position
        while self.position < last:
            rows = journal.select(
                "SELECT position, x IS NOT NULL, y FROM examples WHERE position > ? ORDER BY position LIMIT ?",
                self.position,
                _PIECE,
            )
            if not self._learn([(at, y) for at, is_kept, y in rows if is_kept]):
                self._start(journal, self._n_classes * 4)
                continue
            self.position = rows[-1][0]

    def held(self, place: int) -> list[int]:
        """Return the positions of the examples in the memory at a place of `memories`, the newest first."""
        buffer = self._buffers[place]
        return sorted(np.asarray(buffer.examples[0])[: int(filled(buffer))].tolist(), reverse=True)

    def _start(self, journal: Journal, n_classes: int) -> None:
        self._edition, self.position, self._n_learned = journal.edition, 0, 0
        settings = kept_settings(journal)
        self.memories = memories_of(settings.new_model().learner)
        self._key = jax.random.key_data(initial_keys(jax.random.key(settings.seed))[1])
        self._classes, self._n_classes, self._regression = Classes(), n_classes, settings.regression
        nothing = (jnp.zeros((), jnp.int32),)
        self._buffers = [it.replay.init(nothing, n_classes) for it in self.memories]

    def _learn(self, examples: list[tuple[int, str]]) -> bool:
        """Offer examples, positions and targets as JSON, to the memories; False if there are more classes than room."""
        block = np.zeros((2, _PIECE), np.int32)
        block[0, : len(examples)] = [at for at, _ in examples]
        if not self._regression:
            labels = [json.loads(y) for _, y in examples]
            self._classes.add(labels)
            if len(self._classes) > self._n_classes:
                return False
            block[1, : len(examples)] = self._classes.numbers(labels)
        counts = np.asarray([self._n_learned, len(examples)], np.uint32)
        self._buffers = [
            _offered(it.replay, it.group, buffer, block, counts, self._key)
            for it, buffer in zip(self.memories, self._buffers, strict=True)
        ]
        self._n_learned += len(examples)
        return True


@partial(jax.jit, static_argnums=1)
def _offered(
    replay: Replay,
    group: int | None,
    memory: Any,
    block: Int[Array, "2 piece"],
    counts: UInt32[Array, " 2"],
    key: UInt32[Array, " 2"],
) -> Any:
    """Return a memory of positions after examples were offered to it.

    Args:
        replay: its rules.
        group: of the experts that have it; None if the learner is no mixture.
        memory: before.
        block: positions and numbers of the classes.
        counts: how many examples were learned before, and are in the block.
        key: of all rows.
    """

    def offer(n: Any, memory: Any) -> Any:
        low = counts[0] + n.astype(jnp.uint32)
        own = row_key(key, jnp.stack([low, jnp.zeros((), jnp.uint32)]))
        own = own if group is None else expert_key(own, group)
        slot = replay.draw(memory, own, block[1, n]).stored_in
        return replay.store(memory, (block[0, n],), slot, block[1, n])

    return jax.lax.fori_loop(0, counts[1].astype(jnp.int32), offer, memory)
