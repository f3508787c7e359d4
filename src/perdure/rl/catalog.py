"""Agents and games by name. Reading the names does not import JAX."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure.named import Entry, name_of_class, named_class

if TYPE_CHECKING:
    from perdure.rl.agent import Agent
    from perdure.rl.environment import AbstractEnvironment, GymnaxLike
    from perdure.rl.hosted import HostedEnvironment


AGENTS = {
    "dqn": Entry("perdure.rl.agent", "DQN", "Deep Q-learning"),
    "dqn-ewc": Entry("perdure.rl.elastic", "DQNEWC", "DQN with elastic weight consolidation after each stage"),
    "dqn-mer": Entry("perdure.rl.agent", "DQNMER", "DQN with the updates of Meta-Experience Replay"),
    "ppo": Entry("perdure.rl.ppo", "PPO", "Proximal policy optimisation, on-policy"),
    "stream-q": Entry("perdure.rl.stream_q", "StreamQ", "Q-learning with eligibility traces, without a memory"),
}
GAMES = {
    "catcher": Entry("perdure.rl.games.catcher", "Catcher", "Fruit falls faster and faster; a paddle catches it"),
    "flappy-bird": Entry("perdure.rl.games.flappy_bird", "FlappyBird", "A bird flaps through pipes whose gaps shrink"),
    "catcher+flappy-bird": Entry("perdure.rl.games.several", "CatcherAndFlappyBird", "The two games in turn"),
    "catcher-controls": Entry(
        "perdure.rl.games.contrary_catcher",
        "ContraryControls",
        "Catcher with controls that a lamp swaps",
    ),
    "catcher-fruit": Entry(
        "perdure.rl.games.contrary_catcher", "ContraryFruit", "Catcher with fruit that a lamp turns bad"
    ),
}

OBSERVATIONS = {
    "state": Entry("perdure.rl.games.frames", "unchanged", "Numbers: positions and velocities"),
    "frames": Entry("perdure.rl.games.frames", "FrameObservations", "The last four frames, grey, 84 × 84 pixels"),
    "frames-small": Entry("perdure.rl.games.frames", "small_frames", "The last two frames, grey, 42 × 42 pixels"),
}


def agent_class(name: str) -> type[Agent]:
    """Return the class of the agent called `name`.

    Raises:
        ValueError: naming the nearest known names.
    """
    return named_class(AGENTS, "agent", name)


def agent_name(agent: Agent) -> str:
    """Return the name of an agent in the catalogue, or its class name if it is not there."""
    return name_of_class(AGENTS, type(agent)) or type(agent).__name__


def make_game(name: str, observation: str = "state") -> AbstractEnvironment[Any, Any]:
    """Return the game called `name`.

    Args:
        name: one of `GAMES`.
        observation: one of `OBSERVATIONS`.

    Raises:
        ValueError: if there is no such game or observation, naming the nearest.
    """
    game = named_class(GAMES, "game", name)()
    return named_class(OBSERVATIONS, "observation", observation)(game)


def game_and_observation(environment: GymnaxLike | HostedEnvironment) -> tuple[str, str]:
    """Return the names with which `make_game` makes an environment; "own" is the observation of any other."""
    import equinox as eqx

    game = name_of_class(GAMES, type(getattr(environment, "environment", environment)))
    if game is not None:
        for observation in OBSERVATIONS:
            if eqx.tree_equal(make_game(game, observation), environment):
                return game, observation
    name = getattr(environment, "name", None)
    return name if isinstance(name, str) else type(environment).__name__, "own"
