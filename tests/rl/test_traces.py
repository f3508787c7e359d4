"""Both games against every recorded frame of the originals, with their random draws put in."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perdure.rl.games import catcher, flappy_bird
from perdure.rl.games.rules import MAX_STEPS

FOLDER = Path(__file__).parents[1] / "reference" / "ple"


def recorded(game):
    with np.load(FOLDER / f"{game}.npz") as file:
        return dict(file)


def whole(values):
    return jnp.asarray(values, jnp.int32)


def catcher_parts():
    """Return the record, and as the game has them: states after each frame and at the starts, draws, levels."""
    record = recorded("catcher")
    time = np.arange(len(record["action"])) - np.repeat(record["ep_first"], record["ep_length"])
    numbers = [whole(record[f"n_{name}"]) for name in ("player_x", "fruit_x", "fruit_y", "lives", "score")]
    paddle_x, fruit_x, fruit_y, lives, score = numbers
    velocity = jnp.asarray(record["n_player_vel"])
    after = catcher.CatcherState(paddle_x, velocity, fruit_x, fruit_y, lives, score, whole(time + 1))
    first = jax.jit(jax.vmap(catcher.start))(catcher.Fruit(*whole(record["ep_fruit_draw"]).T))
    draws = catcher.Fruit(*whole(record["draw"]).T)
    levels = stacked(catcher.Catcher.params(speed, 2000) for speed in record["ep_speed"].tolist())
    return record, after, first, draws, levels


def flappy_bird_parts():
    record = recorded("flappy_bird")
    time = np.arange(len(record["action"])) - np.repeat(record["ep_first"], record["ep_length"])
    numbers = {name: whole(record[f"n_{name}"]) for name in ("pos_y", "vel", "lives", "score")}
    after = flappy_bird.FlappyBirdState(
        numbers["pos_y"],
        numbers["vel"],
        jnp.asarray(record["n_flapped"]),
        jnp.asarray(record["n_thrusting"]),
        jnp.asarray(record["n_pipe_x"].T),
        whole(record["n_gap_start"].T),
        numbers["lives"],
        numbers["score"],
        whole(time + 1),
    )
    first = jax.jit(jax.vmap(flappy_bird.start))(whole(record["ep_gap_draw"]), whole(record["ep_vel0"]))
    levels = stacked(flappy_bird.FlappyBird.params(gap, 2000) for gap in record["ep_pipe_gap"].tolist())
    return record, after, first, whole(record["regen_gap_draw"]), levels


def stacked(parts):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *parts)


GAMES = {"catcher": (catcher, catcher_parts), "flappy_bird": (flappy_bird, flappy_bird_parts)}


@pytest.fixture(scope="module", params=GAMES)
def game(request):
    module, parts = GAMES[request.param]
    return module, *parts()


def assert_same_states(ours, theirs):
    for name, our, their in zip(ours._fields, ours, theirs, strict=True):
        if jnp.issubdtype(our.dtype, jnp.floating):
            np.testing.assert_allclose(our, their, rtol=0, atol=1e-5, err_msg=name)
        else:
            np.testing.assert_array_equal(our, their, err_msg=name)


def test_the_record_is_whole(game):
    module, record, *_ = game
    n_frames, n_episodes = {catcher: (27_559, 120), flappy_bird: (26_381, 180)}[module]
    assert len(record["action"]) == record["ep_length"].sum() == n_frames
    assert len(record["ep_length"]) == n_episodes


def test_every_frame_from_the_recorded_one_before(game):
    module, record, after, first, draws, levels = game
    begins = np.zeros(len(record["action"]), bool)
    begins[record["ep_first"]] = True
    episode = np.repeat(np.arange(len(record["ep_length"])), record["ep_length"])

    def before(after, first):
        shape = (-1,) + (1,) * (after.ndim - 1)
        return jnp.where(begins.reshape(shape), first[episode], jnp.roll(after, 1, axis=0))

    states = jax.tree.map(before, after, first)
    level = jax.tree.map(lambda leaf: leaf[episode], levels)
    ours, rewards = jax.jit(jax.vmap(module.advance))(states, whole(record["action"]), draws, level)
    assert_same_states(ours, after)
    np.testing.assert_array_equal(rewards, record["reward"])
    np.testing.assert_array_equal(ours.lives <= 0, record["done"])


def test_whole_episodes_from_their_start(game):
    module, record, after, first, draws, levels = game
    longest = record["ep_length"].max()
    rows = record["ep_first"][:, None] + np.arange(longest)
    played = np.arange(longest) < record["ep_length"][:, None]
    rows = np.where(played, rows, 0)
    actions, drawn = jax.tree.map(lambda leaf: leaf[rows], (whole(record["action"]), draws))

    def play(first, level, actions, draws):
        def frame(state, inputs):
            after, reward = module.advance(state, *inputs, level)
            return after, (after, reward)

        return jax.lax.scan(frame, first, (actions, draws))[1]

    ours, rewards = jax.jit(jax.vmap(play))(first, levels, actions, drawn)
    assert_same_states(jax.tree.map(lambda leaf: leaf[played], ours), after)
    np.testing.assert_array_equal(rewards[played], record["reward"])
    np.testing.assert_array_equal((ours.lives <= 0)[played], record["done"])


def test_the_originals_observations():
    record, after, *_ = catcher_parts()
    names = ("player_x", "player_vel", "fruit_x", "fruit_y")
    theirs = np.stack([record[f"n_{name}"].astype(np.float32) for name in names], axis=1)
    np.testing.assert_allclose(jax.jit(jax.vmap(catcher.raw_observation))(after), theirs, rtol=0, atol=1e-5)

    record, after, _, _, levels = flappy_bird_parts()
    level = jax.tree.map(lambda leaf: jnp.repeat(leaf, record["ep_length"]), levels)
    ours = jax.jit(jax.vmap(flappy_bird.raw_observation))(after, level)
    np.testing.assert_allclose(ours, record["obs"].T, rtol=0, atol=1e-5)


def test_gaps_begin_where_the_originals_do():
    record, _, _, _, levels = flappy_bird_parts()
    first, last = jax.vmap(flappy_bird.gap_starts)(levels.gap)
    np.testing.assert_array_equal(first, record["ep_pipe_min"])
    np.testing.assert_array_equal(last, record["ep_pipe_max"])


def test_levels_are_those_of_the_record():
    for record, levels, values in (
        (recorded("catcher")["ep_speed"], catcher.Catcher().levels, "speed"),
        (recorded("flappy_bird")["ep_pipe_gap"], flappy_bird.FlappyBird().levels, "gap"),
    ):
        ours = [float(getattr(level, values)) for level in levels]
        np.testing.assert_allclose(sorted(ours), np.unique(record), rtol=1e-6)
        assert {int(level.max_steps_in_episode) for level in levels} == {MAX_STEPS}
