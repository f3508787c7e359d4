"""A trained agent at play, to be looked at."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from perdure.core import as_features
from perdure.experiments.agents.film import Picture
from perdure.experiments.agents.plan import spec_of
from perdure.experiments.agents.spec import AgentSpec
from perdure.experiments.agents.watched import watched
from perdure.named import resume_command
from perdure.records.agent import NETWORKS, AgentRecord
from perdure.records.errors import ResultsError, damaged
from perdure.rl.games.rules import FRAME_MS
from perdure.rl.games.window import Window
from perdure.rl.runner import init_agent
from perdure.rl.schedule import check_level
from perdure.storage.arrays import load_arrays, restored
from perdure.storage.reading import ContentError


class Played(NamedTuple):
    """An episode that was played."""

    title: str
    pictures: list[Picture]
    """Of the state before each action, and of the last."""
    score: float
    is_over: bool
    """Did the episode end within the frames that were allowed?"""


def play_episode(run: Path, *, level: int, seed: int, episode: int, max_frames: int) -> Played:
    """Let the greedy policy of a finished run play an episode.

    Args:
        run: folder of the run.
        level: counted from 0.
        seed: place of the agent among the run's seeds.
        episode: seed of the episode.
        max_frames: frames after which it is broken off.

    Raises:
        ResultsError: if the run is unfinished, or of an agent, environment or network that the command line cannot
            make.
        ValueError: if there is no such level or seed, or the environment draws no pictures.
        HostError: if an environment of Gymnasium fails.
    """
    record = AgentRecord.load(run)
    if record.summary is None:
        raise ResultsError(f"{run} is unfinished; resume it with `{resume_command(run)}`")
    spec = spec_of(record)
    check_level(level, len(spec.levels))
    if not 0 <= seed < len(record.seeds):
        raise ValueError(f"there is no seed at place {seed}, the run has places 0 to {len(record.seeds) - 1}")
    with closing(watched(spec.environment, spec.levels[level], episode)) as game:
        network = _load_network(run / NETWORKS, _template(spec, game.observation), seed)
        act = eqx.filter_jit(lambda seen: jnp.argmax(network(as_features(seen))).astype(jnp.int32))
        pictures, score, is_over = [game.picture()], 0.0, False
        for _ in range(max_frames):
            reward, is_over = game.step(int(act(jnp.asarray(game.observation))))
            score += reward
            pictures.append(game.picture())
            if is_over:
                break
    return Played(record.title, pictures, score, is_over)


def _template(spec: AgentSpec, observation: Any) -> Any:
    """Return the form of the network that acts greedily."""
    agent, n_actions = spec.agent, spec.environment.num_actions

    def made() -> Any:
        seen = jnp.asarray(observation)
        network = agent.make_networks(spec.network, seen, n_actions, jax.random.key(0))
        return agent.answering(init_agent(agent, network, seen, n_actions))

    return eqx.filter_eval_shape(made)


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
