"""Both games against every recorded frame of the originals, with the recorded random draws in place of our own.

The recordings are those of tests/reference/ple, or of the folder that PERDURE_REFERENCE names. Arrays may have the
frames on the last axis, as there, or on the first, as in the released recordings, which have the time for which a flap
acts (`n_thrust_time`) in place of whether it acts (`n_thrusting`).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perdure.rl.games import catcher, flappy_bird
from perdure.rl.games.rules import FRAME_MS, MAX_STEPS
from tests.conftest import RECORDINGS, reference_file

OURS = RECORDINGS / "ple"


class Recording(NamedTuple):
    """A recording, and its parts as the game has them."""

    module: Any
    record: dict[str, np.ndarray]
    after: Any
    """States after each frame, leaves (frames, ...)."""
    first: Any
    """States in which the episodes begin, leaves (episodes, ...)."""
    draws: Any
    """What the game drew in each frame, leaves (frames, ...)."""
    levels: Any
    """Parameters of each episode, leaves (episodes,)."""

    @property
    def episode(self):
        """The number of each frame's episode."""
        return np.repeat(np.arange(len(self.record["ep_length"])), self.record["ep_length"])


def read(path):
    """Return the arrays of a recording, those of several numbers a frame as (frames, numbers)."""
    with np.load(path) as file:
        record = dict(file)
    n_frames = len(record["action"])
    for name in ("n_pipe_x", "n_gap_start", "obs"):
        if name in record and record[name].shape[0] != n_frames:
            record[name] = record[name].T
    if "n_thrust_time" in record:
        record["n_thrusting"] = record["n_thrust_time"] != 0
    return record


def whole(values):
    return jnp.asarray(values, jnp.int32)


def real(values):
    return jnp.asarray(values, jnp.float32)


def frames_played(record):
    """Return the number of frames of the episode after each frame."""
    return whole(np.arange(len(record["action"])) - np.repeat(record["ep_first"], record["ep_length"]) + 1)


def time_limits(record):
    """Return limits that no recorded episode meets."""
    return jnp.full(len(record["ep_length"]), record["ep_length"].max() + 1, jnp.int32)


def catcher_recording():
    record = read(reference_file("ple", "catcher.npz"))
    numbers = {name: whole(record[f"n_{name}"]) for name in ("player_x", "fruit_x", "fruit_y", "lives", "score")}
    after = catcher.CatcherState(
        numbers["player_x"],
        real(record["n_player_vel"]),
        numbers["fruit_x"],
        numbers["fruit_y"],
        numbers["lives"],
        numbers["score"],
        frames_played(record),
    )
    first = jax.jit(jax.vmap(catcher.start))(catcher.Fruit(*whole(record["ep_fruit_draw"]).T))
    draws = catcher.Fruit(*whole(record["draw"]).T)
    levels = catcher.CatcherParams(real(record["ep_speed"]), time_limits(record))
    return Recording(catcher, record, after, first, draws, levels)


def flappy_bird_recording():
    record = read(reference_file("ple", "flappy_bird.npz"))
    numbers = {name: whole(record[f"n_{name}"]) for name in ("pos_y", "vel", "lives", "score")}
    after = flappy_bird.FlappyBirdState(
        numbers["pos_y"],
        numbers["vel"],
        jnp.asarray(record["n_flapped"]),
        jnp.asarray(record["n_thrusting"]),
        real(record["n_pipe_x"]),
        whole(record["n_gap_start"]),
        numbers["lives"],
        numbers["score"],
        frames_played(record),
    )
    first = jax.jit(jax.vmap(flappy_bird.start))(whole(record["ep_gap_draw"]), whole(record["ep_vel0"]))
    levels = flappy_bird.FlappyBirdParams(whole(record["ep_pipe_gap"]), time_limits(record))
    return Recording(flappy_bird, record, after, first, whole(record["regen_gap_draw"]), levels)


GAMES = {"catcher": catcher_recording, "flappy_bird": flappy_bird_recording}


@pytest.fixture(scope="module", params=GAMES)
def game(request):
    return GAMES[request.param]()


def assert_same_states(ours, theirs):
    for name, our, their in zip(ours._fields, ours, theirs, strict=True):
        if jnp.issubdtype(our.dtype, jnp.floating):
            np.testing.assert_allclose(our, their, rtol=0, atol=1e-5, err_msg=name)
        else:
            np.testing.assert_array_equal(our, their, err_msg=name)


@pytest.mark.reference
def test_the_recording_is_whole(game):
    record = game.record
    n_frames, lengths = len(record["action"]), record["ep_length"]
    assert lengths.min() > 0
    np.testing.assert_array_equal(record["ep_first"], np.cumsum(lengths) - lengths)
    assert {len(leaf) for leaf in (*game.after, record["reward"], record["done"])} == {n_frames} == {lengths.sum()}
    last = record["ep_first"] + lengths - 1
    np.testing.assert_array_equal(np.flatnonzero(record["done"]), last[record["ep_ended"]])
    np.testing.assert_allclose(record.get("dt_ms", FRAME_MS), FRAME_MS)


@pytest.mark.reference
def test_every_frame_from_the_recorded_one_before(game):
    record, episode = game.record, game.episode
    begins = np.zeros(len(episode), bool)
    begins[record["ep_first"]] = True

    def before(after, first):
        shape = (-1,) + (1,) * (after.ndim - 1)
        return jnp.where(begins.reshape(shape), first[episode], jnp.roll(after, 1, axis=0))

    states = jax.tree.map(before, game.after, game.first)
    level = jax.tree.map(lambda leaf: leaf[episode], game.levels)
    ours, rewards = jax.jit(jax.vmap(game.module.advance))(states, whole(record["action"]), game.draws, level)
    assert_same_states(ours, game.after)
    np.testing.assert_array_equal(rewards, record["reward"])
    np.testing.assert_array_equal(ours.lives <= 0, record["done"])


@pytest.mark.reference
def test_whole_episodes_from_their_start(game):
    record = game.record
    longest = record["ep_length"].max()
    rows = record["ep_first"][:, None] + np.arange(longest)
    played = np.arange(longest) < record["ep_length"][:, None]
    rows = np.where(played, rows, 0)
    actions, drawn = jax.tree.map(lambda leaf: leaf[rows], (whole(record["action"]), game.draws))

    def play(first, level, actions, draws):
        def frame(state, inputs):
            after, reward = game.module.advance(state, *inputs, level)
            return after, (after, reward)

        return jax.lax.scan(frame, first, (actions, draws))[1]

    ours, rewards = jax.jit(jax.vmap(play))(game.first, game.levels, actions, drawn)
    assert_same_states(jax.tree.map(lambda leaf: leaf[played], ours), game.after)
    np.testing.assert_array_equal(rewards[played], record["reward"])
    np.testing.assert_array_equal((ours.lives <= 0)[played], record["done"])


@pytest.mark.reference
def test_the_originals_observations():
    record, after = (getattr(catcher_recording(), name) for name in ("record", "after"))
    names = ("player_x", "player_vel", "fruit_x", "fruit_y")
    theirs = np.stack([record[f"n_{name}"].astype(np.float32) for name in names], axis=1)
    ours = jax.jit(jax.vmap(catcher.raw_observation))(after)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)
    np.testing.assert_allclose(ours, record.get("obs", theirs), rtol=0, atol=1e-5)

    recording = flappy_bird_recording()
    level = jax.tree.map(lambda leaf: leaf[recording.episode], recording.levels)
    ours = jax.jit(jax.vmap(flappy_bird.raw_observation))(recording.after, level)
    np.testing.assert_allclose(ours, recording.record["obs"].astype(np.float32), rtol=0, atol=1e-5)


@pytest.mark.reference
def test_gaps_start_where_the_originals_do():
    recording = flappy_bird_recording()
    first, last = jax.vmap(flappy_bird.gap_starts)(recording.levels.gap)
    np.testing.assert_array_equal(first, recording.record["ep_pipe_min"])
    np.testing.assert_array_equal(last, recording.record["ep_pipe_max"])


def test_levels_are_those_of_our_recordings():
    for values, levels, name in (
        (read(OURS / "catcher.npz")["ep_speed"], catcher.Catcher().levels, "speed"),
        (read(OURS / "flappy_bird.npz")["ep_pipe_gap"], flappy_bird.FlappyBird().levels, "gap"),
    ):
        ours = [float(getattr(level, name)) for level in levels]
        np.testing.assert_allclose(sorted(ours), np.unique(values), rtol=1e-6)
        assert {int(level.max_steps_in_episode) for level in levels} == {MAX_STEPS}


def test_both_layouts_of_a_recording_are_read_alike(tmp_path):
    ours = read(OURS / "flappy_bird.npz")
    released = {name: array for name, array in ours.items() if name != "n_thrusting"}
    released["n_thrust_time"] = np.where(ours["n_thrusting"], 1 / 30, 0.0)
    np.savez(tmp_path / "flappy_bird.npz", **released)
    again = read(tmp_path / "flappy_bird.npz")
    for name, array in ours.items():
        np.testing.assert_array_equal(again[name], array, err_msg=name)
    with np.load(OURS / "flappy_bird.npz") as file:
        assert file["n_pipe_x"].shape == again["n_pipe_x"].shape[::-1]
