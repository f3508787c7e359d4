"""Continual reinforcement learning: agents, games that get harder while they are played, and own environments."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
