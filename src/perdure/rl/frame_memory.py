"""Memories of transitions that hold each picture once, and give the stacks of pictures back as they were.

An observation of `FrameObservations` is a stack of the last n pictures, the next one the same stack moved on by one.
Both are windows on one film of n + 1 pictures. A ring keeps the pictures of all its transitions on one film, to which a
frame adds one picture and a new episode its whole first stack. In other memories neighbours do not stay together, and
each transition has its own film.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Shaped

from perdure.learners.replay import Replay
from perdure.memory.buffer import LARGEST_COUNT, Buffer, drawn_mask, recall
from perdure.rl.transition import Transition

_SPARE = 4
"""A film has room for a quarter more pictures than there are transitions: for episodes of 4 n frames on average."""


class Outcome(NamedTuple):
    """What is remembered of a transition beside its pictures; fields as in `Transition`."""

    action: Int[Array, ...]
    reward: Float[Array, ...]
    discount: Float[Array, ...]


class OnFilm(NamedTuple):
    """A transition whose pictures are on the film of the memory."""

    outcome: Outcome
    number: Int[Array, ...]
    """Number of its first picture; the others follow it."""


class FilmMemory(NamedTuple):
    """The last transitions, and the film of their pictures."""

    buffer: Buffer
    """A ring of `OnFilm`."""
    film: Shaped[Array, "pictures height width"]
    """The last pictures: that of number p at p modulo its length."""
    numbered: Int[Array, ""]
    """Number of the next picture; begins again at 0 after the most rounds of the film that an integer can count."""
    last: Shaped[Array, "stacked height width"]
    """The stack with which the last transition ended."""


class WithPictures(NamedTuple):
    """A transition with a film of its own."""

    outcome: Outcome
    pictures: Shaped[Array, "*batch pictures height width"]


TransitionMemory = FilmMemory | Buffer
"""A memory of an agent: the slots of a buffer hold a `Transition` each, or a `WithPictures`."""


def init_memory(replay: Replay, transition: Transition, *, stacked: bool) -> TransitionMemory:
    """Return an empty memory.

    Args:
        replay: its rules.
        transition: one, read for its shapes and dtypes only.
        stacked: are observations stacks of the last pictures, (stacked, height, width), of which each frame adds one?
    """
    if not stacked:
        return replay.init(transition)
    if replay.rule != "ring":
        return replay.init(_with_pictures(transition))
    n_stacked, *shape = jnp.shape(transition.observation)
    buffer = replay.init(OnFilm(_outcome(transition), jnp.zeros((), jnp.int32)))
    length = replay.memory_size + replay.memory_size // _SPARE + 4 * (n_stacked + 1)
    film = jnp.zeros_like(transition.observation, shape=(length, *shape))
    return FilmMemory(buffer, film, jnp.zeros((), jnp.int32), jnp.zeros_like(transition.observation))


def buffer_of(memory: TransitionMemory) -> Buffer:
    """Return the part of a memory in which a slot is a transition."""
    return memory.buffer if isinstance(memory, FilmMemory) else memory


def recall_transitions(
    memory: TransitionMemory, slots: Int[Array, "batches replay"]
) -> tuple[Transition, Bool[Array, "batches replay"]]:
    """Return what is in the slots, leaves (batches, replay, ...), and which of it counts.

    What does not count are slots not filled yet, and transitions whose pictures have left the film, which happens where
    episodes last less than four times as many frames as are stacked.
    """
    buffer = buffer_of(memory)
    mask = jnp.broadcast_to(drawn_mask(buffer, slots.shape[1]), slots.shape)
    remembered = recall(buffer, slots)
    if isinstance(memory, FilmMemory):
        outcome, first = remembered
        length = len(memory.film)
        numbers = first[..., None] + jnp.arange(len(memory.last) + 1, dtype=jnp.int32)[None, None]
        on_film = (memory.numbered - first) % _period(memory) <= length
        return _transition(outcome, memory.film.at[numbers % length].get(mode="clip")), mask & on_film
    return _transition(*remembered) if isinstance(remembered, WithPictures) else remembered, mask


def store_transition(
    replay: Replay, memory: TransitionMemory, transition: Transition, slot: Int[Array, ""]
) -> TransitionMemory:
    """Return the memory with a transition in `slot`, which `replay` has drawn."""
    if not isinstance(memory, FilmMemory):
        packed = isinstance(memory.examples, WithPictures)
        return replay.store(memory, _with_pictures(transition) if packed else transition, slot)
    stack, length = transition.observation, len(memory.film)
    n_stacked = len(stack)
    # By content: a stack equal to the one that the last transition ended with can share its pictures.
    continues = (memory.buffer.seen > 0) & jnp.all(stack == memory.last)
    first = memory.numbered - jnp.where(continues, n_stacked, 0)
    numbers = first + jnp.arange(n_stacked + 1, dtype=jnp.int32)
    places = jnp.where(numbers < memory.numbered, length, numbers % length)
    film = memory.film.at[places].set(_pictures(transition), mode="drop")
    period = _period(memory)
    buffer = replay.store(memory.buffer, OnFilm(_outcome(transition), first % period), slot)
    return FilmMemory(buffer, film, (first + n_stacked + 1) % period, transition.next_observation)


def _period(memory: FilmMemory) -> int:
    """Return after how many pictures numbering starts again: rounds of the film that leave room to count on."""
    length = len(memory.film)
    return LARGEST_COUNT // (2 * length) * length


def _outcome(transition: Transition) -> Outcome:
    return Outcome(transition.action, transition.reward, transition.discount)


def _with_pictures(transition: Transition) -> WithPictures:
    return WithPictures(_outcome(transition), _pictures(transition))


def _pictures(transition: Transition) -> Shaped[Array, "pictures height width"]:
    return jnp.concatenate([transition.observation, transition.next_observation[-1:]])


def _transition(outcome: Outcome, pictures: Shaped[Array, "*batch pictures height width"]) -> Transition:
    action, reward, discount = outcome
    return Transition(pictures[..., :-1, :, :], action, reward, discount, pictures[..., 1:, :, :])
