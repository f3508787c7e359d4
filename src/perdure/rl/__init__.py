"""Continual reinforcement learning: games that get harder while an agent learns them."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perdure.rl.environment import Environment, GymnaxLike, Step
    from perdure.rl.games.catcher import Catcher
    from perdure.rl.games.flappy_bird import FlappyBird
    from perdure.rl.games.frames import FrameObservations
    from perdure.rl.games.pictures import colour_picture

_HOME = {
    "Catcher": "games.catcher",
    "Environment": "environment",
    "FlappyBird": "games.flappy_bird",
    "FrameObservations": "games.frames",
    "GymnaxLike": "environment",
    "Step": "environment",
    "colour_picture": "games.pictures",
}

__all__ = [
    "Catcher",
    "Environment",
    "FlappyBird",
    "FrameObservations",
    "GymnaxLike",
    "Step",
    "colour_picture",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'perdure.rl' has no attribute {name!r}")
    return getattr(import_module(f"perdure.rl.{_HOME[name]}"), name)
