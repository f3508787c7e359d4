"""Agents and games by name. Reading the names does not import JAX."""

from __future__ import annotations

import difflib
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from perdure.rl.agent import Agent
    from perdure.rl.environment import Environment, GymnaxLike


class Entry(NamedTuple):
    """Where something is and what it is."""

    module: str
    class_name: str
    summary: str


AGENTS = {
    "dqn": Entry("agent", "DQN", "Deep Q-learning"),
    "dqn-mer": Entry("agent", "DQNMER", "DQN with the updates of Meta-Experience Replay"),
}
GAMES = {
    "catcher": Entry("catcher", "Catcher", "Fruit falls faster and faster; a paddle catches it"),
    "flappy-bird": Entry("flappy_bird", "FlappyBird", "A bird flaps through pipes whose gaps shrink"),
}

OBSERVATIONS = {
    "state": Entry("", "", "Numbers: places and speeds, as the game tells them"),
    "motion": Entry("motion", "MotionObservations", "The same numbers, and how they have changed since the last frame"),
    "frames": Entry("frames", "FrameObservations", "The last four pictures"),
}


def agent_class(name: str) -> type[Agent]:
    """Return the class of the agent called `name`.

    Raises:
        ValueError: naming the nearest known names.
    """
    return _found(AGENTS, "agent", name)


def agent_name(agent: Agent) -> str:
    """Return the catalogue's name of an agent, or its class name if it is not one of the catalogue's."""
    own = type(agent)
    known = {entry.class_name: name for name, entry in AGENTS.items()} if own.__module__ == "perdure.rl.agent" else {}
    return known.get(own.__name__, own.__name__)


def make_game(name: str, observation: str = "state") -> Environment[Any, Any]:
    """Return the game called `name`.

    Args:
        name: one of `GAMES`.
        observation: one of `OBSERVATIONS`.

    Raises:
        ValueError: if there is no such game or observation, naming the nearest.
    """
    game = _found(GAMES, "game", name)()
    wrapper = _found(OBSERVATIONS, "observation", observation)
    return game if wrapper is None else wrapper(game)


def game_and_observation(environment: GymnaxLike) -> tuple[str, str]:
    """Return the names from which `make_game` makes an environment; that of its class and "own" for any other."""
    names = {entry.class_name: name for name, entry in GAMES.items()}
    seen = {entry.class_name: name for name, entry in OBSERVATIONS.items()}
    outer = type(environment).__name__
    inner = type(getattr(environment, "environment", environment)).__name__
    if not type(environment).__module__.startswith("perdure.") or inner not in names:
        return outer, "own"
    return names[inner], "state" if outer == inner else seen[outer]


def _found(entries: dict[str, Entry], kind: str, name: str) -> Any:
    if name not in entries:
        near = difflib.get_close_matches(name, entries, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"unknown {kind} {name!r}; {hint}Known: {', '.join(entries)}")
    entry = entries[name]
    if not entry.module:
        return None
    return getattr(import_module(f"perdure.rl.{entry.module}"), entry.class_name)
