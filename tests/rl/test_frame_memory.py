"""Memories of stacks of pictures give back what a memory of whole transitions does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perdure.execution.compilation import bytes_of, compiled
from perdure.learners.replay import Replay
from perdure.rl.frame_memory import (
    FilmMemory,
    WithPictures,
    buffer_of,
    init_memory,
    recall_transitions,
    store_transition,
)
from perdure.rl.transition import Transition


def transitions(lengths, n_stacked=3, repeated=True):
    """Return transitions of episodes of these lengths, whose pictures are random, leaves (frames, ...)."""
    rng, made = np.random.default_rng(0), []
    for length in lengths:
        first = rng.integers(0, 256, (1 if repeated else n_stacked, 4, 5))
        pictures = [*np.broadcast_to(first, (n_stacked, 4, 5)), *rng.integers(0, 256, (length, 4, 5))]
        for start in range(length):
            before, after = (np.stack(pictures[at : at + n_stacked]) for at in (start, start + 1))
            made.append(
                Transition(
                    jnp.asarray(before, jnp.uint8),
                    jnp.asarray(rng.integers(3), jnp.int32),
                    jnp.asarray(rng.normal(), jnp.float32),
                    jnp.asarray(float(start < length - 1)),
                    jnp.asarray(after, jnp.uint8),
                )
            )
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *made)


def stored(replay, stream, *, stacked, memory=None):
    """Return the memory after the transitions, and what was drawn from it before each, and which of it counted."""
    start = init_memory(replay, jax.tree.map(lambda leaf: leaf[0], stream), stacked=stacked)

    def step(memory, frame):
        transition, key = frame
        draws = replay.draw(buffer_of(memory), key)
        return store_transition(replay, memory, transition, draws.stored_in), recall_transitions(memory, draws.slots)

    keys = jax.random.split(jax.random.key(1), len(stream.reward))
    return jax.jit(lambda start: jax.lax.scan(step, start, (stream, keys)))(start if memory is None else memory)


def assert_same_draws(replay, stream):
    _, (whole, counts) = stored(replay, stream, stacked=False)
    memory, (rebuilt, counts_too) = stored(replay, stream, stacked=True)
    np.testing.assert_array_equal(counts, counts_too)
    assert counts.mean() > 0.9
    for one, other in zip(whole, rebuilt, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one[counts], other[counts])
    return memory


@pytest.mark.parametrize("rule", ["ring", "reservoir", "halves"])
@pytest.mark.parametrize("repeated", [True, False])
def test_draws_are_those_of_whole_transitions(rule, repeated):
    # Episodes end by the game and at once after their start; the ring of 20 goes round five times.
    stream = transitions([17, 1, 30, 2, 26, 24], repeated=repeated)
    memory = assert_same_draws(Replay(20, 4, 2, rule=rule), stream)
    assert isinstance(memory, FilmMemory if rule == "ring" else tuple)


def test_a_ring_holds_each_picture_once_and_a_reservoir_each_but_one():
    one = jax.tree.map(lambda leaf: leaf[0], transitions([1], n_stacked=4))

    def pictures(rule, *, stacked):
        return bytes_of(init_memory(Replay(1000, 4, rule=rule), one, stacked=stacked)) // (4 * 5)

    assert 8_000 < pictures("ring", stacked=False) < 9_000
    assert pictures("ring", stacked=True) < 1_250 + 1_000  # with numbers, of which a picture here holds only five
    assert pictures("reservoir", stacked=True) < 5_000 + 1_000


def test_transitions_whose_pictures_have_left_the_film_do_not_count():
    stream = transitions([1] * 120, n_stacked=1)
    replay = Replay(40, 8, rule="ring")
    memory, (rebuilt, counts) = stored(replay, stream, stacked=True)
    _, (whole, filled) = stored(replay, stream, stacked=False)
    assert counts[60:].any()
    assert not counts[60:].all()
    assert filled[60:].all()
    for one, other in zip(whole, rebuilt, strict=True):
        np.testing.assert_array_equal(one[counts], other[counts])
    # A film of 58 pictures holds the last 29 transitions of two pictures each.
    held = recall_transitions(memory, jnp.arange(40, dtype=jnp.int32)[None])[1]
    assert len(memory.film) == 58
    assert int(held.sum()) == 29


def test_pictures_are_found_where_their_numbers_begin_again(monkeypatch):
    monkeypatch.setattr("perdure.rl.frame_memory.LARGEST_COUNT", 500)
    stream = transitions([40, 30, 25, 60, 80, 45])
    memory = assert_same_draws(Replay(20, 4, rule="ring"), stream)
    assert int(memory.numbered) < 500 // 2 < len(stream.reward)


def test_the_film_is_changed_in_place():
    stream = transitions([30])
    replay = Replay(2_000, 4, rule="ring")
    memory = init_memory(replay, jax.tree.map(lambda leaf: leaf[0], stream), stacked=True)

    def fill(memory, stream):
        def step(memory, transition):
            slot = replay.draw(buffer_of(memory), jax.random.key(0)).stored_in
            return store_transition(replay, memory, transition, slot), None

        return jax.lax.scan(step, memory, stream)[0]

    program = compiled(jax.jit(fill, donate_argnums=0), memory, stream)
    assert program.memory_analysis().temp_size_in_bytes < bytes_of(memory) / 2


def test_each_transition_of_a_reservoir_has_its_own_film():
    memory = init_memory(
        Replay(5, 2, rule="reservoir"), jax.tree.map(lambda leaf: leaf[0], transitions([2])), stacked=True
    )
    slots = buffer_of(memory).examples
    assert isinstance(slots, WithPictures)
    assert slots.pictures.shape == (5, 4, 4, 5)
