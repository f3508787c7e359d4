"""Continual reinforcement learning: agents, games that get harder while they are played, and own environments."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perdure.rl.agent import DQN, DQNMER, Agent
    from perdure.rl.catalog import make_game
    from perdure.rl.checks import check_environment
    from perdure.rl.environment import AbstractEnvironment, Environment, GymnaxLike, Step
    from perdure.rl.games.catcher import Catcher
    from perdure.rl.games.flappy_bird import FlappyBird
    from perdure.rl.games.frames import FrameObservations
    from perdure.rl.games.pictures import colour_picture
    from perdure.rl.networks import MnihNetwork, default_network
    from perdure.rl.schedule import Stage

_HOME = {
    "AbstractEnvironment": "environment",
    "Agent": "agent",
    "Catcher": "games.catcher",
    "DQN": "agent",
    "DQNMER": "agent",
    "Environment": "environment",
    "FlappyBird": "games.flappy_bird",
    "FrameObservations": "games.frames",
    "GymnaxLike": "environment",
    "MnihNetwork": "networks",
    "Stage": "schedule",
    "Step": "environment",
    "check_environment": "checks",
    "colour_picture": "games.pictures",
    "default_network": "networks",
    "make_game": "catalog",
}

__all__ = [
    "DQN",
    "DQNMER",
    "AbstractEnvironment",
    "Agent",
    "Catcher",
    "Environment",
    "FlappyBird",
    "FrameObservations",
    "GymnaxLike",
    "MnihNetwork",
    "Stage",
    "Step",
    "check_environment",
    "colour_picture",
    "default_network",
    "make_game",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'perdure.rl' has no attribute {name!r}")
    return getattr(import_module(f"perdure.rl.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
