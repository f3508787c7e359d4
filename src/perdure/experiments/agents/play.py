"""A trained agent at play, to be looked at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from perdure.core import as_features
from perdure.experiments.agents.film import Picture
from perdure.models import array_model
from perdure.records.agent import NETWORKS, AgentRecord
from perdure.records.errors import ResultsError, damaged
from perdure.rl.catalog import GAMES, make_game
from perdure.rl.games.pictures import colour_picture
from perdure.rl.games.rules import FRAME_MS
from perdure.rl.games.window import Window
from perdure.rl.networks import default_network
from perdure.rl.schedule import check_level
from perdure.storage.arrays import load_arrays, restored
from perdure.storage.reading import ContentError

_ROWS = 256


class Played(NamedTuple):
    """An episode that was played."""

    title: str
    pictures: list[Picture]
    """Of the state before each action, and of the last."""
    score: float


def play_episode(run: Path, *, level: int, seed: int, episode: int, max_frames: int) -> Played:
    """Let the greedy policy of a finished run play an episode.

    Args:
        run: folder of the run.
        level: counted from 0.
        seed: place of the agent among the run's seeds.
        episode: seed of the episode.
        max_frames: frames after which it is broken off.

    Raises:
        ResultsError: if the run is unfinished, or not one of a game with the usual network.
        ValueError: if there is no such level or seed.
    """
    record = AgentRecord.load(run)
    if record.summary is None:
        raise ResultsError(f"{run} is unfinished; resume it with `perdure resume {run}`")
    if record.environment not in GAMES or record.config["network"]["name"] != default_network.__name__:
        raise ResultsError(
            f"{run} played {record.environment} with the network {record.config['network']['name']}, expected one of "
            f"{', '.join(GAMES)} with {default_network.__name__}; others can be played from Python"
        )
    environment = make_game(record.environment, record.config["environment"]["observation"])
    levels = environment.levels
    check_level(level, len(levels))
    if not 0 <= seed < len(record.seeds):
        raise ValueError(f"there is no seed at place {seed}, the run has places 0 to {len(record.seeds) - 1}")
    params = levels[level]
    reset_key, step_key = jax.random.split(jax.random.key(episode))
    observation, state = environment.reset(reset_key, params)
    template = eqx.filter_eval_shape(
        lambda: array_model(default_network(observation, environment.num_actions, jax.random.key(0)))
    )
    network = _load_network(run / NETWORKS, template, seed)
    step = eqx.filter_jit(environment.step_env)
    act = eqx.filter_jit(lambda seen: jnp.argmax(network(as_features(seen))).astype(jnp.int32))
    pictures, score = [colour_picture(environment, state, params, _ROWS)], 0.0
    for frame in range(max_frames):
        after = step(jax.random.fold_in(step_key, frame), state, act(observation), params)
        observation, state = after.observation, after.state
        score += float(after.reward)
        pictures.append(colour_picture(environment, state, params, _ROWS))
        if after.done:
            break
    return Played(f"{record.agent} on {record.environment}", pictures, score)


def _load_network(path: Path, template: Any, seed: int) -> Any:
    """Return the network of the seed at a place among the run's seeds."""
    try:
        arrays, _ = load_arrays(path)
        one = {name: leaves[seed] for name, leaves in arrays.items() if len(leaves) > seed}
        return restored(template, one)
    except ContentError as cause:
        raise damaged(cause, path) from cause


def show_pictures(title: str, pictures: Sequence[Picture]) -> None:
    """Show pictures one after another in a window.

    Raises:
        RuntimeError: if no window can be opened.
    """
    window = Window(title, *pictures[0].shape[:2])
    for picture in pictures:
        if not window.show(picture, FRAME_MS / 1000):
            return
    window.close()
